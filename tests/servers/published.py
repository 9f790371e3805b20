"""The same artifact behind each scheme."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.s3 import fill_bucket

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer


@dataclass
class Place:
    """An artifact somewhere, and how to be let in."""

    uri: str
    extra: Mapping[str, str]
    """What the environment must say."""


def checksums(files: Mapping[str, bytes]) -> bytes:
    """Return the list that `sha256sum -c` takes."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(files.items())).encode()


def on_the_hub(hub: Hub, files: Mapping[str, bytes]) -> Place:
    """Commit the files to a model of their own."""
    hub.create("org/model").commit(files)
    return Place("hf://org/model", {"HF_ENDPOINT": hub.endpoint})


def in_a_bucket(s3: S3Server, bucket: str, files: Mapping[str, bytes]) -> Place:
    """Put the files below a prefix of a new bucket."""
    fill_bucket(s3.client(), bucket, {f"models/m/{path}": data for path, data in files.items()})
    return Place(f"s3://{bucket}/models/m", s3.environment())


def in_a_web_folder(web: WebServer, folder: Path, files: Mapping[str, bytes], bundle: str) -> Place:
    """Write the files and their checksums where nginx serves them over TLS, with these certificates."""
    for path, data in {**files, "SHA256SUMS": checksums(files)}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return Place(f"{web.secure_url}/{folder.name}/", {"AIM_CA_BUNDLE": bundle})
