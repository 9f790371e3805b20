"""What a signature says, before it is verified: enough to tell that it does not fit the files, never that it does."""

from __future__ import annotations

import base64
import json

from downloader.signing.signer import Statement


def stated(bundle: bytes) -> Statement | None:
    """Return what a signature says, of which nothing is proved; None if it is not read that easily."""
    try:
        payload = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
        predicate = payload["predicate"]
        files = {item["name"]: item["digest"] for item in predicate["resources"] if item["algorithm"] == "sha256"}
        ignored = frozenset(predicate["serialization"].get("ignore_paths", ()))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if not all(isinstance(text, str) for pair in files.items() for text in pair):
        return None
    return Statement(files, ignored, "")
