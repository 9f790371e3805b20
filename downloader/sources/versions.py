"""How sources name versions: one short name for all the facts that a listing is made of."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def folder_of(uri: str) -> str:
    """Return the URI of the folder that a URI's file lies in."""
    return uri.rpartition("/")[0] + "/"


def version_of(uri: str, facts: Iterable[str | bytes]) -> str:
    """Return one name for what these facts, in this order, say of the artifact that a URI names."""
    name = hashlib.sha256()
    for fact in (uri, *facts):
        raw = fact.encode(errors="surrogatepass") if isinstance(fact, str) else fact
        name.update(b"%d " % len(raw))  # so that no two lists of facts read the same
        name.update(raw)
    return name.hexdigest()
