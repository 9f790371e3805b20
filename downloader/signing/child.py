"""The process that verifies a signature: `python -P -m downloader.signing.child`, started by `process.py`.

Its standard input has a pickled `(TrustedSigner, bundle, name)`, or nothing if the run has ended before. On its
standard output it says in JSON what has been signed, or why the signature is not right.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from contextlib import suppress
from typing import Any

from downloader.errors import ConfigurationError, SignatureRejected
from downloader.loading import loading
from downloader.signing.signer import UNUSED, TrustedSigner


def main() -> None:
    """Import what verifies, verify what comes, and answer. Any other error than ours ends the process."""
    with suppress(Exception), loading(*UNUSED):  # an error will be told where it matters
        importlib.import_module("downloader.signing.library")
    if task := sys.stdin.buffer.read():
        sys.stdout.write(json.dumps(answer(*pickle.loads(task))))  # noqa: S301 - from the parent, over a pipe of its own


def answer(signer: TrustedSigner, bundle: bytes, name: str) -> dict[str, Any]:
    """Return what `process.py` makes a statement or an error of."""
    try:
        statement = signer.verify(bundle, name)
    except (SignatureRejected, ConfigurationError) as error:
        return {"rejected": isinstance(error, SignatureRejected), "message": error.message, "hint": error.hint}
    return {"files": dict(statement.files), "ignored": list(statement.ignored), "signer": statement.signer}


if __name__ == "__main__":
    main()
