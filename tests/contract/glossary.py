"""Reads docs/glossary.md and finds its retired words in the tree."""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE = Path("docs/glossary.md")
_FOLDERS = ("downloader", "tests", "docs", "docker")
_FILES = ("README.md", "CHANGELOG.md", "Makefile", "Dockerfile", "entrypoint.sh", "pyproject.toml", ".importlinter")
_SUFFIXES = {".py", ".md", ".toml", ".sh", ".yaml", ""}
_UNCHECKED = {PAGE, Path("tests/contract/glossary.py"), Path("tests/contract/test_glossary.py")}
_MARK = re.compile(r"\*\*(?P<everywhere>[^*]+)\*\*|`(?P<identifier>[^`]+)`")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True)
class Retired:
    """A retired word or phrase."""

    words: tuple[str, ...]
    folder: str = ""
    """For a word retired in identifiers: the package that it is retired in; empty for all."""
    instead: str = ""

    def __str__(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True)
class Vocabulary:
    """What the glossary retires, by the first word of each phrase."""

    everywhere: dict[str, list[Retired]]
    identifiers: dict[str, list[Retired]]


@cache
def vocabulary() -> Vocabulary:
    """Return the retired words of the glossary."""
    everywhere: dict[str, list[Retired]] = defaultdict(list)
    identifiers: dict[str, list[Retired]] = defaultdict(list)
    for line in PAGE.read_text().splitlines():
        if not line.startswith("| ") or line.startswith(
            ("| term |", "| mark |", "| instead |", "| bold |", "| code |", "| plain |")
        ):
            continue
        cells = [cell.strip() for cell in line[1:-1].split(" |")]
        for mark in _MARK.finditer(cells[-1]):
            if phrase := mark["everywhere"]:
                words = tuple(_words(phrase))
                everywhere[words[0]].append(Retired(words, instead=cells[0]))
            else:
                folder, _, name = mark["identifier"].rpartition("/")
                words = tuple(_words(name))
                identifiers[words[0]].append(Retired(words, folder, cells[0]))
    return Vocabulary(dict(everywhere), dict(identifiers))


def checked_files() -> Iterator[Path]:
    """Yield the files in which retired words are looked for."""
    found = [Path(name) for name in _FILES]
    for folder in _FOLDERS:
        found += (path for path in Path(folder).rglob("*") if path.suffix in _SUFFIXES)
    for path in sorted(set(found) - _UNCHECKED):
        if path.is_file() and "__pycache__" not in path.parts and path.name != ".gitkeep":
            yield path


def findings(path: Path) -> list[str]:
    """Return a line for each retired word in a file: `path:line: word (use …)`."""
    text = path.read_text(errors="replace")
    found = [f"{path}: {word} in the name of the file" for word in _in_words(_words(path.stem), _all_retired(path))]
    found += (f"{path}:{number}: {word} (use: {word.instead})" for number, word in _in_text(text))
    if path.suffix == ".py":
        retired = _identifiers_of(path)
        for number, name in _identifiers(text, retired):
            found += (
                f"{path}:{number}: {word} in the identifier {name} (use: {word.instead})"
                for word in _in_words(_words(name), retired)
            )
    return found


def _all_retired(path: Path) -> dict[str, list[Retired]]:
    found = vocabulary().everywhere
    if path.suffix != ".py" or path.stem.startswith("test_"):
        return found
    identifiers = _identifiers_of(path)
    return {first: found.get(first, []) + identifiers.get(first, []) for first in {*found, *identifiers}}


def _identifiers_of(path: Path) -> dict[str, list[Retired]]:
    """Return the words that identifiers of this file must not contain."""
    fitting = {
        first: [word for word in words if not word.folder or f"/{word.folder}/" in f"/{path.as_posix()}"]
        for first, words in vocabulary().identifiers.items()
    }
    return {first: words for first, words in fitting.items() if words}


def _identifiers(text: str, retired: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the identifiers of a module, without names of tests: those are sentences."""
    if not re.search("|".join(retired), text, re.IGNORECASE):
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and not token.string.startswith("test_"):
            yield token.start[0], token.string


def _in_text(text: str) -> Iterator[tuple[int, Retired]]:
    """Yield what is retired everywhere, with the line; a phrase may continue on the next line."""
    found = list(_WORD.finditer(text))
    for index, retired in _matches([_lower(match[0]) for match in found], vocabulary().everywhere):
        yield text.count("\n", 0, found[index].start()) + 1, retired


def _in_words(words: list[str], retired: dict[str, list[Retired]]) -> Iterator[Retired]:
    return (found for _, found in _matches(words, retired))


def _matches(words: list[str], retired: dict[str, list[Retired]]) -> Iterator[tuple[int, Retired]]:
    for index, word in enumerate(words):
        for candidate in retired.get(word, retired.get(word.removesuffix("s"), ())):
            if _same(candidate.words, words[index : index + len(candidate.words)]):
                yield index, candidate


def _same(words: tuple[str, ...], found: list[str]) -> bool:
    """Tell whether these are the words, the last one perhaps in the plural."""
    return len(found) == len(words) and all(
        there in {word, f"{word}s"} for word, there in zip(words, found, strict=True)
    )


def _words(text: str) -> list[str]:
    return [_lower(word) for word in _WORD.findall(text)]


def _lower(word: str) -> str:
    """Return a word in lower case, but Python's None as it is: "is none" is not "is None"."""
    return word if word == "None" else word.lower()


def main() -> int:
    """Print the retired words in the files below the paths that are named, by default in all; return 1 for any."""
    found = False
    for path in checked_files():
        if not sys.argv[1:] or any(path.is_relative_to(name) for name in sys.argv[1:]):
            for finding in findings(path):
                found = True
                sys.stdout.write(f"{finding}\n")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
