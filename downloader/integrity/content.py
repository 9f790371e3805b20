"""What a file's first bytes say it is.

A web server may answer with a login page, a repository may hold a Git LFS pointer: both have a length, and a digest
that is right. So whatever a digest says of the bytes, they must not be something else than the name of the file says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import UnexpectedContent

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = 1024
"""Bytes of a file that are looked at: a Git LFS pointer has fewer."""
HINT = "--accept-any (AIM_ACCEPT_ANY=true) takes it as it is, --exclude leaves it out"

BINARY = frozenset((
    ".safetensors", ".gguf", ".ggml", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".onnx_data", ".h5", ".hdf5", ".keras",
    ".msgpack", ".tflite", ".npy", ".npz", ".pb", ".ot", ".nemo", ".pkl", ".joblib", ".mlmodel", ".engine", ".plan",
    ".llamafile", ".parquet", ".arrow", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z",
))  # fmt: skip
"""Suffixes of files that are never text."""
PAGES = frozenset((".html", ".htm", ".xhtml", ".shtml", ".mht", ".php", ".asp", ".aspx", ".jsp", ".vue", ".svelte"))
"""Suffixes of files that may well be a web page."""

_POINTER = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\r?\n"
    rb"(?:ext-[^\n]{1,200}\n)*oid sha256:[0-9a-f]{64}\r?\nsize ([0-9]{1,19})\r?\n?"
)
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:!--|(?:!doctype|html|head|body|title|script|style|meta|div|h1|p|br|table|iframe)\b)",
    re.IGNORECASE,
)
_TAG = re.compile(
    rb"<(?:!doctype|html|head|body|title|script|style|meta|div|h1|h2|p|a|br|form|input|table|iframe)\b", re.IGNORECASE
)
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|error|listbucketresult)\b", re.IGNORECASE)
_ERROR_IN_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"(?:error|errors|message|detail|details|code|status)"\s*:')
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""Bytes that no text has, by the WHATWG's standard for MIME sniffing."""
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_ERROR_TYPES = frozenset({"application/json", "application/problem+json", "application/xml", "text/xml"})
_SAFETENSORS_LENGTH = 8
SAFETENSORS_HEADER_LIMIT = 100_000_000
"""Bytes of JSON, as the format's own reader has it."""


def _is_safetensors(head: bytes, size: int) -> bool:
    """Tell whether it begins with the length of a JSON object that fits into the file, and with that object."""
    length = int.from_bytes(head[:_SAFETENSORS_LENGTH], "little")
    fits = 1 < length <= min(size - _SAFETENSORS_LENGTH, SAFETENSORS_HEADER_LIMIT)
    return fits and head[_SAFETENSORS_LENGTH : _SAFETENSORS_LENGTH + 1] == b"{"


FORMATS: dict[str, Callable[[bytes, int], bool]] = {
    ".safetensors": _is_safetensors,
    ".gguf": lambda head, _: head.startswith(b"GGUF"),
    ".npy": lambda head, _: head.startswith(b"\x93NUMPY"),
    ".npz": lambda head, _: head.startswith(b"PK"),
    ".zip": lambda head, _: head.startswith(b"PK"),
    ".parquet": lambda head, _: head.startswith((b"PAR1", b"PARE")),
}
"""How the first bytes and the size of a file tell that it is of this format: those that cannot begin in another way."""


@dataclass(frozen=True, slots=True)
class ContentCheck:
    """Refuses files whose first bytes are something else than their names say."""

    accept_any: bool = False
    """Refuse nothing."""
    listed: bool = False
    """The source lists what it holds, so that names are meant; a web server may answer anything with anything."""

    def contradiction(self, path: str, size: int, head: bytes, *, verified: bool, media_type: str = "") -> str:
        """Return what the function `contradiction` does, unless everything is accepted. `verified`: by a digest."""
        vouched = verified or self.listed
        return "" if self.accept_any else contradiction(path, size, head, vouched=vouched, media_type=media_type)

    def require(self, path: str, size: int, head: bytes, *, verified: bool) -> None:
        """Raise UnexpectedContent for a file that is something else than its name says."""
        found = self.contradiction(path, size, head, verified=verified)
        if found:
            raise UnexpectedContent(f"{path} {found}", hint=HINT)


def contradiction(path: str, size: int, head: bytes, *, vouched: bool, media_type: str = "") -> str:
    """Return what a file of `size` bytes that begins with `head` is, and its name does not say; "" if it may be right.

    `vouched`: the source means these bytes to be this file. Then only impossible content counts, such as a web page
    for weights; else also a web page for anything that is not called one, and a model format that begins in another
    way. `media_type` is the `Content-Type` that they came with, if any.
    """
    suffix = suffix_of(path)
    pointer = _POINTER.fullmatch(head)
    if pointer is not None and size == len(head):
        return f"is a Git LFS pointer, not the file of {int(pointer[1])} bytes that it stands for"
    if suffix in BINARY:
        if _MARKUP.match(head):
            return "is a web page, not what its name says"
        if _XML.match(head):
            return "is an XML document, not what its name says"
        if _ERROR_IN_JSON.match(head) and not _NOT_TEXT.search(head):
            return "is an answer in JSON, not what its name says"
    return "" if vouched else _unvouched(suffix, size, head, _bare(media_type))


def suffix_of(path: str) -> str:
    """Return the suffix of a path in lower case, as pathlib has it, but in a tenth of the time."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def is_suspicious(path: str, media_type: str) -> bool:
    """Tell whether a `Content-Type` hardly goes with the name of a file, so that its first bytes are worth a look."""
    suffix, kind = suffix_of(path), _bare(media_type)
    return (kind in _PAGE_TYPES and suffix not in PAGES) or (kind in _ERROR_TYPES and suffix in BINARY)


def _bare(media_type: str) -> str:
    """Return a media type without its parameters."""
    return media_type.partition(";")[0].strip().lower()


def _unvouched(suffix: str, size: int, head: bytes, media_type: str) -> str:
    is_format = FORMATS.get(suffix)
    if is_format is not None:
        return "" if is_format(head, size) else f"does not begin as a {suffix} file does"
    if suffix in PAGES:
        return ""
    is_text = not _NOT_TEXT.search(head)
    # Scripts that hand out files call them pages unless told otherwise.
    is_page = media_type in _PAGE_TYPES and is_text and (suffix in BINARY or not suffix or _TAG.search(head))
    if _PAGE.match(head) or is_page:
        return "is a web page, and its name does not say so"
    if suffix in BINARY and media_type in _ERROR_TYPES and is_text:
        return f"is text ({media_type}), not what its name says"
    return ""
