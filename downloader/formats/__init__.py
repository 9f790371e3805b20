"""Formats that can run code when a model is loaded, and files that are not what their format promises.

Everything is judged by content, read at offsets through a function: nothing is loaded, imported or executed, and no
more is read than says enough. Memory and time are bounded whatever a file says of itself.
"""

from downloader.formats.assessment import SOURCE, assess, is_source
from downloader.formats.content import Content
from downloader.formats.early import foresee
from downloader.formats.risk import Risk

__all__ = ["SOURCE", "Content", "Risk", "assess", "foresee", "is_source"]
