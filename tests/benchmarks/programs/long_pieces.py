"""The command, with the pieces that artifacts of 128 GiB and more have: these are all that a smaller one lacks."""

from __future__ import annotations

from downloader.__main__ import main
from downloader.shards import work

if __name__ == "__main__":
    work.PIECES = 1
    main()
