"""The way to one host: proxy, name, connection, certificate and clock, each with a line of its own."""

from __future__ import annotations

import email.utils
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from downloader.doctor.finding import note, ok, problem
from downloader.errors import DownloadError, UntrustedServer
from downloader.formatting import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.doctor.finding import Finding
    from downloader.network import Certificate, Origin, ServerProbe

DAY = 86400.0
SOON = 14 * DAY
"""Seconds before the expiry of a certificate from which on it is worth a note."""
SKEW = 60.0
"""Seconds by which clocks may differ. S3 refuses signatures from 15 minutes on, and tokens have times, too."""
MAX_ADDRESSES = 4


def check_host(origin: Origin, probe: ServerProbe) -> Iterator[Finding]:
    """Go the way to a server until a step fails, and yield a finding for each step."""
    host = f"{origin.host}:{origin.port}"
    step = "proxy"
    try:
        proxy, why = probe.route()
        through = f"{proxy.host}:{proxy.port}" if proxy else ""
        yield ok(step, f"{host} is reached {f'through the proxy {through}' if proxy else 'directly'}: {why}", host)
        step = "dns"
        yield ok(step, _addresses(proxy.host if proxy else origin.host, probe.resolve()), host)
        step = "tcp"
        probe.connect()
        yield ok(step, f"{through or host} accepts connections", host)
        step = "tls"
        yield _check_certificate(host, probe.certificate())
        step = "clock"
        yield from _check_clock(host, probe)
    except UntrustedServer as error:
        yield _untrusted(host, probe, error)
    except DownloadError as error:
        # A server that does not answer this question may answer those of a run: the check of the source tells.
        found = problem("proxy" if step == "tls" and through else step, error, host=host)
        yield found.as_note() if step == "clock" else found


def _addresses(name: str, addresses: list[str]) -> str:
    if addresses == [name]:
        return f"{name} is an address, so no name is looked up"
    more = len(addresses) - MAX_ADDRESSES
    return f"{name} has the address " + ", ".join(addresses[:MAX_ADDRESSES]) + (f" and {more} more" if more > 0 else "")


def _check_certificate(host: str, found: Certificate | None) -> Finding:
    if found is None:
        return ok("tls", f"{host} is asked without TLS", host)
    if not found.store:
        return note("tls", f"{host}: {found.version}, certificates are not verified", "name its CA instead", host)
    expiry = datetime.fromtimestamp(found.expires, UTC).strftime("%Y-%m-%d")
    text = f"{host}: {found.version}, issued by {found.issuer or 'an unnamed CA'}, known from {found.store}"
    text += f", expires {expiry}"
    if found.expires - time.time() < SOON:
        return note("tls", text, "have the certificate renewed", host)
    return ok("tls", text, host)


def _untrusted(host: str, probe: ServerProbe, error: UntrustedServer) -> Finding:
    shown = probe.presented()
    issuer = f"; it says that {shown.issuer} issued it" if shown is not None and shown.issuer else ""
    return problem("tls", error, host=host, text=error.message + issuer)


def _check_clock(host: str, probe: ServerProbe) -> Iterator[Finding]:
    asked = time.time()
    date = probe.date()
    answered = time.time()
    try:
        theirs = email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        yield ok("clock", f"{host} does not tell the time", host)
        return
    # Their time lies somewhere between our two, and has no fractions.
    skew = max(asked - (theirs + 1.0), theirs - answered, 0.0)
    if skew <= SKEW:
        yield ok("clock", f"{host} has the same time as this machine", host)
        return
    which = "behind" if theirs > answered else "ahead of"
    yield note(
        "clock",
        f"the clock of this machine is {format_duration(skew)} {which} that of {host}",
        "set the clock of the node (NTP): signatures, tokens and certificates are valid by the clock",
        host,
    )
