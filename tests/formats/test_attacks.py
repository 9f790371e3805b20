"""Files that were made to run code under `--formats safe`, each after a way around scanners that is known."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.formats import Content, assess
from tests.formats import files as made

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = Path("canary-that-nothing-writes")
CALL = f"cposix\nsystem\n(S'touch {CANARY}'\ntR.".encode()
"""A pickle of protocol 0: no first byte tells that it is one."""


def said(path: str, data: bytes) -> str:
    """Return what a file is refused for; empty if it is not."""
    content = Content(lambda at, count: data[at : at + count], len(data))
    return "; ".join(risk.what for risk in assess(path, content) if risk.refused)


OLD = {
    "a number in another notation": b"I0x10\n0",
    "a text in another encoding": b"S'\xc3\xa9'\n0",
    "a long line": b"V" + b"a" * 3_000_000 + b"\n0",
    "a whole pickle before": b"I1\n.",
    "the first value of torch, and a pickle": b"L119547037146038801333356L\n.",
    "a class that is changed before": b"ccollections\nOrderedDict\n}b0",
}


@pytest.mark.parametrize("case", OLD)
def test_nothing_before_a_call_hides_it_where_no_name_tells_that_it_is_a_pickle(case: str) -> None:
    assert "imports posix.system" in said("model.bin", OLD[case] + CALL)


def test_an_import_that_fails_after_the_call_does_not_hide_it() -> None:
    assert "posix.system" in said("model.bin", CALL[:-1] + b"0c- -\n? ?\n.")


HIDDEN = {
    "a name that is calculated": (
        b"c_codecs\nencode\n(V" + b"flfgrz\nVrot13\ntR0c_codecs\nencode\n(Vcbfvk\nVrot13\ntRVsystem\n\x93(Vtrue\ntR.",
        "cannot be told",
    ),
    "very many instructions": (b"N0" * 3_000_000 + CALL, "more than 5000000 instructions"),
    "very many values": (b"N" * 1_100_000 + CALL, "more than 1000000 values"),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_is_not_walked_to_its_end_is_refused_where_no_name_tells_that_it_is_a_pickle(case: str) -> None:
    data, words = HIDDEN[case]
    assert words in said("model.bin", data)


@pytest.mark.parametrize(
    "text",
    [b"cat\ndog\n(tired)\nRun.", b"common\nsense\nR.", b"(c) 2026\nall rights\n", b"import os\nos.system\n", b"NNNN\n"],
)
def test_a_text_is_no_pickle_though_it_begins_like_one(text: bytes) -> None:
    assert not said("notes.txt", text)


EVIL = made.harmful(CANARY)
HEADERS = {
    "other spelling": b"{'descr': '\\x7cO', 'fortran_order': False, 'shape': (1,), }",
    "another order": b"{'shape': (1,), 'fortran_order': False, 'descr': '|O'}",
    "the name of the type": b"{'descr': 'object', 'fortran_order': False, 'shape': (1,), }",
    "two texts": b"{'descr': '|' 'O', 'fortran_order': False, 'shape': (1,), }",
    "a structure": b"{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }",
    "blanks before it": b"{" + b" " * 3000 + b"'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
}


def array(header: bytes, data: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize("case", HEADERS)
def test_an_array_of_objects_is_found_however_it_is_written(case: str) -> None:
    assert "imports posix.system" in said("a.npy", array(HEADERS[case], EVIL))


def test_structures_of_numbers_are_no_objects() -> None:
    header = b"{'descr': [('OFFSET', '<i8'), ('x', '<f4', (2, 3))], 'fortran_order': False, 'shape': (3,), }  \n"
    assert not said("a.npy", array(header, bytes(99)))


def two_directories() -> bytes:
    """Return an archive with a directory just before its end, and another one where the end says that it is."""
    evil, tame = made.torch_zip(EVIL[:2] + b"N0" * 500 + EVIL[2:]), made.torch_zip(made.tensors())
    members, directory, end = tame.index(b"PK\x01\x02"), bytearray(), bytearray(tame[tame.index(b"PK\x05\x06") :])
    body, start = evil[: evil.index(b"PK\x05\x06")], evil.index(b"PK\x01\x02")
    for entry in tame[members : tame.index(b"PK\x05\x06")].split(b"PK\x01\x02")[1:]:
        offset = struct.unpack_from("<L", entry, 38)[0] + start - members  # as `zipfile` corrects it
        directory += b"PK\x01\x02" + entry[:38] + struct.pack("<L", offset) + entry[42:]
    end[16:20] = struct.pack("<L", start)
    return body + tame[:members] + bytes(directory + end)


def renamed(name: bytes, other: bytes, data: bytes) -> bytes:
    """Return an archive with a member that has a second name in an extra field, which `zipfile` prefers."""
    buffer = io.BytesIO()
    info = zipfile.ZipInfo(name.decode())
    field = struct.pack("<BL", 1, zlib.crc32(name)) + other
    info.extra = struct.pack("<HH", 0x7075, len(field)) + field
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, data)
    return buffer.getvalue()


def smaller(data: bytes) -> bytes:
    """Return an archive whose member is shorter in the directory than it is."""
    whole = bytearray(made.zipped({"a.bin": data}))
    at = whole.index(b"PK\x01\x02") + 20
    whole[at : at + 4] = struct.pack("<L", 4)
    return bytes(whole)


ARCHIVES: dict[str, tuple[str, bytes, str]] = {
    "two directories": ("model.bin", two_directories(), "not where its end says"),
    "a folder with content": ("a.bin", made.zipped({"data.pkl/": EVIL}), "a folder with content"),
    "two sizes": ("a.bin", smaller(EVIL), "two sizes"),
    "objects between the numbers of torch": (
        "a.npz",
        made.zipped({"data.pkl": made.tensors(), "data/x": made.array_of_objects(EVIL)}),
        "imports posix.system",
    ),
    "a library between the numbers of torch": (
        "a.pt2",
        made.zipped({"m/data.pkl": made.tensors(), "m/data/x.so": b"\x7fELF" + bytes(90)}),
        "native library",
    ),
    "Keras without its metadata": (
        "a.keras",
        made.zipped({"config.json": b'{"class_name": "Lambda", "module": "keras.layers"}', "model.weights.h5": b"h"}),
        "Lambda layer of Keras",
    ),
    "a function of Keras that fetches a file": (
        "a.keras",
        made.keras({"class_name": "function", "module": "keras.utils", "config": "get_file"}),
        "look up the function get_file",
    ),
    "a layer with a pickle of torch": (
        "a.keras",
        made.keras({"class_name": "TorchModuleWrapper", "module": "keras.layers"}),
        "TorchModuleWrapper layer of Keras",
    ),
    "a compressed pickle in it": ("a.bin", made.zipped({"b": zlib.compress(EVIL)}), "compressed"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_is_judged_by_what_any_program_finds_in_it(case: str) -> None:
    path, data, words = ARCHIVES[case]
    assert words in said(path, data)


def test_a_member_with_two_names_is_refused() -> None:
    """`zipfile` reads the second one from Python 3.12 on, and the library of torch never."""
    assert said("model.pt", renamed(b"data.pkl", b"data/0", EVIL))
    hidden = made.zipped({"data.pkl": made.tensors(), "data/0": b"x"})
    assert not said("model.pt", hidden)
    assert "two names" in said("model.pt", hidden.replace(b"data/0", b"data\x000"))


def test_an_archive_for_large_files_is_judged_like_any_other() -> None:
    def large(pickled: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive, archive.open("m/data.pkl", "w", force_zip64=True) as member:
            member.write(pickled)
        whole = buffer.getvalue()
        end = whole.index(b"PK\x05\x06")
        size, offset = struct.unpack_from("<LL", whole, end + 12)
        one = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, offset)
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
        told = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        return whole[:end] + one + locator + told

    assert not said("m.pt", large(made.tensors()))
    assert "posix.system" in said("m.pt", large(EVIL))
    moved = large(made.tensors())
    at = moved.index(b"PK\x06\x07") + 8
    assert "not where it says" in said("m.pt", moved[:at] + struct.pack("<Q", 0) + moved[at + 8 :])


def old_tar(name: str, data: bytes) -> bytes:
    """Return a tar archive of the kind that does not say so."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    header = bytearray(buffer.getvalue()[:512])
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + buffer.getvalue()[512:]


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "zlib, without compression": lambda data: zlib.compress(data, 0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lz4": lambda data: b"\x04\x22\x4d\x18" + data,
    "zstd behind a frame that is skipped": lambda data: b"\x5a\x2a\x4d\x18" + bytes(4) + b"\x28\xb5\x2f\xfd" + data,
    "an old tar": lambda data: old_tar("data.pkl", data),
}


