"""Power fails at every single step of a run, and what was promised before is still true after."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Completion, Span
from downloader.filesystem.interface import stats_of
from downloader.integrity.checksum_file import MARKER, Checksums, parse_checksums
from downloader.lease.lease import WORK
from downloader.volume import FileState, VerifiedFile, Volume
from downloader.volume.completion import in_attributes
from downloader.volume.journal import load
from downloader.volume.records import is_unchanged
from tests.clocks import Clock
from tests.volume.artifacts import bring, manifest_of, noise, remote, sha256, states
from tests.volume.crashing import CrashingFiles, Fate, PowerLoss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.artifact import Manifest

OLD = {"config.json": b"{}", "weights.bin": noise(40_000, 1), "same.txt": b"unchanged"}
NEW = {
    "config.json": b'{"new": 1}',
    "weights.bin": noise(90_000, 2),
    "same.txt": b"unchanged",
    "folder/deep/tokens.txt": b"a b c",
    "empty": b"",
}
PIECE = 10_000


def survives() -> bool:
    return True


def perishes() -> bool:
    return False


def dice(seed: int) -> Fate:
    generator = random.Random(seed)  # noqa: S311
    return lambda: generator.random() < 0.5


FATES = {"nothing unsynced survives": lambda _: perishes, "everything survives": lambda _: survives, "dice": dice}


class Machine:
    """Runs on a volume that may lose power, and remembers what it was promised."""

    def __init__(self, completion: Completion = Completion.FILE) -> None:
        self.completion = completion
        self.files = CrashingFiles()
        self.clock = Clock()
        self.published: Manifest | None = None
        self.committed: list[str] = []

    def volume(self) -> Volume:
        return Volume(
            Path("/volume"),
            files=self.files,
            clock=self.clock,
            journal_above=20_000,
            unsynced_limit=25_000,
            completion=self.completion,
        )

    def run(self, content: dict[str, bytes]) -> None:
        volume = self.volume()
        manifest = manifest_of(content)
        self.published, self.committed = None, []
        with volume.lease(manifest.uri, sleep=self.clock.sleep):
            bring(volume, manifest, content, piece=PIECE, committed=self.committed.append)
            self.published = manifest

    def lose_power(self, content: dict[str, bytes], step: int, fate: Fate) -> bool:
        """Run until that step; False if the run was over before."""
        self.files.steps, self.files.crash_at = 0, step
        try:
            self.run(content)
        except PowerLoss:
            self.files.restart(fate)
            return True
        self.files.crash_at = None
        return False


def crashes(
    fate_of: str,
    before: dict[str, bytes] | None,
    content: dict[str, bytes],
    completion: Completion = Completion.FILE,
) -> Iterator[Machine]:
    """Yield a machine for every step of a run at which power can fail."""
    step = 1
    while True:
        machine = Machine(completion)
        if before is not None:
            machine.run(before)
        if not machine.lose_power(content, step, FATES[fate_of](step)):
            assert step > 30
            return
        yield machine
        step += 1


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("before", [None, OLD], ids=["empty volume", "older artifact"])
def test_a_final_name_never_holds_anything_but_a_whole_file(fate: str, before: dict[str, bytes] | None) -> None:
    for machine in crashes(fate, before, NEW):
        for path, data in machine.files.tree().items():
            if not path.startswith(WORK) and path != MARKER:
                assert data in (NEW.get(path), (before or {}).get(path))


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("before", [None, OLD], ids=["empty volume", "older artifact"])
def test_the_checksum_file_stands_only_beside_exactly_what_it_lists(fate: str, before: dict[str, bytes] | None) -> None:
    seen = set()
    for machine in crashes(fate, before, NEW):
        tree = machine.files.tree()
        seen.add(MARKER in tree)
        if MARKER in tree:
            for path, digest in parse_checksums(tree[MARKER]).files.items():
                assert sha256(tree[path]) == digest
        assert MARKER in tree or not machine.published
    assert seen == {True, False}


@pytest.mark.parametrize("fate", FATES)
def test_the_journal_never_claims_bytes_that_the_disk_does_not_have(fate: str) -> None:
    claimed = 0
    for machine in crashes(fate, OLD, NEW):
        tree = machine.files.tree()
        for file in manifest_of(NEW).files:
            for path in tree:
                if path.endswith(f"{file.identity}.journal") and (part := path.replace(".journal", ".part")) in tree:
                    for span in load(machine.files, path, file.identity, file.size):
                        claimed += len(span)
                        assert tree[part][span.start : span.stop] == NEW[file.path][span.start : span.stop]
    assert claimed


SIDE_BY_SIDE = {f"{number}.bin": noise(50_000, 10 + number) for number in range(4)}


def _fetch_side_by_side(machine: Machine) -> None:
    """Bring four files at once, a piece of each in turn, so that their journals share their syncs."""
    volume = machine.volume()
    manifest = manifest_of(SIDE_BY_SIDE)
    with volume.lease(manifest.uri, sleep=machine.clock.sleep):
        partials = [volume.partial(file) for file in manifest.files]
        for start in range(0, 50_000, PIECE):
            for partial in partials:
                data = SIDE_BY_SIDE[partial.file.path][start : start + PIECE]
                partial.write(start, memoryview(bytearray(data)))
                partial.complete(Span(start, start + len(data)))
        for partial in partials:
            partial.close()


@pytest.mark.parametrize("fate", FATES)
def test_journals_that_share_a_sync_claim_nothing_that_the_disk_does_not_have(fate: str) -> None:
    claimed, step, over = 0, 1, False
    while not over:
        machine = Machine()
        machine.files.steps, machine.files.crash_at = 0, step
        try:
            _fetch_side_by_side(machine)
            over = True
        except PowerLoss:
            machine.files.restart(FATES[fate](step))
        machine.files.crash_at = None
        tree = machine.files.tree()
        for file in manifest_of(SIDE_BY_SIDE).files:
            journal = next((path for path in tree if path.endswith(f"{file.identity}.journal")), None)
            part = tree.get(journal.replace(".journal", ".part")) if journal else None
            if journal and part is not None:
                for span in load(machine.files, journal, file.identity, file.size):
                    claimed += len(span)
                    assert part[span.start : span.stop] == SIDE_BY_SIDE[file.path][span.start : span.stop]
        step += 1
    assert step > 30
    assert claimed


@pytest.mark.parametrize("fate", FATES)
def test_a_file_that_was_committed_stays(fate: str) -> None:
    seen = 0
    for machine in crashes(fate, OLD, NEW):
        for path in machine.committed:
            seen += 1
            assert machine.files.tree()[path] == NEW[path]
    assert seen


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("before", [None, OLD], ids=["empty volume", "older artifact"])
def test_a_mark_in_attributes_speaks_the_truth_of_every_file(fate: str, before: dict[str, bytes] | None) -> None:
    """A file that looks as its attribute says has these very bytes, and what counts as published is all there."""
    seen = set()
    for machine in crashes(fate, before, NEW, Completion.XATTR):
        tree, mark = machine.files.tree(), in_attributes(machine.files) or Checksums({})
        for path, digest in mark.files.items():
            if is_unchanged(mark, path, stats_of(machine.files, [path])[path]):
                assert sha256(tree[path]) == digest
        inventory = machine.volume().inventory(manifest_of(NEW))
        seen.add(inventory.published)
        assert not inventory.published or tree == NEW
        assert not machine.published or set(states(inventory).values()) == {FileState.VERIFIED}
    assert False in seen


@pytest.mark.slow
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("before", [None, OLD], ids=["empty volume", "older artifact"])
def test_with_a_mark_in_attributes_the_next_run_leaves_the_sources_files_alone(
    fate: str, before: dict[str, bytes] | None
) -> None:
    for machine in crashes(fate, before, NEW, Completion.XATTR):
        machine.run(NEW)
        assert machine.files.tree() == NEW
        assert machine.volume().inventory(manifest_of(NEW)).published
        assert not machine.volume().verify().damaged


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("completion", [Completion.FILE, Completion.XATTR])
def test_an_artifact_that_was_published_stays_published(fate: str, completion: Completion) -> None:
    machine = Machine(completion)
    machine.run(NEW)
    machine.files.off = True
    machine.files.restart(FATES[fate](0))
    assert set(states(machine.volume().inventory(manifest_of(NEW))).values()) == {FileState.VERIFIED}
    machine.run(NEW)
    assert machine.committed == []


@pytest.mark.slow
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("before", [None, OLD], ids=["empty volume", "older artifact"])
def test_the_next_run_always_completes_and_leaves_nothing_else(fate: str, before: dict[str, bytes] | None) -> None:
    for machine in crashes(fate, before, NEW):
        machine.run(NEW)
        tree = machine.files.tree()
        assert parse_checksums(tree.pop(MARKER)).files == {path: sha256(data) for path, data in NEW.items()}
        assert tree == NEW
        assert not machine.volume().verify().damaged


@pytest.mark.parametrize("fate", FATES)
def test_the_journal_of_discarded_bytes_never_speaks_for_the_bytes_that_follow(fate: str) -> None:
    data, wrong = NEW["weights.bin"], noise(90_000, 3)
    file = remote("weights.bin", data)
    seed = seen = 0
    for step in range(1, 60):
        for attempt in range(4):
            seed += 1
            machine = Machine()
            volume = machine.volume()
            with suppress(PowerLoss), volume.lease("hf://org/model", sleep=machine.clock.sleep):
                partial = volume.partial(file)
                partial.write(0, memoryview(bytearray(wrong)))
                partial.complete(Span(0, len(wrong)))
                partial.discard()
                machine.files.steps, machine.files.crash_at = 0, step
                partial = volume.partial(file)
                partial.write(0, memoryview(bytearray(data[:PIECE])))
                partial.complete(Span(0, PIECE))
                partial.flush()
            if not machine.files.off:
                continue
            machine.files.restart(FATES[fate](seed))
            tree = machine.files.tree()
            for path in [path for path in tree if path.endswith(".part")]:
                journal = path.replace(".part", ".journal")
                for span in load(machine.files, journal, file.identity, file.size):
                    seen += 1
                    assert tree[path][span.start : span.stop] == data[span.start : span.stop], (step, attempt)
    assert seen or fate == "nothing unsynced survives"


class Pruning(Machine):
    """Removes what only the artifact before had, on a volume where another program has a file, too."""

    GONE = frozenset({"gone.bin", "old/deep/gone.txt"})

    def run(self, content: dict[str, bytes]) -> None:
        volume = self.volume()
        manifest = manifest_of(content)
        self.published = None
        with volume.lease(manifest.uri, sleep=self.clock.sleep):
            volume.remove_when_published(self.GONE - content.keys())
            bring(volume, manifest, content, piece=PIECE)
            self.published = manifest


FOREIGN = {"old/notes.txt": b"not ours"}


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("completion", [Completion.FILE, Completion.XATTR])
def test_pruned_files_are_there_until_the_newer_artifact_is_complete_and_gone_after_the_next_run(
    fate: str, completion: Completion
) -> None:
    before = {**OLD, "gone.bin": noise(30_000, 4), "old/deep/gone.txt": b"gone", "empty": b""}
    step, kept, left = 1, 0, 0
    while True:
        machine = Pruning(completion)
        machine.run(before)
        _put(machine, FOREIGN)
        if not machine.lose_power(NEW, step, FATES[fate](step)):
            break
        tree, newer = machine.files.tree(), machine.volume().inventory(manifest_of(NEW))
        assert FOREIGN.items() <= tree.items()
        complete = set(states(newer).values()) == {FileState.VERIFIED}
        gone = Pruning.GONE - tree.keys()
        assert complete or not gone
        kept += not complete
        left += complete and gone != Pruning.GONE
        machine.GONE = frozenset()  # the next run is not told to prune: it finishes what was begun, or keeps the files
        machine.run(NEW)
        tree = machine.files.tree()
        assert not complete or not Pruning.GONE & tree.keys()
        assert {path: tree[path] for path in tree.keys() - {MARKER, *Pruning.GONE}} == NEW | FOREIGN
        assert not machine.volume().verify().damaged
        step += 1
    assert kept
    assert left
    assert {path: data for path, data in machine.files.tree().items() if path != MARKER} == NEW | FOREIGN


def _put(machine: Machine, content: dict[str, bytes]) -> None:
    for path, data in content.items():
        handle = machine.files.create(path)
        machine.files.write(handle, 0, data)
        machine.files.sync(handle)
        machine.files.close(handle)
        machine.files.sync_folder(path.rpartition("/")[0])


MANY = {f"part-{number}.json": noise(300 + number, number) for number in range(9)}


class Together(Machine):
    """Commits many small files in one go, so that one sync of everything has to do for all of them."""

    def run(self, content: dict[str, bytes]) -> None:
        volume = self.volume()
        with volume.lease("hf://org/many", sleep=self.clock.sleep):
            partials = []
            for path, data in content.items():
                partial = volume.partial(remote(path, data))
                partial.write(0, memoryview(bytearray(data)))
                partial.complete(Span(0, len(data)))
                partials.append(VerifiedFile(partial.finish(), sha256(data), "sha256"))
            volume.commit(partials)
            self.committed = list(content)


@pytest.mark.parametrize("fate", FATES)
def test_files_that_are_committed_together_have_their_names_only_when_their_bytes_are_on_the_disk(fate: str) -> None:
    step = 1
    while (machine := Together()).lose_power(MANY, step, FATES[fate](step)):
        for path, data in MANY.items():
            found = machine.files.stat(path)
            assert found is None or read_back(machine.files, path) == data
        step += 1
    assert step > 40
    assert machine.committed


def read_back(files: CrashingFiles, path: str) -> bytes:
    handle = files.open(path)
    view = memoryview(bytearray(1000))
    count = files.read(handle, 0, view)
    files.close(handle)
    return bytes(view[:count])
