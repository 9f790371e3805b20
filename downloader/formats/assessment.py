"""Judges one file: recognizes its formats by content, and asks each of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from downloader.errors import DownloadError
from downloader.formats import gguf, hdf5, magic, numpy, pickles, safetensors, texts
from downloader.formats.archive import LOCAL, Allowance, Members, has_directory
from downloader.formats.risk import Risk
from downloader.formatting import names_text, reason, single_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from downloader.formats.content import Content

HEAD: Final = 512
"""Bytes of a file that tell its format."""
PICKLES: Final = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill", ".pdparams"})
"""Suffixes of files that will be loaded as pickles, whatever they begin with."""
_DEEPEST: Final = 3
"""Archives in archives."""
SOURCE: Final = "is source or bytecode of Python, which trust_remote_code would run"
_PIECE: Final = 1 << 20
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][\w.]*")


@dataclass
class _Limits:
    """What may still be done for a file, with all that is in it."""

    steps: pickles.Steps = field(default_factory=pickles.Steps)
    allowance: Allowance = field(default_factory=Allowance)


def assess(path: str, content: Content) -> list[Risk]:
    """Return what is said against a file. Of a hostile or broken one that is a risk, too, never an error.

    Only a DownloadError that `content` raises while it is read is raised.
    """
    return [
        Risk(path, single_line(what, 300), refused)
        for what, refused in dict(_assess(path, content, 0, _Limits())).items()
    ]


def _assess(path: str, content: Content, depth: int, limits: _Limits) -> Iterator[tuple[str, bool]]:
    """Yield what is said against a content, as words that follow its name, and whether it is refused for it."""
    try:
        head = content.up_to(0, HEAD)
    except DownloadError:
        raise
    except Exception as error:  # noqa: BLE001 - as below
        yield f"cannot be judged: {reason(error)}", True
        return
    checks: list[Callable[[], Iterator[tuple[str, bool]]]] = [
        lambda: _by_name(path, content),
        lambda: by_magic(head),
        lambda: _pickles(path, content, head, limits.steps),
        lambda: headers(path, content, head),
        lambda: ((what, True) for what in (hdf5.problem(path, content) if not depth else "",) if what),
        lambda: _zips(content, head, depth, limits),
    ]
    for check in checks:
        try:
            yield from check()
        except DownloadError:
            raise
        except Exception as error:  # noqa: BLE001 - of a hostile file, zipfile, json and zlib raise whatever they meet first
            yield f"cannot be judged: {reason(error)}", True


def is_source(path: str) -> bool:
    """Tell whether a file has source or bytecode of Python, which is known by its name alone."""
    return path.endswith((".py", ".pyc", ".pyd", ".pyo", ".pyw"))


def _by_name(path: str, content: Content) -> Iterator[tuple[str, bool]]:
    """Judge what Python and its libraries find by name alone."""
    name = PurePosixPath(path).name
    if is_source(name):
        yield SOURCE, True
    if texts.is_configuration(name):
        value = texts.parsed(content)
        code = texts.remote_code(value, modules=name == "modules.json")
        if code:
            yield f"names code that a library would run: {code}", True
        if isinstance(value, dict) and texts.template_escapes(value.get("chat_template", "")):
            yield "has a chat template that reaches for the insides of Python", False
    if name.endswith(".jinja") and texts.template_escapes(content.up_to(0, _PIECE).decode(errors="replace")):
        yield "has a chat template that reaches for the insides of Python", False


def by_magic(head: bytes) -> Iterator[tuple[str, bool]]:
    """Judge what is known by its first bytes alone."""
    what = magic.recognized(head)
    if what:
        yield f"is {what}", True


def _pickles(path: str, content: Content, head: bytes, steps: pickles.Steps) -> Iterator[tuple[str, bool]]:
    offset = 0
    if head.startswith(numpy.MAGIC):
        offset = numpy.objects(content)
        if not offset:
            return
    certain = offset > 0 or pickles.is_pickle(head)
    named = is_called_pickle(path) and not head.startswith(LOCAL)  # which no machine for pickles would load
    found = pickles.walk(content, offset, steps)
    plausible = found.calls and any(_IDENTIFIER.fullmatch(name) for name in found.imports)
    if found.imports and (certain or named or plausible):
        yield f"is a pickle that imports {names_text(found.imports, 3)}", True
    hidden = found.hidden or (found.problem if certain or named else "")
    if hidden:
        yield f"is a pickle that cannot be judged: {hidden}", True


def is_called_pickle(path: str) -> bool:
    """Tell whether a library would load a file of this name as a pickle, whatever it is."""
    return PurePosixPath(path).suffix.lower() in PICKLES


def headers(path: str, content: Content, head: bytes) -> Iterator[tuple[str, bool]]:
    """Judge headers that describe the rest of a file."""
    if head.startswith(gguf.MAGIC):
        header = gguf.Header(content)
        header.read()
        if any(map(texts.template_escapes, header.templates)):
            yield "has a chat template that reaches for the insides of Python", False
    elif path.endswith(".safetensors") or safetensors.is_safetensors(head, content.size):
        problem = safetensors.check(content)
        if problem:
            yield f"is not as safetensors are: its header {problem}", True


def _zips(content: Content, head: bytes, depth: int, limits: _Limits) -> Iterator[tuple[str, bool]]:
    is_zip = head.startswith(LOCAL)
    if not has_directory(content):
        if is_zip:
            yield "is a zip archive without its directory, and cannot be judged", True
        return
    if not is_zip:
        yield "has a zip archive behind other content", True
    if depth >= _DEEPEST:
        yield "has archives in archives, and is not judged", True
        return
    yield from _members(Members(content, limits.allowance), depth, limits)


def _members(members: Members, depth: int, limits: _Limits) -> Iterator[tuple[str, bool]]:
    raw, code = _torch_members(members.names)
    if any(name.startswith(code) for name in members.names):
        yield "is a program of TorchScript", True
    if "config.json" in members.names:
        problem = texts.keras_code(texts.parsed(members.named("config.json")))
        if problem:
            yield problem, True
    for name, member in members.contents():
        if name.startswith(code):
            continue
        found = _raw(member, limits) if name.startswith(raw) else _assess(name, member, depth + 1, limits)
        for what, refused in found:
            yield f"has {single_line(name, 100)}, which {what}", refused


def _raw(content: Content, limits: _Limits) -> Iterator[tuple[str, bool]]:
    """Judge what should be raw numbers, by what these are not by accident."""
    head = content.up_to(0, HEAD)
    if magic.is_certain(head):
        yield from by_magic(head)
    if head.startswith(numpy.MAGIC):
        yield from _pickles("", content, head, limits.steps)


def _torch_members(names: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where an archive of torch has raw numbers, of which any two bytes may look like a pickle, and its code."""
    roots = {name.removesuffix("data.pkl") for name in names if name == "data.pkl" or name.endswith("/data.pkl")}
    return tuple(f"{root}data/" for root in roots), tuple(f"{root}code/" for root in roots)
