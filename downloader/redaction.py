"""Removes secrets from everything that is printed: the known ones, and text that looks like a secret."""

from __future__ import annotations

import json
import re
import threading
from typing import Final
from urllib.parse import unquote

MARK: Final = "***"
SHORTEST: Final = 4
"""Characters. A shorter secret would also match parts of ordinary words, and protects nothing."""

_FIELDS: Final = (
    r"(?:x-amz-|x-goog-)?(?:signature|credential|security-token)|policy|key-pair-id|sig|awsaccesskeyid|googleaccessid"
    r"|api[_-]?key|[\w-]{0,40}token|[\w-]{0,40}password|[\w-]{0,40}secret[\w-]{0,40}"
)
_HEADERS: Final = r"(?:proxy-)?authorization|(?:set-)?cookie|x-amz-security-token|x-api-key"

# Each pattern keeps its first group and replaces the rest by the mark. Repetitions before a fixed part are bounded, so
# that a hostile text cannot make them slow.
_PATTERNS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # user:password@ in any URL, up to the last @ of the authority
        r"(\b[a-z][a-z0-9+.-]{0,20}://)[^\s/?#\"'<>]*:[^\s/?#\"'<>]*(?=@)",
        # a token as the user; hf://name@revision has none
        r"(\b(?:https?|ftps?|s3|socks\w{0,3})://)[^\s/?#\"'<>]+(?=@)",
        # query strings, forms, environment listings, also percent-encoded inside another URL
        rf"((?:(?<![a-z0-9])|(?<=3f)|(?<=26))(?:{_FIELDS})(?:=|%(?:25)*3d))(?:(?!%(?:25)*26)[^&#\s\"'<>])+",
        # JSON members, Python mappings and pairs
        rf"([\"'](?:{_HEADERS}|{_FIELDS})[\"']\s*[:,]\s*b?([\"']))(?:\\.|(?!\2)[^\\])+",
        # header lines and their values
        rf"(\b(?:{_HEADERS}):\s*)[^\r\n]+",
        r"(\bbearer\s+)(?!token|authenti|authori)[^\s\"',;]+",
        r"(\bbasic\s+)(?-i:(?=[A-Za-z]*[0-9+/=]|[A-Za-z]+[A-Z]))[a-z0-9+/=]{8,}",
        # tokens with a recognizable form: of the Hub, AWS key ids, JSON web tokens
        r"(\b)(?:hf_(?:[a-z]{1,20}_)?|api_org_)[a-z0-9]{16,}",
        r"(\b)(?-i:A[KS]IA[0-9A-Z]{16})\b",
        r"(\b)(?-i:eyJ[\w-]+\.[\w-]+\.[\w-]*)",
    )
)

_SCHEME: Final = re.compile(r"^(?:bearer|basic|token)\s+", re.IGNORECASE)


class Redactor:
    """Replaces the secrets of a run in texts. Thread-safe."""

    def __init__(self, *secrets: str | None) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._expression: re.Pattern[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str | None) -> None:
        """Add secrets as they become known; of `Bearer TOKEN` also the token alone.

        None and secrets shorter than `SHORTEST` are ignored.
        """
        with self._lock:
            for secret in secrets:
                raw = (secret or "").strip()
                bare = _SCHEME.sub("", raw)
                self._known.update(form for form in (raw, unquote(raw), bare) if len(form) >= SHORTEST)
            if self._known:
                longest_first = sorted(self._known, key=lambda form: (-len(form), form))
                self._expression = re.compile("|".join(map(_spellings, longest_first)))

    def redact(self, text: str) -> str:
        """Return a text of any number of lines with each secret, encoded ones too, replaced by a mark."""
        if self._expression is not None:
            text = self._expression.sub(MARK, text)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\g<1>{MARK}", text)
        return text


def _spellings(secret: str) -> str:
    """Return an expression for a secret: plain, percent-encoded in part or whole, or escaped as in JSON and repr."""
    return "".join(f"(?:{'|'.join(_character(character))})" for character in secret)


def _character(character: str) -> list[str]:
    percent = "".join(
        rf"%(?:25)*(?:{byte:02X}|{byte:02x})" for byte in character.encode("utf-8", errors="surrogatepass")
    )
    escaped = character.encode("unicode_escape").decode("ascii")
    forms = {percent, *map(re.escape, (character, escaped, json.dumps(character)[1:-1]))}
    if character in "'/":
        forms.add(re.escape("\\" + character))
    if character == " ":
        forms.add(r"\+")
    return sorted(forms, key=lambda form: (-len(form), form))
