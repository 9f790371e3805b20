"""Loading large packages in threads, one thread at a time.

urllib3 is part of botocore's tree and of the Kubernetes client's, and its modules import each other in a circle. Two
threads that enter such a circle from two sides wait for each other, and Python ends that by letting one of them go on
with a module that is half there.
"""

from __future__ import annotations

import threading
from typing import Final

LOADING: Final = threading.Lock()
"""Held while a package is imported that may be imported by another thread in the middle of a run."""
