"""`--verify-signature`: nothing is published that the expected signer has not signed, from whatever source it comes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ObjectIdentifier, UnrecognizedExtension
from cryptography.x509.oid import ExtendedKeyUsageOID

from downloader.errors import Category
from downloader.signing import TrustedSigner
from tests.adapters.jobs import FILES as ADAPTER
from tests.adapters.jobs import AdapterJobs
from tests.command import PEOPLE, Result, environment, model, run
from tests.contract.operator_log import BOTH_STATES, filed
from tests.contract.test_kserve import packed
from tests.servers.faults import FOREVER, Stall
from tests.servers.published import Place, in_a_bucket, in_a_web_folder, on_the_hub
from tests.signing.keyless import MINUTE, Sigstore
from tests.signing.signers import DAY, NOW, CertificateOwner, KeyOwner, pem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub

FILES = {
    "README.md": b"# Llama",
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"s" * 70_000,
    "sub/tokenizer.json": b"t" * 5000,
}
MARK = ".artifact.sha256"


def download(hub: Hub, tmp_path: Path, *options: str | Path, **extra: str) -> Result:
    return run("download", "hf://org/model", tmp_path / "out", *options, extra={"HF_ENDPOINT": hub.endpoint, **extra})


def is_published(tmp_path: Path) -> bool:
    return (tmp_path / "out" / MARK).exists()


def refused(result: Result, tmp_path: Path) -> str:
    """Return the last line of a run that a signature has ended; the operator files it under no category."""
    assert result.status == 65, result.stderr
    assert not is_published(tmp_path)
    for newest in BOTH_STATES:
        assert filed(result.stderr, newest=newest) is Category.OTHER
    return result.last_line


@pytest.mark.parametrize("scheme", ["hf", "s3", "https"])
def test_a_signed_model_is_published_and_verified_later_from_every_source(
    scheme: str, owner: KeyOwner, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    files = owner.publish(tmp_path / "signed", FILES)
    place = placed(scheme, files, request)
    target = tmp_path / "out"
    result = run("download", place.uri, target, "--signer-key", owner.trusted, extra=place.extra)
    assert result.status == 0, result.stderr
    assert "signature: 4 files are what the key" in result.stderr
    assert {path: data for path, data in model(target).items() if path != "SHA256SUMS"} == files
    again = run("download", place.uri, target, "--signer-key", owner.trusted, extra=place.extra)
    assert again.status == 0, again.stderr
    assert "signature: 4 files" in again.stderr
    verified = run("verify", target, "--signer-key", owner.trusted, extra=PEOPLE)
    assert (verified.status, "signature: 4 files" in verified.stderr) == (0, True), verified.stderr


def placed(scheme: str, files: Mapping[str, bytes], request: pytest.FixtureRequest) -> Place:
    """Publish the files behind a scheme."""
    if scheme == "hf":
        return on_the_hub(request.getfixturevalue("hub"), files)
    if scheme == "s3":
        return in_a_bucket(request.getfixturevalue("s3"), f"signed-{uuid4().hex}", files)
    web, root, authority = map(request.getfixturevalue, ("web", "web_root", "authority"))
    return in_a_web_folder(web, root / uuid4().hex, files, str(authority.bundle))


def test_a_folder_that_a_run_has_filled_is_signed_in_place_and_goes_on_from_there(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    """The mark of the run is signed with the files; wherever they go, it is not among them."""
    repository = hub.create("org/model")
    repository.commit(FILES)
    assert download(hub, tmp_path).status == 0
    signature = owner.sign(tmp_path / "out")
    (tmp_path / "out/model.sig").write_bytes(signature)
    verified = run("verify", tmp_path / "out", "--signer-key", owner.trusted, extra=PEOPLE)
    assert (verified.status, "signature: 4 files" in verified.stderr) == (0, True), verified.stderr
    repository.commit({"model.sig": signature})
    result = run(
        *("download", "hf://org/model", tmp_path / "next", "--signer-key", owner.trusted),
        extra={"HF_ENDPOINT": hub.endpoint},
    )
    assert result.status == 0, result.stderr
    (tmp_path / "out/config.json").write_bytes(b"{}")
    assert run("verify", tmp_path / "out", "--signer-key", owner.trusted, extra=PEOPLE).status == 65


CHANGES: dict[str, tuple[dict[str, bytes | None], str]] = {
    "another content": ({"config.json": b"{}"}, "other content: config.json"),
    "a file that is gone": ({"sub/tokenizer.json": None}, "missing: sub/tokenizer.json"),
    "a file that was added": ({"sub/modeling.py": b"import os"}, "not signed: sub/modeling.py"),
    "two files that changed places": (
        {"config.json": FILES["README.md"], "README.md": FILES["config.json"]},
        "other content: README.md, config.json",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_it_was_signed_is_not_published(change: str, hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    changed, words = CHANGES[change]
    files: dict[str, bytes | None] = {**owner.publish(tmp_path / "signed", FILES), **changed}
    hub.create("org/model").commit({path: data for path, data in files.items() if data is not None})
    line = refused(download(hub, tmp_path, "--signer-key", owner.trusted), tmp_path)
    assert words in line
    assert "not what the key" in line


BEFORE: dict[str, dict[str, bytes | None]] = {
    "another content, by the digest that the listing publishes": {"model.safetensors": b"r" * 70_000},
    "a file that is gone": {"sub/tokenizer.json": None},
    "a file that was added": {"sub/modeling.py": b"import os"},
    "no signature": {"model.sig": None},
    "something else than a signature": {"model.sig": b"{}"},
}


@pytest.mark.parametrize(
    ("change", "elsewhere"),
    [*((change, False) for change in BEFORE), *((change, True) for change in BEFORE if "sign" not in change)],
)
def test_what_the_listing_shows_is_refused_before_a_byte_of_the_model_is_fetched(
    change: str,
    elsewhere: bool,  # noqa: FBT001
    hub: Hub,
    owner: KeyOwner,
    tmp_path: Path,
) -> None:
    files: dict[str, bytes | None] = {**owner.publish(tmp_path / "signed", FILES), **BEFORE[change]}
    hub.create("org/model").commit({path: data for path, data in files.items() if data is not None})
    given = (f"--verify-signature={tmp_path}/signed/model.sig",) if elsewhere else ()
    line = refused(download(hub, tmp_path, "--signer-key", owner.trusted, *given), tmp_path)
    assert "sign" in line
    asked = [record for route in ("cdn", "resolve") for record in hub.log.records(route)]
    assert all("model.sig" in record.request.path for record in asked), asked
    assert not model(tmp_path / "out")


def test_a_signature_on_the_volume_is_not_fetched_again(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    assert download(hub, tmp_path, "--signer-key", owner.trusted).status == 0
    (tmp_path / "out/config.json").unlink()
    before = len(hub.log.records())
    assert download(hub, tmp_path, "--signer-key", owner.trusted).status == 0
    assert not [record for record in hub.log.records()[before:] if "model.sig" in record.request.path]


def test_nothing_that_verifies_is_imported_where_bytes_arrive(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    result = download(hub, tmp_path, "--signer-key", owner.trusted, PYTHONPROFILEIMPORTTIME="1")
    assert result.status == 0, result.stderr
    assert "downloader.signing" in result.stderr
    assert "model_signing" not in result.stderr


def test_nothing_is_imported_that_this_signer_does_not_need(owner: KeyOwner, tmp_path: Path) -> None:
    """The libraries for certificates, for Sigstore's services and for keys in the cloud are most of what there is."""
    signature = owner.publish(tmp_path / "signed", FILES)["model.sig"]
    task = pickle.dumps(TrustedSigner(key=owner.trusted)) + pickle.dumps((signature, "model.sig"))
    command = [sys.executable, "-P", "-X", "importtime", "-m", "downloader.signing.child"]
    done = subprocess.run(command, input=task, capture_output=True, timeout=120, check=True)
    assert json.loads(done.stdout)["files"].keys() == FILES.keys()
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert {"model_signing.verifying", "cryptography.hazmat.primitives.serialization"} <= imported
    unused = ("boto3", "sigstore.", "requests", "OpenSSL", "cryptography.x509", "downloader.volume")
    assert sorted(name for name in imported if name.startswith(unused)) == []


