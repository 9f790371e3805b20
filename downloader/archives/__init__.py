"""Archives: an artifact whose only file is one is unpacked where KServe asks for it.

An archive comes from anywhere, so all of it is checked before its first byte is unpacked, and nothing in it decides
more than names and bytes below the target: no links, no devices, no modes, no owners.
"""

from downloader.archives.entries import Entry, Refused, only_archive
from downloader.archives.unpack import ArchiveUnpacker

__all__ = ["ArchiveUnpacker", "Entry", "Refused", "only_archive"]
