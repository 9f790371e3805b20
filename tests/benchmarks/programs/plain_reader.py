"""The floor to build on: standard library, threads, no retry, no journal.

Arguments: TARGET URL [sha256|plain|discard].

`sha256` hashes every byte, each range by itself: what hashing costs, without asking how it fits into a download.
`discard` writes nothing: what a link carries.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

_THREADS = 8
_STEP = 1 << 20


def main(target: str, url: str, manner: str = "plain") -> None:
    place = urlsplit(url)
    head = http.client.HTTPConnection(place.netloc)
    head.request("HEAD", place.path)
    size = int(head.getresponse().headers["Content-Length"])
    handle = os.open(f"{target}/{place.path.rpartition('/')[2]}", os.O_WRONLY | os.O_CREAT)

    def read(number: int) -> None:
        start, stop = size * number // _THREADS, size * (number + 1) // _THREADS
        connection = http.client.HTTPConnection(place.netloc)
        connection.request("GET", place.path, headers={"Range": f"bytes={start}-{stop - 1}"})
        answer = connection.getresponse()
        digest, buffer = hashlib.sha256(), memoryview(bytearray(_STEP))
        while count := answer.readinto(buffer):
            if manner == "sha256":
                digest.update(buffer[:count])
            if manner != "discard":
                os.pwrite(handle, buffer[:count], start)
            start += count
        if start != stop:
            raise EOFError(f"{stop - start} bytes are missing")

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(read, range(_THREADS)))
    os.close(handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
