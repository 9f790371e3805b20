"""Lines of JSON: valid, in plain ASCII, and classified by the operator as those of the text log are."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

from downloader.errors import Cancelled, Category, DownloadError, SourceNotFound, kind_of
from downloader.events import EVENTS, ProtocolSwitched
from downloader.log import set_up
from downloader.operator_log import json_last_line, json_text, last_line, neutralize_json
from downloader.redaction import Redactor
from tests.contract.operator_log import BOTH_STATES, filed
from tests.contract.test_vocabulary import CLASSES, HOSTILE, failures, hostile_texts

FACTS = {"schema": 1, "time": "2026-11-28T22:47:48.404Z", "level": "error", "exit_status": 65, "error": "X"}


@settings(deadline=None)
@given(hostile_texts, hostile_texts)
def test_a_line_matches_nothing_and_means_what_it_meant(first: str, second: str) -> None:
    value = {"path": first, "bytes": 404, "protocol": "S3", "count": 403, "message": second}
    line = neutralize_json(json_text(value))
    assert json.loads(line) == value
    assert line.isascii()
    for newest in BOTH_STATES:
        assert filed(line, newest=newest) is Category.OTHER


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(failures())
def test_the_last_line_is_filed_as_its_failure_is(error: DownloadError) -> None:
    line = json_last_line({**FACTS, "error": kind_of(error)}, error)
    assert last_line(error).startswith(json.loads(line)["message"])
    for newest in BOTH_STATES:
        assert filed(line, newest=newest) is error.category


@pytest.mark.parametrize("text", [*HOSTILE, "s3 \u0404", "file \u0404 not found", "401 Unauthorized hf.co"])
@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not Cancelled])
def test_every_failure_survives_every_known_trap(kind: type[DownloadError], text: str) -> None:
    error = kind(f"{text} is in the message", hint=text)
    line = json_last_line({**FACTS, "error": kind_of(error)}, error)
    assert json.loads(line)["exit_status"] == 65
    for newest in BOTH_STATES:
        assert filed(line, newest=newest) is error.category


def test_a_refinement_of_a_class_is_called_by_the_name_of_the_tree() -> None:
    refined = type("BucketMissing", (SourceNotFound,), {"__module__": "elsewhere"})
    assert kind_of(refined("x")) == "SourceNotFound"


def test_facts_and_message_are_redacted_and_stay_on_one_line() -> None:
    stream = io.StringIO()
    log = set_up(stream, Redactor("canary-secret"), "debug", "json")
    reason = "canary-secret\nand more"
    event = ProtocolSwitched(
        protocol="XET", place="a", next="HTTP", next_place="b", files=3, error="Stalled", reason=reason
    )
    error = ValueError("canary-secret\n\u2028")
    logging.getLogger("downloader.x").error("ä %s", "canary-secret", exc_info=error, extra=event.extra())
    log.restore()
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert "canary" not in line
    assert found["reason"] == r"***\nand more"
    assert found["message"].startswith("ä ***: ValueError: ***")
    assert list(found)[-1] == "message"
    assert found["traceback"][0].startswith("ValueError: ***")


def test_the_page_has_every_event_and_every_field() -> None:
    page = Path("docs/events.md").read_text()
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == [event.name for event in EVENTS]


def test_a_run_without_it_imports_no_encoder_for_it() -> None:
    code = "import sys, downloader.events; print([name for name in sys.modules if name in ('json', 'logging')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
