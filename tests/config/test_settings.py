"""The environment: parsed, bounded, every problem at once, and no secret in sight."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import TransferProtocol
from downloader.cli.options import cache_folder
from downloader.config import Settings
from downloader.config.adapters import rank
from downloader.config.addresses import proxy_endpoint
from downloader.config.docgen import page
from downloader.config.env import (
    Malformed,
    count,
    documented,
    duration,
    flag,
    header_map,
    items,
    path,
    present,
    read,
    seconds,
    string_list,
    string_map,
    token,
    variable,
)
from downloader.config.hub import HubSettings, hide_from_library
from downloader.config.job_values import bandwidth, protocols, volume_timeout
from downloader.config.s3 import S3Settings
from downloader.config.secret_values import secrets_of
from downloader.config.storage import storage_spec
from downloader.config.warnings import SECTIONS, known_names, suspicious_settings
from downloader.errors import ConfigurationError
from downloader.redaction import Redactor
from downloader.sources.registry import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Callable

XET, HF_TRANSFER, HTTP = TransferProtocol.XET, TransferProtocol.HF_TRANSFER, TransferProtocol.HTTP


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (seconds, "120", 120.0),
        (seconds, "0.5", 0.5),
        (seconds, "1e3", 1000.0),
        (volume_timeout, "20", 20.0),
        (volume_timeout, "soon", 300.0),
        (volume_timeout, "-1", 300.0),
        (volume_timeout, "0", 300.0),
        (seconds, "90s", 90.0),
        (seconds, "1.5m", 90.0),
        (seconds, "2h", 7200.0),
        (seconds, "1d", 86400.0),
        (duration, "0", 0.0),
        (duration, "0s", 0.0),
        (count(1, 64), "64", 64),
        (count(0, 64), "007", 7),
        (flag, "TRUE", True),
        (flag, "off", False),
        (present, "0", True),
        (items, " a , b,, ", ("a", "b")),
        (items, ",", ()),
        (path, "/a b", Path("/a b")),
        (rank, "8", 8),
        (rank, "eight", 16),
        (rank, "9" * 5000, 16),
        (bandwidth, "200M", 200_000_000),
        (bandwidth, "1.5g", 1_500_000_000),
        (bandwidth, "64k", 64_000),
        (bandwidth, "100MB/s", 100_000_000),
        (bandwidth, "5000", 5000),
        (protocols, "xet, hf_transfer,XET", (XET, HF_TRANSFER, XET)),
        (protocols, "HTTP", (HTTP,)),
        (string_map, '{"a": "b"}', {"a": "b"}),
        (string_map, "{}", {}),
        (string_list, '["a", "b"]', ("a", "b")),
        (header_map, '{"X-Api-Key": "a b", "x_y.z": ""}', {"X-Api-Key": "a b", "x_y.z": ""}),
        *(
            (token, text, "hf_Abc123")
            for text in ("hf_Abc123", '"hf_Abc123"', "'hf_Abc123'\n", "Bearer hf_Abc123", '"bearer  hf_Abc123"')
        ),
    ],
)
def test_a_value_means(parse: Callable[[str], Any], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *(
            (seconds, text)
            for text in ("", "soon", "-1", "0", "nan", "inf", "1e300", "5 s", "٣s", "0m", "h", "1w", "-1h", "9999999d")
        ),
        *((duration, text) for text in ("", "-1", "nan", "inf", "1e300")),
        *((count(1, 64), text) for text in ("", "0", "65", "-1", "1.5", "²", "٣", "1_0", "9" * 5000)),
        *((flag, text) for text in ("", "maybe", "2")),
        *((bandwidth, text) for text in ("", "M", "fast", "-5M", "0", "0.1", "inf", "nan", "1e400", "5T")),
        *((protocols, text) for text in ("", ",", "FTP", "XET,FTP", "XET;HTTP")),
        *((string_map, text) for text in ("", "[]", '{"a": 1}', "{", "null", "[" * 100_000)),
        *((string_list, text) for text in ("", "{}", "[1]", '"a"', "[" * 100_000)),
        *(
            (header_map, text)
            for text in ("[]", '{"a b": "c"}', '{"": "c"}', '{"a": "b\\nc"}', '{"a": "ü"}', '{"ä": "b"}')
        ),
        *((token, text) for text in ("two\nlines", "“smart”", "null\0", "two words", '""', "Bearer ")),
        (path, "a\0b"),
    ],
)
def test_a_value_is_refused(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(text)
    assert str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("parse", [seconds, duration])
@given(text=st.floats().map(str) | st.text(max_size=10))
def test_whatever_passes_as_seconds_can_be_waited_for(parse: Callable[[str], float], text: str) -> None:
    try:
        value = parse(text)
    except Malformed:
        return
    assert 0 <= value <= threading.TIMEOUT_MAX


@dataclass(frozen=True)
class Example:
    number: int = variable("NUMBER OLD_NUMBER", "a number", parse=count(1, 9), default=5)
    word: str = variable("WORD", "a word", default="", secret=True)
    pin: int | None = variable("PIN", "a secret number", parse=count(1, 9), secret=True)
    other: int = 3


def example(environ: dict[str, str]) -> tuple[Example, list[str]]:
    problems: list[str] = []
    return read(Example, environ, problems), problems


@pytest.mark.parametrize(
    ("environ", "number"),
    [
        ({}, 5),
        ({"NUMBER": ""}, 5),
        ({"NUMBER": "  "}, 5),
        ({"NUMBER": " 7 "}, 7),
        ({"OLD_NUMBER": "8"}, 8),
        ({"NUMBER": "7", "OLD_NUMBER": "8"}, 7),
        ({"NUMBER": "", "OLD_NUMBER": "8"}, 8),
        ({"number": "7"}, 5),
    ],
)
def test_the_first_name_that_is_set_and_not_empty_counts(environ: dict[str, str], number: int) -> None:
    settings, problems = example(environ)
    assert (settings.number, problems) == (number, [])


def test_a_problem_names_the_variable_that_was_read_and_hides_secrets() -> None:
    settings, problems = example({"OLD_NUMBER": "many", "PIN": "sesame"})
    assert settings.number == 5
    assert problems == [
        "OLD_NUMBER: 'many' is not a whole number from 1 to 9",
        "PIN: its value is not a whole number from 1 to 9",
    ]


def test_a_secret_is_not_printed() -> None:
    settings, _ = example({"WORD": "sesame", "NUMBER": "7"})
    assert "sesame" not in repr(settings)
    assert "7" in repr(settings)


def test_every_problem_is_told_at_once() -> None:
    environ = {
        "STALL_TIMEOUT": "soon",
        "AIM_CONNECTIONS": "1000",
        "AIM_HTTP_HEADERS": "sesame",
        "HF_TOKEN": "smart “sesame”",
        "KUBERNETES_SERVICE_PORT": "0",
    }
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment(environ)
    for name in environ:
        assert name in caught.value.message
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "environ", "token"),
    [
        ("hf_of_the_file\n", {}, "hf_of_the_file"),
        ("hf_of_the_file", {"HF_TOKEN": "hf_given"}, "hf_given"),
        ("hf_of_the_file", {"HF_TOKEN": " "}, "hf_of_the_file"),
        ("\n", {}, ""),
        (None, {}, ""),
        ('"hf_quoted"', {}, "hf_quoted"),
    ],
)
def test_the_hubs_token_may_be_in_a_file(
    tmp_path: Path, content: str | None, environ: dict[str, str], token: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    environ = {**environ, "HF_TOKEN_PATH": str(tmp_path / "token")}
    assert Settings.from_environment(environ).hub.token == token


@pytest.mark.parametrize("content", [None, b"two\nlines", b"\xff"])
def test_a_file_that_holds_no_token_is_a_problem_that_does_not_show_it(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "token").mkdir() if content is None else (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigurationError, match="HF_TOKEN_PATH") as caught:
        Settings.from_environment({"HF_TOKEN_PATH": str(tmp_path / "token")})
    assert "lines" not in str(caught.value)


@pytest.mark.parametrize(
    ("places", "environ"),
    [
        ("hf/token", {"HF_HOME": "{}/hf"}),
        ("cache/huggingface/token", {"XDG_CACHE_HOME": "{}/cache", "HOME": "{}"}),
        (".cache/huggingface/token", {"HOME": "{}"}),
    ],
)
def test_the_token_that_a_login_has_left_is_found(tmp_path: Path, places: str, environ: dict[str, str]) -> None:
    place = tmp_path / places
    environ = {name: text.format(tmp_path) for name, text in environ.items()}
    lacking = Settings.from_environment(environ).hub
    assert (lacking.token, lacking.token_places, lacking.warnings) == ("", ("HF_TOKEN", str(place)), ())
    place.parent.mkdir(parents=True)
    place.write_text("hf_of_the_login\n")
    assert Settings.from_environment(environ).hub.token == "hf_of_the_login"
    given = Settings.from_environment({**environ, "HF_TOKEN": "hf_given"}).hub
    assert given.token == "hf_given"
    without = Settings.from_environment({**environ, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}).hub
    assert (without.token, without.token_places) == ("", ("HF_TOKEN",))


def test_a_token_file_that_is_named_but_missing_is_told(tmp_path: Path) -> None:
    place = tmp_path / "token"
    hub = Settings.from_environment({"HF_TOKEN_PATH": str(place)}).hub
    assert hub.warnings == (f"HF_TOKEN_PATH names {place}, which is missing, so there is no token",)
    assert hub.token_places == ("HF_TOKEN", str(place))


def test_a_path_that_no_shell_has_seen_may_begin_with_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {"TARGET_DIR": "~/model", "AIM_REPORT": "~/report.json", "HF_HOME": "~/hf", "NETRC": "~no-such-user/n"}
    settings = Settings.from_environment(environ)
    assert settings.job.target == tmp_path / "model"
    assert settings.reporting.report == tmp_path / "report.json"
    assert (settings.hub.home, settings.hub.cache) == (tmp_path / "hf", tmp_path / "hf/hub")
    assert settings.hub.token_places == ("HF_TOKEN", f"{tmp_path}/hf/token")
    assert str(settings.web.netrc) == "~no-such-user/n"
    assert cache_folder("~/hub") == tmp_path / "hub"


def test_a_login_is_not_looked_at_by_runs_that_ask_no_hub(tmp_path: Path) -> None:
    environ = {"HF_TOKEN_PATH": str(tmp_path / "token")}
    assert Settings.from_environment(environ).warnings == ()
    assert len(Settings.from_environment(environ, section=HubSettings).warnings) == 1


@pytest.mark.parametrize("left", [b"two words", b"\xff", None])
def test_what_a_login_has_left_is_no_reason_to_fail(tmp_path: Path, left: bytes | None) -> None:
    place = tmp_path / "token"
    place.mkdir() if left is None else place.write_bytes(left)
    hub = Settings.from_environment({"HF_HOME": str(tmp_path)}).hub
    assert hub.token == ""
    assert [str(place) in warning for warning in hub.warnings] == [True]


@pytest.mark.parametrize(
    ("environ", "offline", "without_xet"),
    [
        ({}, False, False),
        ({"HF_HUB_OFFLINE": "1"}, True, False),
        ({"TRANSFORMERS_OFFLINE": "yes"}, True, False),
        ({"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "ON"}, False, True),
    ],
)
def test_the_hubs_own_switches_are_read(environ: dict[str, str], *, offline: bool, without_xet: bool) -> None:
    hub = Settings.from_environment(environ).hub
    assert (hub.offline, hub.disable_xet) == (offline, without_xet)


@pytest.mark.parametrize(
    ("text", "url", "authorization"),
    [
        ("https://hub.test", "https://hub.test", ""),
        (" HTTPS://Hub.test:8443/repository/hf/ ", "https://hub.test:8443/repository/hf", ""),
        ("http://[fd00::1]:80", "http://[fd00::1]:80", ""),
        ("http://key:s%40me@hub.test/hf", "http://hub.test/hf", "Basic a2V5OnNAbWU="),
        ("http://key@hub.test", "http://hub.test", "Basic a2V5Og=="),
    ],
)
def test_the_hubs_address_is_parsed_with_its_login_apart(text: str, url: str, authorization: str) -> None:
    endpoint = Settings.from_environment({"HF_ENDPOINT": text}).hub.endpoint
    assert (endpoint.url, endpoint.authorization) == (url, authorization)


MISSPELT = [
    "key:sesame@hub.test",
    "https:/key:sesame@hub.test",
    "http//key:sesame@hub.test",
    "http://key:ses/sesame@hub.test",
    "http://key:sesame@hub.test:port",
    "http://key:sesame@hub test",
    "http://key:sesame@",
    "ftp://key:sesame@hub.test",
    "http://key:sesame@hub.test?a=b",
]


@pytest.mark.parametrize("name", ["HF_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "S3_ENDPOINT"])
@pytest.mark.parametrize("text", MISSPELT)
def test_an_address_that_is_misspelt_is_refused_at_the_start_without_its_password(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name}: its value is not an address such as") as caught:
        Settings.from_environment({name: text}, section=S3Settings)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("name", ["HF_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"])
@pytest.mark.parametrize("text", ["http://", "http://a:0", "http://a\\b", "http://a#b", "gopher://a"])
def test_what_is_no_address_is_quoted_where_it_can_hold_no_password(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        Settings.from_environment({name: text}, section=S3Settings)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AIM_BANDWITH": "1M"}, "AIM_BANDWITH is not known here: is AIM_BANDWIDTH meant?"),
        ({"AIM_S3_MAX_WORKER": "4"}, "is AIM_S3_MAX_WORKERS meant?"),
        ({"AIM_S3_ADDRESSING_STYLE_FILES": "/x"}, "is AIM_S3_ADDRESSING_STYLE_FILE meant?"),
        ({"AIM_PROFILE_ID": "x"}, "AIM_PROFILE_ID is not known here: it is for another program, or misspelt"),
        ({"AIM_LOG_LEVEL": "verbose"}, "AIM_LOG_LEVEL: 'verbose' is not one of debug, info, warning, error"),
    ],
)
def test_a_setting_that_does_nothing_is_told(environ: dict[str, str], words: str) -> None:
    (warning,) = Settings.from_environment(environ).warnings
    assert words in warning


def test_no_name_that_the_operator_or_this_page_knows_is_odd() -> None:
    environ = {name: "1" for name in known_names() if name.startswith("AIM_")}
    assert len(environ) > 40
    assert (
        list(
            suspicious_settings(
                {**environ, "AIM_LOG_FORMAT": "JSON", "AIM_LOG_LEVEL": "Debug", "AIM_TYPO": " ", "MY_AIM": "x"}
            )
        )
        == []
    )


def test_the_redactor_knows_the_passwords_of_all_addresses() -> None:
    environ = {"HF_ENDPOINT": "https://key:sesame-one@hub.test", "https_proxy": "http://me:sesame-two@proxy.test:1"}
    redactor = Redactor(*Settings.from_environment(environ).secrets())
    for secret in ("sesame-one", "sesame-two", "a2V5OnNlc2FtZS1vbmU=", "bWU6c2VzYW1lLXR3bw=="):
        assert redactor.redact(f"a {secret} of a user") == "a *** of a user"


def test_the_library_of_the_hub_is_shown_none_of_its_variables() -> None:
    environ = {"HF_ENDPOINT": "x", "HUGGING_FACE_HUB_TOKEN": "x", "TRANSFORMERS_OFFLINE": "1", "HOME": "/"}
    hide_from_library(environ)
    assert environ == {"HOME": "/"}


def test_an_empty_environment_is_a_good_one() -> None:
    assert Settings.from_environment({}, section=S3Settings).job == Settings().job


def test_secrets_of_all_settings_stay_out_of_sight() -> None:
    environ = {
        facts.names[0]: '{"x": "sesame"}' if facts.parse in (header_map, storage_spec) else "sesame"
        for section in SECTIONS
        for _, facts in documented(section)
        if facts.secret and "<" not in facts.names[0]
    }
    assert len(environ) >= 5
    settings = Settings.from_environment(environ, section=S3Settings)
    assert "sesame" not in repr(settings)


STORAGE = {"access_key_id": "sesame-id", "secret_access_key": "sesame-key", "session_token": "sesame-session"}
SECRET_VALUES: dict[Callable[[str], object], tuple[str, tuple[str, ...]]] = {
    str: ("sesame-word", ("sesame-word",)),
    token: ("Bearer sesame-token", ("sesame-token",)),
    header_map: ('{"x-one": "sesame-one", "x-two": "sesame-two"}', ("sesame-one", "sesame-two")),
    storage_spec: (json.dumps(STORAGE), tuple(STORAGE.values())),
    proxy_endpoint: ("http://me:sesame-login@proxy.test:1", ("sesame-login", "bWU6c2VzYW1lLWxvZ2lu")),
}
"""For each parser of a secret: a value, and which part of it must not be shown."""
SECRET_VARIABLES = [
    (section, name, facts.parse)
    for section in SECTIONS
    for _, facts in documented(section)
    if facts.secret
    for name in facts.names
]


OWN_SECTIONS = {scheme.section for scheme in SCHEMES.values()}


@pytest.mark.parametrize(("section", "name", "parse"), SECRET_VARIABLES)
def test_a_variable_that_is_declared_secret_is_redacted(
    section: type[Any], name: str, parse: Callable[[str], object]
) -> None:
    text, hidden = SECRET_VALUES[parse]
    environ = {name.replace("<host>", "models.test"): text, "AIM_S3_AUTH_MODE": "chain"}
    own = section if section in OWN_SECTIONS else None
    redactor = Redactor(*Settings.from_environment(environ, section=own).secrets())
    for secret in hidden:
        assert redactor.redact(f"a {secret} of a user") == "a *** of a user"


def test_what_a_secret_is_declared_to_say_besides_is_no_secret() -> None:
    storage = json.dumps({"access_key_id": "anonymous", "region": "us-east-1"})
    for environ in ({"AWS_ACCESS_KEY_ID": ""}, {"AWS_SECRET_ACCESS_KEY": "anonymous"}, {"STORAGE_CONFIG": storage}):
        assert not any(Settings.from_environment(environ, section=S3Settings).secrets())


def test_secrets_are_found_in_every_section_and_kind_of_value() -> None:
    @dataclass(frozen=True)
    class Whole:
        example: Example

    assert sorted(secrets_of(Whole(Example(word="sesame", pin=7)))) == ["7", "sesame"]


def test_every_variable_is_documented_once() -> None:
    names = [name for section in SECTIONS for _, facts in documented(section) for name in facts.names]
    text = page()
    for name in names:
        assert f"`{name}`" in text
    for section in SECTIONS:
        for _, facts in documented(section):
            assert facts.meaning
            assert facts.meaning in text
