"""TLS over a socket, read in large pieces.

`ssl.SSLSocket` takes two system calls for each record of 16 KiB and hands it through all layers above. Here whatever
has arrived is taken at once and decrypted in one loop: a large file takes a fraction of the processor time.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import socket

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
            pass  # many servers omit close_notify: whoever knows the length notices what is missing
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
