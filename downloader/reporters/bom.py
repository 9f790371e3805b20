"""Writes a bill of materials of a downloaded artifact, in CycloneDX: what it is, where it is from, and its files.

The tests compare the bills of real runs with the schema. Here that would take a second of CPU, nearly all of it for a
grammar of IRIs.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.output.json import JsonV1Dot6

from downloader.reporters.report_file import write_whole
from downloader.reporters.run_report import FileReport, versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from downloader.artifact import ModelCard
    from downloader.redaction import Redactor
    from downloader.reporters.run_report import RunReport

OPENING: Final = b'{"$schema": "http://cyclonedx.org/schema/bom-'
"""How a bill begins: another file of its name is not replaced."""
OURS: Final = "artifact-downloader"
_ALLOWED: Final = ":/?@!$&()*+,;=-._~%[]"
_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")
"""A percent sign that encodes nothing."""
_BRACKETS: Final = re.compile(r"[^:]+://[^/?#]*\[")
"""The beginning of a URI whose host is an IPv6 address."""


def write_bom(report: RunReport, path: Path, redactor: Redactor) -> None:
    """Write the bill of a run that has succeeded. Raises OSError."""
    bom = Bom()
    bom.metadata.component = _model(report, redactor)
    bom.metadata.tools.components.update(
        Component(name=name, version=version, type=ComponentType.APPLICATION if name == OURS else ComponentType.LIBRARY)
        for name, version in versions().items()
    )
    text = JsonV1Dot6(bom).output_as_string()
    write_whole(path, OPENING, [_beginning_with_schema(text), b"\n"])


def _beginning_with_schema(text: str) -> bytes:
    """Return the bill with its schema first, by which it is known again."""
    content = json.loads(text)
    return json.dumps({"$schema": content.pop("$schema"), **content}, ensure_ascii=False).encode()


def _model(report: RunReport, redactor: Redactor) -> Component:
    uri = redactor.redact(report.uri or "")
    model = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=uri,
        version=report.revision,
        bom_ref="artifact",
        components=[_file(file, redactor) for file in report.files()],
        external_references=_references(uri),
        properties=[Property(name=f"{OURS}:{name}", value=redactor.redact(value)) for name, value in _facts(report)],
    )
    if report.card is not None:
        _describe(model, report.card)
    return model


def _references(uri: str) -> list[ExternalReference]:
    """Return where the model is distributed, as an IRI: a key of S3 may have `%` and `#` in it, as they are.

    Nothing for an IPv6 address, whose brackets the library would encode.
    """
    encoded = _PERCENT.sub("%25", quote(uri, _ALLOWED))
    if _BRACKETS.match(encoded):
        return []
    return [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(encoded))]


def _describe(model: Component, card: ModelCard) -> None:
    if card.licence:
        model.licenses.add(LicenseFactory().make_from_string(card.licence))
    if card.base_models:
        kind = ComponentType.MACHINE_LEARNING_MODEL
        model.pedigree = Pedigree(ancestors=[Component(name=name, type=kind) for name in card.base_models])


def _file(file: FileReport, redactor: Redactor) -> Component:
    name = redactor.redact(file.path)
    return Component(
        type=ComponentType.FILE,
        name=name,
        bom_ref=f"file:{name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)] if file.sha256 else [],
        properties=[
            Property(name=f"{OURS}:verified_by", value=file.verified_by),
            Property(name=f"{OURS}:bytes", value=str(file.size)),
            *([Property(name=f"{OURS}:place", value=redactor.redact(file.place))] if file.place else []),
        ],
    )


def _facts(report: RunReport) -> Iterator[tuple[str, str]]:
    yield "source", report.uri or ""
    if report.digest:
        yield "digest", report.digest
    if report.signer:
        yield "signer", report.signer
    for attempt in report.attempts:
        yield "protocol", str(attempt.protocol)
