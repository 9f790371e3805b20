r"""A server that answers with any bytes at all: for answers that no HTTP library would write.

with Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 5_0\r\n\r\nhello", END]) as server:
    ...  # the first request gets the first item, and so on; END ends the connection instead of an answer
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, cast

from tests.servers.closable import Closable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

END = b""
"""The connection ends."""
CUT, CLOSE_NOTIFY = "cut", "close_notify"
"""What may follow each answer: the connection ends, or TLS says that it ends while it stays open."""


class Raw(Closable):
    """Answers each request, on whatever connection, with the next item, and the last item for ever.

    `forgetful`: of requests that arrive together it sees only the first. `then`: what follows each answer.
    """

    def __init__(
        self, answers: Iterable[bytes], *, forgetful: bool = False, tls: ssl.SSLContext | None = None, then: str = ""
    ) -> None:
        self._forgetful = forgetful
        self._tls = tls
        self._then = then
        self._answers = list(answers)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.connections = 0
        self.requests: list[bytes] = []
        """Their heads, oldest first."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/file.bin"
        threading.Thread(target=self._accept, daemon=True).start()

    def answer_with(self, answers: Iterable[bytes]) -> None:
        """Answer what is asked from now on with these items, since they may name a server that was started later."""
        with self._lock:
            self._answers = list(answers)

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
        with connection, contextlib.suppress(OSError):
            head = b""
            while piece := connection.recv(1 << 16):
                head += piece
                while (end := head.find(b"\r\n\r\n") + 4) > 3:
                    answer = self._answer(head[:end])
                    if answer == END:
                        return
                    connection.sendall(answer)
                    if self._then == CUT:
                        return
                    if self._then == CLOSE_NOTIFY:
                        cast("ssl.SSLSocket", connection).unwrap()  # comes back when the client closes, too
                        return
                    head = b"" if self._forgetful else head[end:]
        self._open.discard(connection)

    def _answer(self, head: bytes) -> bytes:
        with self._lock:
            self.requests.append(head)
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
