"""The child process: serves ranges from hf_xet over inherited sockets. `python -P -m downloader.transfer.xet.child`.

Its standard input has one line of JSON (`ChildConfig`). Each channel socket then carries requests, one line of JSON
(`[hash, size, start, stop]`), and responses: frames of a length (four bytes, big-endian) and as many bytes. A frame of
length zero ends the response and is followed by a frame of text, which is empty or says what failed. Over the control
socket the child sends the number of bytes received from the network so far, or the reason why it cannot serve.
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
"""The size of Linux's TCP_INFO, and the offset of `tcpi_bytes_received` in it."""
REPORT_EVERY = 0.25
"""Seconds."""
LENGTH = struct.Struct(">I")


class ChildConfig(TypedDict):
    """The line on the child's standard input. `channels` and `control` are inherited file descriptors."""

    endpoint: str
    token: str
    expires: int
    refresh_url: str
    refresh_headers: dict[str, str]
    hf_xet: dict[str, Any]
    """Names and values for `XetConfig.with_config`."""
    channels: list[int]
    control: int


class ReceivedBytes:
    """The number of bytes that this process's TCP connections received: the only sign of progress within a range."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def count(self) -> int:
        """Return the total of all connections; one that was closed counts with its last known value.

        0 where the system does not tell: then only the bytes that are sent to the parent show progress.
        """
        try:
            links = list(Path("/proc/self/fd").iterdir()) if hasattr(socket, "TCP_INFO") else []
        except OSError:
            return 0
        for link in links:
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("socket:"):
                    self._read(target, int(link.name))
        return sum(self._seen.values())

    def _read(self, target: str, descriptor: int) -> None:
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            if copy.type == socket.SOCK_STREAM and copy.family in (socket.AF_INET, socket.AF_INET6):
                info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
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
                    del piece  # otherwise it stays in memory while the next one is fetched
            except Exception as error:  # noqa: BLE001 - the parent classifies what hf_xet raises
                problem = f"{type(error).__name__}: {error}"[:4000]
            text = problem.encode()
            channel.sendall(LENGTH.pack(0) + LENGTH.pack(len(text)) + text)


def connect(config: ChildConfig) -> Any:  # noqa: ANN401 - hf_xet has no types
    """Start a session. Raises what hf_xet raises, and ImportError where it is missing or broken."""
    from hf_xet import XetConfig, XetSession

    session = XetSession(XetConfig().with_config(config["hf_xet"]))
    return session.new_download_stream_group(
        endpoint=config["endpoint"],
        token=config["token"],
        token_expiry_unix_secs=config["expires"],
        token_refresh_url=config["refresh_url"],
        token_refresh_headers=config["refresh_headers"],
    )


def main() -> None:
    """Serve until the parent exits."""
    with contextlib.suppress(AttributeError):  # where there is no prctl, it ends when it cannot send its next report
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config: ChildConfig = json.loads(sys.stdin.readline())
    control = socket.socket(fileno=config["control"])
    channels = [socket.socket(fileno=descriptor) for descriptor in config["channels"]]
    try:
        group = connect(config)
    except BaseException as error:  # noqa: BLE001 - a Rust panic is not an Exception
        control.sendall(json.dumps({"fatal": f"{type(error).__name__}: {error}"[:4000]}).encode() + b"\n")
        os._exit(1)
    for channel in channels:
        threading.Thread(target=serve, args=(group, channel), daemon=True).start()
    received = ReceivedBytes()
    with contextlib.suppress(OSError):
        while True:
            control.sendall(json.dumps({"received": received.count()}).encode() + b"\n")
            time.sleep(REPORT_EVERY)
    # A normal exit would wait for hf_xet's threads.
    os._exit(0)


if __name__ == "__main__":
    main()
