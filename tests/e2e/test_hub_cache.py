"""`download --hub-cache`: what the real `huggingface_hub` finds there offline, and what it has left there before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.command import PEOPLE, Result, finish, run, start
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Flip, Held
from tests.servers.repository import Kind
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.hub import Hub
    from tests.servers.repository import Repository

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "same.json": b"{}",
    "model.safetensors": Noise(12 * MIB, seed=151).bytes(),
    "sub/deeper/tokenizer.json": b"t" * 5000,
}
NEXT = {
    "config.json": b'{"next": true}',
    "extra.bin": Noise(2 * MIB, seed=152).bytes(),
    "sub/deeper/tokenizer.json": b"n" * 5000,
}
LARGE = sum(len(content) for path, content in FILES.items() if path.endswith(".safetensors"))
HF = Path(sys.executable).with_name("hf")
PLAIN = {"AIM_DOWNLOADER_PROTOCOL": "HTTP"}
"""One stream for a file: what was sent is what was used."""
OURS = (".artifact.sha256", ".artifact.listings", ".downloading")
THEIRS = ("trees", ".no_exist")
READ = """
import json, sys
import huggingface_hub as library
repository, kind, files, revision = json.loads(sys.argv[1])
given = dict(repo_type=kind, revision=revision)
folder = library.snapshot_download(repository, local_files_only=True, **given)
scanned = library.scan_cache_dir()
print(json.dumps({
    "folder": folder,
    "downloaded": {path: library.hf_hub_download(repository, path, **given) for path in files},
    "tried": {path: library.try_to_load_from_cache(repository, path, **given) for path in files},
    "warnings": [str(warning) for warning in scanned.warnings],
    "incomplete": [str(file.file_path) for file in scanned.incomplete_files],
    "revisions": {
        revision.commit_hash: sorted(revision.refs) for one in scanned.repos for revision in one.revisions
    },
}))
"""


def download(hub: Hub, cache: Path, uri: str = "hf://org/model", *options: str, **more: str) -> Result:
    """Run the command, and require that it succeeds."""
    result = run("download", uri, "--hub-cache", cache, *options, extra=settings(hub, **more))
    assert result.status == 0, result.stderr
    return result


def settings(hub: Hub, **more: str) -> dict[str, str]:
    return {**PEOPLE, **PLAIN, "HF_ENDPOINT": hub.endpoint, **more}


def library(cache: Path, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program on top of the library, with this cache."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(cache.parent / "home"), "HF_HUB_CACHE": str(cache)}
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    return subprocess.run(
        list(map(str, arguments)), env={**clean, **quiet, **more}, capture_output=True, text=True, check=True
    )


def hf_download(hub: Hub, cache: Path, *arguments: str, **more: str) -> None:
    """Fill the cache with the Hub's own command."""
    library(cache, HF, "download", "org/model", *arguments, HF_ENDPOINT=hub.endpoint, **more)


def found_offline(
    cache: Path, files: Mapping[str, bytes], repository: str = "org/model", kind: str = "model", revision: str = "main"
) -> dict[str, Any]:
    """Let the library find the files of a repository without a network, and compare every byte of them."""
    asked = json.dumps([repository, kind, list(files), revision])
    answer: dict[str, Any] = json.loads(library(cache, sys.executable, "-c", READ, asked, HF_HUB_OFFLINE="1").stdout)
    for path, content in files.items():
        assert Path(answer["folder"], path).read_bytes() == content
        assert answer["downloaded"][path] == answer["tried"][path] == f"{answer['folder']}/{path}"
    assert answer["warnings"] == answer["incomplete"] == []
    return answer


