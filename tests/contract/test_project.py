"""What surrounds the code agrees with it: workflows, versions, addresses, metadata."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from downloader import __version__

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEBIAN_12 = "3.11.2"
TEXTS = {".md", ".yml", ".yaml", ".toml", ".py", ".tpl", ".txt"}
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))


def load(path: Path) -> dict[str, Any]:
    # A plain loader takes the key `on` for a boolean.
    content: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - makes strings only
    return content


@pytest.fixture
def release() -> ModuleType:
    specification = importlib.util.spec_from_file_location("release", ROOT / ".github" / "release.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("CHANGELOG.md", "README.md", "docs/install.md", "downloader/version.py", "deploy"):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    return tmp_path


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_digest_with_its_version_beside_it(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(?:  ?# (\S+))?", path.read_text())
    loose = [
        name for name, version in used if not (re.search(r"@[0-9a-f]{40}$", name) and re.match(r"v\d+\.\d+", version))
    ]

    assert used
    assert [name for name in loose if not name.startswith("$/")] == []


def test_an_action_has_one_version_in_all_workflows() -> None:
    used = {name for path in WORKFLOWS for name in re.findall(r"uses: (\S+@[0-9a-f]{40})", path.read_text())}

    assert len({name.split("@")[0] for name in used}) == len(used)


def test_every_make_target_of_a_workflow_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {name for path in WORKFLOWS for name in re.findall(r"\bmake ([a-z-]+)", path.read_text())}

    assert called - {"python"} <= targets


def test_the_versions_of_python_that_are_tested_are_those_that_are_promised() -> None:
    matrix = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["unit"]["strategy"]["matrix"]

    assert matrix["python"] == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert {"ubuntu-24.04", "ubuntu-24.04-arm"} == set(matrix["runner"])


def test_every_address_of_the_project_is_that_of_pyproject() -> None:
    source, pages = PROJECT["urls"]["Source"], PROJECT["urls"]["Documentation"]
    owner, name = source.removeprefix("https://github.com/").split("/")
    known = (source, pages, f"https://raw.githubusercontent.com/{owner}/{name}/")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts = [path for path in map(ROOT.joinpath, filter(None, listed.split("\0"))) if path.suffix in TEXTS]
    found = [
        (path, url) for path in texts for url in re.findall(rf"https://[\w.]+/[\w./-]*{name}[\w./-]*", path.read_text())
    ]

    assert pages == f"https://{owner}.github.io/{name}/"
    assert {path.name for path, _ in found} >= {"pyproject.toml", "mkdocs.yml", "workflows.md", "pypi.md"}
    assert [(path, url) for path, url in found if not url.startswith(known) and "example.com" not in url] == []


def test_every_image_of_a_page_has_the_version_of_the_tree() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = [
        (page.name, tag) for page in pages for tag in re.findall(r"artifact-downloader:(\d[\w.]*\d)", page.read_text())
    ]

    assert {page for page, _ in named} >= {"kubernetes.md", "workflows.md"}
    assert [each for each in named if each[1] != __version__] == []


def test_a_release_needs_its_version_everywhere_and_a_section_of_the_changelog(release: ModuleType, tree: Path) -> None:
    changelog = tree / "CHANGELOG.md"
    unpublished = [f"{page} says how to install what is not published yet" for page in ("README.md", "docs/install.md")]
    assert release.problems(__version__, tree) == [*unpublished, f"CHANGELOG.md has no section {__version__}"]

    for page in ("README.md", "docs/install.md"):
        (tree / page).write_text((tree / page).read_text().replace("Nothing is ", "It is "))
    changelog.write_text(changelog.read_text().replace("## Unreleased", f"## {__version__} - 2026-12-01"))
    assert release.problems(__version__, tree) == []
    assert release.notes(__version__, tree).startswith("The first version.")

    chart = tree / "deploy" / "helm" / "artifact-downloader" / "Chart.yaml"
    chart.write_text(chart.read_text().replace(f"version: {__version__}", "version: 9.9.9", 1))
    assert release.problems(__version__, tree) == [
        f"deploy/helm/artifact-downloader/Chart.yaml does not say {__version__}"
    ]


@pytest.mark.parametrize("lock", ["run.txt", "full.txt", "test.txt", "dev.txt"])
def test_the_locks_have_hashes_for_other_processors_than_that_of_this_machine(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    pins = dict(re.findall(r"^([^\s#=]+)==((?:.*\\\n)+.*)", text, re.MULTILINE))
    native = {name for name in pins if is_native(name)}

    # One wheel for each processor and one sdist at least, unless the lock says that others do without the package.
    assert native
    few = {name for name in native if pins[name].count("--hash=") < 3}
    assert {name for name in few if "platform_machine" not in pins[name].splitlines()[0]} == set()


@pytest.mark.parametrize("lock", ["run.txt", "full.txt", "test.txt", "dev.txt", "build.txt"])
def test_every_locked_package_takes_the_python_of_debian_12(lock: str) -> None:
    names = re.findall(r"^([^\s#=]+)==", (ROOT / "requirements" / lock).read_text(), re.MULTILINE)
    wanted = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # a marker excludes it here
            wanted[name] = importlib.metadata.metadata(name)["Requires-Python"] or ""

    assert wanted
    assert {name: version for name, version in wanted.items() if DEBIAN_12 not in SpecifierSet(version)} == {}


def test_each_lock_has_the_versions_of_the_smaller_one() -> None:
    run, full, dev = (
        dict(re.findall(r"^([^\s#=]+)==(\S+)", (ROOT / "requirements" / lock).read_text(), re.MULTILINE))
        for lock in ("run.txt", "full.txt", "dev.txt")
    )
    assert run
    assert full.items() > run.items()
    assert dev.items() > full.items()
    assert {"model-signing", "cyclonedx-python-lib"} <= full.keys() - run.keys()


def test_nothing_in_the_environment_of_the_suite_slows_every_command_down() -> None:
    """The Kubernetes client imports it if it is there, and all that reads JSON schemas: a second for each command."""
    locked = (ROOT / "requirements/dev.txt").read_text()
    assert not re.search(r"^kubernetes-validate==", locked, re.MULTILINE)


def is_native(name: str) -> bool:
    """Return whether the installed wheel of a package is for one kind of processor."""
    try:
        wheel = importlib.metadata.distribution(name).read_text("WHEEL") or ""
    except importlib.metadata.PackageNotFoundError:
        return False  # a marker excludes it here
    return re.search(r"^Tag: .*(x86_64|aarch64)", wheel, re.MULTILINE) is not None
