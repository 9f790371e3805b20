"""The pause that a server asks for in `Retry-After` (RFC 9110) or `RateLimit`, an IETF draft that the Hub uses."""

from __future__ import annotations

import email.utils
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECONDS = re.compile(r"[0-9]{1,19}")
POLICY = re.compile(r'(?:"[^"]*"|[^",])+')
"""One policy of a `RateLimit` field, such as `"resolvers";r=0;t=12`: r requests are left for the next t seconds."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the pause in seconds that an answer asks for; None if it names none.

    `Retry-After` names it as a number or as a date, `RateLimit` as the rest of a window in which nothing is left.
    The longer one counts: before that, the next request would be refused as well.
    """
    named = [pause for pause in (_retry_after(headers), window_left(headers)) if pause is not None]
    return max(named, default=None)


def window_left(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until there is a right to another request; None if some are left or unknown."""
    field = headers.get("ratelimit", "")
    return max(_used_up(field), default=None) if field else None


def _used_up(field: str) -> Iterator[float]:
    """Yield the seconds until each policy's window ends that has no request left."""
    for policy in POLICY.findall(field):
        _, *parameters = policy.rpartition('"')[2].split(";")
        told = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in parameters)}
        if told.get("r") == "0" and SECONDS.fullmatch(told.get("t", "")):
            yield float(told["t"])


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "").strip()
    if SECONDS.fullmatch(text):
        return float(text)
    moment = _moment(text)
    if moment is None:
        return None
    answered = _moment(headers.get("date", ""))  # by the same clock, which may not be ours
    return max(0.0, moment - (time.time() if answered is None else answered))


def _moment(text: str) -> float | None:
    """Return the seconds since the epoch that an HTTP date names; None if it is malformed."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
