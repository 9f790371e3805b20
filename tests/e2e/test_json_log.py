"""`--log-format json` of the installed command: every line is an object of the schema, whatever happens."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from downloader.errors import Category
from downloader.events import EVENTS
from tests.command import PEOPLE, finish, model, run, run_until, start
from tests.contract.operator_log import BOTH_STATES, filed
from tests.e2e.canaries import ENDINGS, TOKEN, Mine
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Silence, Stall
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.command import Result
    from tests.servers.hub import Hub

MIB = 1 << 20
FILES = {"config.json": b"{}", "model-00403-of-00404.safetensors": Noise(9 * MIB, seed=61).bytes()}
SCHEMA = json.loads(Path("docs/schemas/events-1.json").read_text())
JSON = {"AIM_LOG_FORMAT": "json"}


def lines(result: Result) -> list[dict[str, Any]]:
    """Return the lines of the log, each of which must be as the schema says."""
    found = [json.loads(line) for line in result.stderr.splitlines()]
    for line in found:
        jsonschema.validate(line, SCHEMA)
    return found


def events(result: Result) -> list[str]:
    return [line["event"] for line in lines(result) if "event" in line and line["event"] != "progress"]


def of(result: Result, event: str) -> dict[str, Any]:
    (found,) = (line for line in lines(result) if line.get("event") == event)
    return found


def test_a_run_is_told_from_its_start_to_its_exit_status(hub: Hub, tmp_path: Path) -> None:
    commit = hub.create("org/model").commit(FILES)
    extra = {"HF_ENDPOINT": hub.endpoint, **PEOPLE}
    result = run("download", "hf://org/model", tmp_path / "t", "--log-format", "json", extra=extra)
    assert result.status == 0, result.stderr
    assert events(result) == ["run_started", "listed", "attempt_started", "verified", "finished"]
    size = sum(map(len, FILES.values()))
    assert of(result, "run_started").items() >= {"uri": "hf://org/model", "target": f"{tmp_path}/t"}.items()
    assert of(result, "listed").items() >= {"files": 2, "bytes": size}.items()
    assert of(result, "attempt_started").items() >= {"protocol": "XET", "attempt": 1, "attempts": 3, "files": 2}.items()
    assert of(result, "verified").items() >= {"revision": commit, "bytes": size}.items()
    last = json.loads(result.last_line)
    assert last.items() >= {"event": "finished", "exit_status": 0, "files": 2, "bytes": size}.items()
    assert [line for line in lines(result) if line.get("event") == "progress" and line["phase"] == "downloading"]


def test_each_file_is_told_at_the_level_debug(stocked: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, **JSON}
    result = run("download", "hf://org/model", tmp_path / "t", "--log-level", "debug", extra=extra)
    committed = [line for line in lines(result) if line.get("event") == "file_committed"]
    assert {line["path"]: line["size"] for line in committed} == {path: len(data) for path, data in FILES.items()}
    assert {line["verified_by"] for line in committed} == {"sha256", "git-sha1"}


def test_a_switch_of_the_protocol_says_from_what_to_what_and_why(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Answer(500), route="token", times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "STALL_TIMEOUT": "3", **JSON}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    switched = of(result, "protocol_switched")
    assert switched.items() >= {"protocol": "XET", "next": "HTTP", "level": "warning"}.items()
    assert switched["error"] in ("SourceUnavailable", "ProtocolDown", "ProtocolFailed")
    assert switched["reason"] in switched["message"]
    assert events(result).count("attempt_started") == 2


FAILURES: dict[str, tuple[list[str], dict[str, str], int, str, Category]] = {
    "no such repository": (["hf://org/nothing"], {}, 66, "SourceNotFound", Category.NOT_FOUND),
    "no right": (["hf://org/gated"], {}, 77, "AccessDenied", Category.DENIED),
    "a bad variable": (["hf://org/model"], {"AIM_BANDWIDTH": "fast"}, 78, "ConfigurationError", Category.OTHER),
    "a bad URI": (["ftp://host/x"], {}, 64, "UsageError", Category.OTHER),
    "a bad option": (["hf://org/model", "--no-such-option"], {}, 64, "UsageError", Category.OTHER),
    "no URI": ([], {}, 64, "UsageError", Category.OTHER),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_is_the_last_line_in_its_own_category(how: str, stocked: Hub, tmp_path: Path) -> None:
    arguments, extra, status, error, category = FAILURES[how]
    stocked.create("org/gated", gated=True, members={"bob"}).commit(FILES)
    own = {"HF_ENDPOINT": stocked.endpoint, "HF_TOKEN": TOKEN, "TARGET_DIR": str(tmp_path / "t"), **extra}
    result = run("download", *arguments, "--log-format=json", extra=own)
    assert result.status == status, result.stderr
    last = lines(result)[-1]
    assert last.items() >= {"event": "failed", "level": "error", "exit_status": status, "error": error}.items()
    assert [line.get("event") for line in lines(result)].count("failed") == 1
    for newest in BOTH_STATES:
        assert filed(result.stderr, newest=newest) is category


def test_names_that_look_like_a_failure_keep_their_words_and_are_not_filed(stocked: Hub, tmp_path: Path) -> None:
    """A log of `s3` and `403` in one line is a refused login for the operator."""
    target = tmp_path / "model s3 403 not found 404"
    stocked.faults.add(Stall(after=0), route="cdn", times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP", **JSON}
    result = run_until(75, "download", "hf://org/model", target, extra=extra)
    assert result.status == 75, result.stderr
    assert of(result, "run_started")["target"] == str(target)
    assert "s\\u0033 403" in result.stderr
    for newest in BOTH_STATES:
        assert filed(result.stderr, newest=newest) is Category.OTHER


def test_a_terminal_s_progress_line_and_help_stay_out_of_it(tmp_path: Path) -> None:
    result = run(extra={"TARGET_DIR": str(tmp_path), **JSON})
    assert result.status == 64
    assert [line["message"].partition(":")[0] for line in lines(result)] == ["exit status 64", "failed"]


def test_a_signal_is_told_like_any_other_failure(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Silence(), route="tree", times=FOREVER)
    process = start("download", "hf://org/model", tmp_path / "t", extra={"HF_ENDPOINT": stocked.endpoint, **JSON})
    assert eventually(lambda: bool(stocked.log.records("tree")))
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.status == 143
    assert lines(result)[-1].items() >= {"event": "failed", "exit_status": 143, "error": "Cancelled"}.items()


def test_an_unknown_format_is_text_with_a_warning(stocked: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_LOG_FORMAT": "xml"}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0
    assert "AIM_LOG_FORMAT: 'xml' is not one of text, json" in result.stderr
    assert "{" not in result.stderr


def test_the_text_log_has_no_word_of_the_events(stocked: Hub, tmp_path: Path) -> None:
    result = run("download", "hf://org/model", tmp_path / "t", extra={"HF_ENDPOINT": stocked.endpoint})
    assert not [event.name for event in EVENTS if "_" in event.name and event.name in result.stderr]
    assert "downloading hf://org/model to" not in result.stderr


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_secret_is_in_a_line_of_json(ending: str, stocked: Hub, mine: Mine) -> None:
    result, leaks = mine.download(stocked, ending, JSON)
    assert lines(result)
    assert leaks == []
