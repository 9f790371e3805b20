"""What an attacker can do who has the source, or the target, but not the key of the signer."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.command import PEOPLE, Result, model, run
from tests.servers.published import checksums
from tests.signing.signers import CertificateOwner, KeyOwner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"s" * 70_000,
    "sub/tokenizer.json": b"t" * 5000,
}
MARK = ".artifact.sha256"


def download(hub: Hub, tmp_path: Path, *options: str | Path, uri: str = "hf://org/model", **extra: str) -> Result:
    result = run("download", uri, tmp_path / "out", *options, extra={"HF_ENDPOINT": hub.endpoint, **extra})
    assert "Traceback" not in result.stderr
    return result


NAMES = {
    "another form of Unicode": ("\u00e9.json", "e\u0301.json"),
    "another case": ("Config.json", "config.json"),
    "a blank at the end": ("config.json", "config.json "),
    "a look-alike": ("config.json", "c\u043enfig.json"),
    "another folder": ("config.json", "sub/config.json"),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_signed_content_under_another_name_is_not_signed(
    case: str, hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    signed, served = NAMES[case]
    files = owner.publish(tmp_path / "signed", {"model.safetensors": b"s" * 9000, signed: b"{}"})
    hub.create("org/model").commit({served if path == signed else path: data for path, data in files.items()})
    result = download(hub, tmp_path, "--signer-key", owner.trusted)
    assert result.status == 65, result.stderr
    assert "not signed: " in result.last_line
    assert "missing: " in result.last_line
    assert not (tmp_path / "out" / MARK).exists()


@pytest.mark.parametrize(
    "path", [".gitattributes", ".git/hooks/post-checkout", ".cache/run.py", "model.sig.json", "sub/model.sig"]
)
def test_the_source_cannot_extend_what_the_signer_has_left_out(
    path: str, hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    """`model_signing` leaves out git's files: only those are, and only because the signer has signed that."""
    files = owner.publish(tmp_path / "signed", FILES)
    hub.create("org/model").commit({**files, path: b"{}"})
    result = download(hub, tmp_path, "--signer-key", owner.trusted)
    if path.startswith(".git"):
        assert result.status == 0, result.stderr
    else:
        assert (result.status, f"not signed: {path}" in result.last_line) == (65, True), result.stderr


