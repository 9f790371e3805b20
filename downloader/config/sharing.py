"""The settings of a run whose work several processes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.config.env import Malformed, count, read, variable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

MAX_SHARDS = 4096
"""Runs that may share the work on one artifact."""
MAX_PROCESSES, MAX_CPUS = 64, 4096
AUTOMATIC = 0
"""Stands for a number of processes that the run finds out."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Which of how many processes this one is."""

    index: int
    """From 0 on."""
    total: int

    def __str__(self) -> str:
        return f"{self.index}/{self.total}"


def shard(text: str) -> Shard:
    """Parse AIM_SHARD."""
    index, slash, total = text.partition("/")
    digits = index.isascii() and index.isdecimal() and total.isascii() and total.isdecimal()
    if not slash or not digits or len(text) > 2 * len(str(MAX_SHARDS)) + 1 or not int(index) < int(total) <= MAX_SHARDS:
        raise Malformed(f"I/N, such as 0/4: N processes, at most {MAX_SHARDS}, with I from 0 to N-1")
    return Shard(int(index), int(total))


def processes(text: str) -> int:
    """Parse AIM_PROCESSES."""
    if text.lower() == "auto":
        return AUTOMATIC
    try:
        number: int = count(1, MAX_PROCESSES)(text)
    except Malformed as error:
        raise Malformed(f"auto or {error}") from None
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingSettings:
    """Several processes that fill one volume together."""

    shard: Shard | None = variable(
        "AIM_SHARD",
        "`I/N`, such as `0/4`: this is one of N processes that fill the volume together, with I from 0 to N-1; each"
        " fetches about the same part of the bytes",
        parse=shard,
        default_text="from AIM_DOWNLOADER_SHARDS and JOB_COMPLETION_INDEX",
        option="--shard I/N",
    )
    shards: int | None = variable(
        "AIM_DOWNLOADER_SHARDS",
        "number of pods of an Indexed Job that fill the volume together",
        parse=count(1, MAX_SHARDS),
    )
    index: int | None = variable(
        "JOB_COMPLETION_INDEX",
        "which of these pods this one is, from 0 on: set by Kubernetes in an Indexed Job, and without effect unless"
        " AIM_DOWNLOADER_SHARDS is set",
        parse=count(0, 1 << 31),
    )

    processes: int | None = variable(
        "AIM_PROCESSES",
        "number of processes that share the work of this run, or `auto`: one for every two CPUs, at most 8, and no more"
        " than memory, bytes to fetch and connections are enough for; one alone below four CPUs, with mirrors, and"
        " where formats are judged. More than one pay where one processor is not enough for the network. Bandwidth,"
        " memory and a number of connections that is given are divided between them",
        parse=processes,
        default_text="`auto` for the command `download`, otherwise 1",
        option="--processes NUMBER",
    )
    cpus: int | None = variable(
        "AIM_CPUS",
        "number of CPUs that a download counts on: connections at first and processes follow from it",
        parse=count(1, MAX_CPUS),
        default_text="what the container may use",
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], problems: list[str]) -> Self:
        """Read an environment. Contradictory variables of a pod are problems: it must not work alone instead."""
        settings = read(cls, environ, problems)
        if settings.shards is not None and settings.shard is None:
            if settings.index is None:
                problems.append("AIM_DOWNLOADER_SHARDS is set, but JOB_COMPLETION_INDEX is not: is the Job Indexed?")
            elif settings.index >= settings.shards:
                problems.append(
                    f"JOB_COMPLETION_INDEX is {settings.index}, but AIM_DOWNLOADER_SHARDS only {settings.shards}:"
                    " it must be the number of completions of the Job"
                )
        return settings

    @property
    def automatic(self) -> bool:
        """Whether the run finds out how many processes share its work."""
        return self.processes == AUTOMATIC

    @property
    def count(self) -> int:
        """How many processes were asked for."""
        return self.processes or 1

    @property
    def pod(self) -> Shard | None:
        """Which of several runs that share the work this one is; None if there are no others."""
        chosen = self.shard
        if chosen is None and self.shards is not None and self.index is not None:
            chosen = Shard(self.index, self.shards)
        return chosen if chosen is not None and chosen.total > 1 else None

    def place(self, count: int) -> Shard | None:
        """Return which of all processes of all these runs, of `count` each, this one is; None if it works alone."""
        pod = self.pod or Shard(0, 1)
        total = pod.total * count
        return Shard(pod.index * count, total) if total > 1 else None
