"""The process that verifies a signature: `python -P -m downloader.signing.child`, started by `process.py`.

Its standard input has a pickled `TrustedSigner`, and then `(bundle, name)`, or nothing if the run has ended before. On
its standard output it says in JSON what has been signed, or why the signature is not right.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from downloader.errors import ConfigurationError, SignatureRejected

if TYPE_CHECKING:
    from downloader.signing.signer import TrustedSigner


def main() -> None:
    """Import what verifies, verify what comes, and answer. Any other error than ours ends the process."""
    signer: TrustedSigner = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the parent, over a pipe of its own
    with suppress(Exception):  # an error will be told where it matters
        signer.prepare()
    if task := sys.stdin.buffer.read():
        sys.stdout.write(json.dumps(answer(signer, *pickle.loads(task))))  # noqa: S301 - as above
        sys.stdout.flush()
    os._exit(0)  # taking hundreds of modules apart would take a tenth of its time


def answer(signer: TrustedSigner, bundle: bytes, name: str) -> dict[str, Any]:
    """Return what `process.py` makes a statement or an error of."""
    try:
        statement = signer.verify(bundle, name)
    except (SignatureRejected, ConfigurationError) as error:
        return {"rejected": isinstance(error, SignatureRejected), "message": error.message, "hint": error.hint}
    return {"files": dict(statement.files), "ignored": list(statement.ignored), "signer": statement.signer}


if __name__ == "__main__":
    main()
