"""Sources: where an artifact is listed and where its bytes are read.

`base` is the contract, `registry` the table of schemes. Behind it are `huggingface`, `s3`, `http` and `file`;
around each of them `bandwidth`, `concurrency` and `retrying` are put as wrappers.
docs/contributing/adding-a-source.md walks through a new one.
"""

from downloader.sources.base import (
    Body,
    Described,
    Identified,
    Local,
    Locating,
    Moving,
    Presigning,
    Recalling,
    Sharing,
    Source,
    SourceWrapper,
    XetAccess,
    XetSource,
    ability,
    located,
)

__all__ = [
    "Body",
    "Described",
    "Identified",
    "Local",
    "Locating",
    "Moving",
    "Presigning",
    "Recalling",
    "Sharing",
    "Source",
    "SourceWrapper",
    "XetAccess",
    "XetSource",
    "ability",
    "located",
]
