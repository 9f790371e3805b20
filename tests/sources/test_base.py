"""Optional abilities are found through wrappers, in one way."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import downloader
from downloader.sources import Presigning, Recalling, SourceWrapper, XetSource, ability
from downloader.sources.huggingface import HubSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.network import HttpClient
    from downloader.sources import Source
    from downloader.sources.s3 import S3Source
    from tests.servers.hub import Hub

    Maker = Callable[..., S3Source]

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDAKIDAKID", "AWS_SECRET_ACCESS_KEY": "secret"}
PACKAGE = Path(downloader.__file__).parent


def test_an_ability_is_found_through_all_wrappers(hub: Hub, plain_web: HttpClient, s3_source: Maker) -> None:
    repository = HubSource("hf://org/model", plain_web, endpoint=hub.endpoint, token="")
    bucket = s3_source("s3://bucket/m", KEYS)
    wrapped = SourceWrapper(SourceWrapper(repository))
    assert ability(wrapped, XetSource) is repository
    assert ability(wrapped, Recalling) is repository
    assert ability(wrapped, Presigning) is None
    assert ability(SourceWrapper(bucket), Presigning) is bucket
    assert ability(bucket, XetSource) is None


def test_a_wrapper_that_has_the_ability_itself_is_found_first(s3_source: Maker) -> None:
    class Watched(SourceWrapper):
        def presigned(self) -> Source:
            return SourceWrapper(self)

    watched = Watched(s3_source("s3://bucket/m", KEYS))
    assert ability(SourceWrapper(watched), Presigning) is watched


def test_no_other_code_asks_what_a_source_is() -> None:
    abilities = {"Presigning", "Recalling", "Moving", "XetSource", "SourceWrapper"}
    for path in PACKAGE.rglob("*.py"):
        if path == PACKAGE / "sources" / "base.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                named = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
                assert not named & abilities, f"{path}:{node.lineno}"
