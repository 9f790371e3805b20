"""The nouns: values that every package shares and that know nothing of the outside world."""

from downloader.artifact.facts import DIGEST, Marks, Packed, Paths, Words
from downloader.artifact.manifest import Manifest, ModelCard
from downloader.artifact.table import FileTable, paths_of, select, sizes_of
from downloader.artifact.values import (
    MAX_FILES,
    MAX_SIZE,
    UNKNOWN_END,
    Algorithm,
    Completion,
    Digest,
    Layout,
    Mismatch,
    RemoteFile,
    Span,
    TransferProtocol,
    Validator,
    folders_above,
    is_within,
    shown_url,
    unsigned_url,
)

__all__ = [
    "DIGEST",
    "MAX_FILES",
    "MAX_SIZE",
    "UNKNOWN_END",
    "Algorithm",
    "Completion",
    "Digest",
    "FileTable",
    "Layout",
    "Manifest",
    "Marks",
    "Mismatch",
    "ModelCard",
    "Packed",
    "Paths",
    "RemoteFile",
    "Span",
    "TransferProtocol",
    "Validator",
    "Words",
    "folders_above",
    "is_within",
    "paths_of",
    "select",
    "shown_url",
    "sizes_of",
    "unsigned_url",
]
