"""Download with hf_transfer, cut as huggingface_hub cut it: a file of lines `URL PATH`."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hf_transfer

_PIECE = 10 << 20
_FILES = 8
"""Files at once."""


def main(listing: str, connections: str) -> None:
    pairs = [line.split(" ", 1) for line in Path(listing).read_text().splitlines()]
    each = max(1, int(connections) // min(_FILES, len(pairs)))
    with ThreadPoolExecutor(min(_FILES, int(connections))) as pool:
        list(pool.map(lambda pair: hf_transfer.download(pair[0], pair[1], each, _PIECE), pairs))


if __name__ == "__main__":
    main(*sys.argv[1:])
