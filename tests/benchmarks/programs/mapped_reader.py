"""Touch every byte of safetensors files as an inference engine does that loads them: threads copy from maps.

Arguments: THREADS FILE... Prints the seconds that it took, without the start of Python.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

_PIECE = 8 << 20
"""Bytes of a buffer that a tensor is copied through, as to pinned memory."""
_HERE = local()


def copy(address: int, size: int) -> None:
    """Copy memory to a buffer of this thread. Without the interpreter's lock: ctypes releases it."""
    if not hasattr(_HERE, "buffer"):
        _HERE.buffer = ctypes.create_string_buffer(_PIECE)
    for start in range(0, size, _PIECE):
        ctypes.memmove(_HERE.buffer, address + start, min(_PIECE, size - start))


def main(threads: str, *paths: str) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(int(threads)) as pool:
        maps = []
        for path in paths:
            with Path(path).open("rb") as file:
                maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        waiting = []
        for one in maps:
            length = int.from_bytes(one[:8], "little")
            base = ctypes.addressof(ctypes.c_char.from_buffer(one)) + 8 + length
            header = json.loads(one[8 : 8 + length])
            spans = (tensor["data_offsets"] for tensor in header.values())
            waiting += [pool.submit(copy, base + start, stop - start) for start, stop in spans]
        for future in waiting:
            future.result()
    print(time.monotonic() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
