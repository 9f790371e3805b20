"""Keyless signatures without a network: what Fulcio, Rekor and a certificate log would have issued, made here.

`model_signing` signs this way only with these services. The statement is one that its command has signed with a key;
the certificate, its timestamp, the entry in the log and the trusted root are made as the services make them.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.signing.signers import DAY, NOW, KeyOwner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ISSUER_EXTENSION = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
TIMESTAMP_EXTENSION = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
MINUTE = dt.timedelta(minutes=1)
SHA256_ECDSA = b"\x04\x03"


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


class Log:
    """A transparency log: it signs."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.id = hashlib.sha256(self.public).digest()

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def trusted(self) -> dict[str, Any]:
        """Return how a trusted root names it."""
        return {
            "baseUrl": "https://log.invalid",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": encoded(self.public),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": "2020-01-01T00:00:00Z"},
            },
            "logId": {"keyId": encoded(self.id)},
        }


class Sigstore:
    """One installation of Sigstore, for one signer. Who verifies is given `trusted_root`."""

    def __init__(self, folder: Path, *, identity: str = "me@example.org", issuer: str = "https://oidc.invalid") -> None:
        """Make new keys, and the trusted root in `folder`."""
        folder.mkdir(parents=True)
        self.identity, self.issuer = identity, issuer
        self._statements = KeyOwner(folder / "statements")
        self._rekor, self._certificates = Log(), Log()
        self._authority = ec.generate_private_key(ec.SECP256R1())
        self._root = self._issue_root()
        root = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._rekor.trusted()],
            "ctlogs": [self._certificates.trusted()],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "tests", "commonName": "Fulcio"},
                    "uri": "https://fulcio.invalid",
                    "certChain": {"certificates": [{"rawBytes": encoded(der(self._root))}]},
                    "validFor": {"start": "2020-01-01T00:00:00Z"},
                }
            ],
            "timestampAuthorities": [],
        }
        self.trusted_root = folder / "trusted_root.json"
        self.trusted_root.write_text(json.dumps(root))

    def publish(self, folder: Path, files: Mapping[str, bytes], *, late: dt.timedelta = MINUTE) -> dict[str, bytes]:
        """Return the files with their signature; `late` is when it was logged, after its certificate began.

        The certificate is good for ten minutes of yesterday.
        """
        signed = self._statements.publish(folder, files)
        envelope = json.loads(signed["model.sig"])["dsseEnvelope"]
        began = NOW.replace(microsecond=0) - DAY
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._issue(key, began)
        payload = base64.b64decode(envelope["payload"])
        kind = envelope["payloadType"]
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
        signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
        envelope["signatures"] = [{"sig": encoded(signature)}]
        material = {
            "certificate": {"rawBytes": encoded(der(leaf))},
            "tlogEntries": [self._log(payload, signature, leaf, int((began + late).timestamp()))],
        }
        media = "application/vnd.dev.sigstore.bundle.v0.3+json"
        bundle = {"mediaType": media, "verificationMaterial": material, "dsseEnvelope": envelope}
        return {**files, "model.sig": json.dumps(bundle).encode()}

    def _issue_root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fulcio")])
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._authority.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 30 * DAY)
            .not_valid_after(NOW + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._authority.public_key()), critical=False)
            .sign(self._authority, hashes.SHA256())
        )

    def _issue(self, key: ec.EllipticCurvePrivateKey, began: dt.datetime) -> x509.Certificate:
        """Return a certificate with the timestamp of the log, which signs the certificate without it."""
        others = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        authority = self._authority.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + 10 * MINUTE)
            .add_extension(x509.KeyUsage(digital_signature=True, **others), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(self.identity)]), critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER_EXTENSION, self.issuer.encode()), critical=False)
        )
        bare = builder.sign(self._authority, hashes.SHA256()).tbs_certificate_bytes
        moment = struct.pack("!Q", int(began.timestamp() * 1000))
        issuer = hashlib.sha256(
            authority.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        ).digest()
        entry = b"\0\0" + moment + b"\0\1" + issuer + struct.pack("!I", len(bare))[1:] + bare + b"\0\0"
        signature = self._certificates.sign(entry)
        stamp = b"\0" + self._certificates.id + moment + b"\0\0" + SHA256_ECDSA + sized(signature)
        stamps = sized(sized(stamp))
        value = b"\x04" + bytes([len(stamps)]) + stamps
        stamped = builder.add_extension(x509.UnrecognizedExtension(TIMESTAMP_EXTENSION, value), critical=False)
        return stamped.sign(self._authority, hashes.SHA256())

    def _log(self, payload: bytes, signature: bytes, leaf: x509.Certificate, moment: int) -> dict[str, Any]:
        """Return the entry of a signature, the only one in the log."""
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(b"").hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [
                {
                    "signature": encoded(signature),
                    "verifier": encoded(leaf.public_bytes(serialization.Encoding.PEM)),
                }
            ],
        }
        body = json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).encode()
        root = hashlib.sha256(b"\0" + body).digest()
        note = f"log.invalid - 1\n1\n{encoded(root)}\n"
        line = encoded(self._rekor.id[:4] + self._rekor.sign(note.encode()))
        promised = {
            "body": encoded(body),
            "integratedTime": moment,
            "logID": self._rekor.id.hex(),
            "logIndex": 0,
        }
        promise = self._rekor.sign(json.dumps(promised, sort_keys=True, separators=(",", ":")).encode())
        return {
            "logIndex": "0",
            "logId": {"keyId": encoded(self._rekor.id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(moment),
            "inclusionPromise": {"signedEntryTimestamp": encoded(promise)},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": encoded(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 log.invalid {line}\n"},
            },
            "canonicalizedBody": encoded(body),
        }


def sized(data: bytes) -> bytes:
    """Return data behind its length, as TLS writes it."""
    return struct.pack("!H", len(data)) + data


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
