"""The Python API against real servers: results, progress, cancellation, errors, and several runs in one process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

import downloader
from downloader import (
    Cancellation,
    DownloadError,
    Options,
    Phase,
    Preset,
    RunReport,
    download,
    list_files,
    plan,
    size,
    verify,
)
from downloader.config.formats import FormatSettings
from downloader.config.job import JobSettings
from downloader.config.reporting import ReportingSettings
from downloader.config.sharing import SharingSettings
from downloader.config.signing import SignatureSettings
from downloader.errors import Cancelled, ConfigurationError, IntegrityError, SourceNotFound, UsageError
from downloader.integrity import artifact_digest
from tests.servers.published import checksums, in_a_bucket, on_the_hub

if TYPE_CHECKING:
    from downloader import Snapshot
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 800, "sub/tokenizer.json": b"[1]" * 1000}


@pytest.fixture
def environ(hub: Hub) -> dict[str, str]:
    return dict(on_the_hub(hub, FILES).extra)


def test_a_download_returns_the_files_and_what_verified_them(environ: dict[str, str], tmp_path: Path) -> None:
    artifact = download("hf://org/model", tmp_path / "model", environ=environ)

    assert {path: (tmp_path / "model" / path).read_bytes() for path in FILES} == FILES
    assert {file.path: file.sha256 for file in artifact.files} == {
        path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()
    }
    assert {file.verified_by for file in artifact.files} == {"sha256", "git-sha1"}
    assert artifact.size == sum(map(len, FILES.values()))
    assert artifact.revision


def test_a_listing_downloads_nothing_and_is_filtered(environ: dict[str, str]) -> None:
    everything = list_files("hf://org/model", environ=environ)
    some = list_files("hf://org/model", environ=environ, include=("*.json",), exclude=("sub/*",))

    assert [file.path for file in everything.files] == sorted(FILES)
    assert [file.path for file in some.files] == ["config.json"]
    assert size("hf://org/model", environ=environ, exclude=("*.safetensors",)) == 3002


def test_a_plan_says_what_a_download_would_do_and_changes_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "model"
    preview = plan("hf://org/model", target, environ=environ)
    assert preview.would_start
    assert not preview.complete
    assert preview.fetch == preview.size == sum(map(len, FILES.values()))
    assert not target.exists()

    download("hf://org/model", target, environ=environ)
    (target / "config.json").unlink()
    preview = plan("hf://org/model", target, environ=environ)
    assert [file.path for file in preview.files if file.fetch] == ["config.json"]
    assert not (target / "config.json").exists()
    with pytest.raises(SourceNotFound):
        plan("hf://org/other", target, environ=environ)


def test_progress_is_called_up_to_the_end(environ: dict[str, str], tmp_path: Path) -> None:
    seen: list[Snapshot] = []
    download("hf://org/model", tmp_path / "model", environ=environ, on_progress=seen.append)

    assert seen[-1].phase is Phase.DONE
    assert seen[-1].done_files == len(FILES)


def test_a_report_has_the_files_and_attempts_of_a_run_also_of_one_that_fails(
    environ: dict[str, str], tmp_path: Path
) -> None:
    seen: list[RunReport] = []
    download("hf://org/model", tmp_path / "model", environ=environ, on_report=seen.append)
    with pytest.raises(SourceNotFound):
        download("hf://org/other", tmp_path / "model", environ=environ, on_report=seen.append)

    done, missing = seen
    assert {file.path: file.state for file in done.files()} == dict.fromkeys(FILES, "fetched")
    assert [attempt.files_left for attempt in done.attempts][-1] == 0
    assert (done.exit_status, missing.exit_status) == (0, 66)
    assert list(missing.files()) == []


def test_files_for_programs_are_written_as_by_the_command_line(environ: dict[str, str], tmp_path: Path) -> None:
    report, metrics = tmp_path / "r.json", tmp_path / "m.prom"
    download("hf://org/model", tmp_path / "model", environ=environ, report=report, metrics_file=metrics)

    assert json.loads(report.read_text())["outcome"]["success"] is True
    assert "artifact_downloader_success{" in metrics.read_text()


def test_a_damaged_file_is_in_the_result_of_verify(environ: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "model"
    download("hf://org/model", target, environ=environ)
    assert verify(target, environ={}).damaged == ()

    (target / "config.json").write_bytes(b"[]")
    assert [damage.path for damage in verify(target, environ={}).damaged] == ["config.json"]


def test_errors_are_those_of_the_command_line(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        download("hf://org/other", tmp_path / "model", environ=environ)
    with pytest.raises(UsageError):
        list_files("ftp://host/file", environ={})
    with pytest.raises(ConfigurationError):
        list_files("hf://org/model", environ={"AIM_BANDWIDTH": "fast"})
    with pytest.raises(IntegrityError):
        verify(tmp_path, environ={})


def test_another_thread_cancels_and_the_next_call_resumes(environ: dict[str, str], tmp_path: Path) -> None:
    cancellation = Cancellation()

    def stop(snapshot: Snapshot) -> None:
        if snapshot.phase is not Phase.FAILED:
            cancellation.cancel()

    with pytest.raises(Cancelled, match="ended by the calling program"):
        download(
            "hf://org/model",
            tmp_path / "model",
            environ=environ,
            bandwidth=1000,
            on_progress=stop,
            cancellation=cancellation,
        )

    assert download("hf://org/model", tmp_path / "model", environ=environ).files


def test_several_runs_in_one_process_do_not_meet(hub: Hub, tmp_path: Path) -> None:
    for number in range(4):
        hub.create(f"org/model-{number}").commit({**FILES, "number.txt": str(number).encode()})
    environ = {"HF_ENDPOINT": hub.endpoint}
    seen: dict[int, list[Snapshot]] = {number: [] for number in range(4)}

    def bring(number: int) -> str:
        target = tmp_path / str(number)
        download(f"hf://org/model-{number}", target, environ=environ, on_progress=seen[number].append)
        return (target / "number.txt").read_text()

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(bring, range(4))) == ["0", "1", "2", "3"]
    assert [snapshots[-1].done_files for snapshots in seen.values()] == [4, 4, 4, 4]


def test_a_call_leaves_no_thread_no_handler_and_no_variable_behind(environ: dict[str, str], tmp_path: Path) -> None:
    def of_runs() -> list[str]:  # the threads of the test's own server have a number for a name
        return [thread.name for thread in threading.enumerate() if not thread.name.startswith("Thread-")]

    before = of_runs(), signal.getsignal(signal.SIGTERM), dict(os.environ)
    download("hf://org/model", tmp_path / "model", environ=environ)

    assert (of_runs(), signal.getsignal(signal.SIGTERM), dict(os.environ)) == before


def test_an_option_is_a_setting_of_the_same_type_or_its_text() -> None:
    sections = (JobSettings, ReportingSettings, SignatureSettings, FormatSettings, SharingSettings)
    fields = [field for section in sections for field in dataclasses.fields(section)]
    settings = {field.name: str(field.type).removesuffix(" | None") for field in fields}
    options = {name: kind.__forward_arg__.split(" | ") for name, kind in Options.__annotations__.items()}

    assert {name: kinds[0] for name, kinds in options.items()} == {name: settings[name] for name in options}
    assert {kind for kinds in options.values() for kind in kinds[1:]} <= {"str", "Path", "list[str]"}


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ({"only": "safetensors"}, {"config.json", "model.safetensors", "sub/tokenizer.json"}),
        ({"only": Preset("safetensors"), "exclude": ["sub/"]}, {"config.json", "model.safetensors"}),
        ({"include": "*.safetensors", "bandwidth": "200M", "sequence": "HTTP"}, {"model.safetensors"}),
    ],
)
def test_the_text_of_an_option_means_what_it_means_in_its_variable(
    environ: dict[str, str], tmp_path: Path, options: Options, paths: set[str]
) -> None:
    assert {file.path for file in download("hf://org/model", tmp_path, environ=environ, **options).files} == paths


@pytest.mark.parametrize(
    "options",
    [
        *({"only": "gguf:"}, {"bandwidth": 0}, {"connections": -1}, {"connections": 100}, {"deadline": 0}),
        *({"sequence": "FTP"}, {"include": 3}, {"include": (b"x",)}, {"stall_timeout": "soon"}, {"replace": "maybe"}),
    ],
    ids=str,
)
def test_a_value_that_the_command_line_refuses_is_refused(options: Any) -> None:
    with pytest.raises(UsageError, match=f"^{next(iter(options))}=['\"].*['\"] is not "):
        list_files("hf://org/model", environ={}, **options)


@pytest.mark.parametrize("name", ["speed", "target", "log_level"])
def test_an_unknown_option_is_named_with_those_that_there_are(name: str) -> None:
    options: Any = {name: "x"}
    with pytest.raises(TypeError, match=f"'{name}' is not an option; there are include, "):
        size("hf://org/model", environ={}, **options)


def test_a_target_may_begin_with_the_home_but_not_be_empty(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    download("hf://org/model", "~/model", environ=environ)
    assert (tmp_path / "home" / "model" / "config.json").read_bytes() == b"{}"

    with pytest.raises(UsageError, match="the target is empty"):
        download("hf://org/model", " ", environ=environ)
    with pytest.raises(UsageError, match="a home that is not known"):
        verify("~no-such-user/model", environ={})


def test_importing_the_package_imports_nothing_of_it_yet() -> None:
    code = "import sys, downloader; print(sorted(name for name in sys.modules if name.startswith('downloader')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['downloader', 'downloader.version']"


@pytest.mark.parametrize("name", downloader.__all__)
def test_every_name_of_the_api_can_be_imported(name: str) -> None:
    assert getattr(downloader, name) is not None


def test_a_name_that_is_not_of_the_api_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'dwnload'"):
        downloader.dwnload  # noqa: B018


def test_the_error_of_a_foreign_name_is_a_download_error() -> None:
    assert issubclass(UsageError, DownloadError)


def test_a_list_of_checksums_is_what_a_download_leaves(environ: dict[str, str], tmp_path: Path) -> None:
    download("hf://org/model", tmp_path / "model", environ=environ)
    lines = [line for line in (tmp_path / "model" / ".artifact.sha256").read_bytes().splitlines() if line[:1] != b"#"]

    assert b"\n".join(sorted(lines)) == b"\n".join(sorted(checksums(FILES).splitlines()))


EXPECTED = "sha256:a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3"
"""What the page expects: that of another artifact."""
EXAMPLES = re.findall(r"```python\n(.*?)```", Path("docs/python.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.split("\n", 1)[0])
def test_each_example_of_the_page_runs(
    example: str, hub: Hub, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program of its own would run it, but for the folder, and the names of the servers."""
    hub.create("org/name").commit(FILES)
    bucket = uuid4().hex
    in_a_bucket(s3, bucket, FILES)
    given = s3.environment()
    names = {
        "/models/": f"{tmp_path}/",
        "s3://bucket/prefix": f"s3://{bucket}/models/m",
        "https://s3.example.com": s3.endpoint,
        EXPECTED: artifact_digest({path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}),
    }
    for old, new in names.items():
        example = example.replace(old, new)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    values = {
        "__name__": "__main__",
        "key": given["AWS_ACCESS_KEY_ID"],
        "secret": given["AWS_SECRET_ACCESS_KEY"],
        "download": download,
    }
    exec(compile(example, "docs/python.md", "exec"), values)  # noqa: S102 - our own page

    if "plan(" in example:
        assert not (tmp_path / "name").exists()
        return
    assert (tmp_path / "name" / "config.json").read_bytes() == b"{}"
    assert verify(tmp_path / "name", environ={}).damaged == ()


def test_a_cache_of_the_hubs_library(environ: dict[str, str], tmp_path: Path) -> None:
    artifact = download("hf://org/model", hub_cache=tmp_path / "cache", environ=environ)
    again = download("hf://org/model", layout="hub-cache", environ={**environ, "HF_HUB_CACHE": str(tmp_path / "cache")})

    snapshot = tmp_path / "cache/models--org--model/snapshots" / str(artifact.revision)
    assert {file.path for file in artifact.files} == {file.path for file in again.files}
    assert all((snapshot / file.path).stat().st_size == file.size for file in artifact.files)
    assert all(file.sha256 and file.verified_by for file in again.files)
