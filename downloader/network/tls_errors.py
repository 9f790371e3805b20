"""What it means when TLS fails, and what helps against it: an unknown CA is another matter than a wrong host."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

from downloader.errors import UntrustedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED = "TLS certificate verification failed"
"""How every client of ours begins: people and the operator look for these words."""


class _Reason(NamedTuple):
    what: str
    hint: str


_UNKNOWN_CA = _Reason(
    "it is signed by a CA that is not trusted here",
    "name that CA in AIM_CA_BUNDLE, in SSL_CERT_FILE or, for s3://, in AWS_CA_BUNDLE",
)
_OTHER_HOST = _Reason(
    "it belongs to another host", "use a name that is in the certificate, or have one issued for this host"
)
_EXPIRED = _Reason("it has expired, or its CA has", "have it renewed; check this node's clock")
_NOT_YET = _Reason("it is not valid yet, or its CA is not", "check this node's clock")
_WEAK = _Reason("its key or its signature is too weak", "have it issued with 2048 bits or more, and SHA-256")
_OTHER = _Reason("it is not acceptable", "ask the owner of the server")
_REASONS = {
    **dict.fromkeys((2, 18, 19, 20, 21, 27), _UNKNOWN_CA),
    **dict.fromkeys((62, 64), _OTHER_HOST),
    10: _EXPIRED,
    9: _NOT_YET,
    **dict.fromkeys((66, 67, 68), _WEAK),
}
"""By the numbers of x509_vfy.h, which are also those of the manual of `openssl verify`."""

_CLIENT_CERTIFICATE = _Reason(
    "wants a client certificate, and this program has none to show", "use an address that does without"
)
_HANDSHAKE = _Reason(
    "refuses the TLS handshake",
    "it may want a client certificate, which this program has not, or TLS older than 1.2",
)
_ALERTS = {
    **dict.fromkeys(("TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_CERTIFICATE_REQUIRED"), _CLIENT_CERTIFICATE),
    **dict.fromkeys(
        (
            "SSLV3_ALERT_HANDSHAKE_FAILURE",
            "SSLV3_ALERT_BAD_CERTIFICATE",
            "TLSV1_ALERT_UNKNOWN_CA",
            "TLSV1_ALERT_ACCESS_DENIED",
            "TLSV1_ALERT_PROTOCOL_VERSION",
            "TLSV1_ALERT_INSUFFICIENT_SECURITY",
            "TLSV1_UNRECOGNIZED_NAME",
            "UNSUPPORTED_PROTOCOL",
        ),
        _HANDSHAKE,
    ),
}
"""What a server says before it hangs up, by OpenSSL's names: asking again is of no use."""


def untrusted(error: BaseException, where: str) -> UntrustedServer | None:
    """Return our error if `error`, or what it came from, is TLS that will fail again; `where` names the server."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            what, hint = _REASONS.get(getattr(cause, "verify_code", 0), _OTHER)
            told = cause.verify_message.rstrip(".")
            return UntrustedServer(f"{FAILED} for {where}: {what} ({told})", hint=hint)
        if isinstance(cause, ssl.SSLError) and cause.reason in _ALERTS:
            what, hint = _ALERTS[cause.reason]
            alert = cause.reason.lower().replace("_", " ")
            return UntrustedServer(f"{where} {what} ({alert})", hint=hint)
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
