"""What a pickle would import and call, found by walking its instructions: nothing is loaded.

A pickle is a program for a small machine with a stack. What it can call, it must import first, by GLOBAL, INST or
STACK_GLOBAL, or name by a number that was registered (EXT). So the imports say what it can do; the stack is followed
for the names of STACK_GLOBAL, which are strings on it.

A file that need not be a pickle is one if it imports something and calls it. So nothing may stop the walk where a real
machine would go on: instructions are read here, and not by `pickletools.genops`, which refuses some that are loaded.
"""

from __future__ import annotations

import codecs
import pickletools
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from downloader.formats.content import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.formats.content import Content

MAX_STEPS: Final = 5_000_000
"""Instructions of a file that are walked, of all members if it is an archive: some seconds."""
MAX_VALUES: Final = 1_000_000
"""Values on the stack, or in the memo."""
MAX_PICKLES: Final = 64
"""Pickles that may follow one another in a file."""
MAX_IMPORTS: Final = 1000
_MAX_NAME_LENGTH: Final = 100
"""Characters of a text that are kept: a name that is imported, if it is not longer than all that are harmless."""

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool", "ComplexFloat")
_TYPES = (
    "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "bool", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
)  # fmt: skip
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
HARMLESS: Final = frozenset(
    {
        ("collections", "OrderedDict"),
        ("_codecs", "encode"),
        *(("torch._utils", name) for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")),
        ("torch.nn.parameter", "Parameter"),
        ("torch", "Size"),
        ("torch", "device"),
        ("torch.storage", "UntypedStorage"),
        ("torch.serialization", "_get_layout"),
        *(("torch", f"{name}Storage") for name in (*_STORAGES, "ComplexDouble", "Untyped")),
        *(("torch", name) for name in _TYPES),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        *((module, name) for module in _NUMPY for name in ("_reconstruct", "scalar")),
        *(
            (module, name)
            for module in ("builtins", "__builtin__")
            for name in ("set", "frozenset", "bytearray", "complex")
        ),
    }
)
"""What tensors, arrays and the containers around them need, which only builds values."""

_CALLED = {"REDUCE": -2, "NEWOBJ": -2, "NEWOBJ_EX": -3}
"""Where the stack has what an instruction calls."""
_RESULTS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID"})
_TEXTS = frozenset({"STRING", "UNICODE"})
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})
_MARK: Final = object()
_IMPORTED: Final = object()
_UNKNOWN: Final = object()
"""What a call has returned."""
_LEGACY_TORCH: Final = 0x1950A86A20F9469CFC6C
"""The first value of what torch wrote before 1.6: five pickles, and then raw numbers."""
_LEGACY_PICKLES: Final = 5


@dataclass
class Walk:
    """What was found in the pickles of a file."""

    imports: set[str] = field(default_factory=set)
    """What they import besides `HARMLESS`, as `module.name`."""
    calls: bool = False
    """Something that was imported is called."""
    hidden: str = ""
    """What it does that cannot be told, or is too much to be walked; that is not an accident, whatever the file is."""
    problem: str = ""
    """Why a part could not be walked; empty if all of it was."""


@dataclass
class Steps:
    """How many instructions may still be walked."""

    left: int = MAX_STEPS


def is_pickle(head: bytes) -> bool:
    """Tell whether a file begins as a pickle of protocol 2 or later does."""
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5  # noqa: PLR2004 - opcode and newest protocol


def walk(content: Content, offset: int, steps: Steps, found: Walk | None = None) -> Walk:
    """Walk the pickles from an offset on, one after another, and add to what was `found` as they are walked."""
    found = found or Walk()
    cursor = Cursor(content, offset)
    legacy = False
    for number in range(MAX_PICKLES):
        try:
            first = _walk_one(cursor, found, steps)
        except LimitExceeded as error:
            found.hidden = found.problem = str(error)
            return found
        except (ValueError, IndexError, KeyError, OverflowError, UnicodeError) as error:
            found.problem = found.problem or str(error) or "it is broken"
            return found
        legacy = legacy or (number == 0 and first == _LEGACY_TORCH)
        if not cursor.left or (legacy and number + 1 == _LEGACY_PICKLES):
            return found
        if not is_pickle(content.up_to(cursor.tell(), 2)) and not found.problem:
            found.problem = f"{cursor.left} bytes follow it"  # which may be another pickle, of an old protocol
    found.problem = f"more than {MAX_PICKLES} pickles follow one another"
    return found


class LimitExceeded(ValueError):
    """A pickle is longer, or keeps more, than is walked."""


