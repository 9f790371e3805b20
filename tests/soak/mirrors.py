"""The soak of mirrors: places die and are poisoned at random, runs are killed; a volume gets right bytes or none.

A volume is filled from an origin, another Hub, a web folder with a list, one without, and a folder of this machine.
Each run meets them in another state, with another proof at hand. The last one meets an origin that is well.
"""

from __future__ import annotations

import hashlib
import random as generators
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.command import PEOPLE, finish, start
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb
from tests.servers.faults import FOREVER, Answer, Cut, Flip, Stall, too_many_requests
from tests.servers.hub import Hub
from tests.servers.published import checksums
from tests.soak.disturbances import Disturbance, kill_nowait
from tests.soak.volumes import TIMEOUT, Broken
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    from tests.servers.faults import Fault

MIB = 1 << 20
SIZES = {"config.json": 700, "a.safetensors": 6 * MIB, "b.safetensors": 2 * MIB + 1, "sub/c.safetensors": MIB, "e": 0}
FILES = {path: Noise(size, seed).bytes() for seed, (path, size) in enumerate(SIZES.items(), start=500)}
OTHERS = {path: Noise(size, seed).bytes() for seed, (path, size) in enumerate(SIZES.items(), start=600)}
MARK = ".artifact.sha256"
TOKEN = "hf_of_the_origin_alone"
SETTINGS = {"STALL_TIMEOUT": "3", "HF_TOKEN": TOKEN, **PEOPLE}
EXPECTED = {0, 65, 66, 69, 75, 77, -9, 143}
"""How a run may end whose places are disturbed."""
STATES = ("well", "well", "down", "poisoned", "lying", "stale", "half", "damaged", "throttled", "stalled", "cut")
DIGEST = "sha256:" + hashlib.sha256(b"".join(sorted(checksums(FILES).splitlines(keepends=True)))).hexdigest()


@dataclass
class Figures:
    """What a soak went through."""

    volumes: int = 0
    runs: int = 0
    kills: int = 0
    states: Counter[str] = field(default_factory=Counter)
    proofs: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    unlisted: int = 0
    """Runs that succeeded without the origin's listing."""

    def __str__(self) -> str:
        counts = (self.states, self.proofs, self.statuses)
        told = ["; ".join(f"{count} {name}" for name, count in sorted(some.items(), key=str)) for some in counts]
        first = f"{self.volumes} volumes, {self.runs} runs, {self.kills} killed, {self.unlisted} without the origin"
        return "\n".join([first, "places: " + told[0], "proofs: " + told[1], "ended with: " + told[2]])


class Places:
    """The servers, and what is wrong with them in a run."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.origin = stack.enter_context(Hub())
        self.origin.tokens[TOKEN] = "carol"
        self.commit = self.origin.create("org/model").commit(FILES)
        self._copy = stack.enter_context(Hub())
        self._copies = {
            "well": self._copy.create("org/model").commit(FILES),
            "poisoned": self._copy.create("org/poisoned").commit(OTHERS),
            "half": self._copy.create("org/half").commit({"b.safetensors": FILES["b.safetensors"]}),
        }
        self._webs = [stack.enter_context(BrokenWeb()) for _ in range(2)]
        self._folder = folder
        self._down: list[Callable[[], None]] = []

    def arrange(self, random: generators.Random, figures: Figures) -> list[str]:
        """Put the mirrors in some state and return their URIs."""
        states = [random.choice(STATES) for _ in range(4)]
        figures.states.update(states)
        uris = [
            self._hub(states[0]),
            self._web(self._webs[0], states[1], listed=True),
            self._web(self._webs[1], states[2], listed=False),
            self._local(states[3]),
        ]
        random.shuffle(uris)
        return uris[: random.randint(1, 4)]

    def disturb_origin(self, random: generators.Random) -> bool:
        """Put the origin in some state; return whether it lists."""
        if random.random() < 0.3:
            self.origin.faults.add(Flip(), route="cdn", offset=random.randrange(MIB), times=FOREVER)
        elif random.random() < 0.3:
            self.origin.cdn.server.refuse()
            self._down.append(self.origin.cdn.server.accept)
        if random.random() < 0.4:
            return True
        if random.random() < 0.5:
            self.origin.server.refuse()
            self._down.append(self.origin.server.accept)
        else:
            self.origin.faults.add(Answer(403), route="*", times=FOREVER)
        return False

    def recover(self) -> None:
        """Put everything right again."""
        for accept in self._down:
            accept()
        self._down.clear()
        for faults in (self.origin.faults, self._copy.faults, *(web.faults for web in self._webs)):
            faults.clear()

    def leaks(self) -> list[str]:
        """Return the requests at mirrors that carried the origin's token."""
        records = [record for log in (self._copy.log, *(web.log for web in self._webs)) for record in log.records()]
        return [record.request.target for record in records if TOKEN in str(record.request.headers)]

    def _hub(self, state: str) -> str:
        if state == "down":
            self._copy.server.refuse()
            self._down.append(self._copy.server.accept)
        elif fault := _fault(state):
            self._copy.faults.add(fault, route="cdn", times=FOREVER)
        name = {"poisoned": "poisoned", "lying": "poisoned", "stale": "poisoned", "half": "half"}.get(state, "model")
        commit = f"@{self.commit}" if name == "model" else ""
        return f"hf+{self._copy.endpoint}/org/{name}{commit}"

    def _web(self, web: BrokenWeb, state: str, *, listed: bool) -> str:
        files, claimed = _content(state)
        for path, data in files.items():
            web.put(f"{state}/{path}", data)
        if listed:
            web.put(f"{state}/{MARK}", f"# revision: {self.commit}\n".encode() + checksums(claimed))
        if state == "down":
            web.server.refuse()
            self._down.append(web.server.accept)
        elif fault := _fault(state):
            web.faults.add(fault, path="*.safetensors", times=FOREVER)
        return web.url(f"{state}/")

    def _local(self, state: str) -> str:
        files, claimed = _content(state)
        place = self._folder / state
        for path, data in {**files, MARK: checksums(claimed)}.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
        return f"file://{place}"


