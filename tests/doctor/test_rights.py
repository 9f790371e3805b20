"""What helps where a folder may not be written, by the kind of file system. There is no NFS server here to ask."""

from __future__ import annotations

from dataclasses import replace

import pytest

from downloader.doctor import Level
from downloader.doctor.rights import UserIds, check_owner, remedy_of
from downloader.filesystem import Abilities, Ownership

FOLDER = Ownership("nfs4", 1500, 1600, 0o755, read_only=False)
ROOT, POD = UserIds(0, 0, frozenset()), UserIds(1000, 1000, frozenset({1000}))
MADE = Abilities(
    kind="nfs4", owner=65534, group=65534, made_ns=0, direct=True, allocates=True, syncs_whole=False, attributes=False,
    replaces=True, links=True, in_order=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "ids", "words"),
    [
        (FOLDER, ROOT, ["root_squash", "run as user 1500", "no_root_squash"]),
        (FOLDER, POD, ["does not apply fsGroup", "1000:1000", "mountPermissions", "supplementalGroups [1600]"]),
        (replace(FOLDER, kind="cifs"), POD, ["SMB", "uid=1000,gid=1000"]),
        (replace(FOLDER, kind="ext4"), POD, ["give it to 1000:1000", "fsGroup"]),
        (replace(FOLDER, kind="ext4", mode=0o775), POD, ["its group 1600 may write", "supplementalGroups"]),
        (replace(FOLDER, read_only=True), POD, ["mounted read-only", "readOnly: false"]),
    ],
)
def test_the_remedy_fits_the_file_system_and_who_we_are(folder: Ownership, ids: UserIds, words: list[str]) -> None:
    assert [word for word in words if word not in remedy_of(folder, ids)] == []


def test_a_server_that_gives_our_files_to_another_user_is_a_note() -> None:
    (finding,) = check_owner(FOLDER, ROOT, MADE)
    assert finding.level is Level.NOTE
    assert "65534:65534" in finding.text
    assert "no_root_squash" in finding.remedy


def test_a_group_that_kubernetes_has_given_to_the_folder_is_told() -> None:
    ids = UserIds(1000, 1000, frozenset({2000}))
    (finding,) = check_owner(Ownership("ext4", 0, 2000, 0o2775, read_only=False), ids, None)
    assert (finding.level, "fsGroup has been applied" in finding.text) == (Level.OK, True)
