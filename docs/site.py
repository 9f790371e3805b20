"""MkDocs hooks: README and CONTRIBUTING are pages, and links to files outside `docs/` lead to the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(\]\()([^)\s:#]+)(#[^)\s]*)?(\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decision records in the navigation, so that a new one is a new file and nothing else."""
    records = [f"adr/{path.name}" for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))]
    for section in config.nav or []:
        for entry in section.get("Contribute", []):
            if "Decisions" in entry:
                entry["Decisions"] = ["adr/README.md", *records]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make pages of README.md and CONTRIBUTING.md, with links as seen from there."""
    for name, page in (("README.md", "index.md"), ("CONTRIBUTING.md", "contributing/README.md")):
        folder = posixpath.join("docs", posixpath.dirname(page))
        text = _LINK.sub(
            lambda found, folder=folder: f"{found[1]}{posixpath.relpath(found[2], folder)}{found[3] or ''}{found[4]}",
            (ROOT / name).read_text(),
        )
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Point links that leave `docs/` to the repository; fail on one to a file that does not exist."""

    def target(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), found[2]))
        if path.startswith("docs/"):
            return found[0]
        if not (ROOT / path).exists():
            raise PluginError(f"{page.file.src_uri} links to {found[2]}, which does not exist")
        return f"{found[1]}{config.repo_url}/blob/main/{path}{found[3] or ''}{found[4]}"

    return _LINK.sub(target, markdown)
