"""`--metrics-file` and `--pushgateway` of the installed command, read by Prometheus' own parser."""

from __future__ import annotations

import re
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.command import finish, run, start
from tests.e2e.canaries import ALL, PASSWORD, SECRETS, Mine, handed_out
from tests.e2e.test_stalls import SlowHead
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, HangUp, Silence, Stall
from tests.servers.pushgateway import Pushgateway
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.core import Metric

    from tests.servers.broken import BrokenWeb
    from tests.servers.certificates import Authority
    from tests.servers.faults import Fault
    from tests.servers.hub import Hub

MIB = 1 << 20
FILES = {"config.json": b"{}", "model.safetensors": Noise(9 * MIB, seed=81).bytes()}
SIZE = sum(map(len, FILES.values()))
NAME = "artifact_downloader"


def read(path: Path) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of a file, without the label that all have."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in families(path):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "uri"}
            assert "uri" in sample.labels
            assert (sample.name, frozenset(labels.items())) not in found
            found[sample.name, frozenset(labels.items())] = sample.value
    return found


def families(path: Path) -> list[Metric]:
    return list(text_string_to_metric_families(path.read_text()))


def value(path: Path, name: str, **labels: str) -> float:
    return read(path)[f"{NAME}_{name}", frozenset(labels.items())]


def test_the_metrics_of_a_success(hub: Hub, tmp_path: Path) -> None:
    commit = hub.create("org/model").commit(FILES)
    path, before = tmp_path / "m.prom", time.time()
    result = run(
        "download", "hf://org/model", tmp_path / "t", "--metrics-file", path, extra={"HF_ENDPOINT": hub.endpoint}
    )
    assert result.status == 0, result.stderr
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["m.prom"]
    assert (value(path, "success"), value(path, "exit_status")) == (1, 0)
    assert value(path, "bytes_received_total", protocol="XET") >= SIZE
    assert value(path, "bytes_received_total", protocol="HTTP") == 0
    assert value(path, "attempts_total", protocol="XET") == 1
    assert value(path, "artifact_bytes") == value(path, "volume_bytes") == SIZE
    assert value(path, "artifact_files") == value(path, "volume_files") == 2
    assert value(path, "last_run_timestamp_seconds") == value(path, "last_success_timestamp_seconds") >= before
    assert 0 < value(path, "run_duration_seconds") <= time.time() - before
    assert value(path, "peak_memory_bytes", process="own") > MIB
    assert value(path, "phase_duration_seconds", phase="downloading") > 0
    (info,) = (labels for name, labels in read(path) if name == f"{NAME}_info")
    assert dict(info).items() >= {"revision": commit, "target": f"{tmp_path}/t"}.items()


def test_names_and_types_follow_the_conventions_of_prometheus(stocked: Hub, tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    run("download", "hf://org/model", tmp_path / "t", "--metrics-file", path, extra={"HF_ENDPOINT": stocked.endpoint})
    page = Path("docs/report.md").read_text()
    for family in families(path):
        assert re.fullmatch(rf"{NAME}_[a-z_]+", family.name), family.name
        assert family.documentation.endswith(".")
        samples = {sample.name for sample in family.samples}
        assert samples == {f"{family.name}_total" if family.type == "counter" else family.name}
        assert not re.search(r"(_milli|_kilo|_mib|_ms|_percent)", family.name)
        assert f"`{samples.pop().removeprefix(f'{NAME}_')}`" in page


def test_the_library_is_imported_only_where_metrics_are_wanted(stocked: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, "PYTHONPROFILEIMPORTTIME": "1", "AIM_REPORT": str(tmp_path / "r.json")}
    plain = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    measured = run("download", "hf://org/model", tmp_path / "t", "--metrics-file", tmp_path / "m.prom", extra=extra)
    assert (plain.status, measured.status) == (0, 0)
    assert ["prometheus_client" in result.stderr for result in (plain, measured)] == [False, True]


def test_a_fallback_counts_for_both_protocols(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Answer(500), route="token", times=FOREVER)
    path = tmp_path / "m.prom"
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "STALL_TIMEOUT": "3"}
    result = run("download", "hf://org/model", tmp_path / "t", extra={**extra, "AIM_METRICS_FILE": str(path)})
    assert result.status == 0, result.stderr
    assert [value(path, "attempts_total", protocol=protocol) for protocol in ("XET", "HTTP")] == [1, 1]
    assert value(path, "bytes_received_total", protocol="HTTP") == SIZE


