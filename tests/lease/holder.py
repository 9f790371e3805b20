"""A process that holds the lease of a volume and does what it is told on stdin, one word a line.

`python -m tests.lease.holder TARGET TTL` answers each word with one line: `ok`, or the name of the error.
"""

from __future__ import annotations

import sys
from pathlib import Path

from downloader.artifact import Span
from downloader.errors import DownloadError
from downloader.volume import Volume
from tests.volume.artifacts import URI, commit, manifest_of, noise, sha256

PATH = "model.bin"
DATA = noise(6 << 20, 7)
HALF = 3 << 20


def main() -> None:
    volume = Volume(Path(sys.argv[1]), ttl=float(sys.argv[2]), journal_above=1 << 20)
    manifest = manifest_of({PATH: DATA})
    with volume.lease(URI):
        print("ok", flush=True)
        partial = volume.partial(manifest.files[0])

        def write(start: int, stop: int) -> None:
            partial.write(start, memoryview(bytearray(DATA[start:stop])))
            partial.complete(Span(start, stop))
            partial.flush()

        deeds = {
            "first half": lambda: write(0, HALF),
            "second half": lambda: write(HALF, len(DATA)),
            "commit": lambda: commit(volume, partial, DATA),
            "publish": lambda: volume.publish(manifest, {PATH: sha256(DATA)}),
        }
        for line in sys.stdin:
            try:
                deeds[line.strip()]()
                print("ok", flush=True)
            except DownloadError as error:
                print(type(error).__name__, flush=True)


if __name__ == "__main__":
    main()
