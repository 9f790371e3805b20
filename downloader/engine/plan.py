"""What a run is asked to do, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError
from downloader.integrity import UNKNOWN, UNVERIFIED, ContentCheck

if TYPE_CHECKING:
    from downloader.artifact import Manifest, RemoteFile, TransferProtocol
    from downloader.filters import FileFilter


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is asked to do."""

    selection: FileFilter
    sequence: tuple[TransferProtocol, ...]
    last_retry: float
    """Seconds without a byte for any file after which one file's failure ends the whole attempt."""
    require_digest: bool = False
    content: ContentCheck = field(default_factory=ContentCheck)
    replace: bool = False
    """Files of another artifact, and of an older revision of this one, may go."""
    make_room: bool = False
    """Where two revisions do not fit, the files that will be replaced go first."""
    keep_corrupt: bool = False
    """Keep what failed its verification under `.downloading/` until the artifact is complete."""

    def demand_proof(self, file: RemoteFile, proof: str) -> None:
        """Raise IntegrityError if a digest is required and none proves the file. Nothing, too, has a known digest."""
        if self.require_digest and proof in UNVERIFIED:
            hint = "the source publishes none that can be checked; without --require-digest the size would do"
            raise IntegrityError(f"{file.path} is not proved by a digest ({proof})", hint=hint)

    def is_proved(self, proof: str) -> bool:
        """Tell whether a proof that is on record is all that `demand_proof` could ask for."""
        return not (self.require_digest and proof in UNVERIFIED | {UNKNOWN})


@dataclass(slots=True)
class Outcome:
    """What a run has achieved."""

    manifest: Manifest
    checksums: dict[str, str] = field(default_factory=dict)
    """Path → sha256 of everything that has its final name."""
    proofs: dict[str, str] = field(default_factory=dict)
    """Path → what proves it: an algorithm, `size only`, `etag unverifiable`, or `unknown` where nobody has kept it."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Path → bytes of each file of which the source has not told them."""

    def complete(self) -> None:
        """Put the sizes into the manifest that only the files themselves could tell."""
        if self.sizes:
            files = (replace(file, size=self.sizes.get(file.path, file.size)) for file in self.manifest.files)
            self.manifest = replace(self.manifest, files=tuple(files))


def in_force(
    configured: tuple[TransferProtocol, ...],
    fitting: frozenset[TransferProtocol],
    default: tuple[TransferProtocol, ...],
) -> tuple[TransferProtocol, ...]:
    """Return the sequence for a source: what fits of the configured one, else the source's own default."""
    return tuple(protocol for protocol in configured if protocol in fitting) or default
