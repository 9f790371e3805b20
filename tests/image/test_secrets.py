"""Secrets go into a container by its environment, and come out nowhere."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.image.job import BUNDLE
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Stall
from tests.servers.s3 import fill_bucket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.image.container import Container
    from tests.image.job import Job
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

TOKEN = "hf_canaryInTheCoalMine0123456789abcd"
FILES = {"config.json": b"{}", "model.safetensors": Noise(24 << 20, seed=6).bytes()}


def leaks(pod: Container, job: Job, secrets: list[str]) -> list[str]:
    """Return the places that hold a secret, besides the environment that was given to the pod."""
    facts = pod.facts()
    facts["Config"].pop("Env")
    volume = {str(path): path.read_bytes().decode("latin-1") for path in job.volume.rglob("*") if path.is_file()}
    places = {
        "log": pod.log(),
        "facts": json.dumps(facts),
        "status": json.dumps(job.cluster.history("models", "llama")),
        "termination message": job.termination_message,
        **volume,
    }
    return [place for place, text in places.items() for secret in secrets if secret in text]


@pytest.mark.parametrize("token", [TOKEN, TOKEN[::-1]], ids=["right", "wrong"])
def test_a_token_of_the_hub_comes_out_nowhere(token: str, hub: Hub, job: Job) -> None:
    hub.create("org/private", private=True, members={"alice"}).commit(FILES)
    hub.tokens[TOKEN] = "alice"
    pod = job.start("hf://org/private", {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token, "AIM_LOG_LEVEL": "debug"})
    assert pod.result().status == (0 if token == TOKEN else 77)
    assert leaks(pod, job, [token]) == []


def test_keys_of_s3_come_out_nowhere(s3: S3Server, job: Job) -> None:
    fill_bucket(s3.client(), "secrets", {f"model/{path}": data for path, data in FILES.items()})
    pod = job.start("s3://secrets/model", {**s3.environment(), "AIM_LOG_LEVEL": "debug"})
    assert pod.result().status == 0
    assert leaks(pod, job, [s3.account.secret_access_key, s3.account.access_key_id, "X-Amz-Signature="]) == []


def test_no_process_of_the_pod_shows_a_secret(hub: Hub, job: Job) -> None:
    hub.create("org/private", private=True, members={"alice"}).commit(FILES)
    hub.tokens[TOKEN] = "alice"
    hub.faults.add(Stall(), offset=4 << 20, times=FOREVER)
    pod = job.start("hf://org/private", {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN})
    deadline = time.monotonic() + 20
    while not job.status.get("progress", {}).get("downloadedBytes") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(TOKEN in line for line in pod.processes())


def test_the_password_of_an_address_is_not_in_log_or_termination_message(job: Job) -> None:
    extra: Mapping[str, str] = {"AIM_CA_BUNDLE": BUNDLE, "STALL_TIMEOUT": "2"}
    pod = job.start("https://alice:canary-password@127.0.0.1:1/model.bin?X-Amz-Signature=canary-signature", extra)
    assert pod.result().status == 69
    said = pod.log() + job.termination_message + json.dumps(job.cluster.history("models", "llama"))
    assert "canary" not in said
