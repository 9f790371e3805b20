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
    from collections.abc import Collection, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

LOADING: Final = threading.Lock()
"""Held while a package is imported that may be imported by another thread in the middle of a run."""


@contextmanager
def loading(*hidden: str, lazy: Collection[str] = ()) -> Iterator[None]:
    """Hold the lock while a very large package is imported, without the packages that it uses only if they are there.

    `hidden` names those, of which none may be imported by us. Modules of the packages that `lazy` names are executed
    once something in them is used, if ever: no other thread may use them. Everything that an import makes stays, so
    the garbage collector would search it in vain, again and again: it pauses.
    """
    finders = [_Lazily(lazy)] if lazy else []
    with LOADING:
        absent = [name for name in hidden if name not in sys.modules]
        pauses = gc.isenabled()
        gc.disable()
        sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is how Python is told to find nothing
        sys.meta_path[:0] = finders
        try:
            yield
        finally:
            for finder in finders:
                sys.meta_path.remove(finder)
            for name in absent:
                sys.modules.pop(name, None)
            if pauses:
                gc.enable()


class _Lazily:
    """Finds modules of some packages so that they are executed when something in them is used."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how a module is loaded; None if the others should find it."""
        if name.partition(".")[0] not in self._packages:
            return None
        from importlib.machinery import PathFinder, SourceFileLoader  # noqa: PLC0415 - few runs come here
        from importlib.util import LazyLoader  # noqa: PLC0415

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = LazyLoader(spec.loader)
        return spec
