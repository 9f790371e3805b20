"""The emulated links: late, shaped, and without other bytes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.link import SERVER, LinkError, ShapedLink, TcpRelay
from tests.benchmarks.programs.packet_relay import Direction
from tests.needs import PRIVILEGES

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKET = b"x" * 1000


class Wires:
    """Two ends of one way, that keep packets apart."""

    def __init__(self) -> None:
        (self.sender, entrance), (way_out, self.receiver) = (
            socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)
        )
        self.ends = (self.sender, entrance, way_out, self.receiver)
        for end in self.ends:
            end.setblocking(False)
        self.way = Direction(entrance.fileno(), way_out.fileno(), delay=0.02, rate=1e6)

    def received(self) -> int:
        """Return how many packets have come out since it was asked last."""
        count = 0
        try:
            while self.receiver.recv(1 << 16):
                count += 1
        except BlockingIOError:
            return count
        return count


@pytest.fixture
def wires() -> Iterator[Wires]:
    wires = Wires()
    yield wires
    for end in wires.ends:
        end.close()


def test_a_packet_is_held_for_its_delay_and_its_time_on_the_link(wires: Wires) -> None:
    wires.sender.send(PACKET)
    wires.way.take(100.0)
    assert wires.way.give(100.0) == pytest.approx(0.021)
    assert wires.received() == 0
    wires.way.give(100.022)
    assert wires.received() == 1


def test_packets_follow_each_other_no_faster_than_the_link_allows(wires: Wires) -> None:
    for _ in range(3):
        wires.sender.send(PACKET)
    wires.way.take(100.0)
    arrived = []
    for moment in (100.0215, 100.0225, 100.0235):
        wires.way.give(moment)
        arrived.append(wires.received())
    assert arrived == [1, 1, 1]


def test_packets_that_would_wait_too_long_are_lost(wires: Wires) -> None:
    for _ in range(100):  # at one and the same moment, so the queue only grows
        wires.sender.send(PACKET)
        wires.way.take(100.0)
    arrived = 0
    for milliseconds in range(200):
        wires.way.give(100 + milliseconds / 1000)
        arrived += wires.received()
    assert arrived in {50, 51}  # 50 ms of the link's time


def test_a_device_that_is_down_takes_nothing_and_breaks_nothing(wires: Wires) -> None:
    wires.sender.send(PACKET)
    wires.way.take(100.0)
    wires.receiver.close()
    assert wires.way.give(101.0) == 1.0


@contextmanager
def echo() -> Iterator[int]:
    """Answer one connection with what it says; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_a_connection_through_the_relay_is_late_and_brings_the_same_bytes() -> None:
    content = os.urandom(300_000)
    with echo() as port, TcpRelay(port, 0.05, 1e8) as relay:
        host, _, relayed = relay.host.partition(":")
        began = time.monotonic()
        with socket.create_connection((host, int(relayed))) as connection:
            connection.sendall(content)
            first = connection.recv(1)
            took = time.monotonic() - began
            connection.shutdown(socket.SHUT_WR)
            rest = connection.makefile("rb").read()
    assert took >= 0.2  # the handshake's round trip and that of the first byte
    assert first + rest == content


READ = "import socket, sys; print(len(socket.create_connection((sys.argv[1], int(sys.argv[2]))).makefile('rb').read()))"


@pytest.mark.root
def test_each_of_two_shaped_links_carries_the_servers_bytes_no_faster_than_its_rate() -> None:
    size = 2_000_000
    try:
        with ShapedLink(0, 8) as one, ShapedLink(1, 8) as other, socket.create_server((SERVER, 0)) as listener:
            began = time.monotonic()
            command = [sys.executable, "-c", READ, SERVER, str(listener.getsockname()[1])]
            readers = [
                subprocess.Popen([*link.prefix, *command], stdout=subprocess.PIPE, text=True) for link in (one, other)
            ]

            def send(connection: socket.socket) -> None:
                with connection:
                    connection.sendall(bytes(size))

            senders = [threading.Thread(target=send, args=[listener.accept()[0]]) for _ in readers]
            for sender in senders:
                sender.start()
            assert [int(reader.communicate()[0]) for reader in readers] == [size, size]
            took = time.monotonic() - began
            for sender in senders:
                sender.join()
    except LinkError as error:
        pytest.skip(f"{error}: tests/prepare peers, and {PRIVILEGES}")
    assert took > 1.5  # of 2 s; a burst of 256 KiB passes at once
