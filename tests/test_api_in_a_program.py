"""What calls of the Python API leave alone in the program that makes them: its libraries, threads and other runs."""

from __future__ import annotations

import _thread
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import huggingface_hub
import pytest

from downloader import Cancellation, Phase, download, list_files, verify
from downloader.errors import AccessDenied, Stalled
from tests.servers.blobs import Noise
from tests.servers.published import in_a_bucket, on_the_hub
from tests.waiting import eventually

if TYPE_CHECKING:
    from downloader import Snapshot
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

FILES = {"config.json": b"{}", "model.safetensors": Noise(2 << 20, seed=1).bytes()}
SLOW = 20_000
"""Bytes a second: no run with this limit ends by itself within a test."""


@pytest.fixture
def environ(hub: Hub) -> dict[str, str]:
    return dict(on_the_hub(hub, FILES).extra)


def threads_of_runs() -> list[str]:
    """Return all threads but those of the test's own servers, which have a number for a name, and of its pools."""
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if not name.startswith(("Thread-", "ThreadPool"))]


def children() -> list[str]:
    """Return the processes that this one has started."""
    tasks = Path("/proc/self/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]


def left_behind() -> tuple[list[str], list[str], int]:
    """Return the threads, the child processes, and the number of open files."""
    return threads_of_runs(), children(), len(list(Path("/proc/self/fd").iterdir()))


def test_the_hubs_own_library_is_as_the_program_left_it(hub: Hub, environ: dict[str, str]) -> None:
    session, telemetry = huggingface_hub.get_session(), huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
    list_files("hf://org/model", environ=environ)

    assert huggingface_hub.get_session() is session
    assert telemetry == huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
    assert sorted(huggingface_hub.HfApi(hub.endpoint, token=False).list_repo_files("org/model")) == sorted(FILES)


def test_keys_for_s3_are_not_taken_from_the_process_where_an_environment_is_given(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = uuid4().hex
    uri, keys = in_a_bucket(s3, bucket, FILES).uri, s3.environment()
    for name, value in {**keys, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    assert list_files(uri).count == len(FILES)

    with pytest.raises(AccessDenied, match="locate credentials"):
        list_files(uri, environ={"AWS_ENDPOINT_URL": s3.endpoint})


def test_ctrl_c_in_the_calling_thread_ends_the_run_and_leaves_nothing_behind(
    environ: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Over Xet, with its child process. The journal is closed: the next call goes on."""
    # A shell starts its background jobs with SIGINT ignored, and Python leaves it so.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(partial(signal.signal, signal.SIGINT, handler))
    before = left_behind()
    seen, pressed = list[Phase](), list[bool]()

    def interrupt(snapshot: Snapshot) -> None:
        seen.append(snapshot.phase)
        if snapshot.received_bytes and not pressed:
            pressed.append(True)
            _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        download("hf://org/model", tmp_path / "model", environ=environ, bandwidth=SLOW, on_progress=interrupt)

    # The test's own server is in this process, and closes its side of a connection a moment later.
    assert eventually(lambda: left_behind() == before)
    assert seen[-1] is Phase.FAILED
    assert download("hf://org/model", tmp_path / "model", environ=environ).count == len(FILES)


def test_a_deadline_ends_its_own_run_and_no_other_with_the_same_cancellation(
    environ: dict[str, str], tmp_path: Path
) -> None:
    shared = Cancellation()
    with pytest.raises(Stalled, match="deadline"):
        list_files("hf://org/model", environ=environ, cancellation=shared, deadline=0.000001)

    assert shared.reason is None
    assert download("hf://org/model", tmp_path / "model", environ=environ, cancellation=shared).count == len(FILES)


def test_one_cancellation_ends_all_runs_that_share_it(environ: dict[str, str], tmp_path: Path) -> None:
    shared, begun = Cancellation(), [threading.Event(), threading.Event()]

    def bring(number: int) -> None:
        download(
            "hf://org/model",
            tmp_path / str(number),
            environ=environ,
            bandwidth=SLOW,
            cancellation=shared,
            on_progress=lambda _: begun[number].set(),
        )

    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(bring, number) for number in range(2)]
        assert all(event.wait(60) for event in begun)
        shared.cancel()
        assert [type(run.exception()).__name__ for run in runs] == ["Cancelled", "Cancelled"]


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), GeneratorExit()])
def test_what_a_callback_raises_ends_neither_the_run_nor_the_watch_over_it(
    environ: dict[str, str], tmp_path: Path, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Snapshot) -> None:
        raise error

    with pytest.raises(Stalled):  # `ticker` is the thread that looks for stalls, and the one that calls back
        download(
            "hf://org/model",
            tmp_path / "stalled",
            environ=environ,
            bandwidth=100,
            stall_timeout=2,
            sequence="HTTP",
            on_progress=fail,
        )
    assert download("hf://org/model", tmp_path / "model", environ=environ, on_progress=fail).count == len(FILES)
    assert verify(tmp_path / "model", environ={}, on_progress=fail).damaged == ()
    assert "OnProgress" in caplog.text
