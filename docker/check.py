#!/usr/bin/env python3
"""Proves that the environment which runs it holds all that we import, after `slim.py` has been there.

With `--extras`, also what verifies signatures and writes bills of materials.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import botocore.session

import downloader

AWS = ("s3", "signin", "sso", "sso-oidc", "sts")
"""S3, and every service that a credential provider of botocore makes a client for."""
EXTRAS = ("downloader.signing.certificates", "downloader.signing.library", "downloader.reporters.bom")
"""Modules whose libraries the image without extras lacks: `tests/architecture/test_extras.py` proves the list."""
CHECK_VALUE = 0xAE8B14860A799888
"""What CRC-64/NVME makes of the digits from 1 to 9."""
STATUS = {"status": {"progress": {"percentage": 99}}}


def check_command() -> None:
    """Run the command as it is installed."""
    command = Path(sysconfig.get_path("scripts")) / "artifact-downloader"
    subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL)


def check_modules(*, extras: bool) -> None:
    """Import every module of ours; `__main__` was run as the command."""
    for module in pkgutil.walk_packages(downloader.__path__, "downloader."):
        if not module.name.endswith("__main__") and (extras or module.name not in EXTRAS):
            importlib.import_module(module.name)


def check_libraries() -> None:
    """Import what is otherwise imported by a few runs only, and let it do something."""
    crc64nvme = importlib.import_module("awscrt.checksums").crc64nvme
    if crc64nvme(b"123456789") != CHECK_VALUE:
        raise SystemExit("awscrt computes a wrong CRC-64/NVME")
    importlib.import_module("hf_xet").XetSession  # noqa: B018 - the name is what must be there
    importlib.import_module("huggingface_hub.hf_api").HfApi(endpoint="http://localhost")


def check_aws() -> None:
    """Make clients, sign a URL, and build the chain of credential providers."""
    session = botocore.session.get_session()
    session.set_credentials("key", "secret")
    clients: dict[str, Any] = {service: session.create_client(service, region_name="us-east-1") for service in AWS}
    clients["s3"].generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"})
    clients["s3"].get_paginator("list_objects_v2")
    botocore.session.get_session().get_component("credential_provider")


def check_kubernetes() -> None:
    """Make the client that patches the status, and let it read an answer and a refusal."""
    client = importlib.import_module("kubernetes.client")
    api = client.CustomObjectsApi(client.ApiClient(client.Configuration(host="http://localhost")))
    if api.api_client.deserialize(json.dumps(STATUS), "object", "application/json") != STATUS:
        raise SystemExit("the Kubernetes client misreads an answer")
    importlib.import_module("kubernetes.client.exceptions").ApiException(status=403, reason="Forbidden")


def check_prometheus() -> None:
    """Export the metrics of a run."""
    report = importlib.import_module("downloader.reporters.run_report").RunReport(started=0.0, seconds=1.0)
    redactor = importlib.import_module("downloader.redaction").Redactor()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "check.prom")
        importlib.import_module("downloader.reporters.metrics").write_metrics(report, file, redactor)
        if b"artifact_downloader_success" not in file.read_bytes():
            raise SystemExit("the Prometheus client loses a metric")


def check_extras() -> None:
    """Trust a key, and write the bill of a run."""
    ec = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ec")
    serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    report = importlib.import_module("downloader.reporters.run_report").RunReport(started=0.0, seconds=1.0)
    redactor = importlib.import_module("downloader.redaction").Redactor()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "key.pub")
        file.write_bytes(key.public_bytes(serialization.Encoding.PEM, form))
        importlib.import_module("downloader.signing.library").by_key(file)
        bill = Path(folder, "bom.json")
        importlib.import_module("downloader.reporters.bom").write_bom(report, bill, redactor)
        if json.loads(bill.read_bytes())["specVersion"] != "1.6":
            raise SystemExit("the library of CycloneDX writes another version")


def main(arguments: list[str]) -> None:
    """Run every check; the first that fails ends it."""
    extras = arguments == ["--extras"]
    check_command()
    check_modules(extras=extras)
    check_libraries()
    check_aws()
    check_kubernetes()
    check_prometheus()
    if extras:
        check_extras()
    ours = sum(name.partition(".")[0] == "downloader" for name in sys.modules)
    sys.stdout.write(f"all {ours} modules of ours and {len(sys.modules) - ours} others can be imported\n")


if __name__ == "__main__":
    main(sys.argv[1:])
