"""A file system in memory that loses power: page cache and disk are two things, and only a sync carries over.

It is harsher than POSIX file systems in use: what was not synced may survive or not, each name and each block of 4096
bytes on its own, so a rename between two folders may leave both names or none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from downloader.filesystem.interface import AlreadyThere, InTheWay, Kind, NotThere, Space, Stat

BLOCK = 4096
Fate = Callable[[], bool]
"""Decides for each thing that was not synced whether it survives."""


class PowerLoss(Exception):
    """The machine is off."""


@dataclass(eq=False)
class Node:
    """A file or folder, as the page cache has it and as the disk has it."""

    inode: int
    kind: Kind
    data: bytearray = field(default_factory=bytearray)
    disk_data: bytearray = field(default_factory=bytearray)
    names: dict[str, Node] = field(default_factory=dict)
    disk_names: dict[str, Node] = field(default_factory=dict)
    mtime_ns: int = 0
    disk_mtime_ns: int = 0
    attributes: dict[str, bytes] = field(default_factory=dict)
    disk_attributes: dict[str, bytes] = field(default_factory=dict)

    def settle_attributes(self, fate: Fate) -> None:
        """Make the attributes on disk and in the page cache the same again."""
        for name in self.attributes.keys() | self.disk_attributes.keys():
            if self.attributes.get(name) != self.disk_attributes.get(name) and fate():
                if name in self.attributes:
                    self.disk_attributes[name] = self.attributes[name]
                else:
                    del self.disk_attributes[name]
        self.attributes = dict(self.disk_attributes)


class CrashingFiles:
    """Implements `FileOperations`. Power fails at step `crash_at`, counted over everything that changes something."""

    def __init__(self) -> None:
        self.root = Node(1, Kind.FOLDER)
        self.steps = 0
        self.crash_at: int | None = None
        self.off = False
        self._next = 2
        self._handles: dict[int, Node] = {}
        self._time = 1_000_000_000

    def restart(self, fate: Fate) -> None:
        """Power is back: the page cache is empty, and `fate` has decided on what was not synced."""
        self._settle(self.root, fate, set())
        self._handles.clear()
        self.off = False
        self.crash_at = None

    def tree(self) -> dict[str, bytes]:
        """Return every file by its path."""
        return dict(self._walk(self.root, ""))

    # FileOperations

    @property
    def name(self) -> str:
        return "/volume"

    @property
    def is_local(self) -> bool:
        return True

    def create(self, path: str) -> int:
        self._step()
        folder, name = self._parent(path)
        if name in folder.names:
            raise AlreadyThere(path)
        node = folder.names[name] = self._new(Kind.FILE)
        return self._handle(node)

    def open(self, path: str, *, write: bool = False) -> int:
        del write
        self._check_power()
        folder, name = self._parent(path)
        if name not in folder.names:
            raise NotThere(path)
        if folder.names[name].kind is not Kind.FILE:
            raise InTheWay(path)
        return self._handle(folder.names[name])

    def share(self, handle: int, source: int) -> bool:
        del handle, source
        return False

    def open_direct(self, path: str) -> int | None:
        del path
        return None

    def close(self, handle: int) -> None:
        self._handles.pop(handle, None)

    def write(self, handle: int, offset: int, data: memoryview | bytes) -> None:
        node = self._handles[handle]
        try:
            self._step()
        except PowerLoss:
            self._put(node, offset, bytes(data[: len(data) // 2]))
            raise
        self._put(node, offset, bytes(data))

    def write_direct(self, handle: int, offset: int, data: memoryview) -> bool:
        raise NotImplementedError

    def read(self, handle: int, offset: int, view: memoryview) -> int:
        self._check_power()
        piece = self._handles[handle].data[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def sync(self, handle: int) -> None:
        self._step()
        node = self._handles[handle]
        node.disk_data = bytearray(node.data)
        node.disk_mtime_ns = node.mtime_ns
        node.disk_attributes = dict(node.attributes)

    def sync_everything(self) -> bool:
        for handle in list(self._handles):
            self.sync(handle)
        for node in self._nodes(self.root):
            node.disk_attributes = dict(node.attributes)
        return True

    def forget(self, handle: int, offset: int = 0, length: int = 0) -> None:
        del offset, length  # nothing here has pages
        self._handles[handle]

    def reread(self, handle: int, offset: int = 0, length: int = 0) -> None:
        self.forget(handle, offset, length)

    def truncate(self, handle: int, size: int) -> None:
        self._step()
        node = self._handles[handle]
        node.data = node.data[:size].ljust(size, b"\0")
        self._touch(node)

    def touch(self, handle: int, mtime_ns: int) -> None:
        self._step()
        self._handles[handle].mtime_ns = mtime_ns

    def handle_stat(self, handle: int) -> Stat:
        self._check_power()
        return self._stat(self._handles[handle])

    def stat(self, path: str) -> Stat | None:
        self._check_power()
        if not path:
            return self._stat(self.root)
        try:
            folder, name = self._parent(path)
        except (NotThere, InTheWay):
            return None
        return self._stat(folder.names[name]) if name in folder.names else None

    def stats(self, folder: str, names: list[str]) -> dict[str, Stat]:
        found = {name: self.stat(f"{folder}/{name}".lstrip("/")) for name in names}
        return {name: details for name, details in found.items() if details is not None}

    def scan(self, folder: str) -> dict[str, Kind]:
        self._check_power()
        try:
            names = self._folder(folder).names
        except (NotThere, InTheWay):
            return {}
        return {name: node.kind for name, node in names.items()}

    def rename(self, old: str, new: str) -> None:
        self._step()
        source, old_name = self._parent(old)
        target, new_name = self._parent(new)
        if old_name not in source.names:
            raise NotThere(old)
        node, replaced = source.names[old_name], target.names.get(new_name)
        if replaced is not None and replaced.kind is Kind.FOLDER and node.kind is not Kind.FOLDER:
            raise InTheWay(new)
        if replaced is not None and replaced.names:
            raise AlreadyThere(new)
        if replaced is not node:
            target.names[new_name] = node
            del source.names[old_name]

    def unlink(self, path: str) -> None:
        self._step()
        folder, name = self._parent(path)
        if name not in folder.names:
            raise NotThere(path)
        if folder.names[name].kind is Kind.FOLDER:
            raise InTheWay(path)
        del folder.names[name]

    def make_folder(self, path: str) -> bool:
        self._step()
        folder, name = self._parent(path)
        if name not in folder.names:
            folder.names[name] = self._new(Kind.FOLDER)
            return True
        if folder.names[name].kind is not Kind.FOLDER:
            raise InTheWay(path)
        return False

    def remove_folder(self, path: str) -> None:
        self._step()
        folder, name = self._parent(path)
        if name not in folder.names:
            raise NotThere(path)
        if folder.names[name].names:
            raise AlreadyThere(path)
        del folder.names[name]

    def sync_folder(self, path: str) -> None:
        self._step()
        folder = self._folder(path)
        folder.disk_names = dict(folder.names)
        folder.disk_attributes = dict(folder.attributes)

    def attribute(self, path: str, name: str) -> bytes | None:
        self._check_power()
        node = self._node(path)
        return node.attributes.get(name) if node else None

    def attributes(self, folder: str, names: list[str], name: str) -> dict[str, bytes]:
        found = {file: self.attribute(f"{folder}/{file}".lstrip("/"), name) for file in names}
        return {file: value for file, value in found.items() if value is not None}

    def set_attribute(self, path: str, name: str, value: bytes) -> bool:
        self._step()
        node = self._node(path)
        if node is None:
            raise NotThere(path)
        node.attributes[name] = value
        return True

    def remove_attribute(self, path: str, name: str) -> None:
        self._step()
        node = self._node(path)
        if node is not None:
            node.attributes.pop(name, None)

    def writes_in_order(self, path: str) -> bool:  # noqa: ARG002
        return False

    def space(self) -> Space:
        return Space(1 << 40, None, BLOCK)

    def oldest_operation(self) -> tuple[str, float] | None:
        return None

    def close_all(self) -> None:
        self._handles.clear()

    # inside

    def _check_power(self) -> None:
        if self.off:
            raise PowerLoss

    def _step(self) -> None:
        self._check_power()
        self.steps += 1
        if self.crash_at is not None and self.steps >= self.crash_at:
            self.off = True
            raise PowerLoss

    def _new(self, kind: Kind) -> Node:
        node = Node(self._next, kind)
        self._next += 1
        self._touch(node)
        return node

    def _touch(self, node: Node) -> None:
        self._time += 1_000_000
        node.mtime_ns = self._time

    def _put(self, node: Node, offset: int, data: bytes) -> None:
        node.data.extend(bytes(max(0, offset - len(node.data))))
        node.data[offset : offset + len(data)] = data
        self._touch(node)

    def _handle(self, node: Node) -> int:
        handle = self._next
        self._next += 1
        self._handles[handle] = node
        return handle

    def _parent(self, path: str) -> tuple[Node, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def _node(self, path: str) -> Node | None:
        if not path:
            return self.root
        try:
            folder, name = self._parent(path)
        except (NotThere, InTheWay):
            return None
        return folder.names.get(name)

    def _folder(self, path: str) -> Node:
        node = self.root
        for part in path.split("/") if path else ():
            if part not in node.names:
                raise NotThere(path)
            node = node.names[part]
            if node.kind is not Kind.FOLDER:
                raise InTheWay(path)
        return node

    def _stat(self, node: Node) -> Stat:
        links = sum(1 for found in self._nodes(self.root) if found is node)
        return Stat(node.kind, len(node.data), node.mtime_ns, node.inode, links, len(node.data))

    def _nodes(self, folder: Node) -> list[Node]:
        below = [node for child in folder.names.values() for node in self._nodes(child)]
        return [*folder.names.values(), *below]

    def _walk(self, folder: Node, path: str) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        for name, node in folder.names.items():
            inner = f"{path}/{name}".lstrip("/")
            found += self._walk(node, inner) if node.kind is Kind.FOLDER else [(inner, bytes(node.data))]
        return found

    def _settle(self, node: Node, fate: Fate, seen: set[Node]) -> None:
        """Make disk and page cache the same again."""
        if node in seen:
            return
        seen.add(node)
        survived = dict(node.disk_names)
        for name in node.names.keys() | node.disk_names.keys():
            if node.names.get(name) is not node.disk_names.get(name) and fate():
                survived.pop(name, None)
                if name in node.names:
                    survived[name] = node.names[name]
        node.names, node.disk_names = survived, dict(survived)
        if node.data != node.disk_data:
            length = len(node.data) if fate() else len(node.disk_data)
            data = bytearray(node.disk_data[:length].ljust(length, b"\0"))
            for start in range(0, length, BLOCK):
                if fate():
                    piece = node.data[start : min(start + BLOCK, length)]
                    data[start : start + len(piece)] = piece
            node.data, node.disk_data = data, bytearray(data)
        node.settle_attributes(fate)
        node.mtime_ns = node.disk_mtime_ns = node.mtime_ns if fate() else node.disk_mtime_ns
        for child in survived.values():
            self._settle(child, fate, seen)
