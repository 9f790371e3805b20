"""The volume: the folder that an artifact is downloaded to. Nothing is lost, and nothing is trusted unverified.

Under the target are the artifact's files, `.artifact.sha256` once all of them are right, and until then `.downloading/`
with everything else: the lease, the partials and their journals, the commit log.
"""

from downloader.volume.cleanup import is_work_of_others
from downloader.volume.commit import VerifiedFile, sync_together
from downloader.volume.completion import SHA256, in_file
from downloader.volume.completion import find as find_mark
from downloader.volume.inventory import Entries, FileState, Inventory, InventoryEntry, MissingFiles
from downloader.volume.journal import ByteRanges, GroupSync, Journal
from downloader.volume.partial import CompletePartial, Partial
from downloader.volume.partial_file import PartialFile
from downloader.volume.preflight import check_replacement, other_artifacts
from downloader.volume.publication import CompletedArtifact, Publication, RecordedArtifact, published_digests
from downloader.volume.record_log import decode, encode
from downloader.volume.verify import LEFT_BY_TOOLS, Damage, Verification, hashing_threads
from downloader.volume.volume import Volume, VolumeEnvironment

__all__ = [
    "LEFT_BY_TOOLS",
    "SHA256",
    "ByteRanges",
    "CompletePartial",
    "CompletedArtifact",
    "Damage",
    "Entries",
    "FileState",
    "GroupSync",
    "Inventory",
    "InventoryEntry",
    "Journal",
    "MissingFiles",
    "Partial",
    "PartialFile",
    "Publication",
    "RecordedArtifact",
    "Verification",
    "VerifiedFile",
    "Volume",
    "VolumeEnvironment",
    "check_replacement",
    "decode",
    "encode",
    "find_mark",
    "hashing_threads",
    "in_file",
    "is_work_of_others",
    "other_artifacts",
    "published_digests",
    "sync_together",
]