def test_a_summary_of_the_run_may_not_lie_among_signed_files(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    """It is not signed, so that the next run would refuse it."""
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    signer = ("--signer-key", owner.trusted)
    inside = tmp_path / "out" / "report.json"
    (tmp_path / "out" / ".cache").mkdir(parents=True)
    elsewhere = ("--report", tmp_path / "out" / ".cache" / "report.json", "--metrics-file", tmp_path / "out.prom")
    assert download(hub, tmp_path, *signer, *elsewhere).status == 0
    result = download(hub, tmp_path, *signer, "--report", inside)
    assert result.status == 78, result.stderr
    assert f"{inside} would be in the artifact, where every file has to be signed" in result.last_line
    assert f"such as to {tmp_path}/out.report.json" in result.last_line
    assert not inside.exists()
    assert (tmp_path / "out" / ".cache" / "report.json").exists()
    assert run("verify", tmp_path / "out", *signer).status == 0
    filtered = ("--include", "*.safetensors", "--report", inside)
    assert download(hub, tmp_path, *signer, *filtered).status == 0
    assert inside.exists()


def test_a_private_key_in_place_of_the_public_one_is_told_how_to_make_that(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    private = tmp_path / "private.pem"
    private.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    result = download(hub, tmp_path, "--signer-key", private)
    assert result.status == 78, result.stderr
    assert f"the signer's {private} is not a public key" in result.last_line
    assert result.last_line.endswith("(`openssl ec -in PRIVATE -pubout` writes that of a private key)")


def test_another_signer_ends_the_run_while_the_model_is_on_its_way(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    """What is listed fits the signature, so that only the signature itself can tell: the bytes need not wait for it."""
    other = KeyOwner(tmp_path / "other")
    hub.create("org/model").commit(other.publish(tmp_path / "signed", FILES))
    hub.faults.add(Stall(), route="cdn", times=FOREVER)
    hub.faults.add(Stall(), route="resolve", times=FOREVER, skip=1)
    given = f"--verify-signature={tmp_path}/signed/model.sig"
    line = refused(download(hub, tmp_path, "--signer-key", owner.trusted, given, STALL_TIMEOUT="100"), tmp_path)
    assert "not signed by the key" in line


@pytest.mark.parametrize("broken", ["no process", "a process that dies"])
def test_a_signature_is_verified_here_where_no_other_process_can(
    broken: str, hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    script = tmp_path / "run.py"
    executable = "/nonexistent" if broken == "no process" else "/bin/false"
    script.write_text(f"import sys; sys.executable = {executable!r}\nfrom downloader.__main__ import main\nmain()\n")
    command = [sys.executable, script, "download", "hf://org/model", tmp_path / "out", "--signer-key", owner.trusted]
    done = subprocess.run(
        [*map(str, command), "--protocol", "HTTP"],
        env=environment({"HF_ENDPOINT": hub.endpoint}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "signature: 4 files" in done.stderr


def test_the_signature_of_another_key_says_who_was_expected_and_who_has_signed(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    other = KeyOwner(tmp_path / "other")
    hub.create("org/model").commit(other.publish(tmp_path / "signed", FILES))
    line = refused(download(hub, tmp_path, "--signer-key", owner.trusted), tmp_path)
    signed = json.loads((tmp_path / "signed/model.sig").read_bytes())
    assert f"not signed by the key {owner.trusted}" in line
    assert f"from the key {signed['verificationMaterial']['publicKey']['hint']}" in line


def test_an_artifact_without_a_signature_is_not_published(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    line = refused(download(hub, tmp_path, "--signer-key", owner.trusted), tmp_path)
    assert "the artifact has no signature: model.sig or *.sig.json (name the signature:" in line


NO_SIGNATURES = [b"", b"{}", b"[1, 2]", b"\xff\x00", b"[" * 100_000, b'{"verificationMaterial": 1}']


@pytest.mark.parametrize("content", NO_SIGNATURES)
def test_what_is_no_signature_is_refused_in_one_line(content: bytes, hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit({**FILES, "model.sig": content})
    assert "model.sig is not a signature" in refused(download(hub, tmp_path, "--signer-key", owner.trusted), tmp_path)


def test_a_statement_that_was_changed_is_not_the_signers(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    files = {**FILES, "config.json": b"{}"}
    bundle = json.loads(owner.publish(tmp_path / "signed", FILES)["model.sig"])
    other = json.loads(KeyOwner(tmp_path / "other").publish(tmp_path / "changed", files)["model.sig"])
    bundle["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    hub.create("org/model").commit({**files, "model.sig": json.dumps(bundle).encode()})
    assert "is not signed by" in refused(download(hub, tmp_path, "--signer-key", owner.trusted), tmp_path)


def test_only_the_selected_files_are_judged_and_the_signature_is_always_one_of_them(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    files = owner.publish(tmp_path / "signed", FILES)
    hub.create("org/model").commit({**files, "sub/tokenizer.json": b"changed", "added.bin": b"a"})
    chosen = ("--include", "*.json", "--include", "*.safetensors", "--exclude", "sub/")
    result = download(hub, tmp_path, "--verify-signature", "--signer-key", owner.trusted, *chosen)
    assert result.status == 0, result.stderr
    assert sorted(model(tmp_path / "out")) == ["config.json", "model.safetensors", "model.sig"]
    assert "signature: 2 files" in result.stderr
    verified = run("verify", tmp_path / "out", "--signer-key", owner.trusted, *chosen, extra=PEOPLE)
    assert verified.status == 0, verified.stderr


def test_what_the_signer_has_left_out_may_be_there(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    files = owner.publish(tmp_path / "signed", FILES, ignored=["README.md", "sub"])
    changed = {"README.md": b"# changed", "sub/more.json": b"{}", ".gitattributes": b"*.bin lfs"}
    hub.create("org/model").commit({**files, **changed})
    result = download(hub, tmp_path, "--signer-key", owner.trusted)
    assert result.status == 0, result.stderr
    assert "signature: 2 files" in result.stderr


def test_a_signature_that_leaves_out_all_that_was_selected_proves_nothing(
    hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES, ignored=["README.md"]))
    line = refused(download(hub, tmp_path, "--signer-key", owner.trusted, "--include", "README.md"), tmp_path)
    assert "none of them is listed there" in line


def test_a_warning_publishes_and_says_what_require_would(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit({**owner.publish(tmp_path / "signed", FILES), "config.json": b"{}"})
    result = download(hub, tmp_path, AIM_SIGNATURE="warn", AIM_SIGNER_KEY=str(owner.trusted))
    assert result.status == 0, result.stderr
    assert "signature: these files are not what the key" in result.stderr
    assert is_published(tmp_path)
    for newest in BOTH_STATES:
        assert filed(result.stderr, newest=newest) is Category.OTHER


def test_a_model_that_an_earlier_run_has_published_is_judged_as_well(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit({**owner.publish(tmp_path / "signed", FILES), "config.json": b"{}"})
    assert download(hub, tmp_path).status == 0
    result = download(hub, tmp_path, "--signer-key", owner.trusted)
    assert (result.status, "other content: config.json" in result.last_line) == (65, True)


def test_verify_finds_a_file_that_was_added_to_a_signed_model(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    assert download(hub, tmp_path, "--signer-key", owner.trusted).status == 0
    (tmp_path / "out/more.safetensors").write_bytes(b"a loader would read this")
    verified = run("verify", tmp_path / "out", "--signer-key", owner.trusted, extra=PEOPLE)
    assert verified.status == 65
    assert "not signed: more.safetensors" in verified.last_line


@pytest.mark.parametrize("where", ["file", "web", "hub"])
def test_the_signature_may_be_elsewhere(
    where: str, hub: Hub, own_web: BrokenWeb, owner: KeyOwner, tmp_path: Path
) -> None:
    signature = owner.publish(tmp_path / "signed", FILES)["model.sig"]
    hub.create("org/model").commit(FILES)
    hub.create("org/signatures").commit({"llama.sig": signature})
    places: dict[str, str | Path] = {
        "file": tmp_path / "signed/model.sig",
        "web": own_web.put("llama.sig", signature),
        "hub": "hf://org/signatures/llama.sig",
    }
    chosen = (f"--verify-signature={places[where]}", "--signer-key", owner.trusted)
    result = download(hub, tmp_path, *chosen)
    assert result.status == 0, result.stderr
    assert "signature: 4 files" in result.stderr
    assert model(tmp_path / "out") == FILES


CERTIFICATES: dict[str, tuple[dict[str, object], tuple[str, ...], str]] = {
    "any owner": ({}, (), ""),
    "the expected owner": ({}, ("--signer-identity", "models@example.org"), ""),
    "another owner": ({}, ("--signer-identity", "security@example.org"), "from models@example.org"),
    "one that has expired": ({"until": NOW - DAY}, (), "the certificate has expired on"),
    "one that is not valid yet": ({"since": NOW + DAY, "until": NOW + 2 * DAY}, (), "is not valid before"),
    "an authority in between": ({"between": NOW + DAY}, (), ""),
    "one in between that has expired": ({"between": NOW - DAY}, (), "certificate has expired"),
    "one for web servers": ({"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, (), "for other purposes than the signing"),
    "one with an unknown condition": (
        {"extension": UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")},
        (),
        "unhandled critical extension",
    ),
}


@pytest.mark.parametrize("case", CERTIFICATES)
def test_a_certificate_is_accepted_from_its_authority_and_owner_while_it_lasts(
    case: str, hub: Hub, tmp_path: Path
) -> None:
    made, options, words = CERTIFICATES[case]
    signer = CertificateOwner(tmp_path / "ca", **made)  # type: ignore[arg-type]
    hub.create("org/model").commit(signer.publish(tmp_path / "signed", FILES))
    result = download(hub, tmp_path, "--signer-ca", signer.trusted, *options)
    if words:
        assert words in refused(result, tmp_path)
    else:
        assert result.status == 0, result.stderr
        issuer = "Team CA" if made.get("between") else "Models CA"
        assert f"what models@example.org, certified by CN={issuer} has signed" in result.stderr


KEYLESS: dict[str, tuple[dict[str, str], int, str]] = {
    "the expected identity": ({}, 1, ""),
    "another identity": ({"--signer-identity": "security@example.org"}, 1, "from me@example.org"),
    "another issuer": ({"--signer-issuer": "https://other.invalid"}, 1, "https://other.invalid"),
    "one that was logged after its certificate had expired": ({}, 20, "not valid at validation time"),
    "one of another installation": ({"--signer-trust-root": "other"}, 1, "not signed by me@example.org"),
}


@pytest.mark.parametrize("case", KEYLESS)
def test_a_keyless_signature_is_verified_by_its_identity_and_a_trust_root_without_network(
    case: str, hub: Hub, tmp_path: Path
) -> None:
    changed, late, words = KEYLESS[case]
    signer, other = Sigstore(tmp_path / "sigstore"), Sigstore(tmp_path / "other")
    hub.create("org/model").commit(signer.publish(tmp_path / "signed", FILES, late=late * MINUTE))
    options: dict[str, str | Path] = {
        "--signer-identity": signer.identity,
        "--signer-issuer": signer.issuer,
        "--signer-trust-root": signer.trusted_root,
        **changed,
    }
    if "--signer-trust-root" in changed:
        options["--signer-trust-root"] = other.trusted_root
    result = download(hub, tmp_path, *(word for option in options.items() for word in option))
    if words:
        assert words in refused(result, tmp_path)
    else:
        assert result.status == 0, result.stderr
        assert "4 files are what me@example.org of https://oidc.invalid has signed" in result.stderr


def test_a_certificate_of_another_authority_is_refused(hub: Hub, tmp_path: Path) -> None:
    signer, other = CertificateOwner(tmp_path / "ca"), CertificateOwner(tmp_path / "other")
    hub.create("org/model").commit(other.publish(tmp_path / "signed", FILES))
    line = refused(download(hub, tmp_path, "--signer-ca", signer.trusted), tmp_path)
    assert "not signed by a signer certified by" in line


def test_a_second_certificate_in_a_signature_proves_nothing(hub: Hub, tmp_path: Path) -> None:
    """One that is shown beside the one that has signed: the library and we might each look at another one."""
    signer = CertificateOwner(tmp_path / "ca", identity="intern@example.org")
    wanted = CertificateOwner(tmp_path / "wanted")
    files = signer.publish(tmp_path / "signed", FILES)
    bundle = json.loads(files["model.sig"])
    shown = json.loads(wanted.publish(tmp_path / "shown", FILES)["model.sig"])["verificationMaterial"]
    material = bundle["verificationMaterial"]
    material["certificate"] = shown["x509CertificateChain"]["certificates"][0]
    hub.create("org/model").commit({**files, "model.sig": json.dumps(bundle).encode()})
    chosen = ("--signer-ca", signer.trusted, "--signer-identity", "models@example.org")
    refused(download(hub, tmp_path, *chosen), tmp_path)


WRONG: dict[str, tuple[Callable[[Path], tuple[str | Path, ...]], int, str]] = {
    "no signer": (lambda _: ("--verify-signature",), 78, "nothing says whose"),
    "two signers": (lambda keys: ("--signer-key", keys, "--signer-ca", keys), 78, "more than one kind of signer"),
    "an identity alone": (lambda _: ("--signer-identity", "a@b.org"), 78, "without its issuer or a trust root"),
    "a key that is not there": (lambda keys: ("--signer-key", f"{keys}.no"), 78, "cannot be read"),
    "a file that is not a key": (lambda keys: ("--signer-key", keys.with_name("text")), 78, "is not a public key"),
    "a folder": (
        lambda keys: ("--signer-key", keys, "--verify-signature", keys.parent),
        64,
        "write --verify-signature after the folder",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_signer_that_cannot_be_used_is_told_before_anything_is_fetched(
    case: str, hub: Hub, owner: KeyOwner, tmp_path: Path
) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    owner.trusted.with_name("text").write_text("not a key")
    options, status, words = WRONG[case]
    result = download(hub, tmp_path, *options(owner.trusted))
    assert (result.status, words in result.last_line) == (status, True), result.stderr


def test_without_the_extra_the_line_says_what_to_install(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit(owner.publish(tmp_path / "signed", FILES))
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'model_signing' else find(name, *more)\n"
    )
    result = download(hub, tmp_path, "--signer-key", owner.trusted, PYTHONPATH=str(tmp_path / "hidden"))
    assert result.status == 78, result.stderr
    assert "pip install 'artifact-downloader[signing]'" in result.last_line
    assert not hub.log.records("tree")


def test_verify_fetches_no_signature(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    assert download(hub, tmp_path).status == 0
    chosen = ("--signer-key", owner.trusted, "--verify-signature=https://localhost/model.sig")
    result = run("verify", tmp_path / "out", *chosen, extra=PEOPLE)
    assert (result.status, "verify uses no network" in result.last_line) == (64, True), result.stderr


def test_a_cache_of_the_hub_gets_no_snapshot_of_what_is_not_signed(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    repository = hub.create("org/model")
    right = repository.commit(owner.publish(tmp_path / "signed", FILES))
    extra = {**PEOPLE, "HF_ENDPOINT": hub.endpoint}
    command = ("download", "hf://org/model", "--hub-cache", tmp_path / "cache", "--signer-key", owner.trusted)
    for _ in range(2):
        result = run(*command, extra=extra)
        assert (result.status, "signature: 4 files" in result.stderr) == (0, True), result.stderr
    repository.commit({"config.json": b"{}"})
    result = run(*command, extra=extra)
    assert (result.status, "other content: config.json" in result.last_line) == (65, True), result.stderr
    folder = tmp_path / "cache/models--org--model"
    assert [path.name for path in (folder / "snapshots").iterdir()] == [right]
    assert (folder / "refs/main").read_text() == right


@pytest.mark.parametrize("changed", [False, True])
def test_kserve_gets_only_an_archive_with_signed_contents(
    changed: bool,  # noqa: FBT001
    own_web: BrokenWeb,
    owner: KeyOwner,
    tmp_path: Path,
) -> None:
    files = owner.publish(tmp_path / "signed", FILES)
    if changed:
        files["config.json"] = b"{}"
    url = own_web.put("model.tar.gz", packed(files))
    extra = {"AIM_SIGNER_KEY": str(owner.trusted)}
    result = run("kserve", url, tmp_path / "out", extra=extra)
    if changed:
        assert "other content: config.json" in refused(result, tmp_path)
        return
    assert result.status == 0, result.stderr
    assert model(tmp_path / "out") == files
    again = run("kserve", url, tmp_path / "out", extra=extra)
    assert (again.status, "signature: 4 files" in again.stderr) == (0, True), again.stderr


def test_an_adapter_that_is_not_signed_does_not_go_live(hub: Hub, owner: KeyOwner, tmp_path: Path) -> None:
    jobs = AdapterJobs(tmp_path / "pod")
    jobs.extra = {"HF_ENDPOINT": hub.endpoint, "AIM_SIGNER_KEY": str(owner.trusted)}
    repository = hub.create("org/lora")
    repository.commit({**owner.publish(tmp_path / "signed", ADAPTER), "added.bin": b"a"})
    result = jobs.stage("hf://org/lora")
    assert (result.status, "not signed: added.bin" in result.stderr) == (65, True), result.stderr
    assert not [path for path in jobs.disk.rglob("*") if path.name == "lora"]
    repository.commit({"added.bin": None})
    signed = jobs.stage("hf://org/lora")
    assert (signed.status, "signature: 4 files" in signed.stderr) == (0, True), signed.stderr
    assert [path for path in jobs.disk.rglob("*") if path.name == "lora"]
