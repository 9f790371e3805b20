"""The image with the extras: it verifies signatures and writes bills of materials, where the other one refuses to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.command import model
from tests.image.container import OPERATOR, STRANGER, Containers, volume
from tests.servers.blobs import Noise
from tests.signing.keyless import Sigstore
from tests.signing.signers import CertificateOwner, KeyOwner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.command import Result
    from tests.servers.hub import Hub

FILES = {"config.json": b"{}", "model.safetensors": Noise(5_000_000, seed=8).bytes()}
TRUSTED = "/etc/test/trusted"
TARGET = "/cache/model"
USERS = pytest.mark.parametrize("user", [OPERATOR, STRANGER], ids=["operator", "stranger"])


@pytest.fixture
def image(full: str) -> str:
    """The image with the extras, which `containers` starts here."""
    return full


@dataclass(frozen=True)
class Signed:
    """A model on the Hub with its signature, and what a pod needs to verify it."""

    files: Mapping[str, bytes]
    trusted: Path
    extra: Mapping[str, str]


def by_key(folder: Path) -> Signed:
    owner = KeyOwner(folder / "keys")
    return Signed(owner.publish(folder / "signed", FILES), owner.trusted, {"AIM_SIGNER_KEY": TRUSTED})


def by_certificate(folder: Path) -> Signed:
    owner = CertificateOwner(folder / "ca")
    extra = {"AIM_SIGNER_CA": TRUSTED, "AIM_SIGNER_IDENTITY": "models@example.org"}
    return Signed(owner.publish(folder / "signed", FILES), owner.trusted, extra)


def keyless(folder: Path) -> Signed:
    owner = Sigstore(folder / "sigstore")
    extra = {
        "AIM_SIGNER_IDENTITY": owner.identity,
        "AIM_SIGNER_ISSUER": owner.issuer,
        "AIM_SIGNER_TRUST_ROOT": TRUSTED,
    }
    return Signed(owner.publish(folder / "signed", FILES), owner.trusted_root, extra)


SIGNERS = pytest.mark.parametrize("make", [by_key, by_certificate, keyless])


class Pods:
    """Downloads a signed model into one volume, as this or that user."""

    def __init__(self, containers: Containers, hub: Hub, folder: Path, signed: Signed, user: str = OPERATOR) -> None:
        hub.create("org/model").commit(signed.files)
        self.volume = volume(folder / "volume", user)
        self._containers = containers
        self._hub = hub
        self._signed = signed
        self._user = user

    def run(self, *arguments: str, **extra: str) -> Result:
        environment = {"HF_ENDPOINT": self._hub.endpoint, "TARGET_DIR": TARGET, **self._signed.extra, **extra}
        mounts = {self.volume: "/cache", self._signed.trusted: f"{TRUSTED}:ro"}
        arguments = arguments or ("hf://org/model",)
        return self._containers.run(*arguments, user=self._user, environment=environment, mounts=mounts)


@USERS
@SIGNERS
def test_a_signed_model_is_published_and_verified_later_without_a_network(
    make: Callable[[Path], Signed], user: str, containers: Containers, hub: Hub, tmp_path: Path
) -> None:
    pods = Pods(containers, hub, tmp_path, make(tmp_path), user)
    result = pods.run()
    assert result.status == 0, result.stderr
    assert "signature: 2 files are what" in result.stderr
    assert model(pods.volume / "model").items() >= FILES.items()
    hub.close()
    verified = pods.run("verify", TARGET)
    assert (verified.status, "signature: 2 files" in verified.stderr) == (0, True), verified.stderr


@SIGNERS
def test_a_model_of_another_signer_is_not_published(
    make: Callable[[Path], Signed], containers: Containers, hub: Hub, tmp_path: Path
) -> None:
    expected, found = make(tmp_path / "expected"), make(tmp_path / "found")
    pods = Pods(containers, hub, tmp_path, Signed(found.files, expected.trusted, expected.extra))
    result = pods.run()
    assert result.status == 65, result.stderr
    assert "model.sig is not signed by" in result.stderr
    assert not (pods.volume / "model/.artifact.sha256").exists()


@USERS
def test_a_bill_of_materials_names_files_and_signer(
    user: str, containers: Containers, hub: Hub, tmp_path: Path
) -> None:
    pods = Pods(containers, hub, tmp_path, by_key(tmp_path), user)
    result = pods.run(AIM_BOM="/cache/bom.json")
    assert (result.status, "warning" in result.stderr) == (0, False), result.stderr
    text = (pods.volume / "bom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    component = json.loads(text)["metadata"]["component"]
    assert {file["name"] for file in component["components"]} == {*FILES, "model.sig"}
    assert "artifact-downloader:signer" in {item["name"] for item in component["properties"]}


@pytest.mark.parametrize("extra", [{"AIM_SIGNER_KEY": TRUSTED}, {"AIM_BOM": "/cache/bom.json"}], ids=["key", "bom"])
def test_the_image_without_the_extras_says_at_once_which_one_has_them(
    extra: Mapping[str, str], plain: Containers, hub: Hub, tmp_path: Path
) -> None:
    signed = by_key(tmp_path)
    pods = Pods(plain, hub, tmp_path, Signed(signed.files, signed.trusted, {}))
    result = pods.run(**extra)
    assert result.status == 78, result.stderr
    assert "-full" in result.last_line
    assert not (pods.volume / "model").exists()
