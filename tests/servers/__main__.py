"""Runs one of the test servers by hand: `python -m tests.servers hub --fault 'Stall after=1000000 route=cdn'`.

Prints the variables that a download needs and a command to try, serves until Ctrl-C, and prints the requests that it
logged. README.md beside this file describes the servers and the faults.
"""

from __future__ import annotations

import ast
import inspect
import shlex
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tests.servers import broken, faults
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb
from tests.servers.bucket import NAME, Bucket
from tests.servers.ceph import Ceph
from tests.servers.certificates import Authority
from tests.servers.degenerate import Degenerate
from tests.servers.faults import Fault, Faults
from tests.servers.glusterfs import GlusterFS
from tests.servers.hub import Hub
from tests.servers.kubernetes import KubernetesServer
from tests.servers.kubernetes_pod import Pod
from tests.servers.manager import Manager
from tests.servers.moto import Moto
from tests.servers.mounts import Distributed, Mount
from tests.servers.published import checksums, in_a_bucket
from tests.servers.rclone import Rclone
from tests.servers.web import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.servers.messages import Log

FILES = {
    "config.json": b'{"model_type": "demo"}\n',
    "weights.dat": Noise(24 << 20, seed=1).bytes(),
    "tokenizer/tokenizer.json": Noise(300_000, seed=2).bytes(),
}
RULE = frozenset({"route", "path", "method", "offset", "skip", "times"})
"""Arguments of a fault that say when it is injected, and not what it does."""


@dataclass
class Running:
    """A server that was started."""

    environment: Mapping[str, str]
    try_this: str
    """A command that uses the server."""
    faults: Faults | None = None
    log: Log | None = field(default=None)


def _hub(stack: ExitStack, _: Path) -> Running:
    hub = stack.enter_context(Hub())
    hub.create("org/model").commit(FILES)
    return Running({"HF_ENDPOINT": hub.endpoint}, _download("hf://org/model"), hub.faults, hub.log)


def _manager(stack: ExitStack, _: Path) -> Running:
    hub = stack.enter_context(Hub())
    hub.create("org/model").commit(FILES)
    manager = stack.enter_context(Manager(hub))
    return Running({"HF_ENDPOINT": manager.endpoint}, _download("hf://org/model"), manager.faults, manager.log)


def _broken(stack: ExitStack, _: Path) -> Running:
    web = stack.enter_context(BrokenWeb())
    for path, data in {**FILES, "SHA256SUMS": checksums(FILES)}.items():
        web.put(f"model/{path}", data)
    return Running({}, _download(web.url("model/")), web.faults, web.log)


def _nginx(stack: ExitStack, folder: Path) -> Running:
    authority = Authority(folder / "authority")
    for path, data in {**FILES, "SHA256SUMS": checksums(FILES)}.items():
        (folder / "web/model" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "web/model" / path).write_bytes(data)
    web = stack.enter_context(WebServer(folder / "web", state=folder / "nginx", authority=authority))
    return Running({"AIM_CA_BUNDLE": str(authority.bundle)}, _download(f"{web.secure_url}/model/"))


def _real_s3(kind: Callable[[Path], Any]) -> Callable[[ExitStack, Path], Running]:
    def start(stack: ExitStack, folder: Path) -> Running:
        bucket = in_a_bucket(stack.enter_context(kind(folder)), "models", FILES)
        return Running(bucket.extra, _download(bucket.uri))

    return start


def _bucket(stack: ExitStack, _: Path) -> Running:
    bucket = stack.enter_context(Bucket())
    for path, data in FILES.items():
        bucket.put(f"model/{path}", data)
    return Running(bucket.environment, _download(f"s3://{NAME}/model"), bucket.faults, bucket.log)


def _degenerate(stack: ExitStack, _: Path) -> Running:
    server = stack.enter_context(Degenerate({f"model/{path}": data for path, data in FILES.items()}))
    return Running(server.environment, _download("s3://degenerate/model"), server.server.faults, server.log)


