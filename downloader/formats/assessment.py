"""Judges one file: recognizes its formats by content, and asks each of them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from downloader.errors import DownloadError
from downloader.formats import gguf, pickles, safetensors, texts
from downloader.formats.archive import LOCAL, Members, has_directory
from downloader.formats.risk import Risk
from downloader.formatting import names_text, reason, single_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from downloader.formats.content import Content

HEAD: Final = 512
"""Bytes of a file that tell its format."""
PICKLES: Final = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib"})
"""Suffixes of files that will be loaded as pickles, whatever they begin with."""
_DEEPEST: Final = 3
"""Archives in archives."""
SOURCE: Final = "is source or bytecode of Python, which trust_remote_code would run"
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_HDF5_SEARCHED: Final = 64 << 20
_PIECE: Final = 1 << 20
_LAMBDA: Final = re.compile(rb'"class_name"\s*:\s*"(?:Lambda"|__lambda__"|[^"]{0,64}\\u)')
_NUMPY: Final = b"\x93NUMPY"
_NATIVE: Final = {
    b"\x7fELF": "a native library or program (ELF)",
    b"\xfe\xed\xfa\xce": "a native library or program (Mach-O)",
    b"\xfe\xed\xfa\xcf": "a native library or program (Mach-O)",
    b"\xce\xfa\xed\xfe": "a native library or program (Mach-O)",
    b"\xcf\xfa\xed\xfe": "a native library or program (Mach-O)",
    b"\xca\xfe\xba\xbe": "a native library (Mach-O) or a class of Java",
    b"\x1f\x8b\x08": "compressed, and not judged",
    b"BZh": "compressed, and not judged",
    b"\xfd7zXZ\x00": "compressed, and not judged",
    b"\x28\xb5\x2f\xfd": "compressed, and not judged",
    b"7z\xbc\xaf'\x1c": "compressed, and not judged",
}
_TAR: Final = slice(257, 262)
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][\w.]*")


def assess(path: str, content: Content) -> list[Risk]:
    """Return what is said against a file. Of a hostile or broken one that is a risk, too, never an error.

    Only a DownloadError that `content` raises while it is read is raised.
    """
    return [
        Risk(path, single_line(what, 300), refused)
        for what, refused in dict(_assess(path, content, 0, pickles.Steps())).items()
    ]


def _assess(path: str, content: Content, depth: int, steps: pickles.Steps) -> Iterator[tuple[str, bool]]:
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
        lambda: _pickles(path, content, head, steps),
        lambda: headers(path, content, head),
        lambda: _hdf5(content) if head.startswith(_HDF5) and not depth else iter(()),
        lambda: _zips(content, head, depth, steps),
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
    return path.endswith((".py", ".pyc", ".pyd"))


def _by_name(path: str, content: Content) -> Iterator[tuple[str, bool]]:
    """Judge what Python and its libraries find by name alone."""
    name = PurePosixPath(path).name
    if is_source(name):
        yield SOURCE, True
    if name == "config.json" or name.endswith("_config.json"):
        value = texts.parsed(content)
        code = texts.remote_code(value)
        if code:
            yield f"names code that trust_remote_code would run: {code}", True
        if isinstance(value, dict) and texts.template_escapes(value.get("chat_template", "")):
            yield "has a chat template that reaches for the insides of Python", False
    if name.endswith(".jinja") and texts.template_escapes(content.up_to(0, _PIECE).decode(errors="replace")):
        yield "has a chat template that reaches for the insides of Python", False


def by_magic(head: bytes) -> Iterator[tuple[str, bool]]:
    """Judge what is known by its first bytes alone."""
    for magic, what in _NATIVE.items():
        if head.startswith(magic):
            yield f"is {what}", True
    if head[:2] == b"MZ":
        yield "is a native library or program (PE)", True
    if head[_TAR] == b"ustar":
        yield "is a tar archive, and not judged", True


def _pickles(path: str, content: Content, head: bytes, steps: pickles.Steps) -> Iterator[tuple[str, bool]]:
    offset = 0
    if head.startswith(_NUMPY):
        offset = _objects_of_numpy(head)
        if not offset:
            return
    certain = offset > 0 or pickles.is_pickle(head)
    named = is_called_pickle(path)
    found = pickles.walk(content, offset, steps)
    plausible = found.calls and all(_IDENTIFIER.fullmatch(name) for name in found.imports)
    if found.imports and (certain or named or plausible):
        yield f"is a pickle that imports {names_text(found.imports, 3)}", True
    if found.problem and (certain or named):
        yield f"is a pickle that cannot be judged: {found.problem}", True


def is_called_pickle(path: str) -> bool:
    """Tell whether a library would load a file of this name as a pickle, whatever it is."""
    return PurePosixPath(path).suffix.lower() in PICKLES


def _objects_of_numpy(head: bytes) -> int:
    """Return the offset of the pickle in an array of objects; 0 if it has none."""
    wide = head[len(_NUMPY)] > 1
    start = len(_NUMPY) + 2
    length = int.from_bytes(head[start : start + (4 if wide else 2)], "little")
    start += 4 if wide else 2
    text = head[start : start + length]
    return start + length if b"O" in text.partition(b"descr")[2].partition(b"fortran_order")[0] else 0


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


def _hdf5(content: Content) -> Iterator[tuple[str, bool]]:
    """Search the text of the model in a file of Keras: attributes are stored as they are."""
    tail, position = b"", 0
    while position < min(content.size, _HDF5_SEARCHED):
        piece = content.up_to(position, _PIECE)
        if not piece:
            break
        if _LAMBDA.search(tail + piece):
            yield "has a Lambda layer of Keras, or hides the names of its layers", True
            return
        tail, position = piece[-200:], position + len(piece)
    if content.size > _HDF5_SEARCHED:
        yield f"is HDF5 of which {_HDF5_SEARCHED >> 20} MiB were searched, and the rest is not judged", True


def _zips(content: Content, head: bytes, depth: int, steps: pickles.Steps) -> Iterator[tuple[str, bool]]:
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
    yield from _members(Members(content), depth, steps)


def _members(members: Members, depth: int, steps: pickles.Steps) -> Iterator[tuple[str, bool]]:
    raw, code = _of_torch(members.names)
    if any(name.startswith(code) for name in members.names):
        yield "is a program of TorchScript", True
    if {"config.json", "metadata.json"} <= members.names:
        problem = texts.keras_code(texts.parsed(members.named("config.json")))
        if problem:
            yield problem, True
    for name, member in members.contents():
        if not name.startswith((*raw, *code)):
            for what, refused in _assess(name, member, depth + 1, steps):
                yield f"has {single_line(name, 100)}, which {what}", refused


def _of_torch(names: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where an archive of torch has raw numbers, of which any two bytes may look like a pickle, and its code."""
    roots = {name.removesuffix("data.pkl") for name in names if name == "data.pkl" or name.endswith("/data.pkl")}
    return tuple(f"{root}data/" for root in roots), tuple(f"{root}code/" for root in roots)
