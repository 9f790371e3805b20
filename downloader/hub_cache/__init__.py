"""The cache of `huggingface_hub`, filled so that the library and the engines on top of it read it offline.

    <cache>/models--org--name/blobs/<git-sha1 or sha256>      the bytes
    <cache>/models--org--name/snapshots/<commit>/<path>       relative symlinks to the blobs
    <cache>/models--org--name/refs/<branch>                   the commit, written last

What is ours beside that is hidden: the mark, the lease, and what was listed of each commit (`listings.py`).

The folder of a repository is the volume of a run, and its blobs are the files that the engine downloads. `BlobSource`
gives them their names, and `CachedRepository`, a finalizer, links the snapshot and writes the reference.
"""

from downloader.hub_cache.disk import CacheDisk
from downloader.hub_cache.layout import BLOBS, RepositoryLayout
from downloader.hub_cache.repository import CachedRepository
from downloader.hub_cache.source import BlobSource, CachedRevision
from downloader.hub_cache.verification import CachedSnapshot, CachedTarget

__all__ = [
    "BLOBS",
    "BlobSource",
    "CacheDisk",
    "CachedRepository",
    "CachedRevision",
    "CachedSnapshot",
    "CachedTarget",
    "RepositoryLayout",
]