@pytest.mark.parametrize("kind", PACKED)
def test_what_is_packed_is_refused(kind: str) -> None:
    assert "not judged" in said("model.bin", PACKED[kind](EVIL))


NATIVE = {
    "WebAssembly": b"\x00asm\x01\x00\x00\x00",
    "two machines in one, of 64 bits": b"\xca\xfe\xba\xbf" + bytes(60),
    "a static library": b"!<arch>\nx",
    "bitcode": b"BC\xc0\xde" + bytes(60),
}


@pytest.mark.parametrize("kind", NATIVE)
def test_code_for_machines_is_refused(kind: str) -> None:
    assert said("model.bin", NATIVE[kind]).startswith("is ")


CONFIGURED = {
    "code of another repository": ("tokenizer_config.json", {"auto_map": {"A": ["a/b--m.T", None]}}, "a/b--m.T"),
    "code of a part": ("config.json", {"text_config": {"auto_map": {"AutoModel": "m.M"}}}, "m.M"),
    "a kernel of the Hub": ("config.json", {"attn_implementation": "a/kernel:run"}, "a/kernel:run"),
    "a module of sentence-transformers": ("modules.json", [{"path": "", "type": "os.path.join"}], "os.path.join"),
    "a module of PEFT": ("adapter_config.json", {"auto_mapping": {"parent_library": "this"}}, "run: this"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIGURED)
def test_a_configuration_that_names_code_is_refused(case: str) -> None:
    name, value, words = CONFIGURED[case]
    assert words in said(f"sub/{name}", json.dumps(value).encode())


def test_usual_configurations_are_not_refused() -> None:
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    peft = {"auto_mapping": {"base_model_class": "X", "parent_library": "transformers.models.llama"}}
    for name, value in {
        "modules.json": modules,
        "adapter_config.json": peft,
        "config.json": {"_attn_implementation": "sdpa", "type": "a.b"},
    }.items():
        assert not said(name, json.dumps(value).encode())


LAMBDA = b'{"class_name": "Lambda", "config": {}}'
HDF5 = {
    "blanks over two pieces": made.HDF5[:8] + bytes((1 << 20) - 330) + LAMBDA.replace(b" ", b" " * 400, 1),
    "a key that is hidden": made.HDF5 + LAMBDA.replace(b"class", b"cl\\u0061ss"),
    "behind a block of the user's": bytes(2048) + made.HDF5 + LAMBDA,
}


@pytest.mark.parametrize("case", HDF5)
def test_a_lambda_in_hdf5_is_found(case: str) -> None:
    assert "layer of Keras" in said("model.h5", HDF5[case])


def gguf(*tensors: tuple[int, int, int], alignment: int = 32, size: int = 128) -> bytes:
    """Return a GGUF file with tensors of a count, a type and an offset, and so many bytes of them."""
    key = b"general.alignment"
    keys = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, alignment)
    body = b"".join(struct.pack("<Q1sIQIQ", 1, b"%d" % i, 1, *one) for i, one in enumerate(tensors))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1) + keys + body
    return head + bytes(-len(head) % (alignment or 1) + size)


