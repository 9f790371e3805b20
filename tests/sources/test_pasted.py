"""What people paste: it means a URI, or one line says what to write."""

from __future__ import annotations

import pytest

from downloader.errors import UsageError
from downloader.sources.hub_address import HubAddress
from downloader.sources.pasted import canonical, s3_uri

HUB = "https://huggingface.co"
CONSOLE = "https://eu-west-1.console.aws.amazon.com/s3"


@pytest.mark.parametrize(
    ("pasted", "uri"),
    [
        (f"{HUB}/org/model", "hf://org/model"),
        (f"{HUB}/org/model/", "hf://org/model"),
        (f"{HUB}/org/model?library=transformers", "hf://org/model"),
        (f"{HUB}/org/model/tree/main", "hf://org/model"),
        (f"{HUB}/org/model/tree/main/sub/folder", "hf://org/model/sub/folder"),
        (f"{HUB}/org/model/blob/v1.0/model.gguf", "hf://org/model@v1.0/model.gguf"),
        (f"{HUB}/org/model/tree/feature%2Fx/sub", "hf://org/model@feature%2Fx/sub"),
        (f"{HUB}/org/model/tree/refs%2Fpr%2F1", "hf://org/model@refs%2Fpr%2F1"),
        (f"{HUB}/org/model/tree/refs/pr/1/sub", "hf://org/model@refs%2Fpr%2F1/sub"),
        (f"{HUB}/datasets/org/data", "hf://datasets/org/data"),
        ("HTTPS://HuggingFace.co/org/model", "hf://org/model"),
        ("hf.co/org/model", "hf://org/model"),
        ("huggingface.co/org/model/blob/main/a.bin", "hf://org/model/a.bin"),
        (f"{CONSOLE}/buckets/b?region=eu-west-1&prefix=models/m/&showversions=false", "s3://b/models/m/"),
        (f"{CONSOLE}/object/b?prefix=models/a%20b.bin", "s3://b/models/a b.bin"),
        ("https://s3.console.aws.amazon.com/s3/buckets/my-bucket", "s3://my-bucket/"),
        ("  hf://org/model\n", "hf://org/model"),
        ('"hf://org/model"', "hf://org/model"),
        ("'`s3://b/k`'", "s3://b/k"),
    ],
)
def test_what_is_pasted_means_a_uri(pasted: str, uri: str) -> None:
    assert canonical(pasted) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "hf://org/model@refs/pr/1/sub",
        f"{HUB}/org/model/resolve/main/model.gguf?download=true",
        f"{HUB}/datasets/org/data/raw/main/a.json",
        "https://models.example.com/org/model/tree/main",
        "https://bucket.s3.eu-west-1.amazonaws.com/a/b.bin",
        "s3://bucket/it's",
        "http://[::1",
    ],
)
def test_what_names_an_artifact_already_stays(uri: str) -> None:
    assert canonical(uri) == uri


@pytest.mark.parametrize(
    ("pasted", "hint"),
    [
        ("org/model", "hf://org/model"),
        ("org/model@v1", "hf://org/model@v1"),
        ("datasets/org/data", "hf://datasets/org/data"),
        (f"{HUB}/models?search=llama", "hf://org/name"),
        (f"{HUB}/org", "hf://org/name"),
        (f"{HUB}/papers/2401.12345", "hf://org/name"),
        (f"{HUB}/docs/transformers/index", "hf://org/name"),
        (f"{HUB}/collections/org/some-models-65f", "hf://org/name"),
        (f"{HUB}/org/model/discussions/1", "hf://org/model"),
        (f"{HUB}/org/model/commits/main", "hf://org/model"),
        (f"{HUB}/datasets/org/data/viewer/default/train", "hf://datasets/org/data"),
        (f"{CONSOLE}/home?region=eu-west-1", "s3://bucket/prefix"),
    ],
)
def test_what_names_nothing_is_told_with_what_to_write(pasted: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        canonical(pasted)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://s3.amazonaws.com/bucket/a/b.bin", "s3://bucket/a/b.bin"),
        ("https://s3.eu-west-1.amazonaws.com/bucket/a%20b.bin", "s3://bucket/a b.bin"),
        ("https://bucket.s3.amazonaws.com/a/b.bin", "s3://bucket/a/b.bin"),
        ("https://my.bucket.s3-us-west-2.amazonaws.com/a", "s3://my.bucket/a"),
        ("https://bucket.s3.dualstack.us-west-2.amazonaws.com/a", "s3://bucket/a"),
        ("https://bucket.s3.amazonaws.com/a?X-Amz-Signature=abc", ""),
        ("https://s3.amazonaws.com/", ""),
        ("https://example.com/bucket/a", ""),
        ("https://s3.example.com/bucket/a", ""),
    ],
)
def test_an_address_of_amazon_s3_names_an_object(url: str, uri: str) -> None:
    assert s3_uri(url) == uri


def test_a_pasted_branch_with_a_slash_is_the_revision() -> None:
    address = HubAddress.parse(canonical(f"{HUB}/org/model/tree/feature%2Fx/sub"))

    assert (address.revision, address.folder) == ("feature/x", "sub")
