"""Rules that no linter checks: one environment, one voice, and a use for every error."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import downloader
from downloader import errors
from downloader.config.warnings import SECTIONS
from downloader.errors import DownloadError, Verdict
from downloader.sources.registry import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(downloader.__file__).parent
DOCS = PACKAGE.parent / "docs"
MODULES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
COMPOSITION_ROOT = "__main__.py"
SPEAKERS = {
    "config/docgen.py",  # a program of its own, which writes the reference page
    "__main__.py",
    "cli/process.py",  # flushes what others wrote
    "log.py",
    "transfer/xet/child.py",  # a process of its own
    "runs/helper_process.py",
    "signing/child.py",
}
"""Who may touch the process's own streams."""
CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, DownloadError) and kind is not DownloadError
}


def uses_of(tree: ast.Module, module: str, *names: str) -> list[int]:
    """Return the lines that use `module.name`, or import the name from the module."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == module and node.attr in names:
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == module:
            found += [node.lineno for alias in node.names if alias.name in names]
    return found


def test_there_is_something_to_check() -> None:
    assert len(MODULES) > 80
    assert len(CLASSES) > 15
    assert MODULES.keys() >= SPEAKERS | NAMERS | SIGNAL_HANDLERS
    assert uses_of(MODULES[COMPOSITION_ROOT], "os", "environ")


@pytest.mark.parametrize("path", sorted(MODULES.keys() - {COMPOSITION_ROOT, "api.py"}))
def test_only_the_composition_root_reads_the_environment(path: str) -> None:
    assert uses_of(MODULES[path], "os", "environ", "environb", "getenv", "putenv", "unsetenv") == []


def test_the_api_reads_the_environment_where_a_caller_gives_none_and_nowhere_else() -> None:
    assert len(uses_of(MODULES["api.py"], "os", "environ", "environb", "getenv", "putenv", "unsetenv")) == 1


NAMERS = {
    "formatting.py",  # in words, where an error says nothing else
    "errors.py",  # the three that report a bug, for its developers
    "transfer/workers.py",
    "sources/s3/errors.py",
    "transfer/xet/child.py",  # its parent looks for these names, and rewords them
    "reporters/fanout.py",  # the name of a reporter
    "log.py",  # a category of Python's own warnings
}
"""Who may name a class of Python in what people read."""


@pytest.mark.parametrize("path", sorted(MODULES.keys() - NAMERS))
def test_no_message_names_a_class_of_python(path: str) -> None:
    names = [node for node in ast.walk(MODULES[path]) if isinstance(node, ast.Attribute) and node.attr == "__name__"]
    assert [node.lineno for node in names] == []


@pytest.mark.parametrize("path", MODULES)
def test_no_module_prints(path: str) -> None:
    calls = [node for node in ast.walk(MODULES[path]) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("path", sorted(MODULES.keys() - SPEAKERS))
def test_streams_are_handed_in(path: str) -> None:
    assert uses_of(MODULES[path], "sys", "stdout", "stderr", "__stdout__", "__stderr__") == []


SIGNAL_HANDLERS = {"__main__.py", "cli/process.py", "runs/helper_process.py", "transfer/xet/child.py"}
"""What belongs to the process: a run has a cancellation, and several runs may go on in one process."""


@pytest.mark.parametrize("path", sorted(MODULES.keys() - SIGNAL_HANDLERS))
def test_only_the_process_handles_signals(path: str) -> None:
    assert uses_of(MODULES[path], "signal", "signal", "pthread_sigmask", "set_wakeup_fd", "sigwait") == []


MENTIONED = {
    node.id
    for path, tree in MODULES.items()
    if path != "errors.py"
    for node in ast.walk(tree)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
}
"""Names that are used outside of the module of errors: an error among them is made, or chosen to be made."""


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_used_and_documented(name: str) -> None:
    assert name in MENTIONED, f"no module raises {name}"
    assert CLASSES[name].__doc__
    assert f"| {name} |" in (DOCS / "exit-status.md").read_text()
    assert name in (errors.__doc__ or "")


@pytest.mark.parametrize("name", CLASSES)
def test_the_tree_in_the_docstring_is_the_tree(name: str) -> None:
    (line,) = (line for line in (errors.__doc__ or "").splitlines() if f" {name} " in line)
    kind = CLASSES[name]
    assert kind.verdict.name in line
    if name != "Cancelled":
        assert f" {kind.exit_status} " in line


DECISIONS = {"verdict", "exit_status", "category", "lasting"}
NEVER_THE_END = {"HttpStatusError"}
"""An error that a source maps to one of the tree, always."""


@pytest.mark.parametrize("path", sorted(MODULES.keys() - {"errors.py"}))
def test_an_error_outside_of_the_tree_ends_a_run_as_its_base_class_does(path: str) -> None:
    for kind in (node for node in ast.walk(MODULES[path]) if isinstance(node, ast.ClassDef)):
        bases = {ast.unparse(base).rpartition(".")[2] for base in kind.bases}
        if bases & {"DownloadError", *CLASSES} and kind.name not in NEVER_THE_END:
            assert "DownloadError" not in bases, kind.name
            stored = [
                node.id for node in ast.walk(kind) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            ]
            assert DECISIONS.isdisjoint(stored), kind.name


def test_what_is_retried_or_switched_is_never_the_users_mistake() -> None:
    for name, kind in CLASSES.items():
        # Of a server that one protocol alone needs the next protocol asks nothing.
        if kind.lasting and kind is not errors.ProtocolUntrusted:
            assert kind.verdict is Verdict.FAIL, name


ADDRESSES = {"http", "https"}
"""Schemes that are also those of services, proxies and redirects, which any module may look at."""
PREFIXES = tuple(f"{name}://" for name in SCHEMES.keys() - ADDRESSES)
QUESTIONS = {"startswith", "removeprefix", "partition", "split", "urlsplit", "match", "fullmatch"}
"""What tells one scheme from another."""


def texts(tree: ast.AST) -> list[tuple[int, str]]:
    """Return the texts that a program uses, with their lines: those that stand alone are docstrings."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone]
    return [(node.lineno, node.value) for node in found if isinstance(node.value, str)]


