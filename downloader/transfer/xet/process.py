"""The parent's side of the child: started, asked for spans, and killed for certain."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError, InternalError, ProtocolDown
from downloader.formatting import reason
from downloader.transfer.xet.child import LENGTH
from downloader.transfer.xet.errors import ended_early, map_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.artifact import Manifest, RemoteFile, Span
    from downloader.transfer.xet.child import Order

PIPE_BUFFER = 1 << 20
FIRST_BYTE = 9.0
"""Seconds within which something must come from the network after the first request."""
LAST_BREATH = 2.0
"""Seconds that a child may take to end once it has stopped talking."""
NO_ANSWER = f"its storage does not answer within {FIRST_BYTE:.0f} s"
log = logging.getLogger(__name__)


class XetProcess:
    """A running child with a number of channels, each of which serves one span at a time."""

    def __init__(
        self,
        order: Order,
        environment: Mapping[str, str],
        *,
        channels: int,
        received: Callable[[int], None],
        down: Callable[[ProtocolDown], None],
    ) -> None:
        """`received` hears of bytes from the network, `down` why nothing can work any more, both from a thread.

        Raises ProtocolDown if the child cannot be started.
        """
        self._received = received
        self._down = down
        self._killed = False
        self._asked = 0.0
        self._told = 0
        self._fatal = ""
        self.delivered = 0
        """Bytes of files that the child has sent."""
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            try:
                pairs = [_socket_pair(ours, theirs) for _ in range(channels + 1)]
                order["control"], *order["channels"] = (their.fileno() for _, their in pairs)
                self._process = _start(environment, [their.fileno() for _, their in pairs])
            except OSError as error:
                raise ProtocolDown(f"the Xet process cannot be started: {reason(error)}") from error
            self._control, *self._all = (our for our, _ in pairs)
            ours.pop_all()
        self._free: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        for channel in self._all:
            self._free.put(channel)
        with contextlib.suppress(BrokenPipeError):
            # The token goes over the pipe: an argument or a variable could be read by others.
            self._process.stdin.write(json.dumps(order).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.close()  # type: ignore[union-attr]
        self._listeners = [
            threading.Thread(target=self._listen, name="xet-control", daemon=True),
            threading.Thread(target=self._overhear, name="xet-stderr", daemon=True),
        ]
        for thread in self._listeners:
            thread.start()

    def open(self, file: RemoteFile, span: Span) -> XetBody:
        """Ask for a span; waits until a channel is free."""
        channel = self._free.get()
        self._asked = self._asked or time.monotonic()
        with contextlib.suppress(OSError):  # a child that is gone shows when its answer is read
            request = [file.xet_hash, file.size, span.start, span.stop]
            channel.sendall(json.dumps(request).encode() + b"\n")
        return XetBody(file, span, channel, self)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Leave it to the child, who fetches ahead by itself."""

    def version(self) -> str | None:
        """Not for the child, either."""
        return None

    def manifest(self) -> Manifest:
        """Not for the child: it knows files by their hashes only."""
        raise InternalError("the Xet process lists nothing")

    def close(self) -> None:
        """End the child."""
        self.kill()

    def release(self, channel: socket.socket) -> None:
        """Take back a channel whose answer was read to its end, or one that is of no use any more."""
        self._free.put(channel)

    def kill_nowait(self) -> None:
        """Send the child its death, from any thread and without waiting: all who read from it see it end."""
        self._killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the child and everything it may have started, and reap it."""
        self.kill_nowait()
        self._process.wait()
        for thread in self._listeners:
            thread.join()
        self._count(self.delivered)
        for channel in self._all:
            channel.close()

    def exit_error(self) -> ProtocolDown:
        """Return why the child cannot serve any more: as it said itself, if it did."""
        listener = self._listeners[0]
        if not self._fatal and threading.current_thread() is not listener:
            listener.join(LAST_BREATH)  # a reader may see the end before what was said is heard
        if self._fatal:
            return ProtocolDown(f"Xet cannot be used: {self._fatal}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LAST_BREATH)
        return ProtocolDown(_exit_error(self._process.returncode))

    def _count(self, received: int) -> None:
        """Report growth: of the bytes on the child's connections, or of what it has sent if those are older news."""
        if received > self._told:
            self._received(received - self._told)
            self._told = received

    def _listen(self) -> None:
        """Pass on what the child tells, and say what became of it when it is gone."""
        fatal = ""
        with contextlib.suppress(OSError, ValueError), self._control, self._control.makefile("r") as lines:
            for line in lines:
                message = json.loads(line)
                self._count(max(message.get("received", 0), self.delivered))
                late = not self._told and self._asked and time.monotonic() - self._asked > FIRST_BYTE
                fatal = message.get("fatal") or (NO_ANSWER if late else "")
                if fatal:
                    break
        self._fatal = fatal
        if not self._killed:
            self._down(self.exit_error())

    def _overhear(self) -> None:
        """Keep the child's complaints out of the log of the run, but for those who debug."""
        stderr = self._process.stderr
        if stderr is None:
            return
        with contextlib.suppress(OSError, ValueError), stderr:
            for line in stderr:
                log.debug("xet child: %s", line.decode(errors="replace").rstrip())


def _socket_pair(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Return our end and the child's. Raises OSError."""
    our, their = socket.socketpair()
    ours.enter_context(our)
    theirs.enter_context(their)
    their.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_BUFFER)
    return our, their


def _start(environment: Mapping[str, str], inherited: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start the child. Raises OSError."""
    return subprocess.Popen(
        [sys.executable, "-m", "downloader.transfer.xet.child"],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=inherited,
        start_new_session=True,
    )


def _exit_error(status: int | None) -> str:
    if status is None:
        return "the Xet process does not talk to us any more"
    if status == -signal.SIGKILL:
        return "the Xet process was killed (137), most likely because the memory limit is too small for it"
    return f"the Xet process ended by itself with status {status}"


class XetBody:
    """A span that the child sends."""

    def __init__(self, file: RemoteFile, span: Span, channel: socket.socket, process: XetProcess) -> None:
        self._file = file
        self._left = len(span)
        self._frame = 0
        self._channel = channel
        self._process = process
        self._open = True
        self._ended = False

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`; 0 after the span's last byte. Raises ProtocolFailed, with hf_xet's reason."""
        if self._frame == 0 and not self._ended:
            self._frame = LENGTH.unpack(self._exactly(LENGTH.size))[0]
            if self._frame == 0:
                self._end()
        if self._ended:
            return 0
        if self._frame > self._left:
            raise IntegrityError(f"{self._file.path}: Xet sends more bytes than the file has")
        count = self._receive(view if len(view) <= self._frame else view[: self._frame])
        self._frame -= count
        self._left -= count
        self._process.delivered += count
        return count

    def _end(self) -> None:
        """Read how the answer ended."""
        text = self._exactly(LENGTH.unpack(self._exactly(LENGTH.size))[0]).decode(errors="replace")
        self._ended = True
        if text:
            raise map_text(self._file.path, text)
        if self._left:
            raise ended_early(self._file.path, self._left)

    def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            view = view[self._receive(view) :]
        return bytes(data)

    def _receive(self, view: memoryview) -> int:
        try:
            count = self._channel.recv_into(view)
        except OSError as error:
            raise self._process.exit_error() from error
        if not count:
            raise self._process.exit_error()
        return count

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        if self._open:
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the channel back. One whose answer was not read to its end is cut: nobody can use it any more."""
        if self._open:
            if not self._ended:
                self.interrupt()
            self._open = False
            self._process.release(self._channel)