def test_a_failure_and_a_bad_variable_are_counted_as_such(stocked: Hub, tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_METRICS_FILE": str(path)}
    assert run("download", "hf://org/nothing", tmp_path / "t", extra=extra).status == 66
    assert (value(path, "success"), value(path, "exit_status")) == (0, 66)
    assert (f"{NAME}_last_success_timestamp_seconds", frozenset()) not in read(path)
    assert run("download", "hf://org/model", tmp_path / "t", extra={**extra, "AIM_BANDWIDTH": "fast"}).status == 78
    assert value(path, "exit_status") == 78


UNWRITABLE = {"a folder that is missing": "nothing/m.prom", "a folder": "folder.prom", "a file of others": "other.prom"}


@pytest.mark.parametrize("how", UNWRITABLE)
def test_a_file_that_cannot_be_written_is_a_warning(how: str, stocked: Hub, tmp_path: Path) -> None:
    (tmp_path / "folder.prom").mkdir()
    (tmp_path / "other.prom").write_text("# HELP node_load1 1m load average.\n")
    path = tmp_path / UNWRITABLE[how]
    extra = {"HF_ENDPOINT": stocked.endpoint}
    result = run("download", "hf://org/model", tmp_path / "t", "--metrics-file", path, extra=extra)
    assert result.status == 0, result.stderr
    assert f"the metrics {path} were not written: " in result.stderr
    assert "done after" in result.stderr
    assert (tmp_path / "other.prom").read_text().startswith("# HELP node_load1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.prom", "other.prom", "t"]


def test_a_name_that_the_collector_would_not_read_is_refused(tmp_path: Path) -> None:
    result = run("download", "hf://org/model", tmp_path / "t", "--metrics-file", tmp_path / "m.txt")
    assert result.status == 64
    assert "a file name that ends in .prom" in result.last_line


def test_metrics_are_pushed_and_a_failure_keeps_the_last_success(
    stocked: Hub, pushgateway: Pushgateway, tmp_path: Path
) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint}
    push = ("download", "hf://org/model", tmp_path / "t", "--pushgateway", pushgateway.url)
    assert run(*push, extra=extra).status == 0
    assert list(pushgateway.groups) == [(("job", NAME), ("uri", "hf://org/model"))]
    assert pushgateway.value(f"{NAME}_success") == 1
    assert pushgateway.value(f"{NAME}_bytes_received_total", protocol="XET") >= SIZE
    succeeded = pushgateway.value(f"{NAME}_last_success_timestamp_seconds")

    assert run(*push, "--include", "nothing", extra=extra).status == 66
    assert pushgateway.value(f"{NAME}_success") == 0
    assert pushgateway.value(f"{NAME}_exit_status") == 66
    assert pushgateway.value(f"{NAME}_last_success_timestamp_seconds") == succeeded
    assert pushgateway.value(f"{NAME}_last_run_timestamp_seconds") > succeeded


GATEWAYS: dict[str, tuple[Fault, str]] = {
    "refuses": (Answer(400), "it answered 400 Bad Request"),
    "fails": (Answer(503), "it answered 503 Service Unavailable"),
    "hangs up": (HangUp(), ""),
    "says nothing": (Silence(), ""),
    "answers without end": (SlowHead(), ""),
}


