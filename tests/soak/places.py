"""The servers of the soak: the same artifact over every protocol, each with faults on demand and a count of bytes."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.broken import BrokenWeb
from tests.servers.bucket import NAME, Bucket
from tests.servers.hub import Hub
from tests.soak.artifact import SPOILED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.servers.faults import Faults
    from tests.servers.messages import Log
    from tests.soak.artifact import Artifact


@dataclass(frozen=True)
class Place:
    """The artifact behind one protocol."""

    protocol: str
    """The one that comes first in the sequence."""
    uri: str
    environment: Mapping[str, str]
    faults: Faults
    log: Log
    bodies: str
    """The route over which the artifact's bytes come."""
    answers: tuple[str, ...]
    """Routes of small answers: listings, tokens, plans."""
    spoils: str = ""
    """The file in which bytes may come wrong; empty where it is unknown which file a wrong byte hits."""

    def served(self) -> int:
        """Return the bytes of bodies that were sent since the log was cleared, over whatever protocol."""
        return self.log.sent()


@contextmanager
def open_places(artifact: Artifact) -> Iterator[list[Place]]:
    """Start the servers: each place has its own, so that volumes can be filled side by side."""
    with ExitStack() as stack:
        yield [
            _hub(stack, artifact, "XET,HF_TRANSFER,HTTP", "xorb", "token", "cas"),
            _hub(stack, artifact, "HF_TRANSFER,HTTP", "cdn", "resolve", spoils=SPOILED),
            _hub(stack, artifact, "HTTP", "cdn", "resolve", spoils=SPOILED),
            _web(stack, artifact, "RANGES,HTTP"),
            _s3(stack, artifact),
        ]


def _hub(stack: ExitStack, artifact: Artifact, sequence: str, bodies: str, *answers: str, spoils: str = "") -> Place:
    hub = stack.enter_context(Hub())
    hub.create("org/model").commit(artifact.files)
    environment = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": sequence}
    protocol, answers = sequence.partition(",")[0], ("api", "tree", *answers)
    return Place(protocol, "hf://org/model", environment, hub.faults, hub.log, bodies, answers, spoils)


def _web(stack: ExitStack, artifact: Artifact, sequence: str) -> Place:
    web = stack.enter_context(BrokenWeb())
    for path, data in {**artifact.files, "SHA256SUMS": artifact.checksums}.items():
        web.put(f"model/{path}", data)
    environment = {"AIM_DOWNLOADER_PROTOCOL": sequence}
    protocol = sequence.partition(",")[0]
    return Place(protocol, web.url("model/"), environment, web.faults, web.log, "file", (), SPOILED)


def _s3(stack: ExitStack, artifact: Artifact) -> Place:
    bucket = stack.enter_context(Bucket())
    for path, data in artifact.files.items():
        bucket.put(f"model/{path}", data)
    uri = f"s3://{NAME}/model"
    return Place("S3", uri, bucket.environment, bucket.faults, bucket.log, "object", ("listing",), SPOILED)
