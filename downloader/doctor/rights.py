"""Whose the target is and who we are: what helps where we may not write, by the kind of file system."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.doctor.finding import note, ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.doctor.finding import Finding
    from downloader.filesystem import Abilities, Ownership

NFS, SMB = ("nfs",), ("cifs", "smb3", "smbfs")
GROUP_WRITES, SETGID = 0o020, 0o2000
NAME = "owner"


@dataclass(frozen=True, slots=True)
class UserIds:
    """The user and the groups of this process."""

    user: int
    group: int
    others: frozenset[int]
    """Supplementary groups: in Kubernetes fsGroup and supplementalGroups."""

    @classmethod
    def current(cls) -> UserIds:
        """Return those of this process."""
        return cls(os.geteuid(), os.getegid(), frozenset(os.getgroups()) - {os.getegid()})

    def __str__(self) -> str:
        also = f", also in {', '.join(map(str, sorted(self.others)))}" if self.others else ""
        return f"user {self.user}, group {self.group}{also}"


def remedy_of(folder: Ownership, ids: UserIds) -> str:
    """Return what lets us write in a folder."""
    if folder.read_only:
        return "it is mounted read-only: mount it to be written (readOnly: false in Kubernetes)"
    if folder.kind.startswith(NFS):
        if ids.user == 0:
            return (
                "this is NFS, whose server takes root for a stranger (root_squash):"
                f" run as user {folder.user}, or export it with no_root_squash"
            )
        return (
            "this is NFS, where Kubernetes does not apply fsGroup:"
            f" on the server give the folder to {ids.user}:{ids.group}, or set mountPermissions of csi-driver-nfs,"
            f" or run with runAsUser {folder.user} or supplementalGroups [{folder.group}]"
        )
    if folder.kind in SMB:
        return f"this is SMB, where the mount decides: mount it with uid={ids.user},gid={ids.group},dir_mode=0770"
    if folder.mode & GROUP_WRITES and folder.group not in {ids.group, *ids.others}:
        return f"its group {folder.group} may write: add it, in Kubernetes as fsGroup or supplementalGroups"
    return (
        f"give it to {ids.user}:{ids.group}, or run as user {folder.user};"
        f" in Kubernetes set securityContext.fsGroup, for example {ids.group}"
    )


def check_owner(folder: Ownership, ids: UserIds, found: Abilities | None) -> Iterator[Finding]:
    """Yield whose the folder is, and whether the server of a network file system lets us be who we are."""
    text = f"we are {ids}; the folder belongs to {folder.user}:{folder.group}, mode {folder.mode:04o}"
    if folder.group in ids.others and folder.mode & SETGID:
        text += ": fsGroup has been applied"
    if found is not None and found.owner != ids.user and folder.kind.startswith(NFS):
        yield note(
            NAME,
            f"{text}; but the server gives new files to {found.owner}:{found.group} (root_squash or all_squash)",
            f"run every time as the same user, best as {found.owner}, or export it with no_root_squash",
        )
    else:
        yield ok(NAME, text)
