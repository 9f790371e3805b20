"""The one certificate authority that all TLS servers of a run share."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path


class Authority:
    """Issues certificates for loopback names. Clients trust it by `bundle`."""

    def __init__(self, folder: Path) -> None:
        """Make a fresh authority that keeps its files in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.bundle = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.bundle))
        self.certificate = self.issue("127.0.0.1", "::1", "localhost", "*.localhost")
        """PEM of key and chain for everything that listens on loopback."""

    def issue(self, *names: str, until: dt.datetime | None = None) -> Path:
        """Return a PEM with key and certificate chain for these host names or addresses, good until that moment."""
        path = self._folder / f"{names[0].replace('*', 'any').replace(':', '-')}{'-until' if until else ''}.pem"
        issued = self._authority.issue_cert(*names, not_after=until)
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def server_context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return what a Python server needs to speak TLS with `certificate`, by default the one for loopback."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate or self.certificate)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return what a Python client needs to trust our servers and nobody else."""
        return ssl.create_default_context(cafile=self.bundle)
