"""What is asked of `model_signing`, `sigstore`, `cryptography` and OpenSSL. Imported when a signature is verified.

`model_signing.verifying.Config` verifies a signature, hashes the files, and compares both. Its stable interface has a
place for a configuration of one's own that hashes. `_Hashed` is one that reads no file: what it returns takes the
comparison for an occasion to keep the statement, whose signature has been verified by then.

Of a made-up bundle, the libraries raise whatever they meet first, from KeyError to errors of OpenSSL.
So any exception means that the signature is not right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.x509 import (
    Certificate,
    ExtendedKeyUsage,
    ExtensionNotFound,
    SubjectAlternativeName,
    load_der_x509_certificate,
    load_pem_x509_certificates,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from model_signing import hashing, manifest, verifying
from OpenSSL import crypto
from sigstore.verify.policy import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_VALUES: Final = 10_000
"""Values in the JSON of a signature."""
SIGNING: Final = frozenset({ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
"""What a certificate that names its purposes must name. One for web servers may be used for signatures, too."""


class _Statement(manifest.Manifest):
    """Takes the place of the hashed files in the comparison with the statement, and keeps that."""

    signed: manifest.Manifest | None = None

    def __init__(self) -> None:
        """Stand for no files."""

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, manifest.Manifest)  # noqa: S101 - for the type checker
        self.signed = other
        return True

    __hash__ = None  # type: ignore[assignment]


class _Hashed(hashing.Config):
    """Hashes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.statement = _Statement()

    def hash(self, *_: Any, **__: Any) -> manifest.Manifest:  # noqa: ANN401 - it looks at none of them
        """Return what keeps the statement."""
        return self.statement


def by_key(key: Path) -> verifying.Config:
    """Return a verifier that trusts a public key, of which `key` is the PEM file. Raises any exception."""
    return verifying.Config().use_elliptic_key_verifier(public_key=key)


def by_authority(authority: Path) -> verifying.Config:
    """Return a verifier that trusts the certificate authorities of a PEM file. Raises any exception."""
    return verifying.Config().use_certificate_verifier(certificate_chain=[authority])


def by_identity(identity: str, issuer: str, trust_root: Path) -> verifying.Config:
    """Return a verifier that trusts an identity of Sigstore, whose services `trust_root` names. Raises any exception.

    The library reads the configuration of a client, which has the root in it. What Sigstore publishes and `cosign`
    writes is the root alone, so it is wrapped; of the services for signing, none is needed.
    """
    root = json.loads(trust_root.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        path = trust_root
        if "trustedRoot" not in root:
            path = Path(folder, "trust")
            path.write_text(json.dumps(_client(root)))
        return verifying.Config().use_sigstore_verifier(identity=identity, oidc_issuer=issuer, trust_config=path)


def _client(root: Any) -> dict[str, Any]:  # noqa: ANN401 - anything that JSON can say
    media = "application/vnd.dev.sigstore"
    none: dict[str, Any] = {name: [] for name in ("caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls")}
    none |= {name: {"selector": "ANY"} for name in ("rekorTlogConfig", "tsaConfig")}
    return {
        "mediaType": f"{media}.clienttrustconfig.v0.1+json",
        "trustedRoot": root,
        "signingConfig": {"mediaType": f"{media}.signingconfig.v0.2+json", **none},
    }


def signed_manifest(bundle: bytes, verifier: verifying.Config) -> manifest.Manifest:
    """Return what a bundle has signed, once its signature is verified. Raises any exception if it is not right."""
    hashed = _Hashed()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "signature")
        path.write_bytes(bundle)
        verifier.set_hashing_config(hashed).verify(Path(folder), path)
    if hashed.statement.signed is None:
        raise ValueError("it says nothing")
    return hashed.statement.signed


