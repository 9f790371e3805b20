"""A lock for importing large packages in threads.

botocore and the Kubernetes client both import urllib3, whose modules import each other in a circle. Two threads that
enter such a circle from two sides wait for each other; Python resolves that by giving one of them a module that is not
fully initialized.
"""

from __future__ import annotations

import threading
from typing import Final

LOADING: Final = threading.Lock()
"""Held while a package is imported that may be imported by another thread in the middle of a run."""
