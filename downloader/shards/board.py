"""The board: the folder on the volume through which several processes divide the work on one artifact.

    .downloading/shards.<artifact>/members/<token>.log    what each member has claimed and done
    .downloading/shards.<artifact>/claims/<claim>.<generation>

A claim is a file that only one process can create. The claim of a member that counts as dead is taken over by creating
the next generation. All else is what the logs say, so nothing depends on how soon a listing shows a new name.

This module is long because everything that is written to a log is also read here.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from downloader.artifact import Span
from downloader.deadlines import SHARD_GAP, SHARD_POLL
from downloader.errors import DownloadError, LeaseLost, VolumeError
from downloader.filesystem import AlreadyThere, InTheWay, Kind, NotThere, remove_tree
from downloader.formatting import single_line
from downloader.lease import SHARDS, WORK, new_token
from downloader.shards.log import LOG, BoardGone, FollowedLog, MemberLog
from downloader.volume import ByteRanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from downloader.artifact import RemoteFile
    from downloader.filesystem import FileOperations

    Places = Mapping[str, str]
    """Identity of a file → the place that it came from."""

_BEATS = 6
"""Heartbeats per time to live."""
_TRUSTED = 2 / 3
"""Part of its time to live for which a member goes on without a heartbeat of its own."""
AT_FULL_PACE = 4
"""Members up to which the logs are read as often as one waits for."""
_REMOVALS = 8
"""How often the board is removed, since members may be adding to it."""


LONGEST_PLACE = 1000
"""Characters of what a member says of a place."""

log = logging.getLogger(__name__)


class Verdict(NamedTuple):
    """What a member says of a file that it has hashed and verified."""

    sha256: str
    proof: str
    name: str
    """Of the file in the folder of partials."""
    size: int


@dataclass(slots=True)
class FileRecord:
    """What all logs together say of one file in one round."""

    round: int = 0
    """How often its bytes turned out to be useless: it is fetched again under another name each time."""
    done: ByteRanges = field(default_factory=ByteRanges)
    """Bytes on the disk."""
    verified: dict[str, Verdict] = field(default_factory=dict)
    """Token of a member → what it says."""
    final: bool = False
    """It has its final name."""
    places: tuple[tuple[str, str], ...] = ()
    """Token of a member, and the place that it has the last bytes from: in a run with mirrors."""


def boards(files: FileOperations) -> list[str]:
    """Return the paths of all boards on a volume."""
    return [
        f"{WORK}/{name}" for name, kind in files.scan(WORK).items() if name.startswith(SHARDS) and kind is Kind.FOLDER
    ]


def pause_of(members: int) -> float:
    """Return the seconds between two looks at what the others do: many members look less often."""
    return SHARD_POLL * max(1.0, members / AT_FULL_PACE)


def remove_board(files: FileOperations, path: str) -> None:
    """Remove a board that members may still use: they find that it is gone."""
    away = f"{WORK}/ended.{new_token()}"
    try:
        files.rename(path, away)
    except NotThere:
        return
    for _ in range(_REMOVALS):
        if not list(remove_tree(files, away, Kind.FOLDER)):
            return


class Board:
    """A board as one member uses it. Thread-safe."""

    def __init__(
        self, files: FileOperations, path: str, *, ttl: float, clock: Callable[[], float], stopped: threading.Event
    ) -> None:
        """Join the board at `path`. Raises BoardGone if it does not exist. The heartbeat ends with `stopped`."""
        self.token = new_token()
        self.path = path
        self._files = files
        self._ttl = ttl
        self._clock = clock
        self._stopped = stopped
        self._lock = threading.RLock()
        self._logs: dict[str, FollowedLog] = {}
        self._dead: set[str] = set()
        """Tokens of members that counted as dead when the logs were read last: each look asks the kernel."""
        self._records: dict[tuple[str, int], FileRecord] = {}
        """By the identity of the file, and the round."""
        self._rounds: dict[str, int] = {}
        """Identity of a file → the newest round, unless it is the first."""
        self._changed: set[str] = set()
        self._whole: set[str] = set()
        self._claims: dict[str, tuple[int, str]] = {}
        """Claim → the newest generation that is known, and its member; without one if only its file was met."""
        self._met: dict[str, float] = {}
        """Claim whose member is unknown → when it was met, on our clock."""
        self._own: dict[str, int] = {}
        self.received: Callable[[], int] = int
        """Bytes that this member has received so far, to look up in its log what it did."""
        self._last_read = self._beaten = clock()
        self._beats = 0
        try:
            self._log = MemberLog(files, f"{path}/members/{self.token}{LOG}", self.token)
        except (NotThere, InTheWay) as error:
            raise BoardGone(f"there is no shared work on {files.name}") from error
        self._thread = threading.Thread(target=self._keep_beating, name="shard heartbeat", daemon=True)
        self._thread.start()

    @classmethod
    def make(cls, files: FileOperations, path: str) -> None:
        """Make the board, unless it is there. For the leader only."""
        if files.scan(path):
            return
        draft = f"{WORK}/new.{new_token()}"
        for folder in (draft, f"{draft}/members", f"{draft}/claims"):
            files.make_folder(folder)
        files.rename(draft, path)
        files.sync_folder(WORK)

    def beat(self) -> None:
        """Show the others that this member lives. Raises BoardGone, or VolumeError if the volume does not take it."""
        begun = self._clock()
        self._beats += 1
        self._log.append(("beat", self._beats, self.received()))
        self._beaten = begun

    def check(self) -> None:
        """Raise LeaseLost if this member may count as dead by now: others may have taken over what it has claimed."""
        if self._clock() - self._beaten > self._ttl * _TRUSTED:
            raise LeaseLost("this process did not answer for so long that others may have taken over its work")

    def leave(self) -> None:
        """Say that this member does no more: its claims are free."""
        self._stopped.set()
        try:
            self._log.append(("end",))
        except (LeaseLost, VolumeError):
            return  # the board is gone; if not, this member counts as dead after a while
        finally:
            self._thread.join()

    def refresh(self) -> set[str]:
        """Read what is new in the logs; return the identities of the files that it is about.

        Raises BoardGone if there is no board any more.
        """
        with self._lock:
            now = self._clock()
            passed, self._last_read = min(now - self._last_read, SHARD_GAP), now
            names = self._files.scan(f"{self.path}/members")
            if f"{self.token}{LOG}" not in names and not self._files.scan(self.path):
                raise BoardGone(f"the shared work on {self._files.name} has ended")
            for name in names:
                token = name.removesuffix(LOG)
                if name.endswith(LOG) and token not in self._logs:
                    self._logs[token] = FollowedLog(f"{self.path}/members/{name}")
            for token, log in self._logs.items():
                doubtful = not log.grown
                for record in log.read(self._files, passed):
                    self._take(token, record)
                if doubtful and log.grown:  # what it said before counts from now on
                    self._changed |= {
                        identity for (identity, _), file in self._records.items() if token in file.verified
                    }
            self._dead = {token for token, log in self._logs.items() if log.is_dead(self._ttl)}
            changed, self._changed = self._changed, set()
            return changed

    def _take(self, token: str, record: list[Any]) -> None:
        match record:
            case ["claim", str(claim), int(generation)]:
                if generation >= self._claims.get(claim, (0, ""))[0]:
                    self._claims[claim] = generation, token
                    self._met.pop(claim, None)
            case ["done", str(identity), int(round_), int(start), int(stop)] if 0 <= start < stop:
                self._changed.add(identity)
                self._record(identity, round_).done.add(Span(start, stop))
            case ["verified", str(identity), int(round_), str(sha256), str(proof), str(name), int(size)]:
                self._changed.add(identity)
                self._record(identity, round_).verified[token] = Verdict(sha256, proof, name, size)
            case ["place", str(identity), int(round_), str(place)]:
                self._record(identity, round_).places += ((token, place),)
            case ["final", str(identity), int(round_)]:
                self._changed.add(identity)
                self._record(identity, round_).final = True
            case ["again", str(identity), int(round_), int(whole)]:
                self._begin_round(identity, round_, whole=bool(whole))

    def _record(self, identity: str, round_: int) -> FileRecord:
        found = self._records.get((identity, round_))
        if found is None:  # rarely, and there is one call for each record: none is made in vain
            found = self._records[identity, round_] = FileRecord(round_)
        return found

    def _begin_round(self, identity: str, round_: int, *, whole: bool) -> None:
        self._changed.add(identity)
        self._rounds[identity] = max(round_, self._rounds.get(identity, 0))
        if whole:
            self._whole.add(identity)

    def record(self, file: RemoteFile) -> FileRecord:
        """Return what is known of a file."""
        with self._lock:
            return self._record(file.identity, self._rounds.get(file.identity, 0))

    def is_final(self, file: RemoteFile) -> bool:
        """Return whether a file has its final name."""
        return self.record(file).final

    def is_whole(self, file: RemoteFile) -> bool:
        """Return whether one process has to fetch all of a file, since its server ignores ranges."""
        return file.identity in self._whole

    def is_trusted(self, token: str) -> bool:
        """Return whether a member was seen to live: a log that never changes may have been put there by anyone."""
        return token == self.token or (token in self._logs and self._logs[token].grown)

    def verdict(self, file: RemoteFile) -> Verdict | None:
        """Return what a member that can be trusted says of a file that it has verified."""
        verified = self.record(file).verified
        return next((verdict for token, verdict in verified.items() if self.is_trusted(token)), None)

    def is_orphaned(self, file: RemoteFile) -> bool:
        """Return whether only members have verified a file that are dead and were never seen to live by this one.

        Their word does not count here. It may count for others, who leave the file alone.
        """
        verified = self.record(file).verified
        return bool(verified) and not any(self.is_trusted(token) or self.is_living(token) for token in verified)

    def place(self, file: RemoteFile) -> str:
        """Return which place a file came from, as a member says that can be trusted; empty without mirrors."""
        places = self.record(file).places
        return next((single_line(place, LONGEST_PLACE) for token, place in places if self.is_trusted(token)), "")

    @property
    def members(self) -> int:
        """The number of members that live, this one included."""
        with self._lock:
            return len(self._logs.keys() - self._dead) or 1

    def is_living(self, token: str) -> bool:
        """Return whether a member counts as alive."""
        return token == self.token or (token in self._logs and token not in self._dead)

    @property
    def is_behind(self) -> bool:
        """Whether this member has met a claim that is in no log as far as it has read them."""
        return bool(self._met)

    def holds(self, claim: str) -> bool:
        """Return whether this member has a claim."""
        return claim in self._own

    def is_free(self, claim: str) -> bool:
        """Return whether a claim can be tried: no living member is known to have it."""
        with self._lock:
            if claim in self._own:
                return True
            if claim in self._met:
                # Its member has as long as every other, once the listing shows it: that may be as old as this, too.
                return self._clock() - self._met[claim] >= 2 * self._ttl
            known = self._claims.get(claim)
            return known is None or not self.is_living(known[1])

    def claim(self, claim: str) -> bool:
        """Claim a piece of work that is free; return whether it is ours now."""
        return self.claim_row([claim]) == 1

    def claim_row(self, claims: Iterable[str]) -> int:
        """Claim pieces of work one after the other until one is not free; return how many are ours now."""
        with self._lock:
            count = 0
            try:
                for claim in claims:
                    if not self._create(claim):
                        break
                    count += 1
            finally:
                self.flush()
            return count

    def _create(self, claim: str) -> bool:
        """Claim a piece of work that is free, without saying so yet; return whether it is ours now."""
        if claim in self._own:
            return True
        if not self.is_free(claim):
            return False
        known = self._claims.get(claim)
        generation = 0 if known is None else known[0] + 1
        try:
            self._files.close(self._files.create(f"{self.path}/claims/{claim}.{generation}"))
        except AlreadyThere:
            # Its member is not known yet, or died before it could say so.
            self._claims[claim] = generation, ""
            self._met[claim] = self._clock()
            return False
        except NotThere as error:
            raise BoardGone(f"the shared work on {self._files.name} has ended") from error
        self._log.queue(("claim", claim, generation))
        log.debug("claimed %s, generation %d", claim, generation)
        self._own[claim] = generation
        self._claims[claim] = generation, self.token
        self._met.pop(claim, None)
        return True

    def add_done(self, file: RemoteFile, round_: int, ranges: Iterable[Span]) -> None:
        """Record ranges of a file that are on the disk."""
        self.queue_done(file, round_, ranges)
        self.flush()

    def queue_done(self, file: RemoteFile, round_: int, ranges: Iterable[Span]) -> None:
        """Record ranges of a file that are on the disk; others see that after the next `flush`, or any other record."""
        self._log.queue(*(("done", file.identity, round_, span.start, span.stop) for span in ranges))

    def flush(self) -> None:
        """Show the others what has been recorded."""
        self._log.append()

    def add_verified(
        self, verdicts: Iterable[tuple[RemoteFile, Verdict]], places: Places = MappingProxyType({})
    ) -> None:
        """Record files that are complete, on the disk and verified, for the leader to name."""
        records = [(file.identity, self.record(file).round, verdict) for file, verdict in verdicts]
        self._log.append(
            *self._placed(places), *(("verified", identity, round_, *said) for identity, round_, said in records)
        )

    def add_final(self, files: Iterable[RemoteFile], places: Places = MappingProxyType({})) -> None:
        """Record files that have their final names."""
        records = [(file.identity, self.record(file)) for file in files]
        self._log.append(*self._placed(places), *(("final", identity, record.round) for identity, record in records))
        for _, record in records:
            record.final = True

    def _placed(self, places: Places) -> Iterator[tuple[str | int, ...]]:
        """Yield the records of the places that files came from."""
        with self._lock:
            yield from (("place", identity, self._rounds.get(identity, 0), place) for identity, place in places.items())

    def add_again(self, file: RemoteFile, *, whole: bool = False) -> None:
        """Record that the bytes of a file are useless, so that all of it is fetched again."""
        with self._lock:
            following = self._rounds.get(file.identity, 0) + 1
            self._log.append(("again", file.identity, following, int(whole)), durable=True)
            self._begin_round(file.identity, following, whole=whole)

    def _keep_beating(self) -> None:
        while not self._stopped.wait(self._ttl / _BEATS):
            try:
                self.beat()
            except BoardGone:
                return
            except DownloadError as error:  # the volume may answer again; until then `check` ends the work
                log.debug("a heartbeat failed: %s", error)
