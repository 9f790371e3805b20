"""`python -m downloader` and `artifact-downloader`."""

from __future__ import annotations

import os
import sys

from downloader.cli.commands import main as run
from downloader.cli.session import leave


def main() -> None:
    """Run the command line of this process and end it with the command's status."""
    status, abandoned = run(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
    if abandoned:
        leave(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
