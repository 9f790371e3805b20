"""The other places of an artifact, as the environment and the command line name them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.config.addresses import uri_secrets
from downloader.config.env import Malformed, items

if TYPE_CHECKING:
    from collections.abc import Iterable

ORIGIN = "origin"
"""Stands for the place of the artifact's own URI in the order of places."""
FORM = f"a comma list of URIs, with `{ORIGIN}` where the artifact's own URI comes"


@dataclass(frozen=True, slots=True)
class Mirrors:
    """URIs of mirrors in their order. They are not parsed here: what they mean depends on their schemes."""

    uris: tuple[str, ...] = field(default=(), repr=False)
    """One of them may be ORIGIN. They may hold secrets."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> Mirrors:
        """Return the mirrors that these texts name, each once. Raises Malformed for a text that is no URI."""
        uris = tuple(text.strip() for text in texts)
        if not uris or not all(uri == ORIGIN or "://" in uri for uri in uris) or uris.count(ORIGIN) > 1:
            raise Malformed(FORM)
        return cls(tuple(dict.fromkeys(uris)))

    def __bool__(self) -> bool:
        return any(uri != ORIGIN for uri in self.uris)

    def __str__(self) -> str:
        return f"{len(self.uris)} URIs"

    def ordered(self, *, first: bool) -> tuple[str, ...]:
        """Return the URIs with ORIGIN at its place: where the list has it, else behind or, by default, before all."""
        if ORIGIN in self.uris:
            return self.uris
        return (*self.uris, ORIGIN) if first else (ORIGIN, *self.uris)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that the redactor has to remove: passwords, tokens and signatures."""
        return tuple(text for uri in self.uris for text in uri_secrets(uri))


def mirrors(text: str) -> Mirrors:
    """Parse AIM_MIRRORS. A comma within a URI is written %2C."""
    return Mirrors.of(items(text))
