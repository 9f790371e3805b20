"""The signature at a URI of each source, and under `*.sig.json` by name: what is verified, refused, and sent where."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from downloader.signing import MAX_SIGNATURE_SIZE
from tests.command import Result, model, run
from tests.servers.published import in_a_bucket
from tests.servers.s3 import fill_bucket
from tests.signing.signers import KeyOwner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"s" * 70_000}
PAGE = b"<!DOCTYPE html><html><body>Index of /signatures</body></html>"
MARK = ".artifact.sha256"


class Elsewhere:
    """A model, and signatures at a URI of one scheme."""

    def __init__(self, scheme: str, hub: Hub, s3: S3Server, tmp_path: Path) -> None:
        self._scheme, self._hub, self._s3, self._target = scheme, hub, s3, tmp_path / "out"
        self._bucket = f"signatures-{uuid4().hex}"
        hub.create("org/model").commit(FILES)
        self._signatures = hub.create("org/signatures")
        if scheme == "s3":
            fill_bucket(s3.client(), self._bucket, {"other.txt": b"x"})

    def put(self, name: str, content: bytes) -> str:
        """Put a signature there, and return its URI."""
        if self._scheme == "s3":
            self._s3.client().put_object(Bucket=self._bucket, Key=name, Body=content)
            return f"s3://{self._bucket}/{name}"
        self._signatures.commit({name: content})
        return f"hf://org/signatures/{name}"

    def download(self, owner: KeyOwner, place: str) -> Result:
        """Download the model with the signature at that URI."""
        extra = {**self._s3.environment(), "HF_ENDPOINT": self._hub.endpoint}
        chosen = (f"--verify-signature={place}", "--signer-key", owner.trusted)
        result = run("download", "hf://org/model", self._target, *chosen, extra=extra)
        assert "Traceback" not in result.stderr
        assert (result.status == 0) == (self._target / MARK).exists()
        return result


@pytest.fixture(params=["s3", "hf"])
def elsewhere(request: pytest.FixtureRequest, hub: Hub, s3: S3Server, tmp_path: Path) -> Elsewhere:
    return Elsewhere(request.param, hub, s3, tmp_path)


def test_a_signature_at_a_uri_is_verified_and_stays_there(
    elsewhere: Elsewhere, owner: KeyOwner, tmp_path: Path
) -> None:
    place = elsewhere.put("llama/v1.sig", owner.publish(tmp_path / "signed", FILES)["model.sig"])
    for _ in range(2):
        result = elsewhere.download(owner, place)
        assert (result.status, "signature: 2 files" in result.stderr) == (0, True), result.stderr
    assert model(tmp_path / "out") == FILES


def test_a_signature_at_a_uri_that_is_not_the_signers_is_refused(
    elsewhere: Elsewhere, owner: KeyOwner, tmp_path: Path
) -> None:
    other = KeyOwner(tmp_path / "other")
    place = elsewhere.put("other.sig", other.publish(tmp_path / "signed", FILES)["model.sig"])
    result = elsewhere.download(owner, place)
    assert (result.status, f"{place} is not signed by the key" in result.last_line) == (65, True), result.stderr
    place = elsewhere.put("old.sig", owner.publish(tmp_path / "old", {**FILES, "config.json": b"{}"})["model.sig"])
    result = elsewhere.download(owner, place)
    assert result.status == 65, result.stderr
    assert f"has signed in {place}: other content: config.json" in result.last_line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PAGE, "is not a signature"),
        (b"", "is not a signature"),
        (bytes(MAX_SIGNATURE_SIZE + 1), "is too long for a signature"),
    ],
)
def test_what_is_no_signature_at_a_uri_is_refused(
    content: bytes, words: str, elsewhere: Elsewhere, owner: KeyOwner
) -> None:
    place = elsewhere.put("page.sig", content)
    result = elsewhere.download(owner, place)
    assert (result.status, f"{place} {words}" in result.last_line) == (65, True), result.stderr


def test_a_signature_that_is_not_at_its_uri_ends_the_run(elsewhere: Elsewhere, owner: KeyOwner) -> None:
    place = elsewhere.put("here.sig", b"{}").replace("here", "gone")
    result = elsewhere.download(owner, place)
    assert (result.status, "gone.sig" in result.last_line) == (66, True), result.stderr
    folder = place.rpartition("/")[0] + "/"
    result = elsewhere.download(owner, folder)
    assert (result.status, f"the signature {folder} is a folder and not a file" in result.last_line) == (78, True)


def test_the_credentials_of_one_place_are_not_sent_to_the_other(
    hub: Hub, s3: S3Server, own_web: BrokenWeb, owner: KeyOwner, tmp_path: Path
) -> None:
    """The artifact is in a bucket, its signature on a web server and on the Hub: each gets only what is its own."""
    signature = owner.publish(tmp_path / "signed", FILES)["model.sig"]
    place = in_a_bucket(s3, f"signed-{uuid4().hex}", FILES)
    hub.create("org/signatures", private=True, members={"alice"}).commit({"llama.sig": signature})
    hub.tokens["hf_secret"] = "alice"
    extra = {**place.extra, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_secret"}
    for number, uri in enumerate(["hf://org/signatures/llama.sig", own_web.put("llama.sig", signature)]):
        chosen = (f"--verify-signature={uri}", "--signer-key", owner.trusted)
        result = run("download", place.uri, tmp_path / f"out{number}", *chosen, extra=extra)
        assert (result.status, "signature: 2 files" in result.stderr) == (0, True), result.stderr
        assert "hf_secret" not in result.stderr
    sent = [record.request.headers for record in own_web.log.records()]
    assert sent
    assert not any("authorization" in headers or "x-amz-date" in headers for headers in sent)
    asked = [record.request.headers.get("authorization", "") for record in hub.log.records()]
    assert "Bearer hf_secret" in asked
    assert not any(value.startswith("AWS4") for value in asked)


def test_a_signature_is_found_by_its_ending_if_there_is_one_of_them(
    hub: Hub, s3: S3Server, owner: KeyOwner, tmp_path: Path
) -> None:
    signature = owner.publish(tmp_path / "signed", FILES)["model.sig"]
    repository = hub.create("org/model")
    extra, signer = {"HF_ENDPOINT": hub.endpoint}, ("--signer-key", owner.trusted)
    repository.commit({**FILES, "llama.sig.json": signature})
    hub_target, chosen = tmp_path / "hub", ("--include", "*.safetensors", "--include", "config.json")
    result = run("download", "hf://org/model", hub_target, *signer, *chosen, extra=extra)
    assert (result.status, "signature: 2 files" in result.stderr) == (0, True), result.stderr
    assert model(hub_target).keys() == {*FILES, "llama.sig.json"}
    place = in_a_bucket(s3, f"signed-{uuid4().hex}", {**FILES, "llama.sig.json": signature})
    result = run("download", place.uri, tmp_path / "s3", *signer, extra=place.extra)
    assert (result.status, "signature: 2 files" in result.stderr) == (0, True), result.stderr
    result = run("verify", tmp_path / "s3", *signer)
    assert (result.status, "signature: 2 files" in result.stderr) == (0, True), result.stderr


def test_of_several_signatures_none_is_chosen_unless_one_is_named(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    signature = owner.publish(tmp_path / "signed", FILES)["model.sig"]
    repository = hub.create("org/model")
    several = {"a.sig.json": signature, "b.sig.json": b"{}"}
    repository.commit({**FILES, **several, "sub/c.sig.json": b"{}"})
    extra, signer = {"HF_ENDPOINT": hub.endpoint}, ("--signer-key", owner.trusted)
    result = run("download", "hf://org/model", tmp_path / "out", *signer, extra=extra)
    assert result.status == 65, result.stderr
    assert "several signatures (a.sig.json, b.sig.json) (name the signature: --verify-signature URI" in result.last_line
    assert "or exclude the others" in result.last_line
    assert not hub.log.records("cdn")
    named = "--verify-signature=hf://org/model/a.sig.json"
    result = run("download", "hf://org/model", tmp_path / "out", *signer, named, extra=extra)
    assert (result.status, "not signed: a.sig.json, b.sig.json" in result.last_line) == (65, True), result.stderr
    left_out = ("--exclude", "*.sig.json")
    result = run("download", "hf://org/model", tmp_path / "out", *signer, named, *left_out, extra=extra)
    assert (result.status, "signature: 2 files" in result.stderr) == (0, True), result.stderr


def test_filters_choose_among_signatures_and_keep_the_one_that_is_verified(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    signature = owner.publish(tmp_path / "signed", FILES)["model.sig"]
    repository = hub.create("org/model")
    repository.commit({**FILES, "a.sig.json": signature, "b.sig.json": b"{}"})

    def published(target: str, *options: str) -> set[str]:
        signer: tuple[str | Path, ...] = ("--signer-key", owner.trusted, *options)
        result = run("download", "hf://org/model", tmp_path / target, *signer, extra={"HF_ENDPOINT": hub.endpoint})
        assert result.status == 0, result.stderr
        assert run("verify", tmp_path / target, *signer).status == 0
        return model(tmp_path / target).keys() - {".artifact.sha256"}

    assert published("one", "--exclude", "b.*") == {*FILES, "a.sig.json"}
    repository.commit({"model.sig": signature})
    assert published("usual", "--exclude", "*.sig*") == {*FILES, "model.sig"}
    assert published("fewer", "--exclude", "*.json") == {"model.safetensors", "model.sig"}
