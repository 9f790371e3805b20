"""Secrets that sing: where they are hidden during a run, and every place in which one could be found afterwards."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.command import finish, start
from tests.servers.faults import FOREVER, Answer, Fault, Stall
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Mapping

    from tests.command import Result
    from tests.e2e.conftest import Watched
    from tests.servers.hub import Hub
    from tests.servers.messages import Log

TOKEN = "hf_canaryInTheCoalMine0123456789abcd"
BEARER = "canary-bearer-of-the-web-7731"
HEADER = "canary header/secret+4402="
PASSWORD = "canary:pass/word@5519"
SIGNATURE = "canarysignature0123456789abcdef0123456789"
ALL = (TOKEN, BEARER, HEADER, PASSWORD, SIGNATURE)
SECRETS = {
    "HF_TOKEN": TOKEN,
    "AIM_HTTP_TOKEN": BEARER,
    "AIM_HTTP_HEADERS": json.dumps({"X-Api-Key": HEADER}),
    "127.0.0.1-headers": json.dumps({"X-Other-Key": HEADER}),
    "HTTP_PROXY": "http://alice:canary%3Apass%2Fword%405519@127.0.0.1:1",
    "NO_PROXY": "127.0.0.1",
}
"""All secrets at once, as a Job would have them in its environment."""
ENDINGS: dict[str, tuple[str, Fault | None, int]] = {
    "all goes well": ("", None, 0),
    "Xet's storage refuses": ("cas", Answer(401), 0),
    "a signal comes while bytes stall": ("xorb", Stall(after=1 << 20), 128 + signal.SIGTERM),
}
"""How a run comes to its end: the fault of a route of the Hub, and the exit status."""


def spellings(secret: str) -> set[str]:
    """Return a secret as logs, URLs, JSON and basic authentication would write it."""
    basic = base64.b64encode(f"alice:{secret}".encode()).decode()
    return {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1], basic}


def handed_out(*logs: Log) -> set[str]:
    """Return the secrets that the servers made up: signatures of addresses and tokens of storages."""
    found: set[str] = set()
    for log in logs:
        for record in log.records():
            found.update(value for name, value in record.request.query.items() if "ignature" in name)
            found.update({record.request.bearer or ""} - {""})
    return found


@dataclass
class Watcher(threading.Thread):
    """Reads the command lines of a process and its children for as long as they live."""

    process: subprocess.Popen[str]
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while self.process.poll() is None:
            for pid in _family(self.process.pid):
                with suppress(OSError):
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                    self.seen.add(line.replace(b"\0", b" ").decode(errors="replace"))
            time.sleep(0.02)


def _family(pid: int) -> list[int]:
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    found += _family(int(child))
    return found


def undisturbed(_process: subprocess.Popen[str]) -> None:
    """Let a run end by itself."""


@dataclass
class Mine:
    """The folder, the pod and the files that a run may write to."""

    folder: Path
    watched: Watched

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @property
    def termination_message(self) -> Path:
        return self.folder / "termination-log"

    def run(
        self,
        uri: str,
        extra: Mapping[str, str],
        *,
        disturb: Callable[[subprocess.Popen[str]], None] = undisturbed,
        command: str = "download",
    ) -> tuple[Result, set[str]]:
        """Run the command with everything switched on that talks; return its result and what /proc showed."""
        self.termination_message.touch()
        (self.folder / "tmp").mkdir(exist_ok=True)
        own = {
            **self.watched.environment,
            "HF_HOME": str(self.folder / "scratch"),
            "TMPDIR": str(self.folder / "tmp"),
            "AIM_TERMINATION_LOG": str(self.termination_message),
            "TARGET_DIR": str(self.target),
        }
        arguments = [uri, self.target] if command in ("download", "kserve") else [uri]
        process = start("--log-level", "debug", command, *arguments, extra={**own, **extra})
        watcher = Watcher(process)
        watcher.start()
        disturb(process)
        result = finish(process)
        watcher.join()
        return result, watcher.seen

    def download(self, hub: Hub, ending: str, extra: Mapping[str, str]) -> tuple[Result, list[str]]:
        """Download the Hub's model with all secrets, to one of `ENDINGS`; return the result and what has leaked."""
        route, fault, status = ENDINGS[ending]
        if fault is not None:
            hub.faults.add(fault, route=route, times=FOREVER)

        def disturb(process: subprocess.Popen[str]) -> None:
            if status:
                assert eventually(lambda: hub.log.sent(route) > 0)
                os.killpg(process.pid, signal.SIGTERM)

        extra = {**SECRETS, "HF_ENDPOINT": hub.endpoint, **extra}
        result, processes = self.run("hf://org/model", extra, disturb=disturb)
        assert result.status == status, result.stderr
        return result, self.leaks(result, processes, {*ALL, *handed_out(hub.log)})

    def leaks(self, result: Result, processes: Iterable[str], secrets: Iterable[str]) -> list[str]:
        """Return where a secret is found: in what was said, written, patched or shown by the system."""
        places = {
            "stdout": result.stdout,
            "stderr": result.stderr,
            "status": json.dumps(self.watched.api.history("models", "llama")),
            "patches": json.dumps([exchange.request.json for exchange in self.watched.api.exchanges]),
            "termination message": self.termination_message.read_text(),
            "processes": "\n".join(processes),
        }
        for root, folders, names in os.walk(self.folder):
            places[root] = "\n".join(folders)
            for name in names:
                path = Path(root, name)
                places[str(path)] = str(path) + path.read_bytes().decode("latin-1")
        wanted = set[str]().union(*map(spellings, secrets), {self.watched.pod.token})
        return [f"{place}: {secret}" for place, text in places.items() for secret in wanted if secret in text]
