"""`make demo`: the main job against local servers, or `make demo URI=hf://org/model` for a real artifact.

A real one goes to a folder below `demo/`, and stays there.

`FAULT=cas-stall` lets Xet freeze half-way, so that the switch to the next protocol can be watched.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.artifact import shown_url
from tests.servers.blobs import Noise
from tests.servers.certificates import Authority
from tests.servers.faults import Answer, Flip, HangUp, Stall
from tests.servers.hub import Hub
from tests.servers.kubernetes import KubernetesServer
from tests.servers.kubernetes_pod import Pod
from tests.servers.moto import Moto
from tests.servers.s3 import fill_bucket
from tests.servers.web import WebServer

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRYPOINT = Path(__file__).parents[1] / "entrypoint.sh"
MODEL = "demo/small-model"
NAMESPACE = "models"
FAULTS = {
    "cas-stall": ("xorb", Stall(after=1 << 20)),
    "cas-down": ("cas", HangUp()),
    "cas-503": ("cas", Answer(503)),
    "cas-corrupt": ("xorb", Flip(after=1 << 20)),
    "cdn-stall": ("cdn", Stall(after=1 << 20)),
}


def main(arguments: list[str]) -> int:
    """Run the demo; return the exit status."""
    if arguments:
        return _real(arguments[0])
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        return _local(Path(folder))


def _real(uri: str) -> int:
    """Download a real artifact into a folder that stays: the same command again goes on there."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", shown_url(uri).partition("://")[2]).strip("-.") or "model"
    target = Path(os.environ.get("TARGET_DIR") or Path("demo") / name)
    status = _download(uri, target, {}, inherit=True)
    print(f"\n{'it is' if not status else 'what has come is'} in {target.resolve()}", flush=True)
    return status


def _local(folder: Path) -> int:
    files = {
        "README.md": b"# A small model\n",
        "config.json": b'{"model_type": "demo"}\n',
        "model-00001-of-00002.safetensors": Noise(48 << 20, seed=1).bytes(),
        "model-00002-of-00002.safetensors": Noise(24 << 20, seed=2).bytes(),
        "tokenizer/tokenizer.json": Noise(300_000, seed=3).bytes(),
    }
    authority = Authority(folder / "authority")
    served = folder / "web" / "small-model"
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(files.items()))
    for path, data in {**files, "SHA256SUMS": sums.encode()}.items():
        (served / path).parent.mkdir(parents=True, exist_ok=True)
        (served / path).write_bytes(data)
    print("starting a Hub with Xet, an S3 service, a web server and a Kubernetes API on loopback ...", flush=True)
    with (
        Hub() as hub,
        Moto(folder / "moto") as s3,
        WebServer(folder / "web", state=folder / "nginx", authority=authority) as web,
        KubernetesServer(authority) as cluster,
    ):
        hub.create(MODEL).commit(files)
        fill_bucket(s3.client(), "models", {f"small-model/{path}": data for path, data in files.items()})
        fault = os.environ.get("FAULT", "")
        if fault:
            route, failure = FAULTS[fault]
            hub.faults.add(failure, route=route, times=float("inf"))
        runs: dict[str, tuple[str, dict[str, str]]] = {
            "from-hub": (f"hf://{MODEL}", {"HF_ENDPOINT": hub.endpoint}),
            "from-s3": ("s3://models/small-model", s3.environment()),
            "from-web": (f"{web.secure_url}/small-model/", {"AIM_CA_BUNDLE": str(authority.bundle)}),
        }
        pod = Pod(cluster, folder / "pod", namespace=NAMESPACE)
        status = 0
        for name, (uri, extra) in runs.items():
            cluster.create_artifact(NAMESPACE, name)
            job = {
                **pod.environment,
                **extra,
                "AIM_SERVICE_ACCOUNT": str(pod.service_account),
                "ARTIFACT_NAME": name,
                "ARTIFACT_NAMESPACE": NAMESPACE,
                "PROGRESS_INTERVAL": "1",
                "STALL_TIMEOUT": "5",
            }
            status = _download(uri, folder / name, job) or status
        print("\n$ kubectl get aimartifacts -o wide\n" + cluster.table(NAMESPACE))
        for name in runs:
            print(f"\n$ cat {name}/.artifact.sha256\n" + _read(folder / name / ".artifact.sha256"), end="")
    return status


def _download(uri: str, target: Path, extra: Mapping[str, str], *, inherit: bool = False) -> int:
    """Run the command as the Job does: `entrypoint.sh URI`, everything else from the environment."""
    print(f"\n$ entrypoint.sh {uri}", flush=True)
    kept = (
        dict(os.environ) if inherit else {"HOME": os.environ.get("HOME", "/"), "TERM": os.environ.get("TERM", "dumb")}
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**kept, "PATH": path, "TARGET_DIR": str(target), **extra}
    return subprocess.run([ENTRYPOINT, uri], env=environment, check=False).returncode


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else "(not there)\n"


if __name__ == "__main__":
    sys.exit(main([argument for argument in sys.argv[1:] if argument]))
