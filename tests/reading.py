"""Reading as a transport would."""

from __future__ import annotations

from typing import Protocol


class Readable(Protocol):
    """The bytes of an answer, as a source or an HTTP client hands them out."""

    def readinto(self, view: memoryview, /) -> int: ...

    def close(self) -> None: ...


def rest_of(body: Readable, view_size: int = 1 << 18) -> bytes:
    """Read to the end, in views of this size, and close."""
    view, content = memoryview(bytearray(view_size)), bytearray()
    try:
        while count := body.readinto(view):
            content += view[:count]
    finally:
        body.close()
    return bytes(content)
