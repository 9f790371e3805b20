"""The server's own explanation of an error status, as one short line."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING

from downloader.artifact import shown_url
from downloader.formatting import single_line

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT = 240
"""Characters."""
URL = re.compile(r"https?://[^\s\"'<>]+")
XML_FIELDS = (re.compile(r"<Message>([^<]+)</Message>"), re.compile(r"<Code>([^<]+)</Code>"))
TITLE = re.compile(r"<title[^>]*>([^<]+)", re.IGNORECASE)
UNREADABLE = re.compile(r"<(script|style)\b[^>]*>[^<]*(?:</\1>)?|<[^>]*>?", re.IGNORECASE)


def server_message(headers: Mapping[str, str], body: bytes) -> str:
    """Return the server's explanation of an error status; empty where it gives none.

    It stands in `X-Error-Message`, or in the body as JSON, XML, a web page or plain text. What may be secret in an
    address that it quotes is left out.
    """
    text = headers.get("x-error-message", "") or _in_body(headers.get("content-type", "").lower(), body)
    text = URL.sub(lambda match: shown_url(match.group()), " ".join(text.split()))
    return single_line(text.rstrip("."), LIMIT)


def json_error(body: bytes) -> str:
    """Return what a JSON object says under the usual names of an error; empty for anything else."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return _told(told) if isinstance(told, dict) else ""


def _told(told: dict[str, object]) -> str:
    for name in ("error", "message", "errors", "detail", "error_description"):
        value = told.get(name)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value.strip():
            return value
    return ""


def _in_body(content_type: str, body: bytes) -> str:
    found = json_error(body)
    if found or "json" in content_type:
        return found
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        text = body[: error.start].decode()  # a truncated body may end within a character
    for field in XML_FIELDS:
        match = field.search(text)
        if match:
            return unescape(match.group(1))
    if "html" not in content_type and not text.lstrip().startswith("<"):
        return text if content_type.startswith("text/") or text.strip().isprintable() else ""
    title = TITLE.search(text)
    return unescape(title.group(1) if title else UNREADABLE.sub(" ", text))
