"""What is asked of `cryptography`, OpenSSL and `sigstore` about certificates. Imported for a signature that has one."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography.x509 import (
    Certificate,
    ExtendedKeyUsage,
    ExtensionNotFound,
    SubjectAlternativeName,
    load_der_x509_certificate,
    load_pem_x509_certificates,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIGNING: Final = frozenset({ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
"""What a certificate that names its purposes must name. One for web servers may be used for signatures, too."""


def require_current(chain: Sequence[bytes], identity: str, authorities: bytes) -> None:
    """Raise any exception unless certificates hold today, for signing, and for an identity if given.

    `chain` has them in DER, that of the signer first; `authorities` those that are trusted, in PEM.

    The library takes the day on which a certificate begins for the time of the signature. Nothing but a log or a
    timestamp could say when it was made, and these signatures have neither: one that has expired proves nothing. So
    OpenSSL is asked again, for now: a stolen key of an authority in between could make certificates of any day.
    """
    certificate, *others = map(load_der_x509_certificate, chain)
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        raise ValueError(f"the certificate has expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.not_valid_before_utc > now:
        raise ValueError(f"the certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")
    store = crypto.X509Store()
    for trusted in load_pem_x509_certificates(authorities):
        store.add_cert(crypto.X509.from_cryptography(trusted))
    between = [crypto.X509.from_cryptography(other) for other in others]
    crypto.X509StoreContext(store, crypto.X509.from_cryptography(certificate), between).verify_certificate()
    with suppress(ExtensionNotFound):
        purposes = certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value
        if SIGNING.isdisjoint(purposes):
            raise ValueError("the certificate is for other purposes than the signing of code")
    if identity:
        from sigstore.verify.policy import Identity  # noqa: PLC0415 - a tenth of a second, which no other case needs

        Identity(identity=identity).verify(certificate)


def owner(raw: bytes) -> str:
    """Return the owner and the issuer of a certificate in DER, in words. Raises any exception."""
    certificate = load_der_x509_certificate(raw)
    name = ", ".join(_names(certificate)) or certificate.subject.rfc4514_string() or "an unnamed owner"
    return f"{name}, certified by {certificate.issuer.rfc4514_string() or 'an unnamed authority'}"


def _names(certificate: Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return
    for name in names:
        yield str(name.value)
