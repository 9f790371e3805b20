"""Files in the formats of models: harmless ones as libraries write them, and harmful ones.

They are written after what the test sets of scanners describe. The harmful ones would create the file `canary`
if anything ever loaded them.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Called:
    """Calls a function when it is loaded from a pickle."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self._reduced = function, arguments

    def __reduce__(self) -> Any:
        return self._reduced


def harmful(canary: Path, protocol: int = 2) -> bytes:
    """Return a pickle that runs a command."""
    return pickle.dumps(Called(os.system, f"touch {canary}"), protocol)


def instance(canary: Path) -> bytes:
    """Return a pickle that calls by INST, which needs no REDUCE."""
    return f"(S'touch {canary}'\nios\nsystem\n.".encode()


def by_names_on_the_stack(canary: Path) -> bytes:
    """Return a pickle whose names for STACK_GLOBAL come from the memo."""
    command = f"__import__('pathlib').Path({str(canary)!r}).touch()".encode()
    names = b"\x8c\x08builtins\x94\x8c\x04eval\x9400h\x00h\x01\x93"
    return b"\x80\x04" + names + b"\x8c" + bytes([len(command)]) + command + b"\x85R."


def weights(protocol: int = 2) -> bytes:
    """Return a pickle of plain values."""
    return pickle.dumps(OrderedDict(size=[1, 2], name="w" * 70_000, text=b"\x00" * 3_000_000), protocol)


def tensors(protocol: int = 2) -> bytes:
    """Return the pickle that torch writes for tensors: it imports what rebuilds them, and names storages."""
    body = (
        b"ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
    )
    body += b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQK\x00K\x02\x85K\x01\x85\x89"
    return b"\x80" + bytes([protocol]) + body + b"ccollections\nOrderedDict\n)RtRu."


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def array_of_objects(pickled: bytes) -> bytes:
    """Return an array as numpy writes objects: a header, and a pickle."""
    return b"\x93NUMPY\x01\x00\x26\x00{'descr': '|O', 'fortran_order': False}" + pickled


def torch_zip(pickled: bytes) -> bytes:
    """Return an archive as torch.save writes it. Its numbers begin as a pickle would."""
    return zipped({"model/data.pkl": pickled, "model/data/0": b"\x80\x02\xff\xff" * 2, "model/version": b"3\n"})


def safetensors(header: object = None, data: bytes = bytes(8)) -> bytes:
    if header is None:
        header = {"__metadata__": {"format": "pt"}, "w": tensor("F32", [2], [0, 8])}
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def tensor(dtype: object, shape: object, offsets: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def _text(value: str, order: str) -> bytes:
    return struct.pack(order + "Q", len(value.encode())) + value.encode()


def gguf(template: str = "{{ messages }}", *, order: str = "<", offset: int = 0, strings: int = 3) -> bytes:
    """Return a GGUF file with a template, a vocabulary and one tensor."""
    keys = _text("tokenizer.chat_template", order) + struct.pack(order + "I", 8) + _text(template, order)
    keys += _text("tokenizer.ggml.tokens", order) + struct.pack(order + "IIQ", 9, 8, strings)
    keys += _text("abc", order) * 3
    keys += _text("scores", order) + struct.pack(order + "IIQ", 9, 6, 3) + bytes(12)
    found = _text("w", order) + struct.pack(order + "IQIQ", 1, 2, 0, offset)
    return b"GGUF" + struct.pack(order + "IQQ", 3, 1, 3) + keys + found + bytes(40)


def keras(*layers: dict[str, Any]) -> bytes:
    config = {"class_name": "Sequential", "module": "keras", "config": {"layers": list(layers)}}
    return zipped({"metadata.json": b"{}", "config.json": json.dumps(config).encode(), "model.weights.h5": HDF5})


HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(600)
