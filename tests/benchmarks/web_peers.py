"""The peers that download from a web server."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Tool
from tests.benchmarks.peers import absent, find, listing, module_absent, program
from tests.benchmarks.s3_peers import s5cmd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class WebFolder:
    """A folder of a web server, and how a peer reaches it."""

    url: str
    paths: Sequence[str]
    bundle: Path | None = None
    """The CA to trust, under https."""
    prefix: Sequence[str] = ()
    connections: int = 16
    """At once, for those that can be told."""


def web_peers(folder: WebFolder, *names: str) -> list[Tool]:
    """Return the tools of these names, by default all."""
    return [make(folder) for name, make in _PEERS.items() if not names or name in names]


def _curl(folder: WebFolder) -> Tool:
    def command(target: Path) -> list[str]:
        pairs = "".join(f'url = "{folder.url}/{path}"\noutput = "{target}/{path}"\n' for path in folder.paths)
        trust = ["--cacert", str(folder.bundle)] if folder.bundle else []
        parallel = ["-Z", "--parallel-max", str(folder.connections)]
        return [find("curl") or "", "-sSf", *trust, *parallel, "-K", listing(target, pairs)]

    return Tool("curl", command, prefix=folder.prefix, missing=absent("curl"))


def _aria2c(folder: WebFolder) -> Tool:
    def command(target: Path) -> list[str]:
        pairs = "".join(f"{folder.url}/{path}\n  dir={target}\n  out={path}\n" for path in folder.paths)
        trust = [f"--ca-certificate={folder.bundle}"] if folder.bundle else []
        each = folder.connections if len(folder.paths) <= folder.connections else 1
        parallel = [f"-x{each}", f"-s{each}", f"-j{folder.connections}", "--file-allocation=none"]
        patient = ["--deferred-input=true", "--max-download-result=0"]  # or thousands of files cost it much time
        return [find("aria2c") or "", "-q", *parallel, *patient, *trust, "-i", listing(target, pairs)]

    return Tool("aria2c", command, prefix=folder.prefix, missing=absent("aria2c"))


def _s5cmd(folder: WebFolder) -> Tool:
    # A plain web server will do for it: it asks for each key unsigned.
    endpoint, _, bucket = folder.url.rpartition("/")
    trust = {"AWS_CA_BUNDLE": str(folder.bundle)} if folder.bundle else {}
    options = ["--no-sign-request", "--numworkers", str(folder.connections)]
    environment = {"AWS_REGION": "us-east-1", **trust}
    return s5cmd(endpoint, bucket, folder.paths, environment, options=options, prefix=folder.prefix)


def _hf_transfer(folder: WebFolder) -> Tool:
    def command(target: Path) -> list[str]:
        pairs = "".join(f"{folder.url}/{path} {target}/{path}\n" for path in folder.paths)
        return program("hf_transfer_get", listing(target, pairs), str(folder.connections))

    trust = {"SSL_CERT_FILE": str(folder.bundle)} if folder.bundle else {}
    return Tool("hf_transfer", command, trust, prefix=folder.prefix, missing=module_absent("hf_transfer"))


def _rclone(folder: WebFolder) -> Tool:
    def command(target: Path) -> list[str]:
        trust = ["--ca-cert", str(folder.bundle)] if folder.bundle else []
        names = ["--files-from-raw", listing(target, "\n".join(folder.paths)), "--no-traverse"]
        parallel = ["--transfers", str(folder.connections), "--checkers", str(folder.connections)]
        source = f":http,url='{folder.url}':"
        return [find("rclone") or "", "copy", *trust, *names, *parallel, source, str(target)]

    settings = {"RCLONE_CONFIG": "/dev/null"}
    return Tool("rclone", command, settings, prefix=folder.prefix, missing=absent("rclone"))


def plain_reader(folder: WebFolder, manner: str, name: str, *, sync: bool = True) -> Tool:
    """Return the suite's own reader of one file over HTTP; see its program for the manners."""
    url = f"{folder.url}/{folder.paths[0]}"
    return Tool(
        name,
        lambda target: program("plain_reader", str(target), url, manner, python=sys.executable),
        prefix=folder.prefix,
        sync=sync,
        writes=manner != "discard",
    )


_PEERS: Mapping[str, Callable[[WebFolder], Tool]] = {
    "curl": _curl,
    "aria2c": _aria2c,
    "s5cmd": _s5cmd,
    "hf_transfer": _hf_transfer,
    "rclone": _rclone,
}
