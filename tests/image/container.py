"""Containers as strict as a pod can be: nothing but the volume and /tmp can be written, no rights, little memory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.command import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.image.engine import Docker

OPERATOR = "1000:1000"
"""The user of the operator's pods."""
STRANGER = "1234567"
"""A user without an entry in /etc/passwd; docker gives it the group 0, as some clusters do."""
STRICT = (
    *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *("--tmpfs=/tmp", "--memory=256m", "--pids-limit=64"),
)


@dataclass(frozen=True)
class Container:
    """A container that was started, running or not."""

    docker: Docker
    name: str

    def signal(self, name: str) -> None:
        """Send a signal to its process 1."""
        self.docker("kill", "--signal", name, self.name)

    def result(self, timeout: float = 50) -> Result:
        """Wait for its end, so many seconds at most."""
        status = int(self.docker("wait", self.name, timeout=timeout))
        logs = self.docker.run("logs", self.name)
        return Result(status, logs.stdout, logs.stderr)

    def log(self) -> str:
        """Return both streams merged, as the kubelet keeps them."""
        return self.docker.run("logs", self.name, merged=True).stdout

    def facts(self) -> dict[str, Any]:
        """Return what the engine knows of it."""
        facts: dict[str, Any] = json.loads(self.docker("inspect", self.name))[0]
        return facts

    def processes(self) -> list[str]:
        """Return the command lines of its processes, the first one first."""
        return self.docker("top", self.name, "-eo", "pid,args").splitlines()[1:]


class Containers:
    """Starts containers of one image, and removes them all at the end."""

    def __init__(self, docker: Docker, image: str) -> None:
        self._docker = docker
        self._image = image
        self._started: list[Container] = []

    def start(
        self,
        *arguments: str,
        entry_point: str = "",
        user: str = OPERATOR,
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
        options: Sequence[str] = (),
    ) -> Container:
        """Start a container; `entry_point` replaces the image's own, `mounts` names folders on both sides."""
        command = ["run", "--detach", "--user", user, "--network=host", *STRICT, *options]
        command += [f"--env={name}={value}" for name, value in (environment or {}).items()]
        command += [f"--volume={outside}:{inside}" for outside, inside in (mounts or {}).items()]
        command += [f"--entrypoint={entry_point}"] if entry_point else []
        container = Container(self._docker, self._docker(*command, self._image, *arguments).strip())
        self._started.append(container)
        return container

    def run(self, *arguments: str, **how: Any) -> Result:
        """Start a container as `start` does, and wait for its end."""
        return self.start(*arguments, **how).result()

    def close(self) -> None:
        """Remove them all, running or not."""
        for container in self._started:
            self._docker("rm", "--force", "--volumes", container.name)


def volume(folder: Path, user: str = OPERATOR) -> Path:
    """Make a folder that belongs to this user, as a volume does by the pod's fsGroup."""
    folder.mkdir()
    owner, _, group = user.partition(":")
    os.chown(folder, int(owner), int(group or 0))
    return folder
