"""How hf_xet is set up, and what its errors mean."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import pytest

from downloader.deadlines import Deadlines
from downloader.errors import ProtocolDown, ProtocolFailed, SourceUnavailable
from downloader.sources import XetAccess
from downloader.transfer.xet.config import HIGH_PERFORMANCE_NEEDS, LARGE_MEMORY, MIB, SMALL_MEMORY, SPAN, XetSettings
from downloader.transfer.xet.errors import Unreachable, ended_early, map_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.errors import DownloadError
    from tests.servers.certificates import Authority

ACCESS = XetAccess("https://cas.test", "word", 99, "https://hub.test/token", {"authorization": "Bearer hf"})


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "hf"


def tuning(
    scratch: Path, environment: Mapping[str, str] | None = None, *, memory: int = 1024 * MIB, bundle: Path | None = None
) -> XetSettings:
    return XetSettings(memory, Deadlines.of(120.0), environment or {}, scratch, (bundle,) if bundle else ())


@pytest.mark.parametrize(
    ("memory", "streams", "buffers"),
    [
        (256 * MIB, 2, 32 * MIB),
        (SMALL_MEMORY - 1, 2, 32 * MIB),
        (SMALL_MEMORY, 4, 64 * MIB),
        (LARGE_MEMORY - 1, 4, 64 * MIB),
        (LARGE_MEMORY, 8, 128 * MIB),
        (1 << 40, 8, 128 * MIB),
    ],
)
def test_numbers_follow_the_memory(scratch: Path, memory: int, streams: int, buffers: int) -> None:
    tuned = tuning(scratch, memory=memory)
    assert (tuned.streams, tuned.buffers) == (streams, buffers)
    assert tuned.child_config(ACCESS)["hf_xet"]["reconstruction.download_buffer_limit"] == buffers


@pytest.mark.parametrize("memory", [512 * MIB, 1024 * MIB, 4096 * MIB])
def test_what_was_measured_of_the_child_fits_into_the_memory(scratch: Path, memory: int) -> None:
    tuned = tuning(scratch, memory=memory)
    assert 100 * MIB + tuned.buffers / 2 + 1.3 * tuned.streams * SPAN < memory / 2


@pytest.mark.parametrize("name", ["client.read_timeout", "reconstruction.download_buffer_size", "telemetry.enabled"])
def test_what_the_user_sets_is_left_to_the_user(scratch: Path, name: str) -> None:
    variable = "HF_XET_" + name.upper().replace(".", "_")
    assert name in tuning(scratch).child_config(ACCESS)["hf_xet"]
    assert name not in tuning(scratch, {variable: "5"}).child_config(ACCESS)["hf_xet"]
    with tuning(scratch, {"HF_XET_CLIENT_READ_TIMEOUT": "5"}).scratch() as environment:
        assert environment["HF_XET_CLIENT_READ_TIMEOUT"] == "5"


@pytest.mark.parametrize(("stall", "timeout"), [(1.0, "1s"), (30.0, "10s"), (120.0, "30s"), (1e6, "30s")])
def test_hf_xet_is_never_more_patient_than_we_are(scratch: Path, stall: float, timeout: str) -> None:
    config = XetSettings(1 << 30, Deadlines.of(stall), {}, scratch).child_config(ACCESS)["hf_xet"]
    assert config["client.read_timeout"] == timeout
    assert config["client.retry_max_attempts"] == 2


def test_the_child_config_has_everything_that_the_child_needs(scratch: Path) -> None:
    config = tuning(scratch).child_config(ACCESS)
    assert (config["endpoint"], config["token"], config["expires"]) == ("https://cas.test", "word", 99)
    assert config["refresh_headers"] == {"authorization": "Bearer hf"}
    assert config["hf_xet"]["telemetry.enabled"] is False
    assert config["hf_xet"]["chunk_cache.size_bytes"] == 0


@pytest.mark.parametrize("name", ["HF_XET_HIGH_PERFORMANCE", "HF_XET_HP"])
@pytest.mark.parametrize(("memory", "kept"), [(HIGH_PERFORMANCE_NEEDS - 1, False), (HIGH_PERFORMANCE_NEEDS, True)])
def test_high_performance_needs_its_memory(
    scratch: Path, caplog: pytest.LogCaptureFixture, name: str, memory: int, *, kept: bool
) -> None:
    with caplog.at_level(logging.INFO), tuning(scratch, {name: "1"}, memory=memory).scratch() as environment:
        assert (name in environment) is kept
    assert (f"ignoring {name}" in caplog.text) is not kept
    assert (f"{name}=1" in caplog.text) is kept


def test_the_child_sees_what_it_needs_and_no_credentials(scratch: Path) -> None:
    given = {
        "PATH": "/bin",
        "https_proxy": "http://proxy:1",
        "NO_PROXY": "a .b\tC,d",
        "HF_TOKEN": "hf_secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HF_XET_CACHE": "/somewhere/else",
        "HF_XET_LOG_DEST": "/var/log",
        "HF_XET_TELEMETRY_ENABLED": "1",
    }
    with tuning(scratch, given).scratch() as environment:
        folder = Path(environment["HF_XET_CACHE"])
        assert folder.is_dir()
        assert folder.parent == scratch
        assert environment == {
            "PATH": "/bin",
            "https_proxy": "http://proxy:1",
            "NO_PROXY": "a,.b,c,d",
            "HF_XET_CACHE": str(folder),
            "HF_XET_LOG_DEST": "/dev/null",
            "HF_XET_TELEMETRY_ENABLED": "0",
        }
    assert not folder.exists()


def test_scratch_is_gone_also_after_an_error(scratch: Path) -> None:
    with pytest.raises(KeyError), tuning(scratch).scratch():
        raise KeyError
    assert list(scratch.iterdir()) == []


def test_no_place_for_scratch_is_no_place_for_xet(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProtocolDown, match="HF_HOME") as caught, tuning(tmp_path / "file" / "hf").scratch():
        pass
    assert "scratch" in caught.value.message


@pytest.mark.parametrize("usual", ["of the system", "of the user", "not there"])
def test_a_ca_of_the_user_joins_the_usual_ones(
    scratch: Path, authority: Authority, tmp_path: Path, usual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = Path(certifi.where()).read_bytes()
    if usual != "of the system":
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "usual.pem"))
    if usual == "of the user":
        others = b"# f\xfcr alle\n" + authority.bundle.read_bytes()
        (tmp_path / "usual.pem").write_bytes(others)
    mine = tmp_path / "mine.pem"
    mine.write_bytes(b"# m\xfcne\n" + authority.bundle.read_bytes())
    with tuning(scratch, bundle=mine).scratch() as child:
        merged = Path(child["SSL_CERT_FILE"]).read_bytes()
    assert mine.read_bytes() in merged
    assert others.strip().splitlines()[-2] in merged
    assert merged.count(b"BEGIN CERTIFICATE") > 20


def test_without_a_ca_of_the_user_the_usual_ones_are_left_alone(scratch: Path) -> None:
    with tuning(scratch, {"SSL_CERT_FILE": "/etc/mine.pem"}).scratch() as environment:
        assert environment["SSL_CERT_FILE"] == "/etc/mine.pem"
    with tuning(scratch).scratch() as environment:
        assert "SSL_CERT_FILE" not in environment


RETRY, NEVER = SourceUnavailable, ProtocolFailed


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("Rate limited by server", RETRY, "asks for a pause"),
        ("HTTP status client error (429 Too Many Requests) for url (https://cas.test/v1)", RETRY, "cas.test asks"),
        ("HTTP status server error (503 Service Unavailable) for url (https://cas.test/v1)", RETRY, "HTTP 503"),
        ("HTTP status client error (401 Unauthorized) for url (https://cas.test/v1)", NEVER, "HTTP 401"),
        ("error sending request for url (https://cas.test/v1)", Unreachable, "cas.test cannot be reached"),
        ("error decoding response body", RETRY, "broke the connection"),
        ("unexpected end of file", RETRY, "broke the connection"),
        ("Data integrity error", NEVER, "damaged data"),
        ("Malformed xorb", NEVER, "damaged data"),
        ("expected 100 uncompressed bytes, got 50", NEVER, "other bytes"),
        ("Data sender was dropped", RETRY, "broke off"),
        ("something entirely new", NEVER, "something entirely new"),
    ],
)
def test_each_error_of_hf_xet_has_its_meaning(text: str, kind: type[DownloadError], words: str) -> None:
    error = map_text("model.bin", f"RuntimeError: {text}")
    assert type(error) is kind
    assert words in error.message
    assert error.message.startswith("model.bin: ")


def test_the_host_is_named_without_what_else_is_in_the_url() -> None:
    error = map_text("a", "HTTP status client error (403 Forbidden) for url (https://cas.test/x?X-Signature=secret)")
    assert "cas.test" in error.message
    assert "secret" not in error.message


def test_an_early_end_without_a_word_is_asked_about_again() -> None:
    assert type(ended_early("a", 5)) is SourceUnavailable
    assert "5 bytes too early" in ended_early("a", 5).message
