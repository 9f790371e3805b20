"""TLS: which certificates are trusted, and a socket that decrypts from memory.

Trusted are the system's certificates, certifi's and the user's CA bundles together: an image may have no certificates,
and a private CA must not take the public ones away.
"""

from __future__ import annotations

import contextlib
import ssl
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import certifi

from downloader.errors import ConfigurationError
from downloader.formatting import reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from downloader.network.sockets import BlockingSocket

SYSTEM_BUNDLE = "ca-certificates.crt"
"""Debian's name of the file that holds all certificates of its folder."""


class Trust:
    """The certificates that are trusted: the system's, certifi's and those in each PEM file of `bundles`.

    With `verify=False` every server is trusted. Raises ConfigurationError for a bundle that cannot be loaded.
    """

    def __init__(self, bundles: Iterable[Path] = (), *, verify: bool = True) -> None:
        self._bundles = tuple(bundles)
        self._verify = verify
        if self._bundles:
            _ = self.context  # a wrong bundle fails at the start, whether or not this run needs it

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The context for connections to servers, made at the first use: loading certificates takes 50 ms (ADR 30)."""
        context = _with_our_rules(ssl.create_default_context())
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        for bundle in (Path(certifi.where()), *self._bundles):
            _load(context, bundle)
        return context

    def stores(self) -> Iterator[tuple[str, Trust]]:
        """Yield each store of certificates by itself, with its name for people: it tells which one is needed.

        None where every server is trusted.
        """
        if not self._verify:
            return
        usual = ssl.get_default_verify_paths()
        yield f"the system's certificates ({usual.cafile or usual.capath or 'there are none'})", _OneStore(None)
        yield "certifi's certificates", _OneStore(Path(certifi.where()))
        for bundle in self._bundles:
            yield f"the CA bundle {bundle}", _OneStore(bundle)


class _OneStore(Trust):
    """Trusts the certificates of one PEM file, or those of the system, and no others."""

    def __init__(self, bundle: Path | None) -> None:
        super().__init__()
        self._bundle = bundle

    @cached_property
    def context(self) -> ssl.SSLContext:
        context = _with_our_rules(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        if self._bundle is None:
            context.load_default_certs()
        else:
            _load(context, self._bundle)
        return context


class SingleCertificate(Trust):
    """Trusts one certificate, in DER, whatever host shows it: to read what is in it, never to send anything."""

    def __init__(self, certificate: bytes) -> None:
        super().__init__()
        self._certificate = certificate

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The context."""
        context = _with_our_rules(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        context.check_hostname = False
        context.load_verify_locations(cadata=self._certificate)
        return context


def _with_our_rules(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 requires certificates as in RFC 5280, with an authority key identifier for example, which many
    # private CAs do not write; it also trusts a CA whose own issuer is unknown. One rule for all versions (ADR 60).
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _load(context: ssl.SSLContext, bundle: Path) -> None:
    try:
        context.load_verify_locations(bundle)
    except (OSError, ssl.SSLError) as error:
        hint = "it must be a readable PEM file with certificates"
        raise ConfigurationError(f"the CA bundle {bundle} cannot be loaded: {reason(error)}", hint=hint) from error


def merged(bundles: Iterable[Path] = ()) -> bytes:
    """Return the certificates that `Trust` trusts as one PEM text, for libraries that take a single file.

    Bytes, since between the certificates there may be comments in any encoding. A missing bundle is left out: `Trust`
    has raised an error for it. Raises OSError for one that cannot be read.
    """
    usual = ssl.get_default_verify_paths()
    system = usual.cafile or (usual.capath and f"{usual.capath}/{SYSTEM_BUNDLE}") or "/dev/null"
    paths = [Path(system), Path(certifi.where()), *bundles]
    return b"\n".join(path.read_bytes() for path in paths if path.is_file())


PIECE = 1 << 19


class SecureSocket:
    """TLS over a socket, for one thread at a time. Timeouts are those of the socket.

    `ssl.SSLSocket` makes two system calls for each record of 16 KiB. Here up to 512 KiB are received at once and
    decrypted from memory, which takes less CPU (ADR 26).
    """

    def __init__(self, sock: BlockingSocket, context: ssl.SSLContext, host: str) -> None:
        """Perform the handshake. Raises OSError; ssl.SSLError, which is one, for a server that is not trusted."""
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._piece = memoryview(bytearray(PIECE))
        self.close_notified = False
        """Whether the server announced the end. A connection that ends without that may have been cut."""
        self._shake_hands()

    @property
    def certificate(self) -> dict[str, Any]:
        """What the server's certificate says, as `ssl.SSLSocket.getpeercert` has it; empty if it was not verified."""
        return self._tls.getpeercert() or {}

    @property
    def raw_certificate(self) -> bytes:
        """The server's certificate in DER, verified or not."""
        return self._tls.getpeercert(binary_form=True) or b""

    @property
    def version(self) -> str:
        """The version of TLS in use."""
        return self._tls.version() or ""

    def recv_into(self, view: memoryview) -> int:
        """Read what has arrived into `view`, at least one byte, and return its length; 0 at the end."""
        return self._read(view, gather=False)

    def gather_into(self, view: memoryview) -> int:
        """Do the same, but wait for a moment until it is full. All of it must be certain to come."""
        return self._read(view, gather=True)

    def _read(self, view: memoryview, *, gather: bool) -> int:
        filled = self._decrypt(view)
        # After close_notify the connection may stay open for as long as the server likes.
        while not filled and not self.close_notified:
            # What is encrypted is longer than its text, so as many bytes will come, and a little more.
            certain = max(1, len(view) - self._incoming.pending) if gather else 0
            if not self._receive(certain):
                break
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
        """Raise the alert that the server sent before it closed, if any.

        In TLS 1.3 the demand for a client certificate arrives after the handshake, and only a read notices it.
        """
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
                self._flush()  # also our alert that tells the server what is wrong with its certificate

    def _decrypt(self, view: memoryview) -> int:
        """Decrypt what was received into the view, as far as both go."""
        filled = 0
        try:
            while filled < len(view):
                # With a buffer `read` returns a length, although its type hints say bytes.
                count = cast("int", self._tls.read(len(view) - filled, cast("bytearray", view[filled:])))
                if not count:
                    self.close_notified = True
                    break
                filled += count
        except (ssl.SSLWantReadError, ssl.SSLEOFError):
            pass  # many servers omit close_notify: a reader that knows the length notices missing bytes
        return filled

    def _receive(self, certain: int = 0) -> bool:
        """Receive at least one byte; return False at the end of the connection.

        If so many bytes are `certain` to come, wait for them for a moment, and take no more.
        """
        self._flush()
        count = self._sock.gather_into(self._piece[:certain]) if certain else self._sock.recv_into(self._piece)
        if count:
            self._incoming.write(self._piece[:count])
        else:
            self._incoming.write_eof()
        return bool(count)

    def _flush(self) -> None:
        """Send the pending records."""
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())
