"""The name that a web server proposes for a file, in `Content-Disposition` (RFC 6266)."""

from __future__ import annotations

import email.utils
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from downloader.network import Response

PARAMETER = re.compile(r';\s*([\w!#$%&*+.^`|~-]{1,40})\s*=\s*("(?:\\.|[^"\\])*"|[^;]*)')
"""A parameter of a field, such as `; filename="a b"`."""
CHARSETS = frozenset({"utf-8", "iso-8859-1"})
"""Those of RFC 8187 and of the one before it."""


def proposed_name(reply: Response) -> str | None:
    """Return the name that the server proposes for the file: of its path only the last part, as RFC 6266 wants it."""
    found = PARAMETER.findall(reply.headers.get("content-disposition", ""))
    parameters = {name.lower(): email.utils.unquote(text.strip()) for name, text in reversed(found)}
    # The plain form is the ASCII fallback for clients that do not support the extended one.
    proposed = _extended(parameters.get("filename*", "")) or parameters.get("filename", "")
    name = proposed.replace("\\", "/").rpartition("/")[2]
    return name if name not in ("", ".", "..") else None


def _extended(value: str) -> str:
    """Return a value in the notation of RFC 8187, `UTF-8'en'a%20name`; empty if it is not in it."""
    charset, _, rest = value.partition("'")
    _, mark, text = rest.partition("'")
    if not mark or charset.lower() not in CHARSETS:
        return ""
    try:
        return unquote(text, encoding=charset, errors="strict")
    except UnicodeDecodeError:
        return ""