def test_a_file_that_an_earlier_run_has_left_is_not_loaded_with_a_signed_model(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    repository, signer = hub.create("org/model"), ("--signer-key", owner.trusted)
    repository.commit({**owner.publish(tmp_path / "signed", FILES), "sub/evil.py": b"import os"})
    assert download(hub, tmp_path).status == 0
    repository.commit({"sub/evil.py": None})
    result = download(hub, tmp_path, *signer)
    assert (result.status, "not signed: sub/evil.py" in result.last_line) == (65, True), result.stderr
    result = download(hub, tmp_path)
    assert result.status == 0, result.stderr
    result = download(hub, tmp_path, *signer)  # that is complete now, and still beside a file of another revision
    assert (result.status, "not signed: sub/evil.py" in result.last_line) == (65, True), result.stderr
    pruned = download(hub, tmp_path, *signer, "--prune")
    assert (pruned.status, "signature: 3 files" in pruned.stderr) == (0, True), pruned.stderr
    assert model(tmp_path / "out").keys() == {*FILES, "model.sig"}


def test_what_another_program_has_put_into_the_target_is_refused_unless_the_filters_leave_it_out(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    for path in ("sub/more.safetensors", "lost+found/x", ".cache/huggingface/x.metadata"):
        (tmp_path / "out" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / path).write_bytes(b"x")
    (tmp_path / "out/link.json").symlink_to("/etc/hostname")
    result = download(hub, tmp_path, "--signer-key", owner.trusted, "--prune")
    assert result.status == 65, result.stderr
    assert "not signed: link.json, sub/more.safetensors (" in result.last_line
    (tmp_path / "out/link.json").unlink()
    result = download(hub, tmp_path, "--signer-key", owner.trusted, "--exclude", "*more*")
    assert result.status == 0, result.stderr


def test_a_single_file_has_nothing_to_do_with_what_lies_beside_it(
    own_web: BrokenWeb, owner: KeyOwner, tmp_path: Path
) -> None:
    signed = owner.publish(tmp_path / "signed", {"weights.dat": b"g" * 5000})
    url = own_web.put("weights.dat", signed["weights.dat"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/other.dat").write_bytes(b"x")
    chosen = ("--signer-key", owner.trusted, f"--verify-signature={tmp_path}/signed/model.sig")
    for _ in range(2):
        result = run("download", url, tmp_path / "out", *chosen)
        assert (result.status, "signature: 1 files" in result.stderr) == (0, True), result.stderr


def test_the_signature_of_a_single_file_verifies_it_under_any_name(
    own_web: BrokenWeb, owner: KeyOwner, tmp_path: Path
) -> None:
    (tmp_path / "weights.dat").write_bytes(b"g" * 5000)
    (tmp_path / "weights.sig").write_bytes(owner.sign(tmp_path / "weights.dat", into=tmp_path / "weights.sig"))
    chosen = ("--signer-key", owner.trusted, f"--verify-signature={tmp_path}/weights.sig")
    result = run("download", own_web.put("v2.dat", b"g" * 5000), tmp_path / "out", *chosen)
    assert (result.status, "signature: 1 files" in result.stderr) == (0, True), result.stderr
    result = run("verify", tmp_path / "out", *chosen, extra=PEOPLE)
    assert (result.status, "signature: 1 files" in result.stderr) == (0, True), result.stderr
    (tmp_path / "out/more.dat").write_bytes(b"x")
    result = run("verify", tmp_path / "out", *chosen, extra=PEOPLE)
    assert (result.status, "not signed: more.dat" in result.last_line) == (65, True), result.stderr


def changed(bundle: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    read = json.loads(bundle)
    change(read)
    return json.dumps(read).encode()


def test_who_has_signed_is_what_was_verified_and_not_what_a_signature_says(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    """The key or the certificate that a bundle shows is not signed, so an attacker can put in another one."""
    other = CertificateOwner(tmp_path / "other", identity="ceo@example.org")
    shown = json.loads(other.publish(tmp_path / "shown", FILES)["model.sig"])["verificationMaterial"]
    certificate = shown["x509CertificateChain"]["certificates"][0]

    def show(bundle: dict[str, Any]) -> None:
        bundle["verificationMaterial"]["certificate"] = certificate

    certified = CertificateOwner(tmp_path / "ca", identity="intern@example.org")
    repository = hub.create("org/model")
    for signer, option in ((owner, "--signer-key"), (certified, "--signer-ca")):
        files = signer.publish(tmp_path / option, FILES)
        repository.commit({**files, "model.sig": changed(files["model.sig"], show)})
        report = tmp_path / "report.json"
        result = download(hub, tmp_path, option, signer.trusted, "--report", report)
        assert result.status == 0, result.stderr
        told = json.loads(report.read_text())["signer"]
        assert "ceo" not in told + result.stderr
        name = hashlib.sha256(owner.trusted.read_bytes()).hexdigest() if signer is owner else "intern@example.org"
        assert name in told


def test_a_signature_without_the_fingerprint_of_its_key_writes_nothing_to_stdout(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    files = owner.publish(tmp_path / "signed", FILES)
    bare = changed(files["model.sig"], lambda bundle: bundle["verificationMaterial"]["publicKey"].clear())
    hub.create("org/model").commit({**files, "model.sig": bare})
    result = download(hub, tmp_path, "--signer-key", owner.trusted, **PEOPLE)
    assert (result.status, result.stdout) == (0, ""), result.stderr
    result = run("verify", tmp_path / "out", "--signer-key", owner.trusted, extra=PEOPLE)
    assert (result.status, result.stdout) == (0, ""), result.stderr


def _no_statement(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(b"{}").decode()


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "without signatures": lambda bundle: bundle["dsseEnvelope"]["signatures"].clear(),
    "without a statement": _no_statement,
    "of another type of content": lambda bundle: bundle["dsseEnvelope"].update(payloadType="text/plain"),
    "of another version": lambda bundle: bundle.update(mediaType="application/vnd.dev.sigstore.bundle.v9+json"),
    "with the fingerprint of another key": lambda bundle: bundle["verificationMaterial"]["publicKey"].update(hint="0"),
    "with another kind of material": lambda bundle: bundle.update(verificationMaterial={"timestamps": []}),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_signature_that_was_changed_is_refused_in_one_line(
    case: str, hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    files = owner.publish(tmp_path / "signed", FILES)
    hub.create("org/model").commit({**files, "model.sig": changed(files["model.sig"], FORGED[case])})
    result = download(hub, tmp_path, "--signer-key", owner.trusted)
    assert result.status == 65, result.stderr
    assert "model.sig is not " in result.last_line
    assert not (tmp_path / "out" / MARK).exists()


MODES = {
    "warn in the environment": ({"AIM_SIGNATURE": "warn"}, ("--verify-signature",), 65),
    "off in the environment": ({"AIM_SIGNATURE": "off"}, ("--verify-signature",), 65),
    "off, and a signer on the command line": ({"AIM_SIGNATURE": "off"}, (), 65),
    "a simulation": ({"AIM_DEBUG_SIMULATE_DOWNLOAD": "1", "AIM_DEBUG_DOWNLOAD_DURATION": "0"}, (), 78),
}


@pytest.mark.parametrize("case", MODES)
def test_what_the_command_line_requires_cannot_be_switched_off_elsewhere(
    case: str, hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    extra, options, status = MODES[case]
    hub.create("org/model").commit({**owner.publish(tmp_path / "signed", FILES), "config.json": b"{}"})
    result = download(hub, tmp_path, "--signer-key", owner.trusted, *options, **extra)
    assert result.status == status, result.stderr
    assert not (tmp_path / "out" / MARK).exists()


def test_a_signature_with_very_many_values_takes_no_memory(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    files = owner.publish(tmp_path / "signed", FILES)
    many = files["model.sig"][:-1] + b',"more":[' + b"[]," * 5_000_000 + b"0]}"
    hub.create("org/model").commit({**files, "model.sig": many})
    result = download(hub, tmp_path, "--signer-key", owner.trusted)
    assert (result.status, "model.sig is not a signature" in result.last_line) == (65, True), result.stderr


def test_a_mirror_cannot_bring_another_signature(hub: Hub, own_web: BrokenWeb, owner: KeyOwner, tmp_path: Path) -> None:
    other = KeyOwner(tmp_path / "other").publish(tmp_path / "theirs", {**FILES, "config.json": b"{}"})
    files = owner.publish(tmp_path / "signed", FILES)
    hub.create("org/model").commit(files)
    for path, data in {**other, "SHA256SUMS": checksums(other)}.items():
        own_web.put(f"copy/{path}", data)
    mirror = ("--mirror", own_web.url("copy/"), "--mirror-first")
    result = download(hub, tmp_path, "--signer-key", owner.trusted, *mirror)
    assert (result.status, "signature: 3 files" in result.stderr) == (0, True), result.stderr
    assert own_web.log.records()
    assert model(tmp_path / "out") == files


@pytest.mark.parametrize("options", [("--processes", "2"), ("--shard", "0/1")])
def test_several_processes_publish_nothing_that_is_not_signed(
    options: tuple[str, ...], hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    hub.create("org/model").commit({**owner.publish(tmp_path / "signed", FILES), "config.json": b"{}"})
    result = download(hub, tmp_path, "--signer-key", owner.trusted, *options)
    assert (result.status, "other content: config.json" in result.last_line) == (65, True), result.stderr
    assert not (tmp_path / "out" / MARK).exists()
