"""What a pickle would import and call, found by walking its instructions: nothing is loaded.

A pickle is a program for a small machine with a stack. What it can call, it must import first, by GLOBAL, INST or
STACK_GLOBAL, or name by a number that was registered (EXT). So the imports say what it can do; the stack is followed
for the names of STACK_GLOBAL, which are strings on it.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from downloader.formats.content import Cursor

if TYPE_CHECKING:
    from downloader.formats.content import Content

MOST_STEPS: Final = 5_000_000
"""Instructions of a file that are walked, of all members if it is an archive: some seconds."""
MOST_VALUES: Final = 1_000_000
"""Values on the stack, or in the memo."""
MOST_PICKLES: Final = 64
"""Pickles that may follow one another in a file."""
MOST_IMPORTS: Final = 1000

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool", "ComplexFloat")
_TYPES = (
    "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "bool", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
)  # fmt: skip
_BUILTINS = ("builtins", "__builtin__")
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

_CALLS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})
_MARK: Final = object()
_IMPORTED: Final = object()
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
    problem: str = ""
    """Why a part could not be walked; empty if all of it was."""


@dataclass
class Steps:
    """How many instructions may still be walked."""

    left: int = MOST_STEPS


def is_pickle(head: bytes) -> bool:
    """Tell whether a file begins as a pickle of protocol 2 or later does."""
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5  # noqa: PLR2004 - opcode and newest protocol


def walk(content: Content, offset: int, steps: Steps, found: Walk | None = None) -> Walk:
    """Walk the pickles from an offset on, one after another, and add to what was `found` as they are walked."""
    found = found or Walk()
    cursor = Cursor(content, offset)
    legacy = False
    for number in range(MOST_PICKLES):
        try:
            first = _walk_one(cursor, found, steps)
        except (ValueError, IndexError, KeyError, OverflowError, UnicodeError) as error:
            found.problem = str(error) or "it is broken"
            return found
        legacy = legacy or (number == 0 and first == _LEGACY_TORCH)
        if not cursor.left or (legacy and number + 1 == _LEGACY_PICKLES):
            return found
        if not is_pickle(content.up_to(cursor.tell(), 2)):
            found.problem = f"{cursor.left} bytes follow it"
            return found
    found.problem = f"more than {MOST_PICKLES} pickles follow one another"
    return found


def _walk_one(cursor: Cursor, found: Walk, steps: Steps) -> Any:  # noqa: ANN401 - what the pickle begins with
    """Walk one pickle; return the argument of its first instruction that has one. Raises ValueError, IndexError."""
    machine, first = _Machine(found), None
    for opcode, argument, _ in pickletools.genops(cursor):  # type: ignore[arg-type]
        steps.left -= 1
        if steps.left < 0:
            raise ValueError(f"it has more than {MOST_STEPS} instructions")
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
            if not isinstance(attribute, str) or not isinstance(module, str):
                raise ValueError("it imports what cannot be told")
            self._import(module, attribute)
        elif name == "GLOBAL":
            self._import(*argument.split(" ", 1))
        elif not self._remembered(name, argument):
            self._others(opcode, argument)
            self._found.calls = self._found.calls or name in _CALLS
        if len(stack) > MOST_VALUES or len(self._memo) > MOST_VALUES:
            raise ValueError(f"it keeps more than {MOST_VALUES} values")

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
        if name == "BUILD" and stack[-2] is _IMPORTED:
            raise ValueError("it changes what it has imported")
        if pickletools.markobject in opcode.stack_before:
            while stack.pop() is not _MARK:
                pass
            before = opcode.stack_before[: opcode.stack_before.index(pickletools.markobject)]
        else:
            before = opcode.stack_before
        if before:
            if len(stack) < len(before):
                raise ValueError("its stack is too short")
            del stack[-len(before) :]
        if name == "INST":
            self._add(*argument.split(" ", 1))
            stack.append(None)
        elif name in _EXTENSIONS:
            self._add("registered extension", str(argument))
            stack.append(_IMPORTED)
        elif name == "MARK":
            stack.append(_MARK)
        else:
            stack += [argument if isinstance(argument, str) else None for _ in opcode.stack_after]

    def _import(self, module: str, attribute: str) -> None:
        self._add(module, attribute)
        self._stack.append(_IMPORTED)

    def _add(self, module: str, attribute: str) -> None:
        if (module, attribute) in HARMLESS:
            return
        if len(self._found.imports) >= MOST_IMPORTS:
            raise ValueError(f"it imports more than {MOST_IMPORTS} names")
        self._found.imports.add(f"{module}.{attribute}"[:200])
