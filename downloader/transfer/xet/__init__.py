"""Xet: hf_xet in a child process that can be killed, read like any other source.

The child never touches the volume. It streams the bytes of spans over sockets, and the ranged transport puts them where
all bytes go: into partials with journals, hashed on the way. So whatever Xet brought stays when it is given up, and
what another protocol brought is not fetched again.
"""

from downloader.transfer.xet.config import XetSettings
from downloader.transfer.xet.transport import Xet

__all__ = ["Xet", "XetSettings"]
