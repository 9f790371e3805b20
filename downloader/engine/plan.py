"""What a run is asked to do, and what it has achieved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from downloader.artifact import Marks, Packed, Paths, Words
from downloader.errors import IntegrityError
from downloader.integrity import UNKNOWN, UNVERIFIED, ContentCheck, Expectation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, MutableMapping, MutableSet

    from downloader.artifact import Manifest, RemoteFile, TransferProtocol
    from downloader.filters import FileFilter


class EarlyCheck(Protocol):
    """Looks at files while they arrive: what will not be published need not be fetched to its end."""

    def look(self, file: RemoteFile, head: bytes, arrived: int, read: Callable[[int, int], bytes]) -> int:
        """Judge the first `arrived` bytes of a file; `read` takes an offset and a number of bytes.

        Returns the number at which to call it again, 0 for never. Raises IntegrityError to end the run. Nothing has
        proved these bytes yet: the whole file will be judged again once it is verified.
        """


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is asked to do."""

    file_filter: FileFilter
    expectation: Expectation = field(default_factory=Expectation)
    """What the artifact has to be before it may be published."""
    trust_mirror: bool = False
    """Where the origin cannot be asked, a mirror is believed about a commit."""
    require_digest: bool = False
    content: ContentCheck = field(default_factory=ContentCheck)
    replace: bool = False
    """Files of another artifact may be replaced, and `prune` is implied."""
    prune: bool = False
    """Files that only an older revision of this artifact had are removed once the newer one is published."""
    keeps_revisions: bool = False
    """Files of older revisions of this artifact belong to these: they are neither reported nor removed."""
    make_room: bool = False
    """Where two revisions do not fit, the files that will be replaced are removed first."""
    early: EarlyCheck | None = None
    keep_corrupt: bool = False
    """Keep files that failed verification under `.downloading/` until the artifact is complete."""

    @property
    def removes_older(self) -> bool:
        """Files that only an older revision had are removed."""
        return self.prune or self.replace

    def require_proof(self, file: RemoteFile, proof: str) -> None:
        """Raise IntegrityError if a digest is required and the file's proof is not one. Empty files need one, too."""
        if self.require_digest and proof in UNVERIFIED:
            hint = "the source publishes none that can be checked; without --require-digest the size would do"
            raise IntegrityError(f"{file.path} is not proved by a digest ({proof})", hint=hint)

    def accepts_proof(self, proof: str) -> bool:
        """Return whether a recorded proof passes `require_proof` for certain: an unknown one may not."""
        return not (self.require_digest and proof in UNVERIFIED | {UNKNOWN})


@dataclass(slots=True)
class Outcome:
    """The artifact of a run, and its files that are verified."""

    manifest: Manifest
    checksums: MutableMapping[str, str] = field(default_factory=dict)
    """Path → sha256 of everything that has its final name."""
    proofs: MutableMapping[str, str] = field(default_factory=dict)
    """Path → what verified it: an algorithm, `size only`, `etag unverifiable`, or `unknown` if not recorded."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Path → bytes of each file whose size the source does not publish."""
    digest: str = ""
    """The artifact digest of what is published; empty until then."""
    fetched: MutableSet[str] = field(default_factory=set)
    """Paths of the files that this run has fetched, in whole or in part; the others were there."""

    places: dict[str, str] = field(default_factory=dict)
    """Path → the place that the last bytes of a file came from, in a run with mirrors."""

    @classmethod
    def of(cls, manifest: Manifest, fetched: Collection[str] = (), places: dict[str, str] | None = None) -> Outcome:
        """Return the outcome of a run that has verified nothing yet; its memory does not grow with what is finished.

        `fetched` are the files that it had fetched before the artifact was listed again. To `places` it adds.
        """
        paths = Paths(manifest.paths)
        places = {} if places is None else places
        return cls(manifest, Packed(paths), Words(paths), fetched=Marks(paths, fetched), places=places)

    def complete(self) -> None:
        """Put the sizes that the source does not publish into the manifest, once the files are there."""
        if self.sizes:
            files = (replace(file, size=self.sizes.get(file.path, file.size)) for file in self.manifest.files)
            self.manifest = replace(self.manifest, files=tuple(files))


def effective_sequence(
    configured: tuple[TransferProtocol, ...],
    fitting: frozenset[TransferProtocol],
    default: tuple[TransferProtocol, ...],
) -> tuple[TransferProtocol, ...]:
    """Return the configured protocols that fit a source, in their order; its default ones if none does."""
    return tuple(protocol for protocol in configured if protocol in fitting) or default
