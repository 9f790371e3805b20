"""What one node still knows of that another one has removed."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from downloader.errors import VolumeError
from downloader.filesystem import Disk, NotThere
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.distributed.nodes import Nodes

ROUNDS = 200


def test_a_folder_that_another_node_removed_is_empty_and_its_files_are_not_there(nodes: Nodes) -> None:
    here, there = nodes().volume, nodes().volume
    with Disk(here) as disk:
        disk.make_folder("work")
        handle = disk.create("work/lease")
        disk.write(handle, 0, b"1")
        disk.sync(handle)
        assert set(disk.scan("work")) == {"lease"}
        shutil.rmtree(there / "work")
        assert disk.scan("work") == {}
        with pytest.raises(NotThere):
            disk.create("work/new")
        disk.close(handle)
        assert eventually(lambda: disk.stat("work/lease") is None)  # the kernel keeps attributes for a second


def test_a_target_that_another_node_removed_is_an_error(nodes: Nodes) -> None:
    here, there = nodes().volume, nodes().volume
    (here / "t").mkdir()
    with Disk(here / "t") as disk:
        (there / "t").rmdir()
        with pytest.raises(VolumeError):
            disk.create("new")


def test_a_target_is_made_although_another_node_looks_for_it(nodes: Nodes) -> None:
    """On GlusterFS, making a folder that another node looks for in that moment may fail, and it is not there then."""
    here, there = nodes().volume, nodes().volume
    names = [f"target-{number}" for number in range(400)]
    sought, ended = iter(names), threading.Event()

    def look() -> None:
        while not ended.is_set():
            with suppress(OSError):  # what it has seen may be gone at once
                (there / name / ".downloading").exists()

    name = next(sought)
    looking = threading.Thread(target=look)
    looking.start()
    try:
        for name in names:
            Disk(here / name).close_all()
    finally:
        ended.set()
        looking.join()
    assert {path.name for path in here.iterdir()} >= set(names)


def test_two_nodes_that_open_a_new_target_at_once_both_have_it(nodes: Nodes) -> None:
    """GlusterFS may take back what one of them has made while the other one opens it: once in some hundred times."""
    together, errors = threading.Barrier(2, timeout=60), []

    def use(place: Path) -> None:
        for number in range(ROUNDS):
            together.wait()
            try:
                Disk(place / f"new-{number}").close_all()
            except VolumeError as error:
                errors.append(error.message)

    threads = [threading.Thread(target=use, args=(nodes().volume,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
