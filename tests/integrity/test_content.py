"""What the first bytes of a file say of it, against what its name says."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import IntegrityError
from downloader.integrity import ContentCheck, Hasher, contradiction
from downloader.integrity.content import HEAD

PAGE = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"5" * 64 + b"\nsize 4968\n"
ERROR = b'{"error": "Unauthorized"}'
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'


def safetensors(header: bytes, tensors: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + tensors


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"weights")
    return buffer.getvalue()


def judged(path: str, content: bytes, *, vouched: bool = False, media_type: str = "") -> str:
    return contradiction(path, len(content), content[:HEAD], vouched=vouched, media_type=media_type)


@pytest.mark.parametrize("vouched", [True, False])
@pytest.mark.parametrize(
    ("path", "content", "word"),
    [
        ("model.safetensors", PAGE, "web page"),
        ("sub/model.GGUF", PAGE, "web page"),
        ("pytorch_model.bin", b"\xef\xbb\xbf \r\n" + PAGE.lower(), "web page"),
        ("model.onnx", b"<!-- who are you? --><p>Please log in</p>", "web page"),
        ("model.tar.gz", PAGE, "web page"),
        ("model.bin", XML, "XML"),
        ("model.bin", b"<Error><Code>NoSuchBucket</Code></Error>", "XML"),
        ("model.pt", ERROR, "JSON"),
        ("model.safetensors", POINTER, "4968 bytes"),
        ("tokenizer.json", POINTER, "Git LFS pointer"),
        ("model", POINTER.replace(b"\n", b"\r\n"), "Git LFS pointer"),
        ("model.bin", POINTER.rstrip(b"\n"), "Git LFS pointer"),
    ],
)
def test_what_no_weights_can_be_is_refused_whatever_vouches_for_the_bytes(
    path: str, content: bytes, word: str, *, vouched: bool
) -> None:
    assert word in judged(path, content, vouched=vouched)


@pytest.mark.parametrize(
    ("path", "content", "media_type", "word"),
    [
        ("model", PAGE, "", "web page"),
        ("tokenizer.json", PAGE, "", "web page"),
        ("get", b"Please log in", "text/html; charset=utf-8", "web page"),
        ("model.bin", b"Please log in", "Text/HTML", "web page"),
        ("tokenizer.json", b"Please <a href=/login>log in</a>", "text/html", "web page"),
        ("model.bin", b'["no"]', "application/json", "application/json"),
        ("model.safetensors", b"\0" * 100, "", ".safetensors"),
        ("model.safetensors", safetensors(b"{}")[:9], "", ".safetensors"),
        ("model.safetensors", struct.pack("<Q", 1 << 40) + b"{}", "", ".safetensors"),
        ("model.safetensors", b"", "", ".safetensors"),
        ("model.gguf", b"GGML" + bytes(100), "", ".gguf"),
        ("weights.npz", b"\x93NUMPY" + bytes(100), "", ".npz"),
    ],
)
def test_what_nothing_proves_has_to_look_like_what_its_name_says(
    path: str, content: bytes, media_type: str, word: str
) -> None:
    assert word in judged(path, content, media_type=media_type)
    assert judged(path, content, vouched=True, media_type=media_type) == ""


@pytest.mark.parametrize(
    ("path", "content", "media_type"),
    [
        ("model.safetensors", safetensors(json.dumps({"t": {"dtype": "F32"}}).encode(), bytes(64)), "text/html"),
        ("model.safetensors", safetensors(b"{}      "), ""),
        ("model.gguf", b"GGUF\x03\0\0\0" + bytes(100), "text/html"),
        ("model.bin", b"\x80\x02}q\x00.", "text/html"),
        ("config.json", b'{"model_type": "llama"}', "text/html"),
        ("merges.txt", b"#version: 0.2\ne r</w>", "text/html"),
        ("model.bin", zipped(), "application/json"),
        ("model.bin", b"plain text, which may be what is meant", "text/plain"),
        ("weights.npz", zipped(), ""),
        ("index.html", PAGE, "text/html"),
        ("README.md", b"<h1 align=center>A model</h1>", "text/plain"),
        ("config.json", ERROR, "application/json"),
        ("model.xml", XML, "application/xml"),
        ("notes.txt", POINTER + b"and this is how a pointer looks", ""),
        ("empty.txt", b"", "text/plain"),
        ("model.bin", b"", ""),
    ],
)
@pytest.mark.parametrize("vouched", [True, False])
def test_what_may_be_meant_is_taken(path: str, content: bytes, media_type: str, *, vouched: bool) -> None:
    assert judged(path, content, vouched=vouched, media_type=media_type) == ""


def test_the_reason_is_told_and_how_to_have_it_all_the_same() -> None:
    with pytest.raises(IntegrityError, match=r"model\.bin is a web page.*--accept-any"):
        ContentCheck().require("model.bin", len(PAGE), PAGE, verified=True)
    ContentCheck(accept_any=True).require("model.bin", len(PAGE), PAGE, verified=False)


@given(suffix=st.text(max_size=20), head=st.binary(max_size=HEAD), vouched=..., media_type=st.text(max_size=20))
def test_whatever_comes_is_judged(*, suffix: str, head: bytes, vouched: bool, media_type: str) -> None:
    for name in (f"model.{suffix}", "model.safetensors", "model.gguf", "model.bin"):
        assert isinstance(contradiction(name, len(head), head, vouched=vouched, media_type=media_type), str)


@given(st.lists(st.binary(max_size=HEAD), max_size=6))
def test_a_hasher_keeps_the_first_bytes_however_they_come(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    hasher = Hasher(len(whole))
    for piece in pieces:
        hasher.update(memoryview(piece))
    assert hasher.head == whole[:HEAD]
