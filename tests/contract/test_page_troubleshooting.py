"""docs/troubleshooting.md can be searched by the words of a message: each one that it quotes is the program's."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path("docs/troubleshooting.md").read_text()
HOLE = "\0"
"""Stands for what a message has in place of a name or a number."""


def quoted() -> list[str]:
    """Return the messages in the first column of the tables."""
    return re.findall(r"^\| `([^`]+)`", PAGE, re.MULTILINE)


@cache
def templates() -> list[str]:
    """Return every text of the program, with a hole for each value."""
    found = []
    for path in Path("downloader").rglob("*.py"):
        tree = ast.parse(path.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [text for node in ast.walk(tree) if id(node) not in docs for text in texts(node)]
    return found


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the text of a node that is one: a literal, an f-string, or two that are added."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.sub(r"\{\w*\}|%[sdrg]", HOLE, node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(next(texts(part), HOLE) for part in node.values)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield "".join(next(texts(part), HOLE) for part in (node.left, node.right))


def is_said(message: str) -> bool:
    """Return whether the program has a message of these words, in this order."""
    words = ".*".join(re.escape(part.strip()).replace(r"\ ", "[ \0]+") for part in message.split("…"))
    return any(re.search(words, text, re.DOTALL) for text in templates())


@pytest.mark.parametrize("message", quoted())
def test_the_program_has_each_message_that_the_page_quotes(message: str) -> None:
    assert is_said(message)


def test_the_check_tells_a_message_from_one_that_nothing_says() -> None:
    assert len(quoted()) > 40
    assert is_said("no space left on device for the artifact: … needs …")
    assert not is_said("no space left on device for the artefact")
