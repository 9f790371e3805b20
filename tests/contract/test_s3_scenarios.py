"""The operator's scenarios for S3, replayed on whole processes: its assertions on status, log, volume, exit status."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from downloader.errors import Category
from tests.command import PEOPLE, content, model, run
from tests.contract.operator_log import BOTH_STATES, filed
from tests.servers.blobs import Noise
from tests.servers.certificates import Authority
from tests.servers.clusters import KINDS, start
from tests.servers.degenerate import NAME, Degenerate
from tests.servers.kubernetes_pod import Pod
from tests.servers.moto import Moto
from tests.servers.s3 import fill_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.command import Result
    from tests.servers.kubernetes_pod import Cluster
    from tests.servers.s3 import S3Server

GOOD = Noise(1 << 20, seed=71).bytes()
TREE = {"tree/good.bin": GOOD, "tree/../escape.bin": b"hostile"}
PROTOCOLS = {"AIM_DOWNLOADER_PROTOCOL": "XET,HF_TRANSFER"}
NO_INSTANCE_ROLE = {"AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(params=KINDS)
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """Our API server that has the AIMArtifact `llama`, and a real one where KUBEBUILDER_ASSETS names it."""
    with start(request.param, tmp_path / "cluster") as cluster:
        cluster.create_artifact("models", "llama")
        yield cluster


@pytest.fixture
def job(api: Cluster, tmp_path: Path) -> dict[str, str]:
    """The environment of a download Job."""
    pod = Pod(api, tmp_path / "serviceaccount")
    return {
        **pod.environment,
        "ARTIFACT_NAME": "llama",
        "ARTIFACT_NAMESPACE": "models",
        "AIM_SERVICE_ACCOUNT": str(pod.service_account),
        **PROTOCOLS,
    }


def check_size(uri: str, extra: Mapping[str, str]) -> int:
    """Return what the operator reads of a check-size Job, whose environment names no artifact."""
    result = run("check-size", uri, extra=extra)
    assert result.status == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["url"] == uri
    size: int = told["sizeBytes"]
    return size


def categories(result: Result) -> set[object]:
    return {filed(result.stderr, newest=newest) for newest in BOTH_STATES}


def status_of(api: Cluster) -> dict[str, object]:
    found: dict[str, object] = api.artifact("models", "llama")["status"]["progress"]
    return found


@pytest.mark.parametrize("protocol", ["XET,HF_TRANSFER", "S3", "HTTP", "S3,HTTP"])
def test_degenerate_keys_s3(api: Cluster, job: dict[str, str], tmp_path: Path, protocol: str) -> None:
    uri = f"s3://{NAME}/tree"
    with Degenerate(TREE) as server:
        assert check_size(uri, server.environment) == len(GOOD)
        extra = {**job, **server.environment, "AIM_DOWNLOADER_PROTOCOL": protocol}
        result = run("download", uri, tmp_path / "volume", extra=extra)
        assert result.status == 0, result.stderr
        assert content(tmp_path / "volume") == {"good.bin": GOOD}  # the source's files, and none of ours
        assert not list(tmp_path.rglob("escape*"))
        (warning,) = [line for line in result.stderr.splitlines() if "escape.bin" in line]
        assert "warning" in warning
        assert "1 unsafe name" in result.stderr.splitlines()[-3]
        assert (status_of(api)["percentage"], status_of(api)["totalBytes"]) == (100, len(GOOD))
        # A rerun is a look.
        server.log.clear()
        assert run("download", uri, tmp_path / "volume", extra=extra).status == 0
        assert not server.log.records("object", method="GET")


def test_degenerate_keys_of_several_sizes_are_not_fetched_twice_for_their_tags(
    job: dict[str, str], tmp_path: Path
) -> None:
    files = {f"tree/{number}": bytes([number]) * (1000 + number) for number in range(9)}
    with Degenerate({**files, "tree/empty": b""}) as server:
        result = run("download", f"s3://{NAME}/tree", tmp_path / "volume", extra={**job, **server.environment})
        assert result.status == 0, result.stderr
        expected = {key.removeprefix("tree/"): data for key, data in files.items()}
        assert model(tmp_path / "volume") == {"empty": b"", **expected}
        assert len(server.log.records("object", method="GET")) == len(files) + 1  # the empty one must show that it is


def test_degenerate_keys_where_a_digest_is_required(job: dict[str, str], tmp_path: Path) -> None:
    with Degenerate(TREE) as server:
        extra = {**job, **server.environment, "AIM_REQUIRE_DIGEST": "true"}
        result = run("download", f"s3://{NAME}/tree", tmp_path / "volume", extra=extra)
    assert result.status == 65
    assert model(tmp_path / "volume") == {}


def test_degenerate_keys_with_nothing_else(job: dict[str, str], tmp_path: Path) -> None:
    with Degenerate({"tree/../escape.bin": b"hostile"}) as server:
        for command in (
            ("download", f"s3://{NAME}/tree", str(tmp_path / "volume")),
            ("check-size", f"s3://{NAME}/tree"),
        ):
            result = run(*command, extra={**job, **server.environment})
            assert result.status == 66
            assert "no objects found" in result.stderr
            assert categories(result) == {Category.NOT_FOUND}


@pytest.mark.parametrize(
    ("how", "status"), [({}, 78), ({"AIM_UNSAFE_NAMES": "skip"}, 0), ({"AIM_UNSAFE_NAMES": "refuse"}, 78)]
)
def test_without_the_operator_unsafe_names_are_refused(tmp_path: Path, how: dict[str, str], status: int) -> None:
    with Degenerate(TREE) as server:
        for command in (("download", f"s3://{NAME}/tree", str(tmp_path / "volume")), ("size", f"s3://{NAME}/tree")):
            result = run(*command, extra={**PEOPLE, **server.environment, **how})
            assert result.status == status, result.stderr
            assert "escape.bin" in result.stderr


def test_the_operator_may_refuse_unsafe_names_too(job: dict[str, str], tmp_path: Path) -> None:
    with Degenerate(TREE) as server:
        extra = {**job, **server.environment, "AIM_UNSAFE_NAMES": "refuse"}
        assert run("download", f"s3://{NAME}/tree", tmp_path / "volume", extra=extra).status == 78


def test_many_unsafe_names_make_one_warning_of_bounded_length() -> None:
    hostile = {f"tree/../{'x' * 200}{number}": b"x" for number in range(500)}
    with Degenerate({**hostile, "tree/good.bin": GOOD}) as server:
        result = run("check-size", f"s3://{NAME}/tree", extra=server.environment)
    (warning,) = [line for line in result.stderr.splitlines() if "unsafe" in line]
    assert "500 unsafe names" in warning
    assert "and 490 more" in warning
    assert len(warning) < 2000


@pytest.fixture
def private(ceph: S3Server) -> str:
    """A bucket that cannot be read without credentials, as 300 bytes in two folders."""
    name = f"scenario-{uuid.uuid4().hex[:8]}"
    fill_bucket(ceph.client(), name, {"m/root.bin": b"r" * 100, "m/nested/deep.bin": b"n" * 200, "other/x": b"x"})
    return name


def test_credential_resolution_s3(ceph: S3Server, private: str, job: dict[str, str], tmp_path: Path) -> None:
    endpoint = {"AWS_ENDPOINT_URL": ceph.endpoint, "AWS_REGION": "us-east-1", **NO_INSTANCE_ROLE}
    result = run("download", f"s3://{private}/m", tmp_path / "a", extra={**job, **endpoint})
    assert result.status == 77
    assert "Unable to locate credentials" in result.stderr.splitlines()[-1]
    assert categories(result) == {Category.DENIED}
    ceph.make_public(private)
    # The bucket is public by now, and that still does not make absent credentials anonymous.
    assert run("download", f"s3://{private}/m", tmp_path / "a", extra={**job, **endpoint}).status == 77
    keys = {"AWS_ACCESS_KEY_ID": "anonymous", "AWS_SECRET_ACCESS_KEY": "anonymous"}
    result = run("download", f"s3://{private}/m", tmp_path / "b", extra={**job, **endpoint, **keys})
    assert result.status == 0, result.stderr
    assert sum(map(len, model(tmp_path / "b").values())) == 300


def test_anonymous_s3(ceph: S3Server, private: str, job: dict[str, str], tmp_path: Path) -> None:
    ceph.make_public(private)
    extra = {"AWS_ENDPOINT_URL": ceph.endpoint, "AIM_S3_ANONYMOUS": "true", **NO_INSTANCE_ROLE}
    assert check_size(f"s3://{private}/m", extra) == 300
    result = run("download", f"s3://{private}/m", tmp_path / "volume", extra={**job, **extra})
    assert result.status == 0, result.stderr


def test_subdir_prefix_s3(s3: S3Server, job: dict[str, str], tmp_path: Path) -> None:
    name = f"scenario-{uuid.uuid4().hex[:8]}"
    fill_bucket(s3.client(), name, {"m/root.bin": b"r" * 100, "m/nested/deep.bin": b"n" * 200, "m-2/x": b"x"})
    assert check_size(f"s3://{name}/m", s3.environment()) == 300
    assert run("download", f"s3://{name}/m", tmp_path / "volume", extra={**job, **s3.environment()}).status == 0
    assert model(tmp_path / "volume") == {"root.bin": b"r" * 100, "nested/deep.bin": b"n" * 200}


def test_failure_missing_prefix_s3(s3: S3Server, job: dict[str, str], tmp_path: Path) -> None:
    name = f"scenario-{uuid.uuid4().hex[:8]}"
    fill_bucket(s3.client(), name, {"other/x": b"x"})
    result = run("download", f"s3://{name}/missing", tmp_path / "volume", extra={**job, **s3.environment()})
    assert result.status == 66
    assert "no objects found" in result.stderr.splitlines()[-1]
    assert categories(result) == {Category.NOT_FOUND}
    assert content(tmp_path / "volume") == {}


def test_s3_tls(job: dict[str, str], tmp_path: Path) -> None:
    with Moto(tmp_path / "moto", authority=Authority(tmp_path / "ca")) as server:
        fill_bucket(server.client(), "models", {"m/a": b"content"})
        trusted = server.environment()
        stranger = {name: value for name, value in trusted.items() if name != "AWS_CA_BUNDLE"}
        result = run("download", "s3://models/m", tmp_path / "volume", extra={**job, **stranger})
        assert result.status == 78
        last = result.stderr.splitlines()[-1]
        assert "TLS certificate verification failed" in last
        assert "AWS_CA_BUNDLE" in last
        assert categories(result) == {Category.OTHER}
        for trust in (trusted, {**stranger, "AIM_S3_INSECURE_SKIP_VERIFY": "true"}):
            assert check_size("s3://models/m", trust) == len(b"content")
            assert run("download", "s3://models/m", tmp_path / "volume", extra={**job, **trust}).status == 0


@pytest.mark.parametrize("protocol", ["S3", "HTTP"])
def test_signature_version_2_reads_a_real_store(
    ceph: S3Server, private: str, job: dict[str, str], tmp_path: Path, protocol: str
) -> None:
    extra = {**job, **ceph.environment(), "AIM_S3_SIGNATURE_VERSION": "s3", "AIM_DOWNLOADER_PROTOCOL": protocol}
    result = run("download", f"s3://{private}/m", tmp_path / "volume", extra=extra)
    assert result.status == 0, result.stderr
    assert sum(map(len, model(tmp_path / "volume").values())) == 300
    wrong = run("check-size", f"s3://{private}/m", extra={**extra, "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert wrong.status == 77
