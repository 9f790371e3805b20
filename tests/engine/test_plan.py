"""Which protocols are tried, and the two lists that everything hangs on: schemes and protocols."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import TransferProtocol
from downloader.cancellation import Cancellation
from downloader.config import Settings
from downloader.deadlines import Deadlines
from downloader.engine.plan import effective_sequence
from downloader.errors import UsageError
from downloader.filters import FileFilter
from downloader.network import HttpClient
from downloader.network.proxies import Proxies
from downloader.network.tls import Trust
from downloader.progress import ProgressMeter
from downloader.simulation.source import SimulatedSource
from downloader.sources.pause import SharedPause
from downloader.sources.registry import SCHEMES, ArtifactUri
from downloader.transfer.config import TransferConfig
from downloader.transfer.registry import TRANSPORTS, TransportFactory
from downloader.transfer.xet.config import XetSettings

if TYPE_CHECKING:
    from pathlib import Path

XET, RANGES, HTTP, S3 = TransferProtocol.XET, TransferProtocol.RANGES, TransferProtocol.HTTP, TransferProtocol.S3
FILE = TransferProtocol.FILE
EXAMPLES = {
    name: f"{name}://" + re.sub(r"\[.*?\]", "", scheme.form).partition("://")[2] for name, scheme in SCHEMES.items()
}
"""A URI of each scheme, made of what `--help` says of it."""


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ((), (RANGES, HTTP)),
        ((HTTP,), (HTTP,)),
        ((HTTP, RANGES), (HTTP, RANGES)),
        ((XET, XET, HTTP, S3, HTTP), (HTTP, HTTP)),
        ((XET, S3), (RANGES, HTTP)),
    ],
)
def test_what_fits_is_tried_as_often_as_it_is_named(
    configured: tuple[TransferProtocol, ...], expected: tuple[TransferProtocol, ...]
) -> None:
    assert effective_sequence(configured, frozenset({RANGES, HTTP}), (RANGES, HTTP)) == expected


@pytest.mark.parametrize("name", SCHEMES)
def test_the_defaults_of_a_scheme_fit_it_and_end_with_the_most_compatible(name: str) -> None:
    scheme = SCHEMES[name]
    assert scheme.default
    assert set(scheme.default) <= scheme.fitting
    assert scheme.default[-1] is HTTP or scheme.fitting == {FILE}
    assert len(set(scheme.default)) == len(scheme.default)


def test_every_protocol_has_a_transport_and_fits_some_scheme() -> None:
    assert TRANSPORTS.keys() == set(TransferProtocol)
    assert set[TransferProtocol]().union(*(scheme.fitting for scheme in SCHEMES.values())) == set(TransferProtocol)


@pytest.mark.parametrize("protocol", TransferProtocol)
def test_each_transport_can_be_made(protocol: TransferProtocol, tmp_path: Path) -> None:
    tuning = XetSettings(1 << 30, Deadlines.of(120), {}, tmp_path)
    meter = ProgressMeter()
    woken: list[str] = []
    source = SimulatedSource("hf://org/model", 10)
    transport_factory = TransportFactory(
        source,
        meter,
        TransferConfig.of(2),
        Deadlines.of(100),
        tuning,
        lambda: woken.append("woken"),
        SharedPause(meter.clock),
    )
    assert callable(transport_factory.make(protocol, Cancellation()).fetch)


@pytest.mark.parametrize("name", SCHEMES)
def test_each_scheme_makes_a_source(name: str) -> None:
    web = HttpClient(Trust(verify=False), Proxies(), user_agent="tests")
    source = ArtifactUri.parse(EXAMPLES[name]).source(Settings(), web, FileFilter())
    assert callable(source.manifest)
    source.close()
    web.close()


@pytest.mark.parametrize("uri", ["", "hf:", "model", "://x", "gopher://bucket/x"])
def test_anything_else_is_no_artifact(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        ArtifactUri.parse(uri)
    assert "hf://" in caught.value.hint


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("hf://a/b\nc", "a character that cannot be shown"),
        ("s3://bucket/\x1b[31m", "a character that cannot be shown"),
        ("hf://a/b\u200b", "a character that cannot be shown"),
    ],
)
def test_a_uri_with_characters_of_no_name_is_told_so(uri: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        ArtifactUri.parse(uri)
    assert hint in caught.value.hint


@pytest.mark.parametrize("uri", ["hf://org/model/Text Encoder", "s3://bucket/a b", "http://host/\u6a21\u578b\u3000A"])
def test_a_name_may_have_spaces_of_any_width(uri: str) -> None:
    assert ArtifactUri.parse(uri)


@pytest.mark.parametrize("uri", ["HF://Org/Model", "S3://Bucket/Key", "HTTPS://Host/File"])
def test_a_scheme_means_the_same_in_any_case_and_nothing_else_does(uri: str) -> None:
    scheme, _, rest = uri.partition("://")
    assert ArtifactUri.parse(uri).text == f"{scheme.lower()}://{rest}"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_with_nothing_behind_it_is_told_what_is_missing(scheme: str) -> None:
    uri, web = f"{scheme}://", HttpClient(Trust(), Proxies(), user_agent="tests")
    with pytest.raises(UsageError, match=r"names? (no|a)") as caught:
        ArtifactUri.parse(uri).source(Settings(), web, FileFilter())
    assert "write " in caught.value.hint
    web.close()


def test_a_wrong_uri_is_quoted_without_its_secrets() -> None:
    with pytest.raises(UsageError) as caught:
        ArtifactUri.parse("gopher://me:sesame@bucket/x?signature=secret")
    assert "sesame" not in str(caught.value)
    assert "secret" not in str(caught.value)