@pytest.mark.parametrize("how", GATEWAYS)
def test_a_gateway_that_fails_is_a_warning_and_blocks_nothing(
    how: str, stocked: Hub, pushgateway: Pushgateway, tmp_path: Path
) -> None:
    fault, reason = GATEWAYS[how]
    pushgateway.faults.add(fault, times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_PUSHGATEWAY": f"http://alice:sesame99@{pushgateway.address}"}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert f"the metrics were not sent to {pushgateway.url}: {reason}" in result.stderr
    assert "sesame99" not in result.stderr
    assert "done after" in result.stderr


def test_a_gateway_that_is_away_is_a_warning_too(stocked: Hub, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_PUSHGATEWAY": f"http://127.0.0.1:{port}"}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert f"the metrics were not sent to http://127.0.0.1:{port}: " in result.stderr


def test_a_redirect_takes_neither_metrics_nor_login_elsewhere(
    stocked: Hub, pushgateway: Pushgateway, own_web: BrokenWeb, tmp_path: Path
) -> None:
    pushgateway.faults.add(Answer(302, {"Location": own_web.url("metrics")}), times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_PUSHGATEWAY": f"http://alice:sesame99@{pushgateway.address}"}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert "it answered 302 Found" in result.stderr
    assert own_web.log.records() == []


@pytest.mark.parametrize("gateway", ["answers", "says nothing", "answers without end"])
def test_a_run_that_sigterm_ends_pushes_and_waits_for_no_gateway(
    gateway: str, stocked: Hub, pushgateway: Pushgateway, tmp_path: Path
) -> None:
    if gateway != "answers":
        pushgateway.faults.add(GATEWAYS[gateway][0], times=FOREVER)
    stocked.faults.add(Stall(after=MIB), route="cdn", times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP", "STALL_TIMEOUT": "600"}
    path = tmp_path / "m.prom"
    process = start(
        *("download", "hf://org/model", tmp_path / "t", "--pushgateway", pushgateway.url, "--metrics-file", path),
        extra=extra,
    )
    assert eventually(lambda: stocked.log.sent("cdn") > MIB // 2)
    process.send_signal(signal.SIGTERM)
    result = finish(process, 60)
    assert result.status == 143, result.stderr
    assert value(path, "exit_status") == 143
    assert "ended by SIGTERM" in result.last_line
    if gateway == "answers":
        assert pushgateway.value(f"{NAME}_exit_status") == 143
    else:
        assert "the metrics were not sent to" in result.stderr


def test_a_login_is_sent_and_shown_nowhere(stocked: Hub, pushgateway: Pushgateway, mine: Mine) -> None:
    pushgateway.login = f"alice:{PASSWORD}"
    extra: Mapping[str, str] = {
        **SECRETS,
        "HF_ENDPOINT": stocked.endpoint,
        "AIM_PUSHGATEWAY": f"http://alice:canary%3Apass%2Fword%405519@{pushgateway.address}",
        "AIM_METRICS_FILE": str(mine.folder / "m.prom"),
    }
    result, processes = mine.run("hf://org/model", extra)
    assert result.status == 0, result.stderr
    assert pushgateway.value(f"{NAME}_success") == 1
    assert value(mine.folder / "m.prom", "success") == 1
    assert mine.leaks(result, processes, {*ALL, *handed_out(stocked.log)}) == []


def test_a_url_that_is_no_web_address_is_refused_without_its_password(tmp_path: Path) -> None:
    extra = {"AIM_PUSHGATEWAY": "alice:sesame99@gateway:9091"}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 78
    assert "AIM_PUSHGATEWAY: its value is not an address such as https://host:port" in result.last_line
    assert "sesame99" not in result.stderr


def test_a_pushgateway_behind_a_private_ca_is_trusted_by_its_bundle(
    stocked: Hub, authority: Authority, tmp_path: Path
) -> None:
    with Pushgateway(authority.server_context()) as gateway:
        extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_PUSHGATEWAY": gateway.url}
        result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
        assert result.status == 0, result.stderr
        assert f"the metrics were not sent to {gateway.url}: certificate verify failed" in result.stderr
        trusting = {**extra, "AIM_CA_BUNDLE": str(authority.bundle)}
        assert run("download", "hf://org/model", tmp_path / "t", extra=trusting).status == 0
        assert gateway.value(f"{NAME}_success") == 1
        assert run("download", "hf://org/model", tmp_path / "t", "--connections", "x", extra=trusting).status == 64
        assert gateway.value(f"{NAME}_exit_status", uri="") == 64
