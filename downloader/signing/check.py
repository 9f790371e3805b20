"""Compares the files of an artifact with what has been signed."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from downloader.errors import ConfigurationError, SignatureRejected
from downloader.formatting import names_text, single_line
from downloader.integrity import MARKER
from downloader.signing.claims import stated

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from downloader.errors import DownloadError
    from downloader.signing.signer import Statement

USUAL: Final = "model.sig"
"""What `model_signing` calls a signature."""
ENDING: Final = ".sig.json"
WHOLE: Final = "."
"""The name that a signature of a single file gives it."""

log = logging.getLogger(__name__)


def is_signature(path: str) -> bool:
    """Tell whether a file of an artifact may be its signature."""
    return path == USUAL or (path.endswith(ENDING) and "/" not in path)


def signatures(paths: Iterable[str], kept: Collection[str]) -> list[str]:
    """Return what may be the signature of an artifact with these paths, of which the filters keep those in `kept`.

    That is `model.sig`, or the `*.sig.json` that are kept, or all of them if none is.
    """
    found = sorted(filter(is_signature, paths))
    if USUAL in found:
        return [USUAL]
    chosen = frozenset(kept) if found else ()
    return [path for path in found if path in chosen] or found


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files that a signature is compared with."""

    digests: Mapping[str, str]
    """Path → sha256; empty where it is not known yet, which `foresee` allows."""
    wanted: Callable[[Collection[str]], Collection[str]]
    """Returns which of the signed paths have to be among them: filters may have left out the others."""
    read: Callable[[str], bytes]
    """Returns the content of one of them."""
    beside: Collection[str] = ()
    """Further files of the folder, whose content nothing has verified: a model would be loaded with them."""
    single: bool = False
    """The artifact is this one file, and not a folder with a file in it."""


class SignatureCheck:
    """Verifies the signature of an artifact. `required` says whether the run fails without one that is right.

    What it says is compared with the files before they are fetched; that it is genuine may turn out while they arrive.
    """

    def __init__(
        self,
        verify: Callable[[bytes, str], Statement],
        *,
        required: bool,
        given: tuple[str, bytes] | None = None,
        refused: Callable[[DownloadError], None] = lambda _: None,
    ) -> None:
        """Prepare. `verify` is that of a `TrustedSigner`.

        `given` is the name and the content of a signature that is not a file of the artifact. `refused` is called, in
        another thread, with the error of a signature that `foresee` has let be verified meanwhile.
        """
        self._verify = verify
        self._required = required
        self._given = given
        self._refused = refused
        self.signer = ""
        """Who has signed the files of the last check, in words; empty if it has failed."""
        self._lock = threading.Lock()
        self._verified: tuple[bytes, Statement] | None = None

    def check(self, found: FoundFiles) -> None:
        """Verify the signature and compare it with the files.

        Raises SignatureRejected if it is required and wrong or missing; otherwise, that is a warning in the log.
        """
        try:
            statement, count = self._compare(found, *self._signature(found), final=True)
        except SignatureRejected as error:
            self.signer = ""
            if self._required:
                raise
            log.warning("signature: %s", error)
            return
        self.signer = statement.signer
        log.info("signature: %d files are what %s has signed", count, statement.signer)

    def foresee(self, found: FoundFiles) -> None:
        """Raise SignatureRejected if what is known of the files before they are fetched shows that `check` will.

        Where only the signature itself can show that, it is verified while the files are fetched.
        """
        if not self._required:
            return
        name, content = self._signature(found)
        statement = stated(content)
        if statement is None or self._problems(statement, name, found, final=False):
            self._compare(found, name, content, final=False)
            return

        def verify() -> None:
            try:
                self._compare(found, name, content, final=False)
            except (SignatureRejected, ConfigurationError) as error:
                self._refused(error)
            except Exception:  # the run has ended otherwise; or a bug, which `check` will meet as well
                log.debug("the signature was not verified meanwhile", exc_info=True)

        threading.Thread(target=verify, name="signature", daemon=True).start()

    def _signature(self, found: FoundFiles) -> tuple[str, bytes]:
        """Return the name and the content of the signature. Raises SignatureRejected."""
        return self._given or _signature_among(found)

    def _statement(self, name: str, content: bytes) -> Statement:
        """Return what a signature says, which is verified once however often it is asked for."""
        with self._lock:
            if self._verified is None or self._verified[0] != content:
                self._verified = content, self._verify(content, name)
            return self._verified[1]

    def _compare(self, found: FoundFiles, name: str, content: bytes, *, final: bool) -> tuple[Statement, int]:
        statement = self._statement(name, content)
        problems = self._problems(statement, name, found, final=final)
        if problems:
            raise SignatureRejected(
                f"these files are not what {statement.signer} has signed in {single_line(name)}: {problems}",
                hint="compare the revision with the one that was signed; exclude what need not be there",
            )
        return statement, len(self._judged(statement, name, found))

    def _ignored(self, statement: Statement, name: str) -> frozenset[str]:
        return statement.ignored if self._given else statement.ignored | {name}

    def _judged(self, statement: Statement, name: str, found: FoundFiles) -> dict[str, str]:
        ignored = self._ignored(statement, name)
        return {path: digest for path, digest in found.digests.items() if not _is_below(path, ignored)}

    def _problems(self, statement: Statement, name: str, found: FoundFiles, *, final: bool) -> str:
        """Return in what the files differ from those of a statement; nothing if they do not.

        `final`: each file has a digest by now.
        """
        signed = dict(statement.files)
        if found.single and signed.keys() == {WHOLE}:
            signed = dict.fromkeys(found.digests, signed[WHOLE])
        ignored, judged = self._ignored(statement, name), self._judged(statement, name, found)
        beside = [path for path in found.beside if not _is_below(path, ignored)]
        unknown = [path for path, digest in judged.items() if not digest]
        there = {*found.digests, *beside}
        problems = {
            "other content": [path for path, digest in judged.items() if digest and signed.get(path, digest) != digest],
            "not signed": [path for path in (*judged, *beside) if path not in signed],
            "never verified": [path for path in beside if path in signed] + (unknown if final else []),
            # Our mark is signed where a folder was, that a run of ours has filled; no artifact has it as a file.
            "missing": [path for path in found.wanted(list(signed)) if path not in there and path != MARKER],
        }
        told = [f"{what}: {names_text(paths)}" for what, paths in problems.items() if paths]
        return "; ".join(told) or ("" if judged else "none of them is listed there")


def _signature_among(found: FoundFiles) -> tuple[str, bytes]:
    """Return the name and the content of the signature that an artifact has. Raises SignatureRejected.

    One beside the artifact does, too: its signer has put it there, and it proves itself.
    """
    names = signatures(found.digests, found.digests) or signatures(found.beside, found.beside)
    if len(names) != 1:
        what = f"several signatures ({names_text(names)})" if names else f"no signature: {USUAL} or *{ENDING}"
        hint = "name the signature: --verify-signature URI (AIM_SIGNATURE_URI)"
        hint += ", or exclude the others" if names else ""
        raise SignatureRejected(f"the artifact has {what}", hint=hint)
    return names[0], found.read(names[0])


def _is_below(path: str, folders: Collection[str]) -> bool:
    """Tell whether a path is one of these, or in one of them."""
    parts = path.split("/")
    return any("/".join(parts[:count]) in folders for count in range(1, len(parts) + 1))
