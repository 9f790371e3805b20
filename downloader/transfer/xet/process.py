"""The parent's side of the Xet child: starts it, requests ranges from it, and kills it reliably.

Ranges arrive in frames of our own, since `multiprocessing.connection` would copy each of them (ADR 67).
"""

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

from downloader.deadlines import XET_EXIT, XET_FIRST_BYTE
from downloader.errors import IntegrityError, InternalError, ProtocolDown
from downloader.formatting import reason
from downloader.transfer.xet.child import LENGTH
from downloader.transfer.xet.errors import ended_early, map_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.artifact import Manifest, RemoteFile, Span
    from downloader.transfer.xet.child import ChildConfig

PIPE_BUFFER = 1 << 20
NO_ANSWER = f"its storage does not answer within {XET_FIRST_BYTE:.0f} s"
log = logging.getLogger(__name__)


class XetProcess:
    """A running child with several channels, each of which serves one range at a time."""

    def __init__(
        self,
        config: ChildConfig,
        environment: Mapping[str, str],
        *,
        channels: int,
        received: Callable[[int], None],
        down: Callable[[ProtocolDown], None],
    ) -> None:
        """Start the child. Raises ProtocolDown if that fails.

        A thread calls `received` with the number of bytes from the network, and `down` with the reason when the child
        cannot serve any more.
        """
        self._received = received
        self._down = down
        self._killed = False
        self._asked = 0.0
        self._told = 0
        self._fatal = ""
        self.delivered = 0
        """Bytes of files that the child has sent to this process."""
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            try:
                pairs = [_socket_pair(ours, theirs) for _ in range(channels + 1)]
                config["control"], *config["channels"] = (their.fileno() for _, their in pairs)
                self._process = _start(environment, [their.fileno() for _, their in pairs])
            except OSError as error:
                raise ProtocolDown(f"the Xet process cannot be started: {reason(error)}") from error
            self._control, *self._all = (our for our, _ in pairs)
            ours.pop_all()
        self._free: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        for channel in self._all:
            self._free.put(channel)
        with contextlib.suppress(BrokenPipeError):
            # The token goes over the pipe: other processes could read an argument or a variable.
            self._process.stdin.write(json.dumps(config).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.close()  # type: ignore[union-attr]
        self._listeners = [
            threading.Thread(target=self._read_control, name="xet-control", daemon=True),
            threading.Thread(target=self._log_stderr, name="xet-stderr", daemon=True),
        ]
        for thread in self._listeners:
            thread.start()

    def open(self, file: RemoteFile, span: Span) -> XetBody:
        """Request a range; blocks until a channel is free."""
        channel = self._free.get()
        self._asked = self._asked or time.monotonic()
        with contextlib.suppress(OSError):  # if the child has exited, reading the response will report it
            request = [file.xet_hash, file.size, span.start, span.stop]
            channel.sendall(json.dumps(request).encode() + b"\n")
        return XetBody(file, span, channel, self)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Do nothing: hf_xet prefetches by itself."""

    def version(self) -> str | None:
        """Return None: the child knows files by their hashes only."""
        return None

    def manifest(self) -> Manifest:
        """Raise InternalError: the child knows files by their hashes only."""
        raise InternalError("the Xet process lists nothing")

    def close(self) -> None:
        """Kill the child."""
        self.kill()

    def release(self, channel: socket.socket) -> None:
        """Return a channel to the free ones: its response was read completely, or it is shut down."""
        self._free.put(channel)

    def kill_nowait(self) -> None:
        """Send SIGKILL to the child's process group, from any thread, without waiting. Its readers then see the end."""
        self._killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill the child with all processes that it has started, and reap it."""
        self.kill_nowait()
        self._process.wait()
        for thread in self._listeners:
            thread.join()
        self._count(self.delivered)
        for channel in self._all:
            channel.close()

    def exit_error(self) -> ProtocolDown:
        """Return why the child cannot serve any more, in its own words if it has sent a reason."""
        listener = self._listeners[0]
        if not self._fatal and threading.current_thread() is not listener:
            listener.join(XET_EXIT)  # a reader may see the end before the control thread has read the reason
        if self._fatal:
            return ProtocolDown(f"Xet cannot be used: {self._fatal}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(XET_EXIT)
        return ProtocolDown(_exit_error(self._process.returncode))

    def _count(self, received: int) -> None:
        """Report new bytes: a total of the child's connections, or of what it has sent if that is more."""
        if received > self._told:
            self._received(received - self._told)
            self._told = received

    def _read_control(self) -> None:
        """Read the messages of the child; call `down` with the reason when it has exited."""
        fatal = ""
        with contextlib.suppress(OSError, ValueError), self._control, self._control.makefile("r") as lines:
            for line in lines:
                message = json.loads(line)
                self._count(max(message.get("received", 0), self.delivered))
                late = not self._told and self._asked and time.monotonic() - self._asked > XET_FIRST_BYTE
                fatal = message.get("fatal") or (NO_ANSWER if late else "")
                if fatal:
                    break
        self._fatal = fatal
        if not self._killed:
            self._down(self.exit_error())

    def _log_stderr(self) -> None:
        """Log the child's standard error at `debug`, and keep its pipe empty: a full one would block the child."""
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
    """Start the child. Raises OSError.

    Without `-P`, Python would import from the working folder, which may be that of a model.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "downloader.transfer.xet.child"],
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
    """A range that the child sends."""

    def __init__(self, file: RemoteFile, span: Span, channel: socket.socket, process: XetProcess) -> None:
        self._file = file
        self._left = len(span)
        self._frame = 0
        self._channel = channel
        self._process = process
        self._open = True
        self._ended = False

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`; return 0 after the last byte. Raises ProtocolFailed with hf_xet's reason."""
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
        """Read the result at the end of the response."""
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
            # All of it is on its way, and each read takes the lock.
            count = self._channel.recv_into(view, 0, socket.MSG_WAITALL)
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
        """Release the channel. It is shut down first if the response was not read completely: the rest would follow."""
        if self._open:
            if not self._ended:
                self.interrupt()
            self._open = False
            self._process.release(self._channel)
