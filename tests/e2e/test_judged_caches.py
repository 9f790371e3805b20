"""`verify` of a cache of `huggingface_hub`: each snapshot has to be what the signer has signed, and run no code."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.command import PEOPLE, Result, run
from tests.e2e.test_hub_cache import hf_download
from tests.formats import files as made

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.signing.signers import KeyOwner

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": made.safetensors(),
    "sub/tokenizer.json": b"t" * 5000,
}


def fill(hub: Hub, tmp_path: Path, *options: str | Path) -> Path:
    """Download the model into a cache, and return the folder of the repository."""
    extra = {**PEOPLE, "HF_ENDPOINT": hub.endpoint}
    result = run("download", "hf://org/model", "--hub-cache", tmp_path / "cache", *options, extra=extra)
    assert result.status == 0, result.stderr
    return tmp_path / "cache/models--org--model"


def verify(folder: Path, *options: str | Path) -> Result:
    result = run("verify", folder, *options, extra=PEOPLE)
    assert "Traceback" not in result.stderr
    return result


def test_each_snapshot_has_to_be_signed_by_the_names_of_the_repository(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    repository = hub.create("org/model")
    right = repository.commit(owner.publish(tmp_path / "signed", FILES))
    signer = ("--signer-key", owner.trusted)
    folder = fill(hub, tmp_path, *signer)
    for target in (folder, folder / "snapshots" / right):
        result = verify(target, *signer)
        assert (result.status, "signature: 3 files are what the key" in result.stderr) == (0, True), result.stderr
    wrong = repository.commit({"config.json": b"{}", "sub/added.json": b"{}"})
    fill(hub, tmp_path)
    for options in ((folder,), (folder, "--revision", "main"), (folder / "snapshots" / wrong,)):
        result = verify(*options, *signer)
        assert result.status == 65, result.stderr
        assert f"snapshot {wrong}: these files are not what the key" in result.last_line
        assert "other content: config.json; not signed: sub/added.json" in result.last_line
    result = verify(folder, *signer, "--revision", right)
    assert (result.status, "signature: 3 files" in result.stderr) == (0, True), result.stderr


def test_what_the_library_has_added_to_a_snapshot_was_never_verified(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    repository = hub.create("org/model")
    commit = repository.commit({**owner.publish(tmp_path / "signed", FILES), "more.json": b"{}"})
    signer, chosen = ("--signer-key", owner.trusted), ("--include", "*.json")
    folder = fill(hub, tmp_path, *signer, *chosen, "--exclude", "more.json")
    hf_download(hub, tmp_path / "cache")
    result = verify(folder, *signer)
    assert (result.status, f"snapshot {commit}: " in result.last_line) == (65, True), result.stderr
    assert "not signed: more.json; never verified: model.safetensors" in result.last_line
    result = verify(folder, *signer, *chosen, "--exclude", "more.json")
    assert (result.status, "signature: 2 files" in result.stderr) == (0, True), result.stderr


def test_a_signature_elsewhere_verifies_a_cache_too(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    signed = owner.publish(tmp_path / "signed", FILES)
    hub.create("org/model").commit(FILES)
    folder = fill(hub, tmp_path)
    signer = ("--signer-key", owner.trusted)
    result = verify(folder, *signer)
    assert (result.status, "the artifact has no signature" in result.last_line) == (65, True), result.stderr
    (tmp_path / "elsewhere.sig").write_bytes(signed["model.sig"])
    result = verify(folder, *signer, f"--verify-signature={tmp_path}/elsewhere.sig")
    assert (result.status, "signature: 3 files" in result.stderr) == (0, True), result.stderr


def test_a_cache_without_symlinks_is_verified_by_its_regular_files(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    extra = {**PEOPLE, "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_SYMLINKS": "1"}
    result = run("download", "hf://org/model", "--hub-cache", tmp_path / "cache", extra=extra)
    assert result.status == 0, result.stderr
    folder = tmp_path / "cache/models--org--model"
    assert not [path for path in folder.rglob("snapshots/**/*") if path.is_symlink()]
    signer = ("--signer-key", owner.trusted, "--formats", "safe")
    result = verify(folder, *signer)
    assert (result.status, "signature: 3 files" in result.stderr) == (0, True), result.stderr
    (snapshot,) = (folder / "snapshots").iterdir()
    (snapshot / "added.json").write_bytes(b"{}")
    result = verify(folder, *signer)
    assert (result.status, "not signed: added.json" in result.last_line) == (65, True), result.stderr


def test_formats_are_judged_by_the_names_in_the_snapshots(hub: Hub, tmp_path: Path) -> None:
    repository = hub.create("org/model")
    first = repository.commit(FILES)
    folder = fill(hub, tmp_path)
    result = verify(folder, "--formats", "safe")
    assert (result.status, "formats: no file that may run code" in result.stderr) == (0, True), result.stderr
    canary = tmp_path / "canary"
    second = repository.commit({"model.bin": made.torch_zip(made.harmful(canary)), "m.py": b"import os"})
    fill(hub, tmp_path)
    result = verify(folder, "--formats", "safe")
    assert result.status == 65, result.stderr
    assert "2 files may run code" in result.last_line
    assert f"{second}/m.py is source" in result.last_line
    assert f"{second}/model.bin has model/data.pkl" in result.last_line
    result = verify(folder / "snapshots" / second, "--formats", "safe")
    assert (result.status, ": m.py is source" in result.last_line) == (65, True), result.stderr
    assert verify(folder, "--formats", "safe", "--revision", first).status == 0
    assert not canary.exists()


def test_a_link_that_leads_elsewhere_is_damage_and_is_not_followed(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    commit = hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    folder = fill(hub, tmp_path)
    shutil.copytree(tmp_path / "signed", tmp_path / "same")
    link = folder / "snapshots" / commit / "config.json"
    link.unlink()
    link.symlink_to(tmp_path / "same/config.json")
    result = verify(folder, "--signer-key", owner.trusted)
    assert (result.status, "config.json: leads to" in result.stdout) == (65, True), result.stderr