def _instructions(cursor: Cursor) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """Yield each instruction with its argument, up to STOP. Raises ValueError where any machine would fail."""
    name = ""
    while name != "STOP":
        opcode = _OPCODES.get(cursor.exactly(1).decode("latin-1"))
        if opcode is None:
            raise ValueError("it has an unknown instruction")
        name, kind = opcode.name, opcode.arg
        if name in ("GLOBAL", "INST"):
            yield opcode, (_text(cursor.line()), _text(cursor.line()))
        elif kind is not None and kind.n == pickletools.UP_TO_NEWLINE:
            yield opcode, _value(name, cursor.line())
        else:
            yield opcode, None if kind is None else kind.reader(cursor)  # type: ignore[arg-type]


def _text(line: bytes) -> str:
    return bytes(line).decode("utf-8", "replace")


def _value(name: str, line: bytes) -> Any:  # noqa: ANN401 - as below
    """Return what a line says, as far as it matters: a text, or a number of the memo."""
    if name in _PUTS or name in _GETS:
        return int(line)
    if name in _TEXTS:
        with suppress(ValueError):
            if name == "UNICODE":
                return bytes(line).decode("raw-unicode-escape")
            return bytes(codecs.escape_decode(bytes(line).strip()[1:-1])[0]).decode("utf-8", "replace")
    return None


def _walk_one(cursor: Cursor, found: Walk, steps: Steps) -> Any:  # noqa: ANN401 - what the pickle begins with
    """Walk one pickle; return the argument of its first instruction that has one. Raises ValueError, IndexError."""
    machine, first = _Machine(found), None
    for opcode, argument in _instructions(cursor):
        steps.left -= 1
        if steps.left < 0:
            raise LimitExceeded(f"it has more than {MAX_STEPS} instructions")
        if first is None and opcode.name != "PROTO":
            first = argument
        machine.step(opcode, argument)
    return first


class _Machine:
    """The stack and the memo of a pickle, with no values but strings and what has been imported."""

    def __init__(self, found: Walk) -> None:
        self._found = found
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:  # noqa: ANN401
        """Follow one instruction. Raises ValueError, IndexError or KeyError where the real machine would fail."""
        name, stack = opcode.name, self._stack
        if name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            if attribute is _UNKNOWN or module is _UNKNOWN:
                self._found.hidden = "it imports what cannot be told"
                stack.append(_IMPORTED)
            elif not isinstance(attribute, str) or not isinstance(module, str):
                raise ValueError("it imports what cannot be told")
            else:
                self._import(module, attribute)
        elif name == "GLOBAL":
            self._import(*argument)
        elif not self._remembered(name, argument):
            self._others(opcode, argument)
        if len(stack) > MAX_VALUES or len(self._memo) > MAX_VALUES:
            raise LimitExceeded(f"it keeps more than {MAX_VALUES} values")

    def _remembered(self, name: str, argument: Any) -> bool:  # noqa: ANN401
        """Follow an instruction that moves values between the stack and the memo; return whether it is one."""
        stack = self._stack
        if name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in _PUTS:
            self._memo[argument] = stack[-1]
        elif name in _GETS:
            stack.append(self._memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP":
            stack.pop()
        else:
            return False
        return True

    def _others(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:  # noqa: ANN401
        name, stack = opcode.name, self._stack
        called = self._popped(opcode)
        if name == "INST":
            self._add(*argument)
            called = _IMPORTED
        self._found.calls = self._found.calls or called is _IMPORTED or called is _UNKNOWN
        if name in _RESULTS:
            stack.append(_UNKNOWN)
        elif name in _EXTENSIONS:
            self._add("registered extension", str(argument))
            stack.append(_IMPORTED)
        elif name == "MARK":
            stack.append(_MARK)
        else:
            kept = argument[:_MAX_NAME_LENGTH] if isinstance(argument, str) else None
            stack += [kept] * len(opcode.stack_after)

    def _popped(self, opcode: pickletools.OpcodeInfo) -> Any:  # noqa: ANN401 - as above
        """Remove what an instruction takes from the stack, and return what it calls."""
        name, stack = opcode.name, self._stack
        if name == "BUILD" and stack[-2] is _IMPORTED:
            self._found.hidden = "it changes what it has imported"
        called = stack[_CALLED[name]] if name in _CALLED else None
        if pickletools.markobject in opcode.stack_before:
            while (top := stack.pop()) is not _MARK:
                called = top if name == "OBJ" else None  # the first one after the mark
            before = opcode.stack_before[: opcode.stack_before.index(pickletools.markobject)]
        else:
            before = opcode.stack_before
        if before:
            if len(stack) < len(before):
                raise ValueError("its stack is too short")
            del stack[-len(before) :]
        return called

    def _import(self, module: str, attribute: str) -> None:
        self._add(module, attribute)
        self._stack.append(_IMPORTED)

    def _add(self, module: str, attribute: str) -> None:
        if (module, attribute) in HARMLESS:
            return
        if len(self._found.imports) >= MAX_IMPORTS:
            raise ValueError(f"it imports more than {MAX_IMPORTS} names")
        self._found.imports.add(f"{module}.{attribute}"[:200])
