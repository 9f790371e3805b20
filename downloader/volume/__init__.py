"""The volume: the folder that an artifact is downloaded to. Nothing is lost, and nothing is trusted unverified.

Under the target are the artifact's files, `.artifact.sha256` once all of them are right, and until then `.downloading/`
with everything else: the lease, the partials and their journals, the commit log.
"""

from downloader.volume.cleanup import is_work_of_others
from downloader.volume.commit import VerifiedFile
from downloader.volume.completion import SHA256, in_file
from downloader.volume.completion import find as find_mark
from downloader.volume.inventory import FileState, Inventory, InventoryEntry
from downloader.volume.partial import CompletePartial, Partial
from downloader.volume.preflight import check_replacement, other_artifacts
from downloader.volume.publication import CompletedArtifact, Publication, RecordedArtifact, own_digests
from downloader.volume.verify import Damage, Verification, hashing_threads
from downloader.volume.volume import Volume

__all__ = [
    "SHA256",
    "CompletePartial",
    "CompletedArtifact",
    "Damage",
    "FileState",
    "Inventory",
    "InventoryEntry",
    "Partial",
    "Publication",
    "RecordedArtifact",
    "Verification",
    "VerifiedFile",
    "Volume",
    "check_replacement",
    "find_mark",
    "hashing_threads",
    "in_file",
    "is_work_of_others",
    "other_artifacts",
    "own_digests",
]
