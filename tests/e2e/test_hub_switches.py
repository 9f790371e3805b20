"""The switches of the Hub's own tools, and settings that do nothing: obeyed, or told aloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.command import content, model, run
from tests.servers.process import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

FILES = {"config.json": b"{}", "sub/model.safetensors": bytes(range(256)) * 40}
OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize("revision", ["", "@main", "@{sha}", "@{sha}/sub"])
def test_offline_a_finished_volume_is_a_success_without_a_request(hub: Hub, tmp_path: Path, revision: str) -> None:
    sha = hub.create("org/model").commit(FILES)
    uri = f"hf://org/model{revision.format(sha=sha)}"
    here = {"HF_ENDPOINT": hub.endpoint}
    assert run("download", uri, tmp_path, extra=here).status == 0
    before = content(tmp_path)
    hub.log.clear()
    again = run("download", uri, tmp_path, extra={**here, **OFFLINE})
    assert again.status == 0, again.stderr
    assert content(tmp_path) == before
    assert hub.log.records() == []


@pytest.mark.parametrize("case", ["empty", "damaged", "other filters", "other revision", "size"])
def test_offline_anything_else_is_refused_without_a_request(hub: Hub, tmp_path: Path, case: str) -> None:
    repository = hub.create("org/model")
    repository.tag("v1", repository.commit(FILES))
    here = {"HF_ENDPOINT": hub.endpoint}
    if case != "empty":
        assert run("download", "hf://org/model", tmp_path, extra=here).status == 0
    if case == "damaged":
        (tmp_path / "config.json").write_bytes(b"[]")
    hub.log.clear()
    if case == "size":
        result = run("size", "hf://org/model", extra={**here, **OFFLINE})
    else:
        uri = "hf://org/model@v1" if case == "other revision" else "hf://org/model"
        filters = ["--exclude", "sub/"] if case == "other filters" else []
        result = run("download", uri, tmp_path, *filters, extra={**here, **OFFLINE})
    assert result.status == 78, result.stderr
    assert "HF_HUB_OFFLINE forbids asking for hf://org/model" in result.last_line
    assert "unset it, or TRANSFORMERS_OFFLINE" in result.last_line
    assert hub.log.records() == []


@pytest.mark.parametrize("asked", [None, "XET,HF_TRANSFER", "XET"])
def test_without_xet_no_token_for_it_is_asked_for(hub: Hub, tmp_path: Path, asked: str | None) -> None:
    hub.create("org/model").commit(FILES)
    extra = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1"}
    if asked is not None:
        extra["AIM_DOWNLOADER_PROTOCOL"] = asked
    result = run("download", "hf://org/model", tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    assert "1 of " in result.stderr
    assert ": XET" not in result.stderr
    assert hub.log.records("token") == []


@pytest.mark.parametrize("token", ["hf_alice-of-org", '"hf_alice-of-org"', "Bearer hf_alice-of-org"])
def test_a_token_is_understood_as_it_is_often_pasted(hub: Hub, tmp_path: Path, token: str) -> None:
    hub.create("org/model", private=True, members={"alice"}).commit(FILES)
    hub.tokens["hf_alice-of-org"] = "alice"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(token + "\n")
    for how in ({"HF_TOKEN": token}, {"HF_HOME": str(tmp_path / "home")}):
        result = run("size", "hf://org/model", extra={"HF_ENDPOINT": hub.endpoint, **how})
        assert result.status == 0, result.stderr
        assert "alice" not in result.stderr


def test_a_missing_token_is_told_with_the_places_where_it_was_looked_for(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model", gated=True).commit(FILES)
    extra = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)}
    result = run("size", "hf://org/model/config.json", extra=extra)
    assert result.status == 77, result.stderr
    assert f"set HF_TOKEN to a token with access; {tmp_path}/token has none" in result.last_line
    (tmp_path / "token").write_text("hf_ofAnUnknownUser")
    result = run("size", "hf://org/model/config.json", extra=extra)
    assert result.status == 77, result.stderr
    assert f"does not accept the token in {tmp_path}/token" in result.last_line


def test_settings_that_do_nothing_are_told(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    extra = {
        "HF_ENDPOINT": f" {hub.endpoint}/ ",
        "AIM_BANDWITH": "1M",
        "AIM_LOG_LEVEL": "verbose",
        "HF_TOKEN_PATH": str(tmp_path / "none"),
    }
    result = run("size", "hf://org/model", extra=extra)
    assert result.status == 0, result.stderr
    warnings = [line for line in result.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 3
    assert "is AIM_BANDWIDTH meant?" in result.stderr
    assert "AIM_LOG_LEVEL: 'verbose' is not one of" in result.stderr
    assert f"HF_TOKEN_PATH names {tmp_path / 'none'}, which is missing" in result.stderr


@pytest.mark.parametrize(("uri", "protocol"), [("hf://org/model", "S3"), ("s3://bucket/m", "XET,RANGES")])
def test_protocols_of_the_command_line_that_bring_nothing_of_the_source_are_refused(uri: str, protocol: str) -> None:
    result = run("download", uri, "/nonexistent", "--protocol", protocol)
    assert result.status == 64
    assert f"--protocol {protocol} does not apply to {uri[:5]}" in result.last_line


@pytest.mark.parametrize(
    "name", ["Text Encoder", "Text%20Encoder", "Text%20Encoder/gemma.bin", "\u6a21\u578b\u3000A", "100%25/a"]
)
@pytest.mark.parametrize("revision", ["", "@release%201", "@release 1", "@a%23b", "@a#b"])
def test_names_with_spaces_and_percent_encoding_can_be_named(
    hub: Hub, tmp_path: Path, name: str, revision: str
) -> None:
    files = {"Text Encoder/gemma.bin": b"g", "\u6a21\u578b\u3000A/x.bin": b"x", "100%/a": b"a", "README.md": b"r"}
    repository = hub.create("org/model")
    sha = repository.commit(files)
    repository.tag("release 1", sha)
    repository.tag("a#b", sha)
    repository.commit(dict.fromkeys(files, b"later")) if revision else None
    result = run("download", f"HF://org/model{revision}/{name}", tmp_path, extra={"HF_ENDPOINT": hub.endpoint})
    assert result.status == 0, result.stderr
    plain = name.replace("%20", " ").replace("%25", "%")
    assert model(tmp_path) == {path: body for path, body in files.items() if f"{path}/".startswith(f"{plain}/")}


@pytest.mark.parametrize(
    "uri", ["hf://org/model/%2e%2e/x", "hf://org/model/a%00b", "hf://org/model/%ff", "hf://org/model@%2E%2E/x"]
)
def test_what_percent_encoding_hides_is_judged_as_well(uri: str) -> None:
    result = run("size", uri, extra={"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}"})
    assert result.status == 64, result.stderr
