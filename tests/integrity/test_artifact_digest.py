from __future__ import annotations

import hashlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.integrity import Checksums, artifact_digest, render_checksums

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(files=st.dictionaries(NAMES, st.binary(max_size=2).map(lambda data: hashlib.sha256(data).hexdigest())))
def test_it_is_the_digest_of_the_sorted_lines_of_the_list(files: dict[str, str]) -> None:
    lines = render_checksums(Checksums(files)).split(b"\n")[:-1]
    content = b"".join(line + b"\n" for line in sorted(line for line in lines if not line.startswith(b"#")))
    assert artifact_digest(files) == f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("path", ["plain", "ä", "back\\slash", "tab\tbed", "a line\nfeed", "\x01"])
def test_the_shell_finds_the_same(path: str) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    raw = render_checksums(Checksums(dict.fromkeys((path, f"{path}x", f"{path}\t"), digest)))
    shell = subprocess.run(
        ["sh", "-c", "grep -av '^#' | LC_ALL=C sort | sha256sum"], input=raw, capture_output=True, check=True
    )
    assert shell.stdout.split()[0].decode() == artifact_digest(
        dict.fromkeys((path, f"{path}x", f"{path}\t"), digest)
    ).removeprefix("sha256:")