def _kubernetes(stack: ExitStack, folder: Path) -> Running:
    cluster = stack.enter_context(KubernetesServer(Authority(folder / "authority")))
    cluster.create_artifact("models", "llama")
    pod = Pod(cluster, folder / "serviceaccount")
    job = {"ARTIFACT_NAME": "llama", "ARTIFACT_NAMESPACE": "models", "AIM_DEBUG_SIMULATE_DOWNLOAD": "true"}
    job |= {"AIM_DEBUG_DOWNLOAD_DURATION": "2", "AIM_DEBUG_VERIFY_DURATION": "1"}
    environment = {**pod.environment, "AIM_SERVICE_ACCOUNT": str(pod.service_account), **job}
    stack.callback(lambda: print(cluster.table("models")))
    return Running(environment, _download("hf://org/model"))


def _mounted(start: Callable[[ExitStack, Path], Distributed]) -> Callable[[ExitStack, Path], Running]:
    def mounted(stack: ExitStack, folder: Path) -> Running:
        files = start(stack, folder / "files")
        for name in ("node-1", "node-2"):
            stack.enter_context(Mount(files, folder / name))
        running = _hub(stack, folder)
        try_this = "; ".join(f"{_download('hf://org/model', folder / f'node-{number}/model')} &" for number in (1, 2))
        return replace(running, try_this=try_this)

    return mounted


SERVERS: dict[str, Callable[[ExitStack, Path], Running]] = {
    "hub": _hub,
    "manager": _manager,
    "broken": _broken,
    "nginx": _nginx,
    "moto": _real_s3(Moto),
    "rclone": _real_s3(Rclone),
    "ceph": _real_s3(Ceph),
    "bucket": _bucket,
    "degenerate": _degenerate,
    "kubernetes": _kubernetes,
    "glusterfs": _mounted(lambda stack, folder: stack.enter_context(GlusterFS(folder))),
    "cephfs": _mounted(lambda stack, folder: stack.enter_context(Ceph(folder)).add_file_system()),
}


def _download(uri: str, target: Path = Path("/tmp/model")) -> str:  # noqa: S108 - for people
    return f"{Path(sys.executable).with_name('artifact-downloader')} download {uri} {target}"


def kinds() -> dict[str, Callable[..., Fault]]:
    """Return the faults, and the functions that return one, by name."""
    found = {}
    for name, one in [*vars(faults).items(), *vars(broken).items()]:
        is_fault = isinstance(one, type) and issubclass(one, Fault)
        if is_fault or (inspect.isfunction(one) and one.__annotations__.get("return") == "Answer"):
            found[name] = one
    return found


def parse_fault(text: str) -> tuple[Fault, dict[str, Any]]:
    """Return the fault of `Name argument=value …`, and the arguments that `Faults.add` takes."""
    name, *words = shlex.split(text)
    values = {
        key: float(value) if value == "inf" else _value(value) for key, _, value in (w.partition("=") for w in words)
    }
    rule = {key: value for key, value in values.items() if key in RULE}
    try:
        return kinds()[name](**{key: value for key, value in values.items() if key not in RULE}), rule
    except KeyError:
        raise click.UsageError(f"there is no fault {name}, but {', '.join(sorted(kinds()))}") from None
    except TypeError as error:
        raise click.UsageError(str(error)) from None


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@click.command()
@click.argument("name", type=click.Choice(list(SERVERS)))
@click.option("--fault", "texts", multiple=True, help="A fault, its arguments, and when: route, path, times, …")
def main(name: str, texts: tuple[str, ...]) -> None:
    """Serve a small model until Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    injected = [parse_fault(text) for text in texts]
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder, ExitStack() as stack:
        running = SERVERS[name](stack, Path(folder))
        if injected and running.faults is None:
            raise click.UsageError(f"{name} is a server of its own kind: faults cannot be injected")
        for fault, rule in injected:
            assert running.faults is not None
            running.faults.add(fault, **rule)
        for key, value in running.environment.items():
            print(f"export {key}={shlex.quote(value)}")
        print(running.try_this, flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            for record in running.log.records() if running.log else ():
                print(record.status, record.request.method, record.request.target, record.range or "", record.sent)


if __name__ == "__main__":
    main()