def scheme_questions(tree: ast.Module) -> list[int]:
    """Return the lines that name a scheme in code. Sentences for people may name one."""
    codes = [(line, text) for line, text in texts(tree) if " " not in text]
    lines = [line for line, text in codes if any(prefix in text for prefix in PREFIXES)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            named = [line for line, text in texts(node) if text in SCHEMES.keys() - ADDRESSES]
            lines += named if re.search("scheme|uri", ast.unparse(node)) else []
    return sorted(lines)


def uri_readings(tree: ast.Module) -> list[int]:
    """Return the lines that take an artifact's URI apart."""
    lines: list[int] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            subjects = [*([function.value] if isinstance(function, ast.Attribute) else []), *node.args]
            if name in QUESTIONS:
                lines += [part.lineno for part in subjects if ast.unparse(part) in ("uri", "self._uri", "uri.text")]
    return sorted(lines)


def test_the_search_for_schemes_finds_what_it_is_for() -> None:
    assert scheme_questions(ast.parse('def f(uri):\n    return uri.startswith("s3://")')) == [2]
    assert scheme_questions(ast.parse('def f(uri):\n    return urlsplit(uri).scheme == "hf"')) == [2]
    assert uri_readings(ast.parse("def f(uri):\n    return uri.startswith(X)")) == [2]
    assert uri_readings(ast.parse("def f(uri):\n    return urlsplit(uri).netloc")) == [2]
    assert scheme_questions(ast.parse('def f():\n    """Read an s3:// URI."""')) == []
    assert [path for path in READERS if not scheme_questions(MODULES[path])] == []
    assert {"sources/http.py", "sources/huggingface.py", "sources/s3/__init__.py"} <= SOURCES


READERS = {
    "sources/registry.py",
    "sources/file_address.py",
    "sources/hub_address.py",  # each reads the URIs of its own scheme
    "sources/pasted.py",  # what people paste in place of a URI becomes one
    "sources/s3/address.py",
}
"""Who may name a scheme, or write a URI of it."""


def path_of(module: str) -> str:
    """Return the path of a module of ours in `MODULES`, by its dotted name."""
    path = module.removeprefix("downloader.").replace(".", "/")
    return f"{path}.py" if f"{path}.py" in MODULES else f"{path}/__init__.py"


SOURCES = {
    path_of(node.module or "")
    for function in MODULES["sources/registry.py"].body
    if isinstance(function, ast.FunctionDef)
    for node in ast.walk(function)
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("downloader.sources.")
}
"""What the entries of the registry import: each is given URIs of its own scheme only, and may take them apart."""


@pytest.mark.parametrize("path", sorted(MODULES.keys() - READERS))
def test_only_the_registry_and_the_address_of_a_source_tell_schemes_apart(path: str) -> None:
    assert scheme_questions(MODULES[path]) == []


@pytest.mark.parametrize("path", sorted(MODULES.keys() - READERS - SOURCES))
def test_only_a_source_takes_its_uri_apart(path: str) -> None:
    assert uri_readings(MODULES[path]) == []


@pytest.mark.parametrize("name", SCHEMES)
def test_the_settings_of_every_scheme_are_on_the_reference_page(name: str) -> None:
    assert SCHEMES[name].section in (None, *SECTIONS)


HTTP_STATUSES = frozenset(map(int, HTTPStatus))
STATUS_WORDS = re.compile(r"status|code", re.IGNORECASE)
ENDINGS = {"exit", "_exit", "leave", "SystemExit"}
"""What ends a process with a status."""


def numbers(tree: ast.AST, wanted: Callable[[int], bool]) -> list[int]:
    """Return the lines with an integer that is `wanted`."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is int]
    return [node.lineno for node in found if isinstance(node.value, int) and wanted(node.value)]


def status_numbers(tree: ast.Module) -> list[int]:
    """Return the lines that write an HTTP status as a number: compared, assigned, passed or listed as a status."""
    places: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            places += sides if any(STATUS_WORDS.search(ast.unparse(side)) for side in sides) else []
        elif isinstance(node, ast.keyword) and STATUS_WORDS.search(node.arg or ""):
            places.append(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            places += [node.value] if any(STATUS_WORDS.search(ast.unparse(target)) for target in targets) else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("one_of", "HttpStatusError")):
            places += node.args
    return sorted({line for place in places for line in numbers(place, HTTP_STATUSES.__contains__)})


def exit_numbers(tree: ast.Module) -> list[int]:
    """Return the lines that write an exit status as a number. Of 0, 1 and 128, no name says more."""
    places: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ENDINGS:
            places += node.args
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            places += [node.value] if any("exit_status" in ast.unparse(target) for target in targets) else []
        elif isinstance(node, ast.keyword) and node.arg == "exit_status":
            places.append(node.value)
    return sorted({line for place in places for line in numbers(place, lambda number: number not in (0, 1, 128))})


def test_the_search_for_numbers_finds_what_it_is_for() -> None:
    assert status_numbers(ast.parse("if reply.status == 404: pass")) == [1]
    assert status_numbers(ast.parse("if error.status in (401, 403): pass")) == [1]
    assert status_numbers(ast.parse("MISSING_STATUSES = frozenset({404, 410})")) == [1]
    assert status_numbers(ast.parse("ErrorRow(one_of(429), Throttled, '')")) == [1]
    assert status_numbers(ast.parse("answer(status=200)")) == [1]
    assert status_numbers(ast.parse("limit = 200\nif reply.status == HTTPStatus.OK: pass")) == []
    assert exit_numbers(ast.parse("class E:\n    exit_status = 74")) == [2]
    assert exit_numbers(ast.parse("sys.exit(2)")) == [1]
    assert exit_numbers(ast.parse("os._exit(128 + number)\nsys.exit(0)\nexit_status = os.EX_IOERR")) == []
    assert uses_of(MODULES["errors.py"], "os", "EX_USAGE", "EX_IOERR")


@pytest.mark.parametrize("path", MODULES)
def test_an_http_status_is_named_as_the_standard_library_names_it(path: str) -> None:
    assert status_numbers(MODULES[path]) == []


@pytest.mark.parametrize("path", MODULES)
def test_an_exit_status_is_named_as_sysexits_names_it(path: str) -> None:
    assert exit_numbers(MODULES[path]) == []


WAITS = {"acquire", "join", "poll", "result", "select", "settimeout", "sleep", "wait", "wait_for"}


def unnamed_waits(tree: ast.Module) -> list[int]:
    """Return the lines that wait for a number of seconds which has no name, and so no reason beside it."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        waits = ast.unparse(call.func).rpartition(".")[2] in WAITS
        places = [*(call.args if waits else []), *(it.value for it in call.keywords if "timeout" in (it.arg or ""))]
        constants = [place for place in places if isinstance(place, ast.Constant)]
        found += [it.lineno for it in constants if isinstance(it.value, int | float) and it.value]
    return found


def test_the_search_for_waits_finds_what_it_is_for() -> None:
    assert unnamed_waits(ast.parse("thread.join(0.2)")) == [1]
    assert unnamed_waits(ast.parse("connect(host, timeout=5)")) == [1]
    assert unnamed_waits(ast.parse("thread.join(GRACE)\nsleep(0)\nconnect(host, timeout=deadlines.connect)")) == []


DURATION = re.compile(r"\bseconds\b|^Time |_SECONDS$|TIMEOUT|GRACE|PAUSE|(^|_)WAIT$", re.IGNORECASE)


def durations(tree: ast.Module) -> dict[str, int]:
    """Return the constants of a module that are a number of seconds by their name or their docstring, with the line."""
    found = {}
    for node, following in itertools.pairwise([*tree.body, ast.Pass()]):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        said = following.value if isinstance(following, ast.Expr) else None
        text = said.value if isinstance(said, ast.Constant) and isinstance(said.value, str) else ""
        in_seconds = re.match(r"(Minimum s|S)econds\b|Time ", text) is not None
        for name, value in zip(names, values, strict=False):
            if not isinstance(name, ast.Name) or not isinstance(value, ast.Constant):
                continue
            is_integer = type(value.value) is int and (in_seconds or DURATION.search(name.id))
            if type(value.value) is float or is_integer:
                found[name.id] = node.lineno
    return found


NO_WAITS = {
    "doctor/hosts.py": {"DAY", "SKEW"},  # certificates and clocks
    "simulation/switches.py": {"FOREVER"},
    "config/env.py": {"MAX_SECONDS"},  # the longest duration that a variable may have
    "network/pool.py": {"FAR_RTT"},  # a measured round trip
    "formatting.py": {"_NEXT_UNIT", "_TENTHS", "_THREE_DIGITS"},
    "progress/meter.py": {"RATE_WINDOW"},
    "shards/pace.py": {"CLAIMED_SECONDS"},  # of which the bytes are claimed together
    "sources/bandwidth.py": {"BURST"},
    "sources/concurrency.py": {  # the windows of its measurements
        "WARM_UP_SECONDS",
        "MEASURE_SECONDS",
        "COALESCE_SECONDS",
        "RECOVERY_SECONDS",
        "GAIN",
        "CPU_BOUND",
    },
    "sources/retry.py": {"LOGGED_RECOVERY"},  # what is worth a line of the log
    "sources/s3/client.py": {"GOOD_FOR", "RENEWAL_HOLDS"},  # how long a signature or a token counts as fresh
    "sources/s3/signing.py": {"SIGNED_FOR", "MOMENT"},
    "transfer/cpu_affinity.py": {"REPIN_SECONDS"},
    "transfer/xet/child.py": {"REPORT_EVERY"},  # a program of its own, which imports nothing of ours
    "reporters/kubernetes/throttle.py": {"JITTER"},  # a share of a pause
    "reporters/console.py": {"CALM"},  # a drawing that comes sooner is left out
    "reporters/frame.py": {"LONG", "NAMED"},  # what is worth being shown, and a share of the columns
    "terminal.py": {"REPAIR"},  # how old a drawing may be
}
"""Fractions, and lengths of time that nothing waits for, by module."""


def test_the_search_for_durations_finds_what_it_is_for() -> None:
    assert durations(ast.parse('GRACE = 4\nX, U = 7.0, 8.0\nY = 3\n"""Seconds."""\nZ = 3\n"""Files."""')).keys() == {
        "GRACE",
        "X",
        "U",
        "Y",
    }
    assert len(durations(MODULES["deadlines.py"])) > 20
    assert [path for path in NO_WAITS if NO_WAITS[path] - durations(MODULES[path]).keys()] == []


@pytest.mark.parametrize("path", sorted(MODULES.keys() - {"deadlines.py"}))
def test_every_number_of_seconds_that_is_waited_for_stands_in_one_table(path: str) -> None:
    found = durations(MODULES[path])
    assert {name: line for name, line in found.items() if name not in NO_WAITS.get(path, ())} == {}


@pytest.mark.parametrize("path", MODULES)
def test_every_wait_has_a_name(path: str) -> None:
    assert unnamed_waits(MODULES[path]) == []


MAX_LINES = 300
REASON = re.compile(r"\blong(er)?\b", re.IGNORECASE)


@pytest.mark.parametrize("path", MODULES)
def test_a_long_module_says_why_in_its_docstring(path: str) -> None:
    lines = len((PACKAGE / path).read_text().splitlines())
    assert lines <= MAX_LINES or REASON.search(ast.get_docstring(MODULES[path]) or "")


def test_the_volume_has_few_enough_modules_to_be_one_idea() -> None:
    assert len([path for path in MODULES if re.fullmatch(r"volume/(?!__init__)\w+\.py", path)]) <= 14
