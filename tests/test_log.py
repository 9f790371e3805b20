from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest

from downloader.errors import Category
from downloader.log import FOREIGN, Log, set_up
from downloader.log_format import MAX_LENGTH
from downloader.redaction import Redactor
from tests.command import TIMEOUT
from tests.contract.operator_log import filed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = r"\d\d:\d\d:\d\dZ "

SetUp = tuple["Callable[[str], Log]", io.StringIO]


def fail(error: Exception) -> None:
    raise error


@pytest.fixture
def logging_to() -> Iterator[SetUp]:
    stream = io.StringIO()
    undo: list[Callable[[], None]] = []

    def start(level: str) -> Log:
        made = set_up(stream, Redactor("canary-secret"), level, for_operator=True)
        undo.append(made.restore)
        return made

    yield start, stream
    for restore in reversed(undo):
        restore()


def test_a_record_is_one_line_with_utc_time_and_level(logging_to: SetUp) -> None:
    start, stream = logging_to
    start("info")
    logging.getLogger("downloader.engine").info("listing %s", "hf://org/name\nfoo\x1b[31m")
    logging.getLogger("downloader.engine").debug("not shown")
    assert re.fullmatch(HEAD + r"info    listing hf://org/name\\nfoo\\x1b\[31m\n", stream.getvalue())


def test_foreign_records_are_shown_from_warning_on_under_their_library_s_name(logging_to: SetUp) -> None:
    start, stream = logging_to
    start("debug")
    for name in (*FOREIGN, "another.library"):
        logging.getLogger(name).info("GET /?X-Amz-Signature=abc")
        logging.getLogger(f"{name}.part").warning("a problem")
    lines = stream.getvalue().splitlines()
    assert [re.sub(HEAD, "", line) for line in lines] == [
        f"warning {name.partition('.')[0]}: a problem" for name in (*FOREIGN, "another.library")
    ]


def test_a_quieter_level_silences_others_as_well(logging_to: SetUp) -> None:
    start, stream = logging_to
    start("error")
    logging.getLogger("botocore").warning("a problem")
    logging.getLogger("downloader.engine").warning("a problem")
    logging.getLogger("botocore").error("worse")
    assert re.fullmatch(HEAD + "error   botocore: worse\n", stream.getvalue())


def test_no_line_is_filed_as_a_failure_and_none_holds_a_secret(logging_to: SetUp) -> None:
    start, stream = logging_to
    start("debug")
    try:
        fail(FileNotFoundError("model canary-secret was not found: 404"))
    except FileNotFoundError:
        logging.getLogger("downloader.x").exception("disk canary-secret is full")
    logging.getLogger("urllib3").warning("https://u:pw12@h/404 not found")
    assert filed(stream.getvalue(), newest=True) is Category.OTHER
    assert "canary" not in stream.getvalue()
    assert "pw12" not in stream.getvalue()


def test_people_read_words_as_they_are() -> None:
    stream = io.StringIO()
    log = set_up(stream, Redactor("canary-secret"))
    logging.getLogger("downloader.x").info("the file was not found: s3://b/403")
    log.restore()
    assert stream.getvalue().endswith(" info    the file was not found: s3://b/403\n")


def test_tracebacks_are_for_debug_only(logging_to: SetUp) -> None:
    start, stream = logging_to
    for level in ("info", "debug"):
        started = start(level)
        try:
            fail(ZeroDivisionError("a\nb"))
        except ZeroDivisionError:
            logging.getLogger("downloader.x").exception("a bug")
        started.restore()
    first, second, *trace = [re.sub(HEAD, "", line) for line in stream.getvalue().splitlines()]
    assert first == second == r"error   a bug: ZeroDivisionError: a\nb"
    assert trace[0] == "error   | Traceback (most recent call last):"
    assert trace[1].startswith('error   |   File "')
    assert trace[-2:] == ["error   | ZeroDivisionError: a", "error   | b"]


def test_a_record_that_cannot_be_formatted_is_shown_raw(logging_to: SetUp) -> None:
    start, stream = logging_to
    start("info")
    logging.getLogger("botocore").warning("%d files of %s", "many")  # noqa: PLE1206 - that is the point
    assert stream.getvalue().endswith("warning botocore: %d files of %s\n")


def test_a_long_record_is_cut(logging_to: SetUp) -> None:
    start, stream = logging_to
    start("info")
    logging.getLogger("botocore").warning("x" * 10 * MAX_LENGTH)
    assert len(stream.getvalue()) < MAX_LENGTH + 50
    assert stream.getvalue().endswith("x…\n")


