"""TLS trust: the system's certificates, the bundle that comes with us, and a CA of the user's, merged."""

from __future__ import annotations

import contextlib
import ssl
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import certifi

from downloader.errors import ConfigurationError
from downloader.formatting import reason

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

SYSTEM_BUNDLE = "ca-certificates.crt"
"""What Debian calls the file with all certificates of its folder."""


class Trust:
    """Whom we trust: the system's store, certifi's and each PEM file of `bundles`; every server without `verify`.

    Raises ConfigurationError when one of the bundles cannot be loaded.
    """

    def __init__(self, bundles: Iterable[Path] = (), *, verify: bool = True) -> None:
        self._bundles = tuple(bundles)
        self._verify = verify
        if self._bundles:
            _ = self.context  # what was given is to be right, whether this run needs it or not

    @cached_property
    def context(self) -> ssl.SSLContext:
        """For connections to servers. Made when it is needed first: reading hundreds of certificates takes a while."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 asks for what RFC 5280 wants of a certificate, such as an authority key identifier, and many
        # private CAs do not write; it also takes a CA for trusted though the one above it is not. One rule for all.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        for bundle in (Path(certifi.where()), *self._bundles):
            try:
                context.load_verify_locations(bundle)
            except (OSError, ssl.SSLError) as error:
                hint = "it must be a readable PEM file with certificates"
                raise ConfigurationError(
                    f"the CA bundle {bundle} cannot be loaded: {reason(error)}", hint=hint
                ) from error
        return context


def merged(bundles: Iterable[Path] = ()) -> bytes:
    """Return the PEM text of all whom `Trust` trusts, for clients of others: they take one file instead of their own.

    Bytes, as there may be remarks in any encoding between the certificates. A bundle that is not there is left out:
    `Trust` has complained of it. Raises OSError when one cannot be read.
    """
    usual = ssl.get_default_verify_paths()
    system = usual.cafile or (usual.capath and f"{usual.capath}/{SYSTEM_BUNDLE}") or "/dev/null"
    paths = [Path(system), Path(certifi.where()), *bundles]
    return b"\n".join(path.read_bytes() for path in paths if path.is_file())


PIECE = 1 << 19


class SecureSocket:
    """What of a socket is needed to send and receive, for one thread at a time. Timeouts are the socket's own."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Shake hands. Raises OSError, also for a server that is not trusted: then it is an ssl.SSLError."""
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._piece = memoryview(bytearray(PIECE))
        self.close_notified = False
        """The server said that nothing more comes. A connection that ends without that may have been cut."""
        self._shake_hands()

    def recv_into(self, view: memoryview) -> int:
        """Put what has arrived into `view`, at least one byte; 0 at the end of the connection."""
        filled = self._decrypt(view)
        # After close_notify the connection may stay open for as long as the server likes.
        while not filled and not self.close_notified and self._receive():
            filled = self._decrypt(view)
        return filled

    def sendall(self, data: bytes) -> None:
        """Send everything."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        try:
            self._flush()
        except OSError:
            self._raise_alert()
            raise

    def _raise_alert(self) -> None:
        """Raise what the server said before it hung up, if it did: that it wants a client certificate, for example."""
        with contextlib.suppress(OSError):
            self._incoming.write(self._piece[: self._sock.recv_into(self._piece)])
        self._decrypt(memoryview(bytearray(1)))

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                if not self._receive():
                    raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the server closed the connection") from None
            else:
                break
            finally:
                self._flush()  # also the alert that says what is wrong with the certificate

    def _decrypt(self, view: memoryview) -> int:
        """Fill the view as far as there is something to decrypt."""
        filled = 0
        try:
            while filled < len(view):
                # With a buffer it returns how many bytes it put there, whatever its types say.
                count = cast("int", self._tls.read(len(view) - filled, cast("bytearray", view[filled:])))
                if not count:
                    self.close_notified = True
                    break
                filled += count
        except (ssl.SSLWantReadError, ssl.SSLEOFError):
            pass  # many servers omit close_notify; if the length is known, missing bytes are noticed
        return filled

    def _receive(self) -> bool:
        """Take what has arrived, at least one byte; tell whether the connection goes on."""
        self._flush()
        count = self._sock.recv_into(self._piece)
        if count:
            self._incoming.write(self._piece[:count])
        else:
            self._incoming.write_eof()
        return bool(count)

    def _flush(self) -> None:
        """Send what TLS has to say."""
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())
