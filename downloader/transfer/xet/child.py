"""The child process: serves spans from hf_xet over inherited sockets. `python -m downloader.transfer.xet.child`.

On its standard input comes one line of JSON (`Order`); then each channel socket carries requests, one line of JSON
(`[hash, size, start, stop]`), and answers: frames of a length (four bytes, big-endian) and as many bytes; a frame of
length zero ends the answer and is followed by one of text, which is empty or says what went wrong. The control socket
tells how many bytes came over the network so far, or that nothing can work.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, TypedDict

PARENT_DEATH_SIGNAL = 1
TCP_INFO_SIZE, BYTES_RECEIVED_AT = 192, 128
"""Where Linux puts `tcpi_bytes_received` into TCP_INFO."""
REPORT_EVERY = 0.25
LENGTH = struct.Struct(">I")


class Order(TypedDict):
    """What the child is told at its start."""

    endpoint: str
    token: str
    expires: int
    refresh_url: str
    refresh_headers: dict[str, str]
    config: dict[str, Any]
    channels: list[int]
    control: int


class Wire:
    """Bytes that this process's TCP connections received: the only progress to be seen inside a span."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def received(self) -> int:
        """Look at all connections; those that were closed since the last look keep what was seen of them.

        0 where the system does not show them: then what is handed over is all there is to be seen.
        """
        try:
            links = list(Path("/proc/self/fd").iterdir()) if hasattr(socket, "TCP_INFO") else []
        except OSError:
            return 0
        for link in links:
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("socket:"):
                    self._look(target, int(link.name))
        return sum(self._seen.values())

    def _look(self, target: str, descriptor: int) -> None:
        with socket.socket(fileno=os.dup(descriptor)) as peek:
            if peek.type == socket.SOCK_STREAM and peek.family in (socket.AF_INET, socket.AF_INET6):
                info = peek.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
                if len(info) >= BYTES_RECEIVED_AT + 8:
                    self._seen[target] = struct.unpack_from("Q", info, BYTES_RECEIVED_AT)[0]


def serve(group: Any, channel: socket.socket) -> None:  # noqa: ANN401 - hf_xet has no types
    """Answer the requests of one channel until the parent closes it."""
    from hf_xet import XetFileInfo

    with channel, channel.makefile("r") as requests:
        for line in requests:
            xet_hash, size, start, stop = json.loads(line)
            problem = ""
            try:
                for piece in group.download_stream(XetFileInfo(xet_hash, size), start=start, end=stop):
                    if len(piece):
                        channel.sendall(LENGTH.pack(len(piece)))
                        channel.sendall(piece)
                    del piece  # else it stays in memory while the next one is fetched
            except Exception as error:  # noqa: BLE001 - whatever hf_xet raises, the parent decides what it means
                problem = f"{type(error).__name__}: {error}"[:4000]
            text = problem.encode()
            channel.sendall(LENGTH.pack(0) + LENGTH.pack(len(text)) + text)


def connect(order: Order) -> Any:  # noqa: ANN401 - hf_xet has no types
    """Start a session. Raises whatever hf_xet raises, and ImportError where it cannot be used at all."""
    from hf_xet import XetConfig, XetSession

    session = XetSession(XetConfig().with_config(order["config"]))
    return session.new_download_stream_group(
        endpoint=order["endpoint"],
        token=order["token"],
        token_expiry_unix_secs=order["expires"],
        token_refresh_url=order["refresh_url"],
        token_refresh_headers=order["refresh_headers"],
    )


def main() -> None:
    """Serve until the parent goes away."""
    with contextlib.suppress(AttributeError):  # elsewhere than on Linux it ends when it cannot report any more
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order: Order = json.loads(sys.stdin.readline())
    control = socket.socket(fileno=order["control"])
    channels = [socket.socket(fileno=descriptor) for descriptor in order["channels"]]
    try:
        group = connect(order)
    except BaseException as error:  # noqa: BLE001 - also a Rust panic, which is no Exception
        control.sendall(json.dumps({"fatal": f"{type(error).__name__}: {error}"[:4000]}).encode() + b"\n")
        os._exit(1)
    for channel in channels:
        threading.Thread(target=serve, args=(group, channel), daemon=True).start()
    wire = Wire()
    with contextlib.suppress(OSError):
        while True:
            control.sendall(json.dumps({"received": wire.received()}).encode() + b"\n")
            time.sleep(REPORT_EVERY)
    # Never wait for hf_xet's own threads.
    os._exit(0)


if __name__ == "__main__":
    main()
