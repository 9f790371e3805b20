"""Filters choose before names are judged: what is left out may have any name, and is never requested."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.errors import ConfigurationError, SourceNotFound
from downloader.filters import FileFilter
from downloader.sources.http import HttpSource
from downloader.sources.huggingface import HubSource

if TYPE_CHECKING:
    from downloader.network import HttpClient
    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub

GOOD, ODD = "config.json", ".downloading/old"
LEFT_OUT = FileFilter(exclude=(".downloading/",))


def test_on_the_hub(hub: Hub, plain_web: HttpClient) -> None:
    hub.create("org/model").commit({GOOD: b"{}", ODD: b"odd"})

    def listed(file_filter: FileFilter) -> list[str]:
        source = HubSource("hf://org/model", plain_web, endpoint=hub.endpoint, token="", file_filter=file_filter)
        return [file.path for file in file_filter.of(source.manifest()).files]

    with pytest.raises(ConfigurationError, match="refused"):
        listed(FileFilter())
    assert listed(LEFT_OUT) == [GOOD]


def test_on_a_web_server(own_web: BrokenWeb, plain_web: HttpClient) -> None:
    url = own_web.put("model/SHA256SUMS", "".join(f"{'0' * 64}  {path}\n" for path in (GOOD, ODD)).encode())
    own_web.put(f"model/{GOOD}", b"{}")

    def listed(file_filter: FileFilter) -> list[str]:
        source = HttpSource(url.removesuffix("SHA256SUMS"), plain_web, {}, file_filter=file_filter)
        return [file.path for file in source.manifest().files]

    with pytest.raises(ConfigurationError, match="refused"):
        listed(FileFilter())
    assert listed(LEFT_OUT) == [GOOD]
    assert not own_web.log.records(path=f"*/{ODD}")
    with pytest.raises(SourceNotFound, match="passes the filters"):
        listed(FileFilter(("nothing",)))
