"""Signed, expiring URLs and tokens, as content networks and stores hand them out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time


class Signer:
    """Signs paths until some moment, and knows its own signatures again."""

    def __init__(self, lifetime: float) -> None:
        self.lifetime = lifetime
        """Seconds for which what is signed from now on is good; may be changed at any time."""
        self._key = secrets.token_bytes(16)

    def sign(self, subject: str) -> dict[str, str]:
        """Return the query that opens `subject`."""
        expires = str(round(time.time() + self.lifetime))
        return {"Expires": expires, "Signature": self._signature(subject, expires)}

    def accepts(self, subject: str, query: dict[str, str]) -> bool:
        """Tell whether this query opens `subject` now."""
        expires = query.get("Expires", "0")
        good = hmac.compare_digest(self._signature(subject, expires), query.get("Signature", ""))
        return good and time.time() < int(expires)

    def revoke(self) -> None:
        """Let everything expire that was signed so far."""
        self._key = secrets.token_bytes(16)

    def _signature(self, subject: str, expires: str) -> str:
        return hmac.new(self._key, f"{subject} {expires}".encode(), hashlib.sha256).hexdigest()
