"""What is asked of `model_signing`, and of `cryptography` for keys. Imported when a signature is verified.

What is asked for certificates is in `certificates.py`, since for a key, their libraries are not imported.

`model_signing.verifying.Config` verifies a signature, hashes the files, and compares both. Its stable interface has a
place for a configuration of one's own that hashes. `_Hashed` is one that reads no file: what it returns stores the
statement when it is compared with it; by then the signature has been verified.

Of a made-up bundle, the libraries raise whatever they meet first, from KeyError to errors of OpenSSL.
So any exception means that the signature is not right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from model_signing import hashing, manifest, verifying

MAX_VALUES: Final = 10_000
"""Values in the JSON of a signature."""


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
    plain = [{"rawBytes": base64.b64encode(raw).decode()} for raw in _chain(bundle)]
    return _with_material(bundle, {"x509CertificateChain": {"certificates": plain}, "tlogEntries": []})


def require_current(bundle: bytes, identity: str, authority: Path) -> None:
    """Raise any exception unless the certificates of a bundle hold today, for signing, and for an identity if given."""
    from downloader.signing import certificates  # noqa: PLC0415 - as the module says

    certificates.require_current(_chain(bundle), identity, authority.read_bytes())


def fingerprint(key: Path) -> str:
    """Return what the library calls a public key, of which `key` is the PEM file. Raises any exception."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = serialization.load_pem_public_key(key.read_bytes()).public_bytes(serialization.Encoding.PEM, form)
    return hashlib.sha256(public).hexdigest()


def claimed(bundle: bytes) -> str:
    """Return who has signed, as a bundle claims, in words. Raises any exception."""
    material = _material(bundle)
    if "certificate" in material:
        raw = base64.b64decode(material["certificate"]["rawBytes"])
    elif "x509CertificateChain" in material:
        raw = _chain(bundle)[0]
    else:
        hint = material["publicKey"].get("hint")
        return f"the key {hint}" if hint else "a key without a fingerprint"
    from downloader.signing import certificates  # noqa: PLC0415 - as the module says

    return certificates.owner(raw)


def _read(bundle: bytes) -> dict[str, Any]:
    """Return a bundle as JSON. Nearly all of one is a single text, so many values are an attack on the memory."""
    if sum(map(bundle.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise ValueError("it has more values than a signature")
    read: dict[str, Any] = json.loads(bundle)
    return read


def _material(bundle: bytes) -> dict[str, Any]:
    found: dict[str, Any] = _read(bundle)["verificationMaterial"]
    return found


def _chain(bundle: bytes) -> list[bytes]:
    """Return the certificates of a bundle in DER, that of the signer first."""
    chain = _material(bundle)["x509CertificateChain"]["certificates"]
    return [base64.b64decode(certificate["rawBytes"]) for certificate in chain]


def _with_material(bundle: bytes, material: dict[str, Any]) -> bytes:
    read = _read(bundle)
    kept = {"mediaType": read["mediaType"], "dsseEnvelope": read["dsseEnvelope"]}
    return json.dumps({**kept, "verificationMaterial": material}).encode()
