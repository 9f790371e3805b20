"""Write so many small files: what the disk itself takes. Arguments: TARGET COUNT."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_SIZE = 20 << 10
"""Bytes of a file, as in the benchmark."""


def main(target: str, count: str) -> None:
    content = os.urandom(_SIZE)
    for number in range(int(count)):
        (Path(target) / f"small-{number:06}.bin").write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