def one_key(bundle: bytes, key: Path) -> bytes:
    """Return a bundle that names this public key and has no other material.

    What a bundle says of a key is not signed. One that says nothing gets the fingerprint that the library compares,
    which would write a warning to the stdout of the program otherwise. Raises any exception.
    """
    hint = _material(bundle)["publicKey"].get("hint") or fingerprint(key)
    return _with_material(bundle, {"publicKey": {"hint": hint}, "tlogEntries": []})


def one_chain(bundle: bytes) -> bytes:
    """Return a bundle that has one chain of certificates and no other material, in one notation.

    Then the certificate that is checked here is the one that the library verifies, whatever else a bundle says.
    """
    chain = [certificate["rawBytes"] for certificate in _material(bundle)["x509CertificateChain"]["certificates"]]
    plain = [{"rawBytes": base64.b64encode(base64.b64decode(raw)).decode()} for raw in chain]
    return _with_material(bundle, {"x509CertificateChain": {"certificates": plain}, "tlogEntries": []})


def require_current(bundle: bytes, identity: str, authority: Path) -> None:
    """Raise any exception unless the certificates of a bundle hold today, for signing, and for an identity if given.

    The library takes the day on which a certificate begins for the time of the signature. Nothing but a log or a
    timestamp could say when it was made, and these signatures have neither: one that has expired proves nothing. So
    OpenSSL is asked again, for now: a stolen key of an authority in between could make certificates of any day.
    """
    certificate, *others = map(_certificate, _material(bundle)["x509CertificateChain"]["certificates"])
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        raise ValueError(f"the certificate has expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.not_valid_before_utc > now:
        raise ValueError(f"the certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")
    store = crypto.X509Store()
    for trusted in load_pem_x509_certificates(authority.read_bytes()):
        store.add_cert(crypto.X509.from_cryptography(trusted))
    chain = [crypto.X509.from_cryptography(other) for other in others]
    crypto.X509StoreContext(store, crypto.X509.from_cryptography(certificate), chain).verify_certificate()
    with suppress(ExtensionNotFound):
        purposes = certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value
        if SIGNING.isdisjoint(purposes):
            raise ValueError("the certificate is for other purposes than the signing of code")
    if identity:
        Identity(identity=identity).verify(certificate)


def fingerprint(key: Path) -> str:
    """Return what the library calls a public key, of which `key` is the PEM file. Raises any exception."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = serialization.load_pem_public_key(key.read_bytes()).public_bytes(serialization.Encoding.PEM, form)
    return hashlib.sha256(public).hexdigest()


def claimed(bundle: bytes) -> str:
    """Return who a bundle says that it is from, in words. That is not proved. Raises any exception."""
    material = _material(bundle)
    if "certificate" in material:
        certificate = _certificate(material["certificate"])
    elif "x509CertificateChain" in material:
        certificate = _certificate(material["x509CertificateChain"]["certificates"][0])
    else:
        hint = material["publicKey"].get("hint")
        return f"the key {hint}" if hint else "a key without a fingerprint"
    owner = ", ".join(_names(certificate)) or certificate.subject.rfc4514_string() or "an unnamed owner"
    return f"{owner}, certified by {certificate.issuer.rfc4514_string() or 'an unnamed authority'}"


def _read(bundle: bytes) -> dict[str, Any]:
    """Return a bundle as JSON. Nearly all of one is a single text, so many values are an attack on the memory."""
    if sum(map(bundle.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError("it has more values than a signature")
    read: dict[str, Any] = json.loads(bundle)
    return read


def _material(bundle: bytes) -> dict[str, Any]:
    found: dict[str, Any] = _read(bundle)["verificationMaterial"]
    return found


def _with_material(bundle: bytes, material: dict[str, Any]) -> bytes:
    read = _read(bundle)
    kept = {"mediaType": read["mediaType"], "dsseEnvelope": read["dsseEnvelope"]}
    return json.dumps({**kept, "verificationMaterial": material}).encode()


def _certificate(encoded: dict[str, str]) -> Certificate:
    return load_der_x509_certificate(base64.b64decode(encoded["rawBytes"]))


def _names(certificate: Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return
    for name in names:
        yield str(name.value)
