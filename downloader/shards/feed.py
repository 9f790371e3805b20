"""Finds work for one member: claims it piece by piece while it runs, and follows what the others have done.

A member takes its part of the files to hash, as many at a time as it has connections, and fetches each from its first
byte on: so most bytes are hashed as they pass, and each connection has a stream of its own. When all files have a
member that hashes them, it helps with the files that have most bytes left, from their last byte on. Claims are made
just before their bytes are needed: what a slow member has not begun is fetched by the others.
"""

from __future__ import annotations

import random
import threading
from itertools import islice
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError, RangeIgnored
from downloader.shards.board import pause_of
from downloader.shards.pace import Pace
from downloader.shards.shared_file import SharedFile
from downloader.shards.work import Group, hash_claim, piece_claim, whole_claim

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from downloader.artifact import RemoteFile
    from downloader.errors import DownloadError
    from downloader.progress import ProgressMeter
    from downloader.shards.member import Member
    from downloader.shards.work import Division
    from downloader.transfer import Intake

MOST_ROUNDS = 2
"""How often the bytes of a shared file may be wrong in one attempt."""


class ShardFeed:
    """The work of one member in one attempt."""

    def __init__(
        self,
        member: Member,
        division: Division,
        missing: Collection[RemoteFile],
        *,
        index: int,
        total: int,
        meter: ProgressMeter,
        failures: dict[str, DownloadError],
        collect: Callable[[Sequence[RemoteFile]], None],
        done: Callable[[str, str, str], object],
        fail: Callable[[RemoteFile, DownloadError], None],
        rank: int | None,
        leaves: bool,
    ) -> None:
        """`missing` files are to be fetched. Members with different `index` begin with different files.

        There are `total` members as far as this one was told: others may not have begun yet, and want files to hash.

        `failures` are those of the attempt so far. `collect` is called with files of which there is news: the leader
        gives their final names to those that other members have verified. `done` is called with path, sha256 and place
        of each file that is verified, unless it has been; what is not known of these is empty.

        With mirrors, `rank` is the number of places that come before the one that is asked, and None for the last. A
        shared file whose bytes were wrong more often than that is one to `fail` here: all members read on the board
        how often that was, so a place that is wrong costs each file once and not once for each member. If the attempt
        `leaves` files to the next one, it does not wait for other members, which may wait for those.
        """
        self._member = member
        self._board = member.board
        self._division = division
        self._total = total
        self._meter = meter
        self._failures = failures
        self._collect = collect
        self._done = done
        self._fail = fail
        self._rank = rank
        self._leaves = leaves
        self._left = {file.identity: file for file in missing}
        self._news = set(self._left)
        shared = [file for file in missing if division.is_shared(file)]
        start = index * len(shared) // total
        self._shared = {file.identity: self._state(file) for file in (*shared[start:], *shared[:start])}
        self._files_free = True
        """A file to hash may be free: none was when one was last looked for, unless there has been news since."""
        self._pace = Pace(meter)
        self._given: set[str] = set()
        """Identities of whole files that the transport has got."""
        self._rejections: dict[str, int] = {}
        self._told = 0
        """Processes that the meter knows of."""
        self._lock = threading.Lock()

    def run(self, intake: Intake) -> None:
        """Add work until each file is verified, or until only files that have failed here could be tried again."""
        while True:
            self._news |= self._board.refresh()
            self._files_free = True
            self._pace.look()
            self._tell()
            self._follow(intake)
            if all(file.path in self._failures for file in self._left.values()):
                return
            # The logs are not read before each claim: what another member has just taken is found by its name.
            pause, failed = pause_of(self._board.members), len(self._failures)
            while intake.wait(self._pace.until_look(pause)) and len(self._failures) == failed:
                if not self._claim(intake):
                    if self._left_to_next(intake) and len(self._failures) == failed:
                        return
                    intake.sleep(pause)
                    break
                if not self._pace.until_look(pause, busy=not self._board.is_behind):
                    break

    def _tell(self) -> None:
        """Tell how many processes share the work, when that changes."""
        if (processes := self._board.members) != self._told:
            self._told = processes
            self._meter.share(leads=self._member.is_leader, processes=processes)

    def _left_to_next(self, intake: Intake) -> bool:
        """Return whether this attempt only waits for others, and the next one can try files that this one cannot.

        The others may wait for those in the same way: two members would then wait for each other for ever.
        """
        return intake.is_idle and (self._leaves or any(file.path in self._failures for file in self._left.values()))

    def rejected(self, file: RemoteFile) -> bool:
        """Return whether a file with wrong bytes begins again; whole files are the transport's."""
        if not self._member.is_shared(file) or self._rank is not None:
            return False
        with self._lock:
            count = self._rejections[file.identity] = self._rejections.get(file.identity, 0) + 1
        return count < MOST_ROUNDS

    def _state(self, file: RemoteFile) -> SharedFile:
        record = self._board.record(file)
        return SharedFile(file, self._division.pieces(file), record.round, record.done)

    def _follow(self, intake: Intake) -> None:
        """Take over what the logs say of the files that they have news of."""
        for path, error in list(self._failures.items()):
            self._give_whole(path, error)
        news, self._news = self._news & self._left.keys(), set()
        self._collect([self._left[identity] for identity in news])
        for identity in news:
            file, state = self._left[identity], self._shared.get(identity)
            if state is not None:
                self._follow_shared(state, intake)
            if not self._member.is_done(file):
                self._pass_over(file)
                continue
            del self._left[identity]
            verdict = self._board.verdict(file)
            self._done(file.path, verdict.sha256 if verdict else "", self._board.place(file))
            if state is not None:
                self._meter.add_written(self._shared[identity].rest())
            elif identity not in self._given:
                self._meter.add_written(file.size)

    def _follow_shared(self, state: SharedFile, intake: Intake) -> None:
        file = state.file
        if state.round != self._board.record(file).round:
            self._meter.add_written(-state.done.size)
            intake.drop(file)
            state = self._shared[file.identity] = self._state(file)
        self._meter.add_written(state.counted())
        if state.hashes and file.path not in self._failures and (found := state.found()):
            intake.share(file, (), found, hashes=True)

    def _pass_over(self, file: RemoteFile) -> None:
        """Leave a file to the places behind this one if its bytes were wrong too often to come from here."""
        wrong = self._board.record(file).round - self._board.is_whole(file)
        if self._rank is not None and wrong > self._rank and file.path not in self._failures:
            self._fail(file, IntegrityError(f"{file.path}: its bytes were wrong, so another place is asked for them"))

    def _give_whole(self, path: str, error: DownloadError) -> None:
        """Let one member fetch all of a file whose server ignores ranges."""
        if isinstance(error, RangeIgnored):
            for state in self._shared.values():
                if state.file.path == path and not self._board.is_whole(state.file):
                    self._board.add_again(state.file, whole=True)
                    self._news.add(state.file.identity)
                    del self._failures[path]

    def _claim(self, intake: Intake) -> bool:
        """Claim some more work and give it to the transport; return whether there was any."""
        files = list(self._open_files())
        own = [state for state in files if state.hashes]
        # Others that have not begun yet want their part, too.
        part = len(files) // max(self._total, self._board.members)
        enough = not self._files_free or len(own) >= max(1, min(intake.connections, part))
        pieces = sum(len(state.left()) for state in files)
        most = self._pace.most(self._division.piece, pieces, self._board.members)
        if enough:
            claimed = self._claim_of(own, most, intake) or self._claim_new(files, most, intake)
        else:
            claimed = self._claim_new(files, most, intake) or self._claim_of(own, most, intake)
        return claimed or self._help(files, intake)

    def _claim_new(self, files: Iterable[SharedFile], most: int, intake: Intake) -> bool:
        """Claim files that no member has: small ones first, which come whole, then one to hash."""
        return self._claim_group(intake) or self._claim_file(files, most, intake)

    def _claim_of(self, own: Iterable[SharedFile], most: int, intake: Intake) -> bool:
        """Claim the next pieces of a file that this member hashes: of the one that it has fetched least of."""
        return any(self._claim_next(state, most, intake) for state in sorted(own, key=lambda state: state.taken.size))

    def _claim_group(self, intake: Intake) -> bool:
        """Claim files that are fetched as a whole."""
        for claim, files in self._whole():
            # As they are asked for here, which may be a mirror.
            wanted = [self._left[file.identity] for file in files if self._is_open(file)]
            open_ = [file for file in wanted if file.identity not in self._given]
            if open_ and self._board.claim(claim):
                self._given.update(file.identity for file in open_)
                intake.add(open_)
                return True
        return False

    def _whole(self) -> Iterator[Group]:
        """Yield the groups; a file that is fetched once more is one by itself.

        So is an orphan: the member that has claimed its group may count it as done, and wait for the leader to name it.
        """
        for claim, files in self._division.groups:
            again = [file for file in files if self._board.record(file).round or self._board.is_orphaned(file)]
            yield Group(claim, tuple(file for file in files if file not in again))
            yield from map(self._alone, again)
        yield from (self._alone(state.file) for state in self._shared.values() if self._board.is_whole(state.file))

    def _alone(self, file: RemoteFile) -> Group:
        return Group(whole_claim(file, self._board.record(file).round), (file,))

    def _claim_file(self, files: Iterable[SharedFile], most: int, intake: Intake) -> bool:
        """Claim the next file to hash, with its first pieces that are free."""
        for state in files:
            if state.hashes or not state.is_at_rest or not self._board.claim(hash_claim(state.file, state.round)):
                continue
            intake.drop(state.file)  # this member may have helped with it
            state.begin_hashing()
            intake.share(state.file, (), hashes=True)
            self._claim_next(state, most, intake)
            return True
        self._files_free = False
        return False

    def _help(self, files: Iterable[SharedFile], intake: Intake) -> bool:
        """Claim one of the last free pieces of the file that has most pieces left."""
        for state in sorted(files, key=lambda state: -len(state.left())):
            free = self._free(state, reversed(state.left()))
            while last := list(islice(free, self._board.members)):
                random.shuffle(last)  # so that few helpers collide
                if any(self._claim_piece(state, number, intake) for number in last):
                    return True
        return False

    def _claim_next(self, state: SharedFile, most: int, intake: Intake) -> bool:
        """Claim the next free pieces of a file, at most so many and neighbours only; return whether there was one."""
        left = state.left()
        for place, first in enumerate(left):
            row = (number for ahead, number in enumerate(left[place : place + most]) if number == first + ahead)
            count = self._board.claim_row(piece_claim(state.file, state.round, number) for number in row)
            if count:
                self._fetch(state, range(first, first + count), intake)
                return True
        return False

    def _free(self, state: SharedFile, numbers: Iterable[int]) -> Iterator[int]:
        """Yield the numbers of the pieces that no living member is known to fetch, as they are asked for."""
        return (number for number in numbers if self._board.is_free(piece_claim(state.file, state.round, number)))

    def _claim_piece(self, state: SharedFile, number: int, intake: Intake) -> bool:
        claimed = self._board.claim(piece_claim(state.file, state.round, number))
        if claimed:
            self._fetch(state, [number], intake)
        return claimed

    def _fetch(self, state: SharedFile, numbers: Sequence[int], intake: Intake) -> None:
        intake.share(state.file, [span for number in numbers for span in state.take(number)], hashes=state.hashes)

    def _open_files(self) -> Iterator[SharedFile]:
        """Yield the shared files that this member can do something for."""
        for state in list(self._shared.values()):
            if self._is_open(state.file) and not self._board.is_whole(state.file):
                yield state

    def _is_open(self, file: RemoteFile) -> bool:
        return file.identity in self._left and file.path not in self._failures
