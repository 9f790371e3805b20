"""A blocking socket: many bytes in one call, and no wait that is longer than its timeout."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from downloader.network.pool import interrupt
from downloader.network.sockets import BlockingSocket
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER = 0.2
"""Seconds that are waited for what does not come."""
SOON = 0.05
"""Seconds that are waited for more than has come."""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets: ours and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            yield ours, theirs


def space(size: int) -> memoryview:
    return memoryview(bytearray(size))


def test_many_small_parts_are_one_read(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    # So long that only the number of bytes can end the read.
    link, view = BlockingSocket(ours, timeout=2 * AT_LAST, gather=AT_LAST), space(100_000)

    def send() -> None:
        for _ in range(1000):
            theirs.sendall(b"x" * 100)

    sender = threading.Thread(target=send)
    sender.start()
    assert link.gather_into(view) == len(view)
    sender.join()


def test_what_has_arrived_is_handed_on_where_the_rest_is_late(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    link, view = BlockingSocket(ours, timeout=AT_LAST, gather=SOON), space(100)
    theirs.sendall(b"some")
    assert link.gather_into(view) == 4
    theirs.sendall(b"more")
    assert link.recv_into(view) == 4
    assert bytes(view[:4]) == b"more"


@pytest.mark.parametrize("gather", [False, True])
def test_bytes_that_come_late_are_waited_for(ends: tuple[socket.socket, socket.socket], *, gather: bool) -> None:
    ours, theirs = ends
    link = BlockingSocket(ours, timeout=AT_LAST, gather=SOON)
    timer = threading.Timer(3 * SOON, theirs.sendall, [b"late"])
    timer.start()
    assert (link.gather_into if gather else link.recv_into)(space(4)) == 4
    timer.join()


@pytest.mark.parametrize("gather", [False, True])
def test_silence_ends_with_the_time(ends: tuple[socket.socket, socket.socket], *, gather: bool) -> None:
    link = BlockingSocket(ends[0], timeout=NEVER, gather=SOON)
    with pytest.raises(TimeoutError):
        (link.gather_into if gather else link.recv_into)(space(4))
    link.timeout = NEVER / 2
    with pytest.raises(TimeoutError):
        link.recv_into(space(4))


def test_a_peer_that_does_not_read_ends_the_sending(ends: tuple[socket.socket, socket.socket]) -> None:
    link = BlockingSocket(ends[0], timeout=NEVER, gather=SOON)
    with pytest.raises(TimeoutError):
        link.sendall(bytes(64 << 20))


def test_the_end_of_a_connection_ends_a_read_with_what_came_before(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    link, view = BlockingSocket(ours, timeout=AT_LAST, gather=SOON), space(100)
    theirs.sendall(b"last")
    theirs.close()
    assert link.gather_into(view) == 4
    assert link.gather_into(view) == 0


def test_a_read_that_waits_can_be_interrupted(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    link = BlockingSocket(ours, timeout=4 * AT_LAST, gather=2 * AT_LAST)
    theirs.sendall(b"x")
    timer = threading.Timer(NEVER, interrupt, [ours])
    timer.start()
    assert link.gather_into(space(100)) <= 1
    assert link.gather_into(space(100)) == 0
    timer.join()
