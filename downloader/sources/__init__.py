"""Sources: where an artifact is listed and served."""

from downloader.sources.base import Body, Presigning, Recalling, Source, SourceWrapper, XetAccess

__all__ = ["Body", "Presigning", "Recalling", "Source", "SourceWrapper", "XetAccess"]