def _content(state: str) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
    """Return the files of a place, and those that its list claims."""
    if state == "poisoned":
        return OTHERS, OTHERS
    if state == "lying":
        return {path: data + b"!" for path, data in OTHERS.items()}, FILES
    if state == "stale":
        old = {**FILES, "a.safetensors": OTHERS["a.safetensors"]}
        return old, old
    if state == "half":
        some = {path: FILES[path] for path in ("b.safetensors", "config.json")}
        return some, some
    return FILES, FILES


def _fault(state: str) -> Fault | None:
    faults: dict[str, Fault] = {
        "damaged": Flip(after=700_000),
        "throttled": too_many_requests("60"),
        "stalled": Stall(after=500_000),
        "cut": Cut(after=400_000),
    }
    return faults.get(state)


class Life:
    """A volume's way from nothing to a whole artifact. Raises Broken for the first promise that is not kept."""

    def __init__(self, places: Places, folder: Path, random: generators.Random, figures: Figures) -> None:
        self._places = places
        self._target = folder / "volume"
        self._list = folder / "list"
        self._list.write_bytes(checksums(FILES))
        self._random = random
        self._figures = figures

    def live(self) -> None:
        """Disturb two to five runs, then let one end."""
        self._figures.volumes += 1
        for _ in range(self._random.randint(2, 5)):
            lists, told = self._disturbed_run()
            self._places.recover()
            self._check(told)
            if not lists and told[0] == 0:
                self._figures.unlisted += 1
        status, stderr = self._end(self._start([], []))
        if status:
            raise Broken(f"an undisturbed run ended with {status}: {stderr}")
        self._check((status, stderr))

    def _disturbed_run(self) -> tuple[bool, tuple[int, str]]:
        random = self._random
        mirrors = self._places.arrange(random, self._figures)
        lists = self._places.disturb_origin(random)
        proof = random.choice(("none", "digest", "list", "both", "commit"))
        self._figures.proofs[proof] += 1
        proofs = [*(["--expect-digest", DIGEST] if proof in ("digest", "both", "commit") else [])]
        proofs += ["--expect-list", str(self._list)] if proof in ("list", "both") else []
        proofs += ["--trust-mirror"] if proof == "commit" else []
        first = ["--mirror-first"] if random.random() < 0.5 else []
        uri = f"hf://org/model@{self._places.commit}" if proof == "commit" else "hf://org/model"
        process = self._start(mirrors, [*proofs, *first], uri)
        if random.random() < 0.4:
            eventually(lambda: process.poll() is not None, random.uniform(0.5, 3))
            how = random.choice((Disturbance.KILL, Disturbance.TERM))
            self._figures.kills += kill_nowait(how, process, self._target)
        return lists, self._end(process)

    def _start(self, mirrors: list[str], options: list[str], uri: str = "hf://org/model") -> subprocess.Popen[str]:
        self._figures.runs += 1
        places = [option for mirror in mirrors for option in ("--mirror", mirror)]
        extra = {**SETTINGS, "HF_ENDPOINT": self._places.origin.endpoint, "HF_HOME": str(self._target.parent / "hf")}
        return start("download", uri, self._target, *places, *options, extra=extra)

    def _end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        result = finish(process, TIMEOUT)
        self._figures.statuses[result.status] += 1
        return result.status, result.stderr

    def _check(self, told: tuple[int, str]) -> None:
        status, stderr = told
        if status not in EXPECTED and stderr:
            raise Broken(f"a run ended with {status}: {stderr}")
        found = {
            str(path.relative_to(self._target)): path.read_bytes()
            for path in self._target.rglob("*")
            if path.is_file() and ".downloading" not in path.parts
        }
        complete = found.pop(MARK, None) is not None
        if wrong := [path for path, data in found.items() if FILES.get(path) != data]:
            raise Broken(f"{wrong} are wrong after a run that ended with {status}: {stderr}")
        if (status == 0 or complete) and found.keys() != FILES.keys():
            raise Broken(f"only {sorted(found)} are there after a run that ended with {status}: {stderr}")
        if TOKEN in stderr or self._places.leaks():
            raise Broken(f"the origin's token has leaked: {self._places.leaks()} {stderr}")


def soak_mirrors(seed: int, *, seconds: float = 0, volumes: int = 1) -> Figures:
    """Fill volumes, so many at least and so long; return what they went through. Raises Broken."""
    figures, end = Figures(), time.monotonic() + seconds
    while figures.volumes < volumes or time.monotonic() < end:
        random = generators.Random(f"{seed} {figures.volumes}")  # noqa: S311 - faults, not secrets
        with tempfile.TemporaryDirectory(prefix="soak-") as folder, ExitStack() as stack:
            (Path(folder) / "near").mkdir()
            places = Places(stack, Path(folder) / "near")
            try:
                Life(places, Path(folder), random, figures).live()
            except Broken as error:
                raise Broken(f"volume {figures.volumes} of --seed {seed}: {error}") from error
    return figures
