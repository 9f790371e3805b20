"""Formats that can run code when a model is loaded, and files that are not what their format promises.

Everything is judged by content, read at offsets through a function: nothing is loaded, imported or executed, and no
more is read than says enough. Memory and time are bounded whatever a file says of itself.
"""

from downloader.formats.assessment import assess
from downloader.formats.content import Content
from downloader.formats.risk import Risk

__all__ = ["Content", "Risk", "assess"]
