"""The one certificate authority that all TLS servers of a run share."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
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
        """Return what a Python client needs to trust our servers only."""
        return ssl.create_default_context(cafile=self.bundle)


class OldAuthority(Authority):
    """A CA as many a company has one: its certificates lack what RFC 5280 wants, such as key identifiers and usages."""

    def __init__(self, folder: Path) -> None:
        """Make a fresh authority that keeps its files in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("An old CA")
        certificate = (
            _builder(self._name, self._name, self._key, None)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = folder / "ca.pem"
        self.bundle.write_bytes(_pem(certificate))
        self.certificate = self.issue("127.0.0.1", "::1", "localhost", "*.localhost")

    def issue(self, *names: str, until: dt.datetime | None = None) -> Path:
        """Return a PEM with key and certificate for these host names or addresses, good until that moment."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(names[0]), self._name, key, until)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"{names[0].replace('*', 'any').replace(':', '-')}{'-until' if until else ''}.pem"
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        path.write_bytes(pem + _pem(certificate))
        return path


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: dt.datetime | None
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - dt.timedelta(days=30),
        not_valid_after=until or now + dt.timedelta(days=30),
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
