"""Carry TCP connections to a port of this machine, late and no faster than a link would: PORT DELAY RATE.

DELAY is seconds each way, RATE bytes per second each way, shared by all connections. Says on which port it listens.
Unlike a link it has neither loss nor slow start: for machines on which network devices cannot be created.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

_STEP = 64 << 10
_ON_THE_WAY = 256
"""Pieces of one connection that are under way at most: 16 MiB."""


class Direction:
    """One way over the link, for all connections."""

    def __init__(self, delay: float, rate: float) -> None:
        self._delay = delay
        self._rate = rate
        self._free = 0.0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry everything until the reader ends."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_ON_THE_WAY)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(reader, pieces))
            group.create_task(self._give(pieces, writer))

    async def _take(self, reader: asyncio.StreamReader, pieces: asyncio.Queue[tuple[float, bytes]]) -> None:
        now = asyncio.get_running_loop().time
        piece = b"-"
        while piece:
            with suppress(ConnectionError):
                piece = await reader.read(_STEP)
            self._free = max(self._free, now()) + len(piece) / self._rate
            await pieces.put((self._free + self._delay, piece))

    async def _give(self, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        with suppress(ConnectionError):
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due - now()))
                if not piece:
                    break
                writer.write(piece)
                await writer.drain()
        writer.close()


async def serve(port: int, delay: float, rate: float) -> None:
    there, back = Direction(delay, rate), Direction(delay, rate)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * delay)  # the handshake's round trip
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, limit=_STEP)
        await asyncio.gather(there.carry(reader, far_writer), back.carry(far_reader, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", 0, limit=_STEP)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
