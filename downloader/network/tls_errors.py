"""What it means when TLS fails, and what helps against it: an unknown CA is another matter than a wrong host."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from downloader.error_map import ErrorRow, always, map_error, one_of
from downloader.errors import UntrustedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_CERTIFICATE = "TLS certificate verification failed for {where}: "
"""How every client of ours begins: people and the operator look for these words."""
_CERTIFICATES: tuple[ErrorRow[int, UntrustedServer], ...] = (
    ErrorRow(
        one_of(2, 18, 19, 20, 21, 27),
        UntrustedServer,
        _CERTIFICATE + "it is signed by a CA that is not trusted here ({told})",
        "name that CA in AIM_CA_BUNDLE, in SSL_CERT_FILE or, for s3://, in AWS_CA_BUNDLE",
    ),
    ErrorRow(
        one_of(62, 64),
        UntrustedServer,
        _CERTIFICATE + "it belongs to another host ({told})",
        "use a name that is in the certificate, or have one issued for this host",
    ),
    ErrorRow(
        one_of(10),
        UntrustedServer,
        _CERTIFICATE + "it has expired, or its CA has ({told})",
        "have it renewed; check this node's clock",
    ),
    ErrorRow(
        one_of(9),
        UntrustedServer,
        _CERTIFICATE + "it is not valid yet, or its CA is not ({told})",
        "check this node's clock",
    ),
    ErrorRow(
        one_of(66, 67, 68),
        UntrustedServer,
        _CERTIFICATE + "its key or its signature is too weak ({told})",
        "have it issued with 2048 bits or more, and SHA-256",
    ),
    ErrorRow(always, UntrustedServer, _CERTIFICATE + "it is not acceptable ({told})", "ask the owner of the server"),
)
"""By the numbers of x509_vfy.h, which are also those of the manual of `openssl verify`."""

_ALERTS: tuple[ErrorRow[str, UntrustedServer], ...] = (
    ErrorRow(
        one_of("TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_CERTIFICATE_REQUIRED"),
        UntrustedServer,
        "{where} wants a client certificate, and this program has none to show ({alert})",
        "use an address that does without",
    ),
    ErrorRow(
        one_of(
            "SSLV3_ALERT_HANDSHAKE_FAILURE",
            "SSLV3_ALERT_BAD_CERTIFICATE",
            "TLSV1_ALERT_UNKNOWN_CA",
            "TLSV1_ALERT_ACCESS_DENIED",
            "TLSV1_ALERT_PROTOCOL_VERSION",
            "TLSV1_ALERT_INSUFFICIENT_SECURITY",
            "TLSV1_UNRECOGNIZED_NAME",
            "UNSUPPORTED_PROTOCOL",
        ),
        UntrustedServer,
        "{where} refuses the TLS handshake ({alert})",
        "it may want a client certificate, which this program has not, or TLS older than 1.2",
    ),
)
"""What a server says before it hangs up, by OpenSSL's names: a retry cannot help."""


def map_tls_error(error: BaseException, where: str) -> UntrustedServer | None:
    """Return our error if `error`, or what it came from, is TLS that will fail again; `where` names the server."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            told = cause.verify_message.rstrip(".")
            return map_error(_CERTIFICATES, getattr(cause, "verify_code", 0), where=where, told=told)
        if isinstance(cause, ssl.SSLError):
            name = cause.reason or ""
            ours = map_error(_ALERTS, name, where=where, alert=name.lower().replace("_", " "))
            if ours is not None:
                return ours
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
