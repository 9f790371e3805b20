"""Signers of models: each signs with the command `model_signing`, as a publisher does."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODEL_SIGNING = Path(sys.executable).with_name("model_signing")
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files of a model, and return their folder."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def sign(folder: Path, *options: str | Path, ignored: Sequence[str] = (), into: Path | None = None) -> bytes:
    """Sign the files of a folder, or one file, and return the signature. It is written to `into`, or to the folder."""
    signature = into or folder / "model.sig"
    ignoring = [word for path in ignored for word in ("--ignore-paths", folder / path)]
    command = [MODEL_SIGNING, "sign", *options, "--signature", signature, *ignoring, folder]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=60)
    return signature.read_bytes()


class KeyOwner:
    """Signs with a key. Who verifies is given the public one, `trusted`."""

    def __init__(self, folder: Path, name: str = "release") -> None:
        """Make a new pair of keys in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        self._private = folder / f"{name}.pem"
        self._private.write_bytes(pem_of(key))
        self.trusted = folder / f"{name}.pub"
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.trusted.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))

    def sign(self, folder: Path, *, ignored: Sequence[str] = (), into: Path | None = None) -> bytes:
        """Sign the files of a folder, or one file, and return the signature."""
        return sign(folder, "key", "--private_key", self._private, ignored=ignored, into=into)

    def publish(self, folder: Path, files: Mapping[str, bytes], *, ignored: Sequence[str] = ()) -> dict[str, bytes]:
        """Return the files with their signature, `model.sig`. `folder` is for work, and new."""
        return {**files, "model.sig": self.sign(write(folder, files), ignored=ignored)}


class CertificateOwner:
    """Signs with a certificate. Who verifies is given the authority, `trusted`."""

    def __init__(
        self,
        folder: Path,
        *,
        identity: str = "models@example.org",
        since: dt.datetime = NOW - 30 * DAY,
        until: dt.datetime = NOW + DAY,
        between: dt.datetime | None = None,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
        extension: x509.UnrecognizedExtension | None = None,
    ) -> None:
        """Make an authority, and a certificate for this e-mail address that is good between two moments.

        With `between`, an authority that is good until then stands between both. `extension` is a critical one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        issuer, issuer_key = _name("Models CA"), ec.generate_private_key(ec.SECP256R1())
        is_authority = x509.BasicConstraints(ca=True, path_length=None)
        root = _certificate(issuer, issuer_key, issuer, issuer_key, NOW + 90 * DAY, is_authority)
        self.trusted = folder / "ca.pem"
        self.trusted.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        self._chain = [self.trusted]
        if between is not None:
            name, key = _name("Team CA"), ec.generate_private_key(ec.SECP256R1())
            team = _certificate(name, key, issuer, issuer_key, between, is_authority)
            issuer, issuer_key = name, key
            self._chain.insert(0, folder / "team.pem")
            self._chain[0].write_bytes(team.public_bytes(serialization.Encoding.PEM))
        key = ec.generate_private_key(ec.SECP256R1())
        self._key, self._certificate = folder / "leaf.key", folder / "leaf.pem"
        self._key.write_bytes(pem_of(key))
        extensions = [
            x509.BasicConstraints(ca=False, path_length=None),
            x509.SubjectAlternativeName([x509.RFC822Name(identity)]),
            x509.ExtendedKeyUsage([purpose]),
            *([extension] if extension else []),
        ]
        leaf = _certificate(_name("Release"), key, issuer, issuer_key, until, *extensions, since=since)
        self._certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))

    def sign(self, folder: Path) -> bytes:
        """Sign the files of a folder, and return the signature."""
        options = ("--private_key", self._key, "--signing_certificate", self._certificate)
        chain = [word for path in self._chain for word in ("--certificate_chain", path)]
        return sign(folder, "certificate", *options, *chain)

    def publish(self, folder: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the files with their signature, `model.sig`. `folder` is for work, and new."""
        return {**files, "model.sig": self.sign(write(folder, files))}


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as `openssl` writes it."""
    form, open_ = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, open_)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    owner: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    until: dt.datetime,
    *extensions: x509.ExtensionType,
    since: dt.datetime = NOW - 60 * DAY,
) -> x509.Certificate:
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    is_authority = any(isinstance(one, x509.BasicConstraints) and one.ca for one in extensions)
    builder = (
        x509.CertificateBuilder()
        .subject_name(owner)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_authority, key_cert_sign=is_authority, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    for extension in extensions:
        critical = isinstance(extension, (x509.BasicConstraints, x509.UnrecognizedExtension))
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())