def test_the_tensors_of_gguf_fit_and_do_not_overlap() -> None:
    assert not said("m.gguf", gguf((32, 2, 0), (16, 0, 32), (4, 0, 96), size=112))
    assert not said("m.gguf", gguf((32, 0, 0), alignment=128))
    for tensors, words in {
        ((32, 0, 0), (32, 0, 64)): "overlap",
        ((32, 0, 64),): "outside the file",
        ((1 << 62, 0, 0),): "outside the file",
        ((33, 2, 0),): "impossible shape",
        ((1 << 63, 0, 0),): "impossible shape",
        ((1, 999, 0),): "unknown type",
    }.items():
        assert words in said("m.gguf", gguf(*tensors))
    assert "impossible alignment" in said("m.gguf", gguf((1, 0, 0), alignment=0))


def test_values_that_would_take_the_memory_are_not_parsed() -> None:
    assert "values" in said("m.safetensors", made.safetensors(b"{" + b"[]," * 5_000_000))
    assert "values" in said("config.json", b"[" + b"{}," * 1_100_000 + b"0]")
    assert "cannot be judged" in said("config.json", b"[" * 900_000)


def test_texts_that_a_pickle_keeps_take_little_memory() -> None:
    text = b"X" + struct.pack("<L", 1 << 19) + b"a" * (1 << 19)
    data = b"\x80\x04" + text * 100 + b"N."
    tracemalloc.start()
    try:
        assert not said("a.pkl", data)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_archives_in_archives_share_what_is_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = made.zipped({"a": bytes(15 << 20)}, zipfile.ZIP_DEFLATED)
    many = made.zipped({f"{number}.zip": bomb for number in range(3)})
    monkeypatch.setattr("downloader.formats.archive.Allowance.__init__", _small)
    assert "would have to be decompressed" in said("a.bin", many)


def _small(self: object) -> None:
    vars(self).update(inflated=100_000, members=20_000)


def test_the_first_pickles_are_loaded_by_the_real_machine(tmp_path: Path) -> None:
    for number, (case, before) in enumerate(OLD.items()):
        if before.endswith(b"."):
            continue  # a program that goes on loads the next one
        canary = tmp_path / str(number)
        code = before + CALL.replace(str(CANARY).encode(), str(canary).encode())
        pickle.loads(code, encoding="utf-8")  # noqa: S301
        assert canary.exists(), case
