"""A lock for importing large packages in threads.

botocore and the Kubernetes client both import urllib3, whose modules import each other in a circle. Two threads that
enter such a circle from two sides wait for each other; Python resolves that by giving one of them a module that is not
fully initialized.
"""

from __future__ import annotations

import gc
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADING: Final = threading.Lock()
"""Held while a package is imported that may be imported by another thread in the middle of a run."""


@contextmanager
def loading(*hidden: str) -> Iterator[None]:
    """Hold the lock while a very large package is imported, without the packages that it uses only if they are there.

    `hidden` names those, of which none may be imported by us. Everything that an import makes stays, so the garbage
    collector would search it in vain, again and again: it pauses.
    """
    with LOADING:
        absent = [name for name in hidden if name not in sys.modules]
        pauses = gc.isenabled()
        gc.disable()
        sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is how Python is told to find nothing
        try:
            yield
        finally:
            for name in absent:
                sys.modules.pop(name, None)
            if pauses:
                gc.enable()
