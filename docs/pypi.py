"""Makes docs/pypi.md of README.md: on PyPI there is no repository around it, so every link is absolute."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from downloader.version import __version__

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "pypi.md"
_HEAD = "<!-- Generated from README.md by `make docs`: what PyPI shows. -->\n\n"
_LINK = re.compile(r"(!?)(\[[^]]*\]\()([^)\s:#]+)(#[^)\s]*)?(\))")


def page(readme: str) -> str:
    """Return the page for a README. Raises ValueError if a link is of nothing in the repository."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    source, name = urls["Source"], urlsplit(urls["Source"]).path

    def absolute(found: re.Match[str]) -> str:
        picture, start, path, anchor, end = found.groups(default="")
        if not (ROOT / path).exists():
            raise ValueError(f"README.md links to {path}, which does not exist")
        # An image has to be the file itself, and not GitHub's page about it.
        place = f"https://raw.githubusercontent.com{name}/" if picture else f"{source}/blob/"
        return f"{picture}{start}{place}v{__version__}/{path}{anchor}{end}"

    return _HEAD + _LINK.sub(absolute, readme)
