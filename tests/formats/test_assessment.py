from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.errors import VolumeError
from downloader.formats import Content, assess, foresee
from tests.formats import files as made

CANARY = Path("canary-that-nothing-writes")
PROTOCOLS = range(6)


def said(path: str, data: bytes) -> str:
    """Return what is said against a file; empty if nothing is."""
    return "; ".join(risk.what for risk in assess(path, Content(lambda at, count: data[at : at + count], len(data))))


HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }".ljust(69) + b"\n"
NUMBERS = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(HEADER)) + HEADER + bytes(8)
HARMLESS = {
    "tensors of torch": ("pytorch_model.bin", made.torch_zip(made.tensors())),
    "an archive of torch as it is called": ("model.pt", made.torch_zip(made.tensors())),
    "numbers": ("vit.npz", made.zipped({"a.npy": NUMBERS})),
    "safetensors": ("model.safetensors", made.safetensors()),
    "no tensors": ("model.safetensors", made.safetensors({}, b"")),
    "gguf": ("model.gguf", made.gguf()),
    "gguf of a big-endian machine": ("model.gguf", made.gguf(order=">")),
    "keras": ("model.keras", made.keras({"class_name": "Dense", "module": "keras.layers"})),
    "hdf5": ("tf_model.h5", made.HDF5 + b'{"class_name": "Dense"}'),
    "a vocabulary": ("vocab.txt", b"cat\ndog\nRun\n.\n"),
    "a text": ("README.md", b"common\nsense.\n"),
    "a configuration": ("config.json", b'{"model_type": "llama", "auto_map": {}}'),
    "raw numbers": ("model.bin", bytes(70_000)),
    "nothing": ("empty.txt", b""),
    **{f"plain values, {p}": ("x.pkl", made.weights(p)) for p in PROTOCOLS if p > 2},
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_what_libraries_write_is_not_a_risk(name: str) -> None:
    assert not said(*HARMLESS[name])


PROGRAM = b"0cposix\x0asystem\x0a(X\x04\x00\x00\x00truetR."
POLYGLOT = b"U\x7f\x00\x00\x00\x00\x00\x00" + b'{"a":"'.ljust(0x7F - 6, b" ") + PROGRAM + bytes(0x7F55)
EVIL = made.harmful(CANARY)
HARMFUL = {
    **{f"a call, protocol {p}": ("model.bin", made.harmful(CANARY, p), "imports posix.system") for p in PROTOCOLS},
    "a pickle that is safetensors, too": ("a.bin", POLYGLOT, "imports posix.system"),
    "an instance": ("anything.dat", made.instance(CANARY), "imports os.system"),
    "names in the memo": ("model.bin", made.by_names_on_the_stack(CANARY), "imports builtins.eval"),
    "an archive of torch": ("model.pt", made.torch_zip(EVIL), "model/data.pkl, which is a pickle that imports posix"),
    "under another name": ("tokenizer.json", made.torch_zip(EVIL), "posix.system"),
    "in an archive in one": ("a.bin", made.zipped({"b": made.torch_zip(EVIL)}, zipfile.ZIP_DEFLATED), "posix.system"),
    "behind safetensors": ("a.safetensors", made.safetensors() + made.torch_zip(EVIL), "zip archive behind other"),
    "after the first pickle": ("a.pkl", made.weights(2) + EVIL, "posix.system"),
    "before it breaks": ("a.pkl", EVIL[:-1] + b"\xff\xff", "posix.system"),
    "without its end": ("a.pkl", EVIL[:-1], "posix.system"),
    "an array of objects": (
        "a.npy",
        made.array_of_objects(EVIL),
        "posix.system",
    ),
    "a number of an extension": ("a.pkl", b"\x80\x02\x82\x05)R.", "registered extension.5"),
    "names that are calculated": ("a.pkl", b"\x80\x04K\x01\x8c\x01a\x93.", "cannot be told"),
    "a class that is changed": ("a.pkl", b"\x80\x02ccollections\nOrderedDict\n}b.", "changes what it has imported"),
    "bytes behind it": ("a.pkl", made.tensors() + b"more", "4 bytes follow it"),
    "not a pickle as it is called": ("a.pt", b"7z\xbc\xaf'\x1c" + bytes(40), "compressed, and not judged"),
    "a length that is not there": ("a.pkl", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x", "cannot be judged"),
    "a line without an end": ("a.pkl", b"\x80\x02c" + b"a" * 3_000_000, "cannot be judged"),
    "a Lambda": ("a.keras", made.keras({"class_name": "Lambda", "module": "keras.layers"}), "Lambda layer of Keras"),
    "a module for Keras": ("a.keras", made.keras({"class_name": "x", "module": "os.path"}), "Keras import os.path"),
    "a Lambda in HDF5": ("a.h5", made.HDF5 + bytes(1 << 20) + b'{"class_name": "Lambda"}', "layer of Keras that"),
    "source": ("modeling.py", b"import os\n", "source or bytecode of Python"),
    "code of the configuration": ("config.json", b'{"auto_map": {"AutoModel": "m.M"}}', "would run: m.M"),
    "a library": ("lib.bin", b"\x7fELF" + bytes(60), "native library or program (ELF)"),
    "a program": ("a.dat", b"MZ" + bytes(60), "native library or program (PE)"),
    "TorchScript": ("a.pt", made.zipped({"m/data.pkl": b"\x80\x02N.", "m/code/a.py": b"x"}), "program of TorchScript"),
    "a directory that was cut off": ("a.bin", made.torch_zip(EVIL)[:-60], "without its directory"),
    "two members of one name": (
        "a.bin", made.zipped({"a": b"1", "b": b"2"}).replace(b"b", b"a"), "two members of one name"
    ),
    "another name in the directory": (
        "a.bin", made.zipped({"a.pkl": EVIL}).replace(b"a.pkl", b"b.txt", 1), "does not agree"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL)
def test_what_may_run_code_is_named(name: str) -> None:
    path, data, words = HARMFUL[name]
    assert words in said(path, data)
    assert not CANARY.exists()


def test_the_canary_sings_where_a_harmful_pickle_is_loaded(tmp_path: Path) -> None:
    for number, make in enumerate((made.harmful, made.instance, made.by_names_on_the_stack)):
        canary = tmp_path / str(number)
        said("a.pkl", make(canary))
        assert not canary.exists()
        pickle.loads(make(canary))  # noqa: S301
        assert canary.exists()


SAFETENSORS = {
    "is longer than the file": made.safetensors()[:40],
    "names something twice": made.safetensors(b'{"a": 1, "a": 2}'),
    "metadata that are not texts": made.safetensors({"__metadata__": {"a": 1}}),
    "an unknown dtype": made.safetensors({"w": made.tensor("F33", [2], [0, 8])}),
    "an impossible shape": made.safetensors({"w": made.tensor("F32", [-2], [0, 8])}),
    "impossible offsets": made.safetensors({"w": made.tensor("F32", [2], [0])}),
    "not that of its shape": made.safetensors({"w": made.tensor("F32", [3], [0, 8])}),
    "tensors that overlap": made.safetensors(
        {"a": made.tensor("U8", [4], [0, 4]), "b": made.tensor("U8", [4], [2, 6])}, bytes(6)
    ),
    "leaves bytes between": made.safetensors({"a": made.tensor("U8", [4], [4, 8])}),
    "a tensor outside the file": made.safetensors({"a": made.tensor("U8", [16], [0, 16])}),
    "leaves 4 bytes after": made.safetensors() + b"more",
    "cannot be judged": made.safetensors(b"{" + b"[" * 200_000),
    "something else than an object": made.safetensors({"a": [1]}),
}


@pytest.mark.parametrize("words", SAFETENSORS)
def test_a_header_of_safetensors_has_to_describe_the_file(words: str) -> None:
    assert words in said("model.safetensors", SAFETENSORS[words])


GGUF = {
    "a version of GGUF": b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
    "too many keys or tensors": b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60),
    "ends too early": made.gguf()[:60],
    "a tensor outside the file": made.gguf(offset=1 << 40),
    "too many strings": made.gguf(strings=1 << 50),
    "an unknown type": made.gguf().replace(b"template" + struct.pack("<I", 8), b"template" + struct.pack("<I", 99)),
}


@pytest.mark.parametrize("words", GGUF)
def test_a_header_of_gguf_has_to_fit_into_the_file(words: str) -> None:
    assert words in said("model.gguf", GGUF[words])


@pytest.mark.parametrize("template", ["{{ ''.__class__ }}", "{{ x|attr('a') }}"])
def test_a_template_that_escapes_is_named_and_not_refused(template: str) -> None:
    data = made.gguf(template)
    (risk,) = assess("m.gguf", Content(lambda at, count: data[at : at + count], len(data)))
    assert ("insides of Python" in risk.what, risk.refused) == (True, False)


SEEDS = [EVIL, made.torch_zip(EVIL), made.safetensors(), made.gguf(), made.keras({"class_name": "Lambda"}), made.HDF5]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_hostile_files_end_in_a_risk_and_in_no_exception(seed: bytes, data: st.DataObject) -> None:
    changed = bytearray(seed[: data.draw(st.integers(0, len(seed)))])
    for _ in range(data.draw(st.integers(0, 6))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    for name in ("a.bin", "a.pkl", "a.safetensors", "config.json"):
        said(name, bytes(changed))
    assert not CANARY.exists()


def test_an_error_of_the_volume_is_not_a_risk() -> None:
    def read(_offset: int, _count: int) -> bytes:
        raise VolumeError("gone")

    with pytest.raises(VolumeError):
        assess("a.bin", Content(read, 100))


def test_all_members_of_an_archive_share_the_instructions_that_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("downloader.formats.pickles.Steps.__init__", lambda self: setattr(self, "left", 60))
    long = b"\x80\x02" + b"N0" * 20 + b"N."
    assert not said("a.bin", made.zipped({"a.pkl": long}))
    assert "b.pkl, which is a pickle that cannot be judged" in said(
        "a.bin", made.zipped({"a.pkl": long, "b.pkl": long})
    )


def test_little_is_read_of_a_large_file() -> None:
    read = 0
    header = made.safetensors({"w": made.tensor("U8", [1 << 40], [0, 1 << 40])}, b"")

    def reading(offset: int, count: int) -> bytes:
        nonlocal read
        read += count
        return (header[offset : offset + count] or b"").ljust(count, b"\x00")

    assert not assess("model.safetensors", Content(reading, len(header) + (1 << 40)))
    assert read < 1 << 20


BEGINNINGS = {
    "a pickle": ("a.bin", EVIL + bytes(8 << 20), "imports posix.system"),
    "a pickle by its name": ("a.pt", made.harmful(CANARY, 0) + bytes(8 << 20), "imports posix.system"),
    "an archive of torch": ("a.bin", made.torch_zip(EVIL) + bytes(8 << 20), "model/data.pkl, which is a pickle"),
    "a library": ("a.dat", b"\x7fELF" + bytes(8 << 20), "native library"),
    "a header of safetensors": (
        "a.safetensors",
        made.safetensors({"w": made.tensor("F33", [2], [0, 8])}, bytes(8 << 20)),
        "unknown dtype",
    ),
    "a header of GGUF": ("a.gguf", made.gguf(offset=1 << 40) + bytes(8 << 20), "tensor outside the file"),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_the_beginning_of_a_file_tells_what_the_whole_of_it_would(name: str) -> None:
    path, data, words = BEGINNINGS[name]
    head = data[:64_000]
    content = Content(lambda at, count: head[at : at + count], len(data))
    told = [risk.what for risk in foresee(path, content, head[:1024], len(head))[0]]
    if not told:  # some read ahead
        head = data[: 2 << 20]
        told = [risk.what for risk in foresee(path, content, head[:1024], len(head))[0]]
    assert any(words in what for what in told), told
    assert any(risk.refused for risk in assess(path, Content(lambda at, count: data[at : at + count], len(data))))


def test_a_beginning_says_nothing_against_a_file_that_is_right_and_how_much_more_would_be_said() -> None:
    for path, data in HARMLESS.values():
        for arrived in (1, 512, 1000, 70_000, len(data)):
            content = Content(lambda at, count, data=data: data[at : at + count], len(data))  # type: ignore[misc]
            risks, wanted = foresee(path, content, data[: min(1024, arrived)], min(arrived, len(data)))
            assert not risks
            assert not wanted or arrived < wanted <= len(data)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_what_a_beginning_says_is_said_of_the_whole_file(seed: bytes, data: st.DataObject) -> None:
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(changed) + bytes(data.draw(st.sampled_from([0, 2 << 20])))
    arrived = data.draw(st.integers(0, len(whole)))
    content = Content(lambda at, count: whole[at : at + count], len(whole))
    for name in ("a.bin", "a.pkl", "a.safetensors"):
        early = foresee(name, content, whole[: min(1024, arrived)], arrived)[0]
        if any(risk.refused for risk in early):
            assert any(risk.refused for risk in assess(name, content))
    assert not CANARY.exists()
