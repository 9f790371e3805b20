"""Verifies a signature in a process of its own.

What verifies takes a tenth of a second to be imported, for some signers more. In this process that would hold the
interpreter's lock, and hardly a byte would arrive meanwhile; the other one does it on another processor while this one
is listing the artifact.
"""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from downloader.deadlines import SIGNATURE
from downloader.errors import Cancelled, ConfigurationError, SignatureRejected
from downloader.formatting import reason
from downloader.signing.signer import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.signing.signer import TrustedSigner

NO_PLUGINS: Final = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Else pydantic looks for some in every package that is installed, and executes what it finds."""

log = logging.getLogger(__name__)


class VerifyingProcess:
    """Verifies the first signature that is asked for in another process, which prepares itself for that.

    Where there is no such process, and for a further signature, this one does it. Thread-safe.
    """

    def __init__(self, signer: TrustedSigner, environment: Mapping[str, str]) -> None:
        """Start the process, with these variables."""
        self._signer = signer
        self._closed = False
        self._process = _start(signer, environment)
        self._asked = False

    def verify(self, bundle: bytes, name: str) -> Statement:
        """Verify a signature as `TrustedSigner.verify` does. Raises Cancelled once this is closed."""
        found = None
        if self._process is not None and not self._asked:
            self._asked = True
            found = _ask(self._process, pickle.dumps((bundle, name)))
        if self._closed:
            raise Cancelled
        if found is None:
            return self._signer.verify(bundle, name)
        if "message" in found:
            kind = SignatureRejected if found["rejected"] else ConfigurationError
            raise kind(found["message"], hint=found["hint"])
        return Statement(found["files"], frozenset(found["ignored"]), found["signer"])

    def close(self) -> None:
        """End the process, and a call of `verify` that waits for it."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
            if not self._asked:
                _ask(self._process, b"")


def _start(signer: TrustedSigner, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start the process; return None if that is not possible.

    It is in a group of its own, since Ctrl-C is for the run. With a lower priority, a run on a busy machine would wait
    for it in the end.
    """
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "downloader.signing.child"],
            env={**environment, **NO_PLUGINS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError as error:
        log.debug("the signature is verified in this process: %s", reason(error))
        return None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps(signer))  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    return process


def _ask(process: subprocess.Popen[bytes], task: bytes) -> dict[str, Any] | None:
    """Return the answer of the process, which ends with it; None if it has none."""
    try:
        answer, _ = process.communicate(task, timeout=SIGNATURE)
        return dict(json.loads(answer)) if process.returncode == 0 else None
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    except (OSError, ValueError) as error:
        log.debug("the process for the signature has failed: %s", reason(error))
    return None
