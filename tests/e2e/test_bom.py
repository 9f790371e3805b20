"""`--bom FILE`: a bill of materials in CycloneDX, as its library reads it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import uuid4

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from downloader.redaction import Redactor
from downloader.reporters.bom import write_bom
from downloader.reporters.run_report import RunReport
from tests.command import PEOPLE, Result, run
from tests.servers.faults import Answer
from tests.servers.s3 import fill_bucket
from tests.signing.signers import KeyOwner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

FILES = {"config.json": b"{}", "sub/model.safetensors": b"s" * 5000}
CARD = {"license": "apache-2.0", "base_model": ["org/base", "org/other"], "tags": [1, {}]}


def download(hub: Hub, tmp_path: Path, *options: str | Path, **extra: str) -> Result:
    target = tmp_path / "out"
    return run("download", "hf://org/model", target, *options, extra={**PEOPLE, "HF_ENDPOINT": hub.endpoint, **extra})


def read(path: Path) -> dict[str, Any]:
    """Return the component of a bill, which must be as the schema says."""
    text = path.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found: dict[str, Any] = json.loads(text)
    assert found["specVersion"] == "1.6"
    assert "artifact-downloader" in {tool["name"] for tool in found["metadata"]["tools"]["components"]}
    component: dict[str, Any] = found["metadata"]["component"]
    return component


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {item["name"].partition(":")[2]: item["value"] for item in component["properties"]}


def test_a_bill_says_what_the_model_is_where_it_is_from_and_who_has_signed_it(hub: Hub, tmp_path: Path) -> None:
    owner = KeyOwner(tmp_path / "keys")
    repository = hub.create("org/model")
    repository.card = CARD
    sha = repository.commit(owner.publish(tmp_path / "signed", FILES))
    chosen = ("--bom", tmp_path / "bom.json", "--report", tmp_path / "report.json", "--signer-key", owner.trusted)
    for _ in range(2):  # the second run replaces the bill of the first
        result = download(hub, tmp_path, *chosen)
        assert (result.status, "warning" in result.stderr) == (0, False), result.stderr
    model = read(tmp_path / "bom.json")
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "hf://org/model", sha)
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert [base["name"] for base in model["pedigree"]["ancestors"]] == ["org/base", "org/other"]
    assert model["externalReferences"] == [{"type": "distribution", "url": "hf://org/model"}]
    hashes = {file["name"]: file["hashes"][0]["content"] for file in model["components"]}
    assert {path: hashes[path] for path in FILES} == {
        path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()
    }
    report = json.loads((tmp_path / "report.json").read_text())
    assert properties(model)["signer"] == report["signer"]
    assert report["signer"].endswith("(release.pub)")
    assert properties(model)["digest"] == report["digest"]
    assert report["card"] == {"licence": "apache-2.0", "base_models": ["org/base", "org/other"]}


def test_the_card_is_asked_for_only_if_a_bill_is_wanted(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    assert download(hub, tmp_path, "--report", tmp_path / "report.json").status == 0
    assert not [one for one in hub.log.records("api") if "cardData" in str(one)]
    assert json.loads((tmp_path / "report.json").read_text())["card"] is None
    assert download(hub, tmp_path, "--bom", tmp_path / "bom.json").status == 0
    assert [one for one in hub.log.records("api") if "cardData" in str(one)]


CARDS = [{}, {"license": 3, "base_model": {"a": 1}}, {"license": "llama3.1", "base_model": "org/base"}]


@pytest.mark.parametrize("card", CARDS)
def test_whatever_the_card_says_the_bill_is_valid(card: dict[str, object], hub: Hub, tmp_path: Path) -> None:
    repository = hub.create("org/model")
    repository.card = card
    repository.commit(FILES)
    assert download(hub, tmp_path, "--bom", tmp_path / "bom.json").status == 0
    model = read(tmp_path / "bom.json")
    assert ("licenses" in model, "pedigree" in model) == ("llama3.1" in card.values(),) * 2


def test_each_file_has_the_place_that_it_came_from_where_there_are_several(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    near = tmp_path / "near"
    (near / "sub").mkdir(parents=True)
    (near / "sub/model.safetensors").write_bytes(FILES["sub/model.safetensors"])
    chosen = ("--bom", tmp_path / "bom.json", "--mirror", f"file://{near}", "--mirror-first")
    result = download(hub, tmp_path, *chosen)
    assert result.status == 0, result.stderr
    places = {file["name"]: properties(file).get("place") for file in read(tmp_path / "bom.json")["components"]}
    assert places == {"config.json": "hf://org/model", "sub/model.safetensors": f"file://{near}"}


AWKWARD = ["100%/a b", "50%41#1#2", "[x]{y}|z^`\\", "\N{SNOWMAN}'\"<>&;", "?a=%zz"]
"""Names that cannot stand in an IRI as they are."""


@pytest.mark.parametrize("name", AWKWARD)
def test_whatever_the_uri_is_the_bill_is_valid(name: str, s3: S3Server, tmp_path: Path) -> None:
    bucket = f"bom-{uuid4().hex}"
    fill_bucket(s3.client(), bucket, {f"{name}/{path}": data for path, data in FILES.items()})
    uri, extra = f"s3://{bucket}/{name}", {**PEOPLE, **s3.environment()}
    result = run("download", uri, tmp_path / "out", "--bom", tmp_path / "bom.json", extra=extra)
    assert (result.status, "warning" in result.stderr) == (0, False), result.stderr
    component = read(tmp_path / "bom.json")
    (reference,) = component["externalReferences"]
    assert uri.startswith(component["name"])
    assert unquote(reference["url"]) == unquote(component["name"])


def test_an_address_in_brackets_is_the_name_of_the_model_alone(tmp_path: Path) -> None:
    bill = tmp_path / "bom.json"
    write_bom(RunReport(started=0.0, seconds=1.0, uri="http://[::1]:8080/model.gguf?x[]=1"), bill, Redactor())
    assert "externalReferences" not in read(bill)
    write_bom(RunReport(started=0.0, seconds=1.0, uri="http://localhost/model.gguf?x[]=1"), bill, Redactor())
    assert read(bill)["externalReferences"][0]["url"] == "http://localhost/model.gguf?x%5B%5D=1"


def test_nothing_of_the_grammar_of_iris_is_imported(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    result = download(hub, tmp_path, "--bom", tmp_path / "bom.json", PYTHONPROFILEIMPORTTIME="1")
    assert result.status == 0, result.stderr
    assert "cyclonedx.output.json" in result.stderr
    assert "rfc3987" not in result.stderr
    assert "jsonschema" not in result.stderr


def test_a_web_server_has_no_card(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.gguf", b"GGUF" + b"q" * 2000)
    result = run("download", url, tmp_path / "out", "--bom", tmp_path / "bom.json", extra=PEOPLE)
    assert result.status == 0, result.stderr
    assert [file["name"] for file in read(tmp_path / "bom.json")["components"]] == ["model.gguf"]


def test_a_card_that_cannot_be_had_is_a_warning(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    assert download(hub, tmp_path).status == 0
    hub.faults.add(Answer(404), route="api", skip=1, times=99)
    result = download(hub, tmp_path, "--bom", tmp_path / "bom.json")
    assert result.status == 0, result.stderr
    assert "the bill of materials lacks licence and base model" in result.stderr
    assert read(tmp_path / "bom.json")["name"] == "hf://org/model"


def test_a_run_that_fails_leaves_no_bill_and_another_file_stays(hub: Hub, tmp_path: Path) -> None:
    other = tmp_path / "bom.json"
    other.write_text("mine")
    assert download(hub, tmp_path, "--bom", tmp_path / "new.json").status == 66
    assert not (tmp_path / "new.json").exists()
    hub.create("org/model").commit(FILES)
    result = download(hub, tmp_path, "--bom", other)
    assert (result.status, other.read_text()) == (0, "mine")
    assert "the bill of materials" in result.stderr
