"""Options of the command line are made from the fields that they override."""

from __future__ import annotations

import click
import pytest

from downloader.cli.commands import cli
from downloader.config.given import VARIABLES

OPTIONS = {name: facts for name, facts in VARIABLES.items() if facts.option}


def option_of(field: str) -> click.Parameter:
    (found,) = (parameter for parameter in cli.commands["download"].params if parameter.name == field)
    return found


@pytest.mark.parametrize("field", sorted(OPTIONS.keys() - {"log_level", "log_format"}))
def test_a_download_has_each_option_with_the_meaning_of_its_variable(field: str) -> None:
    option, facts = option_of(field), OPTIONS[field]
    assert isinstance(option, click.Option)
    assert option.opts == [facts.option.partition(" ")[0]]
    assert option.help is not None
    assert option.help.lower().startswith(facts.meaning.lower().replace("`", ""))
    assert facts.names[0] in option.help


def test_what_is_not_given_leaves_the_environment_alone() -> None:
    context = cli.commands["download"].make_context("download", ["hf://org/model"])
    given = {name: value for name, value in context.params.items() if name != "uri"}
    assert set(given) == {*OPTIONS, "target", "hub_cache", "signature_uri", "dry_run", "as_json"} - {
        "log_level",
        "log_format",
    }
    assert not any(given.values())
