"""What is asked of `model_signing`, `sigstore` and `cryptography`. Imported when a signature is verified, not before.

`model_signing.verifying.Config` verifies a signature, hashes the files, and compares both. Its stable interface has a
place for a configuration of one's own that hashes. `_Hashed` is one that reads no file: what it returns takes the
comparison for an occasion to keep the statement, whose signature has been verified by then.

Of a made-up bundle, the libraries raise whatever they meet first, from KeyError to errors of OpenSSL.
So any exception means that the signature is not right.
"""

from __future__ import annotations

import base64
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    SubjectAlternativeName,
    load_der_x509_certificate,
)
from model_signing import hashing, manifest, verifying
from sigstore.verify.policy import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def one_chain(bundle: bytes) -> bytes:
    """Return a bundle that has one chain of certificates and no other material, in one notation.

    Then the certificate that is checked here is the one that the library verifies, whatever else a bundle says.
    """
    read = json.loads(bundle)
    chain = [
        certificate["rawBytes"] for certificate in read["verificationMaterial"]["x509CertificateChain"]["certificates"]
    ]
    plain = [{"rawBytes": base64.b64encode(base64.b64decode(raw)).decode()} for raw in chain]
    material = {"x509CertificateChain": {"certificates": plain}, "tlogEntries": []}
    envelope = read["dsseEnvelope"]
    return json.dumps(
        {"mediaType": read["mediaType"], "verificationMaterial": material, "dsseEnvelope": envelope}
    ).encode()


def require_current(bundle: bytes, identity: str) -> None:
    """Raise ValueError if the certificate of a bundle has expired, or is not one of this identity if there is one.

    The library takes the day on which a certificate begins for the time of the signature. Nothing but a log or a
    timestamp could say when it was made, and these signatures have neither: one that has expired proves nothing.
    """
    certificate = certificate_of(bundle)
    if certificate is None:
        raise ValueError("it has no certificate")
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise ValueError(f"the certificate has expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if identity:
        Identity(identity=identity).verify(certificate)


def certificate_of(bundle: bytes) -> Certificate | None:
    """Return the certificate that a bundle is signed with; None for one that is signed with a bare key."""
    material = json.loads(bundle)["verificationMaterial"]
    if "certificate" in material:
        encoded = material["certificate"]["rawBytes"]
    elif "x509CertificateChain" in material:
        encoded = material["x509CertificateChain"]["certificates"][0]["rawBytes"]
    else:
        return None
    return load_der_x509_certificate(base64.b64decode(encoded))


def claimed(bundle: bytes) -> str:
    """Return who a bundle says that it is from, in words. That is not proved. Raises any exception."""
    certificate = certificate_of(bundle)
    if certificate is None:
        hint = json.loads(bundle)["verificationMaterial"]["publicKey"].get("hint")
        return f"the key {hint}" if hint else "a key without a fingerprint"
    owner = ", ".join(_names(certificate)) or certificate.subject.rfc4514_string() or "an unnamed owner"
    return f"{owner}, certified by {certificate.issuer.rfc4514_string() or 'an unnamed authority'}"


def _names(certificate: Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return
    for name in names:
        yield str(name.value)
