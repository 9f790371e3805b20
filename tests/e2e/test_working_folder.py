"""A run in the folder of a model: what lies there may bear the name of any module, and is never imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import environment, model
from tests.servers.blobs import Noise
from tests.signing.signers import KeyOwner

if TYPE_CHECKING:
    from tests.servers.hub import Hub

COMMAND = Path(sys.executable).with_name("artifact-downloader")
"""As it is installed: `python -m` would import from the folder by itself."""
FILES = {"config.json": b"{}", "model.safetensors": Noise(3 << 20, seed=5).bytes()}


@pytest.mark.parametrize(
    "options",
    [
        ("--protocol", "XET"),
        ("--protocol", "HTTP", "--processes", "2"),
        ("--protocol", "HTTP", "--signer-key", "{key}"),
    ],
    ids=["Xet", "several processes", "a signature"],
)
def test_no_module_of_the_working_folder_is_imported(options: tuple[str, ...], hub: Hub, tmp_path: Path) -> None:
    owner = KeyOwner(tmp_path / "keys")
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    folder, canary = tmp_path / "model", tmp_path / "canary"
    for name in {*sys.stdlib_module_names, "downloader", "hf_xet", "model_signing", "cryptography"}:
        package = folder / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"open({str(canary)!r}, 'a').write({name!r})\n")
    chosen = [option.format(key=owner.trusted) for option in options]
    done = subprocess.run(
        [COMMAND, "download", "hf://org/model", str(tmp_path / "out"), *chosen],
        env=environment({"HF_ENDPOINT": hub.endpoint, "AIM_LOG_LEVEL": "debug"}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not canary.exists(), canary.read_text()
    assert done.returncode == 0, done.stderr
    assert model(tmp_path / "out").items() >= FILES.items()
