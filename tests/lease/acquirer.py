"""A process that takes the lease again and again: `python -m tests.lease.acquirer TARGET TIMES`.

The holder of the lease creates a file that must not be there. Exits 1 if it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from downloader.volume import Volume


def main() -> None:
    target = Path(sys.argv[1])
    for _ in range(int(sys.argv[2])):
        with Volume(target, ttl=20) as volume, volume.lease("hf://org/model"):
            alone = target / "alone"
            alone.touch(exist_ok=False)
            alone.unlink()


if __name__ == "__main__":
    main()