def tree(folder: Path) -> dict[str, str]:
    """Return every path below a folder: a link with its text, a file with its content, and all with their modes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.partition("/")[0] in (*OURS, *THEIRS):
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            content = path.read_bytes().hex() if path.is_file() else "folder"
            found[name] = f"{stat.filemode(path.stat().st_mode)} {content}"
    return found


def sent(hub: Hub) -> int:
    """Return the bytes of files that the Hub has sent since the last call."""
    count = hub.log.sent("cdn") + hub.log.sent("xorb")
    hub.log.clear()
    return count


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("protocol", ["XET", "HTTP"])
def test_the_library_finds_a_repository_offline(hub: Hub, cache: Path, kind: Kind, protocol: str) -> None:
    commit = hub.create("org/model", kind=kind).commit(FILES)
    uri = "hf://org/model" if kind is Kind.MODEL else f"hf://{kind}s/org/model"
    download(hub, cache, uri, "--protocol", protocol, HF_HOME=str(cache.parent / "home"))
    found = found_offline(cache, FILES, kind=str(kind))
    assert found["folder"] == f"{cache}/{kind}s--org--model/snapshots/{commit}"
    assert found["revisions"] == {commit: ["main"]}


def test_an_old_model_with_a_name_of_one_part(hub: Hub, cache: Path) -> None:
    hub.create("gpt2").commit(FILES)
    download(hub, cache, "hf://gpt2")
    found_offline(cache, FILES, "gpt2")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_cache_is_what_the_hubs_own_command_makes_it(
    hub: Hub, repository: Repository, cache: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        download(hub, cache / "ours")
        (cache / "theirs").mkdir(parents=True)
        hf_download(hub, cache / "theirs", HF_HUB_DISABLE_XET="1")
    finally:
        os.umask(before)
    ours, theirs = (tree(cache / whose / "models--org--model") for whose in ("ours", "theirs"))
    assert repository.commits
    assert ours == theirs
    assert {path.name for path in (cache / "theirs").iterdir()} - {".locks"} == {
        path.name for path in (cache / "ours").iterdir()
    }
    assert len({(cache / whose / "CACHEDIR.TAG").read_text().splitlines()[0] for whose in ("ours", "theirs")}) == 1


@pytest.mark.parametrize(
    ("revision", "reference"),
    [("release/1.0", "refs/heads/release/1.0"), ("v2", "refs/tags/v2"), ("refs/pr/1", "refs/pr/1")],
)
def test_references_of_all_kinds(hub: Hub, cache: Path, revision: str, reference: str) -> None:
    commit = hub.create("org/model").commit(FILES, reference=reference)
    download(hub, cache, f"hf://org/model@{revision.replace('release/1.0', 'release%2F1.0')}")
    assert (cache / "models--org--model/refs" / revision).read_bytes() == commit.encode()
    assert found_offline(cache, FILES, revision=revision)["revisions"] == {commit: [revision]}


def test_a_commit_has_no_reference(hub: Hub, repository: Repository, cache: Path) -> None:
    commit = repository.references["refs/heads/main"]
    download(hub, cache, f"hf://org/model@{commit}")
    assert found_offline(cache, FILES, revision=commit)["revisions"] == {commit: []}
    download(hub, cache)
    assert found_offline(cache, FILES)["revisions"] == {commit: ["main"]}


def test_a_finished_revision_costs_a_listing(hub: Hub, repository: Repository, cache: Path) -> None:
    download(hub, cache)
    before = tree(cache)
    assert sent(hub) == LARGE
    again = download(hub, cache)
    assert "nothing had to be fetched" in again.stderr
    assert "checking" not in again.stderr
    assert {record.route for record in hub.log.records()} == {"api", "tree"}
    assert tree(cache) == before
    assert repository.commits


def test_two_revisions_share_what_is_equal(hub: Hub, repository: Repository, cache: Path) -> None:
    first = repository.references["refs/heads/main"]
    download(hub, cache)
    second = repository.commit(NEXT)
    assert sent(hub) == LARGE
    result = download(hub, cache)
    assert sent(hub) == len(NEXT["extra.bin"])
    assert "still here" not in result.stderr
    assert found_offline(cache, {**FILES, **NEXT})["revisions"] == {first: [], second: ["main"]}
    found_offline(cache, FILES, revision=first)
    for revision in (first, second, first):
        assert "nothing had to be fetched" in download(hub, cache, f"hf://org/model@{revision}").stderr
    assert sent(hub) == 0


def test_a_branch_that_moves_is_found_at_its_old_commit_until_the_new_one_is_complete(
    hub: Hub, repository: Repository, cache: Path
) -> None:
    download(hub, cache)
    repository.commit(NEXT)
    held = Held()
    hub.faults.add(held, route="cdn", path="*/extra.bin", offset=MIB, times=FOREVER)
    process = start("download", "hf://org/model", "--hub-cache", cache, extra=settings(hub, STALL_TIMEOUT="600"))
    assert eventually(lambda: hub.log.sent("cdn", path="*/extra.bin") >= MIB)
    assert len(found_offline(cache, FILES)["revisions"]) == 1
    held.go_on.set()
    assert finish(process).status == 0
    assert len(found_offline(cache, {**FILES, **NEXT})["revisions"]) == 2


@pytest.mark.parametrize("first", [True, False], ids=["in an empty cache", "beside another revision"])
def test_after_a_kill_only_what_is_missing_is_fetched(
    hub: Hub, repository: Repository, cache: Path, *, first: bool
) -> None:
    if not first:
        download(hub, cache)
    new = {"large.bin": Noise(40 * MIB, seed=153).bytes()}
    repository.commit(new)
    held = Held()
    hub.faults.add(held, route="cdn", path="*/large.bin", offset=36 * MIB, times=FOREVER)
    process = start("download", "hf://org/model", "--hub-cache", cache, extra=settings(hub, STALL_TIMEOUT="600"))
    journals = "models--org--model/.downloading/parts.*/*.journal"
    assert eventually(lambda: any(path.read_bytes().count(b"\n") > 1 for path in cache.glob(journals)))
    assert eventually(lambda: hub.log.sent("cdn", path="*/large.bin") >= 36 * MIB)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    held.go_on.set()
    hub.faults.clear()
    scan = "import huggingface_hub as library; print(library.scan_cache_dir().warnings)"
    assert library(cache, sys.executable, "-c", scan).stdout == "[]\n"
    sent(hub)
    download(hub, cache)
    assert sent(hub) < 40 * MIB
    found_offline(cache, {**FILES, **new})
    assert not (cache / "models--org--model/.downloading").exists()


@pytest.mark.parametrize("shared", [True, False], ids=["shared by Xet", "plain"])
def test_what_the_hubs_own_command_has_fetched_is_proved_once_and_reused(
    hub: Hub, repository: Repository, cache: Path, *, shared: bool
) -> None:
    more = {} if shared else {"HF_HUB_DISABLE_XET": "1"}
    hf_download(hub, cache, **more)
    blobs = cache / "models--org--model/blobs"
    assert any(path.is_symlink() for path in blobs.iterdir()) is shared
    before = tree(cache)
    assert sent(hub) >= LARGE
    result = download(hub, cache)
    assert sent(hub) == 0
    assert "checking 3 files" in result.stderr
    assert "nothing had to be fetched" in result.stderr
    ours = {path: found for path, found in tree(cache).items() if "/.artifact." not in path}
    assert ours == before
    assert "checking" not in download(hub, cache).stderr
    found_offline(cache, FILES)
    assert repository.commits


def test_the_hubs_own_command_adds_to_what_is_there(hub: Hub, repository: Repository, cache: Path) -> None:
    download(hub, cache)
    sent(hub)
    repository.commit(NEXT)
    hf_download(hub, cache)
    assert sent(hub) < LARGE
    found_offline(cache, {**FILES, **NEXT})
    download(hub, cache)
    assert sent(hub) == 0


@pytest.mark.parametrize("shared", [True, False], ids=["shared by Xet", "plain"])
@pytest.mark.parametrize("damage", ["flipped", "short"])
def test_a_damaged_blob_is_fetched_again(
    hub: Hub, repository: Repository, cache: Path, damage: str, *, shared: bool
) -> None:
    hf_download(hub, cache, **({} if shared else {"HF_HUB_DISABLE_XET": "1"}))
    content = bytearray(FILES["model.safetensors"])
    content[MIB] ^= 1
    (blob,) = {path.resolve() for path in cache.glob("models--*/snapshots/*/model.safetensors")}
    blob.chmod(0o644)
    blob.write_bytes(content if damage == "flipped" else content[:MIB])
    sent(hub)
    download(hub, cache)
    assert sent(hub) == LARGE
    found_offline(cache, FILES)
    assert repository.commits


def test_two_runs_at_once_fetch_everything_once(hub: Hub, repository: Repository, cache: Path) -> None:
    processes = [start("download", "hf://org/model", "--hub-cache", cache, extra=settings(hub)) for _ in range(3)]
    for result in map(finish, processes):
        assert result.status == 0, result.stderr
    assert sent(hub) == LARGE
    found_offline(cache, FILES)
    assert repository.commits


def test_beside_the_hubs_own_command(hub: Hub, repository: Repository, cache: Path) -> None:
    process = start("download", "hf://org/model", "--hub-cache", cache, extra=settings(hub))
    hf_download(hub, cache)
    result = finish(process)
    assert result.status == 0, result.stderr
    found_offline(cache, FILES)
    assert repository.commits


@pytest.mark.root
def test_a_read_only_cache_that_is_complete_will_do(hub: Hub, repository: Repository, cache: Path) -> None:
    first = repository.references["refs/heads/main"]
    download(hub, cache)
    repository.commit(NEXT)
    download(hub, cache)
    subprocess.run(["mount", "--bind", cache, cache], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", cache], check=True)
        for uri in ("hf://org/model", f"hf://org/model@{first}"):
            assert "nothing had to be fetched" in download(hub, cache, uri).stderr
        repository.commit({"config.json": b"third"})
        result = run("download", "hf://org/model", "--hub-cache", cache, extra=settings(hub))
        assert result.status == os.EX_IOERR, result.stderr
        found_offline(cache, {**FILES, **NEXT})
    finally:
        subprocess.run(["umount", cache], check=True)


def test_filters_give_a_part_of_a_snapshot_which_grows(hub: Hub, repository: Repository, cache: Path) -> None:
    download(hub, cache, "hf://org/model", "--include", "*.json")
    small = {path: content for path, content in FILES.items() if path.endswith(".json")}
    folder = Path(found_offline(cache, small)["folder"])
    assert not (folder / "model.safetensors").exists()
    assert sent(hub) == 0
    download(hub, cache, "hf://org/model/sub")
    download(hub, cache, "hf://org/model/model.safetensors")
    assert sent(hub) == LARGE
    found_offline(cache, FILES)
    assert "nothing had to be fetched" in download(hub, cache).stderr
    assert repository.commits


def test_a_link_that_was_removed_is_made_again(hub: Hub, repository: Repository, cache: Path) -> None:
    download(hub, cache)
    (link,) = cache.glob("models--*/snapshots/*/same.json")
    link.unlink()
    (reference,) = cache.glob("models--*/refs/main")
    reference.write_text("0" * 40)
    download(hub, cache)
    assert sent(hub) == LARGE
    found_offline(cache, FILES)
    assert repository.commits


def test_without_symlinks_a_snapshot_has_the_files(hub: Hub, repository: Repository, cache: Path) -> None:
    for result in [download(hub, cache, HF_HUB_DISABLE_SYMLINKS="1") for _ in range(2)]:
        assert result.status == 0
    assert sent(hub) == LARGE
    assert not any(path.is_symlink() for path in cache.rglob("*"))
    assert not (cache / "models--org--model/blobs").exists()
    found_offline(cache, FILES)
    assert repository.commits


def test_the_librarys_own_commands_clean_up(hub: Hub, repository: Repository, cache: Path) -> None:
    first = repository.references["refs/heads/main"]
    download(hub, cache)
    repository.commit(NEXT)
    download(hub, cache)
    sent(hub)
    library(cache, HF, "cache", "prune", "--yes")  # removes the revision without a reference
    assert list(found_offline(cache, {**FILES, **NEXT})["revisions"].values()) == [["main"]]
    assert "nothing had to be fetched" in download(hub, cache).stderr
    download(hub, cache, f"hf://org/model@{first}")
    assert sent(hub) == 0
    library(cache, HF, "cache", "rm", "model/org/model", "--yes")
    assert not (cache / "models--org--model").exists()
    download(hub, cache)
    found_offline(cache, {**FILES, **NEXT})


def test_the_environment_says_where_the_cache_is(hub: Hub, repository: Repository, tmp_path: Path) -> None:
    home = {"HF_HOME": str(tmp_path / "home")}
    hub_cache = {"AIM_LAYOUT": "hub-cache", "TARGET_DIR": str(tmp_path / "target")}
    for more in ({**home, **hub_cache}, {**home, **hub_cache, "HF_HUB_CACHE": "~/cache", "HOME": str(tmp_path)}):
        assert run("download", "hf://org/model", extra=settings(hub, **more)).status == 0
    assert (
        run("download", "hf://org/model", "--hub-cache", extra=settings(hub, XDG_CACHE_HOME=str(tmp_path))).status == 0
    )
    for place in ("home/hub", "cache", "huggingface/hub"):
        found_offline(tmp_path / place, FILES)
    assert not (tmp_path / "target").exists()
    assert repository.commits


def test_the_operator_gets_a_plain_folder(hub: Hub, repository: Repository, tmp_path: Path) -> None:
    more = {"AIM_LAYOUT": "hub-cache", "HF_HUB_CACHE": str(tmp_path / "cache"), "ARTIFACT_NAME": "llama"}
    result = run("download", "hf://org/model", tmp_path / "target", extra=settings(hub, **more))
    assert result.status == 0, result.stderr
    assert (tmp_path / "target/config.json").read_bytes() == FILES["config.json"]
    assert "AIM_LAYOUT=hub-cache is ignored" in result.stderr
    assert not (tmp_path / "cache").exists()
    assert repository.commits


def test_kserve_gets_a_plain_folder(hub: Hub, repository: Repository, tmp_path: Path) -> None:
    more = {"AIM_LAYOUT": "hub-cache", "HF_HUB_CACHE": str(tmp_path / "cache")}
    result = run("kserve", "hf://org/model", tmp_path / "target", extra=settings(hub, **more))
    assert result.status == 0, result.stderr
    assert (tmp_path / "target/config.json").read_bytes() == FILES["config.json"]
    assert not (tmp_path / "cache").exists()
    assert repository.commits


def test_a_repository_that_does_not_exist_leaves_nothing(hub: Hub, cache: Path) -> None:
    result = run("download", "hf://org/typo", "--hub-cache", cache, extra=settings(hub))
    assert result.status == os.EX_NOINPUT, result.stderr
    assert not cache.exists()


def test_an_error_names_the_file(hub: Hub, repository: Repository, cache: Path) -> None:
    hub.faults.add(Flip(), route="cdn", offset=MIB, times=FOREVER)
    result = run("download", "hf://org/model", "--hub-cache", cache, extra=settings(hub))
    assert result.status == os.EX_DATAERR, result.stderr
    assert "model.safetensors (blobs/" in result.last_line
    assert not list(cache.glob("models--*/refs/*"))
    assert not list(cache.glob("models--*/snapshots/*"))
    assert repository.commits


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["s3://bucket/model", "--hub-cache", "{}"], "does not apply to s3://"),
        (["https://host/model.gguf", "--hub-cache"], "does not apply to https://"),
        (["hf://org/model", "{}/target", "--hub-cache", "{}"], "TARGET"),
        (["--hub-cache", "hf://org/model"], "write --hub-cache after the URI"),
    ],
)
def test_what_makes_no_sense_is_an_error_of_usage(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    given = [argument.replace("{}", str(tmp_path)) for argument in arguments]
    result = run("download", *given, extra={**PEOPLE, "HF_HUB_CACHE": str(tmp_path)})
    assert result.status == os.EX_USAGE, result.stderr
    assert sentence in result.stderr
    assert list(tmp_path.iterdir()) == []


def verify(target: Path, *options: str) -> Result:
    return run("verify", target, *options, extra=PEOPLE)


def test_each_revision_can_be_verified_by_its_names(hub: Hub, repository: Repository, cache: Path) -> None:
    first = repository.references["refs/heads/main"]
    download(hub, cache)
    second = repository.commit(NEXT)
    download(hub, cache)
    folder = cache / "models--org--model"
    for target, options, count in [
        (folder, [], 6),
        (folder, ["--revision", "main"], 5),
        (folder, ["--revision", first], 3),
        (folder / "snapshots" / second, [], 5),
        (folder, ["--revision", "main", "--include", "*.bin"], 1),
    ]:
        result = verify(target, *options)
        assert (result.status, result.stdout) == (0, ""), result.stderr
        assert f"verified {count} file" in result.stderr
    subprocess.run(["sha256sum", "--check", "--quiet", ".artifact.sha256"], cwd=folder, check=True)


def test_the_repositories_of_a_whole_cache_are_named(hub: Hub, repository: Repository, cache: Path) -> None:
    hub.create("org/other").commit({"config.json": b"[]"})
    for uri in ("hf://org/model/config.json", "hf://org/other"):
        download(hub, cache, uri)
    result = verify(cache)
    assert result.status == os.EX_DATAERR, result.stderr
    assert result.last_line.endswith("name one of its repositories (it has models--org--model, models--org--other)")
    assert repository.commits


def test_damage_to_one_revision_is_found_and_repaired(hub: Hub, repository: Repository, cache: Path) -> None:
    first = repository.references["refs/heads/main"]
    download(hub, cache)
    repository.commit(NEXT)
    download(hub, cache)
    folder = cache / "models--org--model"
    (blob,) = {path.resolve() for path in folder.glob("snapshots/*/extra.bin")}
    found = blob.stat()
    blob.write_bytes(bytes(found.st_size))
    os.utime(blob, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert "nothing had to be fetched" in download(hub, cache).stderr
    result = verify(folder)
    assert (result.status, result.stdout.split(":")[0]) == (os.EX_DATAERR, f"damaged blobs/{blob.name}")
    assert verify(folder, "--revision", first).status == 0
    sent(hub)
    download(hub, cache)
    assert sent(hub) == len(NEXT["extra.bin"])
    assert verify(folder).status == 0


def test_broken_names_are_damage_and_foreign_ones_are_named(hub: Hub, repository: Repository, cache: Path) -> None:
    download(hub, cache, "hf://org/model", "--include", "*.json")
    hf_download(hub, cache, HF_HUB_DISABLE_XET="1")
    folder = cache / "models--org--model"
    commit = repository.references["refs/heads/main"]
    result = verify(folder)
    assert (result.status, result.stdout) == (0, f"unlisted snapshots/{commit}/model.safetensors\n")
    (folder / "refs/lost").write_text("0" * 40)
    link = folder / "snapshots" / commit / "config.json"
    link.unlink()
    link.symlink_to("../../blobs/nowhere")
    (folder / "snapshots" / commit / "outside").symlink_to("/etc/passwd")
    result = verify(folder)
    assert result.status == os.EX_DATAERR
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        f"damaged snapshots/{commit}/config.json",
        f"damaged snapshots/{commit}/outside",
        "damaged refs/lost",
        f"unlisted snapshots/{commit}/model.safetensors",
    ]


@pytest.mark.usefixtures("repository")
def test_a_single_file_of_a_repository_is_no_foreign_one(hub: Hub, cache: Path) -> None:
    download(hub, cache, "hf://org/model/config.json")
    result = verify(cache / "models--org--model")
    assert (result.status, result.stdout) == (0, "")


@pytest.mark.parametrize(("name", "sentence"), [("models--org--model", "no snapshot of 'v9'"), ("plain", "not a rep")])
def test_a_revision_that_is_not_there(cache: Path, name: str, sentence: str) -> None:
    (cache / name / "snapshots").mkdir(parents=True)
    result = verify(cache / name, "--revision", "v9")
    assert result.status == os.EX_USAGE
    assert sentence in result.stderr


OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:1"}


def offline(cache: Path, uri: str = "hf://org/model", *options: str) -> Result:
    return run("download", uri, "--hub-cache", cache, *options, extra={**PEOPLE, **PLAIN, **OFFLINE})


def test_offline_a_finished_revision_is_enough(hub: Hub, repository: Repository, cache: Path) -> None:
    first = repository.references["refs/heads/main"]
    download(hub, cache)
    second = repository.commit(NEXT)
    download(hub, cache)
    before = tree(cache)
    for uri, options, count in [
        ("hf://org/model", [], 5),
        ("hf://org/model@main", [], 5),
        (f"hf://org/model@{first}", [], 4),
        (f"hf://org/model@{second}/sub", [], 1),
        (f"hf://org/model@{first}/model.safetensors", ["--include", "*.json"], 1),
        ("hf://org/model", ["--include", "*.json"], 3),
        ("hf://org/model", ["--prune"], 5),
    ]:
        result = offline(cache, uri, *options)
        assert result.status == 0, result.stderr
        assert "nothing had to be fetched" in result.stderr
        plan = json.loads(offline(cache, uri, *options, "--dry-run", "--json").stdout)
        assert (plan["complete"], len(plan["files"])) == (True, count)
    assert tree(cache) == before
    layout = {**PEOPLE, **PLAIN, **OFFLINE, "AIM_LAYOUT": "hub-cache", "HF_HUB_CACHE": str(cache)}
    assert run("doctor", f"hf://org/model@{first}", extra=layout).status == 0
    (cache / "models--org--model/snapshots" / first / "config.json").unlink()
    assert run("doctor", f"hf://org/model@{first}", extra=layout).status == os.EX_CONFIG


@pytest.mark.parametrize("lost", ["blob", "link", "reference", "listing", "snapshot", "cache"])
def test_offline_what_is_not_whole_is_named(hub: Hub, repository: Repository, cache: Path, *, lost: str) -> None:
    download(hub, cache)
    folder = cache / "models--org--model"
    commit = repository.references["refs/heads/main"]
    link = folder / "snapshots" / commit / "config.json"
    words = {"blob": "2 files: config.json, same.json", "link": "links", "snapshot": "links", "listing": "which files"}
    if lost == "blob":
        os.utime(link, ns=(1, 1))
    elif lost == "link":
        link.unlink()
    elif lost == "reference":
        (folder / "refs/main").unlink()
    elif lost == "listing":
        (folder / ".artifact.listings" / commit).write_text('{"folders": [""]}')
    elif lost == "snapshot":
        shutil.rmtree(folder / "snapshots" / commit)
    else:
        shutil.rmtree(cache)
    result = offline(cache)
    assert result.status == os.EX_CONFIG, result.stderr
    assert "HF_HUB_OFFLINE forbids" in result.last_line
    assert words.get(lost, "hf://org/model") in result.last_line
    assert cache.exists() is (lost != "cache")


def test_offline_a_part_is_not_the_whole(hub: Hub, repository: Repository, cache: Path) -> None:
    download(hub, cache, "hf://org/model/sub")
    assert offline(cache, "hf://org/model/sub/deeper").status == 0
    result = offline(cache)
    assert result.status == os.EX_CONFIG, result.stderr
    download(hub, cache, "hf://org/model", "--include", "*.json")
    assert offline(cache, "hf://org/model", "--include", "*.json").status == 0
    result = offline(cache)
    assert result.status == os.EX_CONFIG, result.stderr
    assert "lacks 1 file: model.safetensors" in result.last_line
    assert repository.commits


def test_the_plan_is_what_the_download_then_does(hub: Hub, repository: Repository, cache: Path) -> None:
    def plan(*options: str) -> dict[str, Any]:
        before = tree(cache) if cache.exists() else None
        result = run(
            "download", "hf://org/model", "--hub-cache", cache, "--dry-run", "--json", *options, extra=settings(hub)
        )
        assert result.status == 0, result.stderr
        assert (tree(cache) if cache.exists() else None) == before
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    planned = plan()
    assert planned["target"] == f"{cache}/models--org--model"
    assert {file["path"]: (file["state"], file["sameAs"]) for file in planned["files"]} == {
        "config.json": ("missing", None),
        "model.safetensors": ("missing", None),
        "same.json": ("missing", "config.json"),
        "sub/deeper/tokenizer.json": ("missing", None),
    }
    assert planned["fetch"] == sum(map(len, FILES.values())) - len(FILES["same.json"])
    assert not cache.exists()
    download(hub, cache, "hf://org/model", "--include", "config.json")
    assert {file["path"]: file["state"] for file in plan()["files"]}["config.json"] == "verified"
    download(hub, cache)
    assert plan()["complete"]
    repository.commit({"config.json": b"third"})
    planned = plan()
    assert (planned["fetch"], planned["complete"], planned["older"]) == (5, False, [])
    blob = (cache / "models--org--model/snapshots").glob("*/model.safetensors").__next__().resolve()
    blob.write_bytes(b"short")
    assert plan()["fetch"] == 5 + LARGE


def test_the_report_says_what_came_over_the_network(hub: Hub, repository: Repository, cache: Path) -> None:
    report = cache.parent / "report.json"
    download(hub, cache, "hf://org/model/config.json")
    download(hub, cache, "hf://org/model", "--report", str(report))
    states = {file["path"]: file["state"] for file in json.loads(report.read_text())["files"]}
    assert states == {
        "config.json": "reused",
        "model.safetensors": "fetched",
        "same.json": "reused",
        "sub/deeper/tokenizer.json": "fetched",
    }
    assert repository.commits


READER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "artifact-downloader-readers/bin/python")
LOAD = """
from transformers import AutoConfig, AutoTokenizer
config, tokenizer = (kind.from_pretrained("org/model") for kind in (AutoConfig, AutoTokenizer))
print(type(config).__name__, config.hidden_size, tokenizer("hello world")["input_ids"])
"""


@pytest.mark.skipif(not READER.exists(), reason="transformers is not installed: tests/prepare readers")
def test_transformers_starts_offline_with_the_name_of_the_repository(hub: Hub, cache: Path) -> None:
    words = {"type": "WordLevel", "vocab": {"[UNK]": 0, "hello": 1, "world": 2}, "unk_token": "[UNK]"}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": words}
    files = {
        "config.json": {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1},
        "tokenizer.json": {**dict.fromkeys(("truncation", "padding", "normalizer", "decoder")), **tokenizer},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"},
    }
    hub.create("org/model").commit({path: json.dumps(content).encode() for path, content in files.items()})
    download(hub, cache)
    told = library(cache, READER, "-c", LOAD, HF_HUB_OFFLINE="1").stdout
    assert told == "BertConfig 8 [1, 2]\n"