def test_warnings_take_the_same_way(logging_to: SetUp) -> None:
    start, stream = logging_to
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        start("info")
        warnings.warn("the file was not found", UserWarning, stacklevel=1)
    assert re.fullmatch(HEAD + "warning UserWarning: the file was n·ot found\n", stream.getvalue())


def test_nothing_follows_the_last_line(logging_to: SetUp) -> None:
    start, stream = logging_to
    started = start("info")
    logging.getLogger("downloader").info("one")
    started.end("source not found (404): x")
    logging.getLogger("downloader").info("two")
    started.end("three")
    assert stream.getvalue().splitlines()[1:] == ["source not found (404): x"]


def test_a_last_line_may_come_after_silence(logging_to: SetUp) -> None:
    start, stream = logging_to
    started = start("info")
    started.end()
    logging.getLogger("downloader").info("one")
    started.end("failed: two")
    started.end("failed: three")
    assert stream.getvalue() == "failed: two\n"


def test_a_closed_stream_is_no_error(logging_to: SetUp) -> None:
    start, stream = logging_to
    start("info")
    stream.close()
    logging.getLogger("downloader").info("unheard")
    assert stream.closed


def test_restoring_leaves_nothing_behind() -> None:
    def state() -> list[object]:
        loggers = [logging.getLogger(name) for name in (None, "downloader", *FOREIGN)]
        hooks = [warnings.showwarning, sys.excepthook, sys.unraisablehook]
        return [hooks, [(logger.level, logger.propagate, tuple(logger.handlers)) for logger in loggers]]

    before = state()
    own = logging.NullHandler()
    logging.getLogger("boto3").addHandler(own)
    set_up(io.StringIO(), Redactor()).restore()
    assert own in logging.getLogger("boto3").handlers
    logging.getLogger("boto3").removeHandler(own)
    assert state() == before


ROWDY = """
import logging, sys, threading
from downloader.log import set_up
from downloader.redaction import Redactor

log = set_up(sys.stderr, Redactor("canary-secret"), for_operator=True)
import huggingface_hub.utils.logging as hub_logging
hub_logging.set_verbosity_debug()
hub_logging.get_logger("huggingface_hub.file_download").debug("the model was not found")
hub_logging.get_logger("huggingface_hub.file_download").warning("the model was not found")

def fail():
    raise FileNotFoundError("404 canary-secret")

class Careless:
    def __del__(self):
        fail()

thread = threading.Thread(target=fail, name="worker")
thread.start()
thread.join()
del thread
Careless()
fail()
"""


def test_uncaught_exceptions_and_late_handlers_write_filtered_lines_too() -> None:
    done = subprocess.run([sys.executable, "-c", ROWDY], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 1
    lines = [re.sub(HEAD, "", line) for line in done.stderr.splitlines()]
    assert lines[0] == "warning huggingface_hub: the model was n·ot found"
    assert lines[1] == "critical uncaught in thread worker: FileN·otFoundError: 404 ***"
    assert lines[2].startswith("warning ignored in <function Careless.__del__ at ")
    assert lines[3] == "critical uncaught: FileN·otFoundError: 404 ***"
    assert len(lines) == 4
    assert done.stdout == ""


EVERYTHING = """
import importlib, logging, pkgutil, sys
import downloader
from downloader.log import set_up
from downloader.redaction import Redactor

set_up(sys.stderr, Redactor())
for module in pkgutil.walk_packages(downloader.__path__, "downloader."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name, logger in logging.getLogger().manager.loggerDict.items():
    if [handler for handler in getattr(logger, "handlers", []) if not isinstance(handler, logging.NullHandler)]:
        print(name)
print(*sorted({"boto3", "botocore", "huggingface_hub", "kubernetes"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_no_library_writes_past_our_log() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert (done.stdout, done.stderr) == ("boto3 botocore huggingface_hub kubernetes\n", "")


def test_the_level_can_be_changed_later(logging_to: SetUp) -> None:
    start, stream = logging_to
    log = start("warning")
    logging.getLogger("downloader").info("one")
    log.set_level("debug")
    logging.getLogger("downloader").debug("two")
    logging.getLogger("boto3").info("three")
    log.set_level("error")
    logging.getLogger("downloader").warning("four")
    logging.getLogger("boto3").warning("five")
    assert [line.partition("Z ")[2] for line in stream.getvalue().splitlines()] == ["debug   two"]
