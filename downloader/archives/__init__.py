"""Archives: for KServe, an artifact that is a single archive is unpacked.

An archive is untrusted input, so all of it is validated before its first byte is unpacked. It decides only names and
bytes below the target: no links, devices, modes or owners are taken from it.
"""

from downloader.archives.entries import ArchiveRejected, Entry, only_archive
from downloader.archives.unpack import ArchiveUnpacker

__all__ = ["ArchiveRejected", "ArchiveUnpacker", "Entry", "only_archive"]
