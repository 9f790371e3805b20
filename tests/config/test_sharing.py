"""The numbers of processes that share the work."""

from __future__ import annotations

import pytest

from downloader.config import Settings
from downloader.config.sharing import Shard
from downloader.errors import ConfigurationError

TWO_OF_FOUR = {"AIM_DOWNLOADER_SHARDS": "4", "JOB_COMPLETION_INDEX": "2"}


@pytest.mark.parametrize(
    ("environ", "pod", "place"),
    [
        ({}, None, None),
        ({"JOB_COMPLETION_INDEX": "2"}, None, None),
        (TWO_OF_FOUR, Shard(2, 4), Shard(2, 4)),
        ({**TWO_OF_FOUR, "AIM_SHARD": "1/3"}, Shard(1, 3), Shard(1, 3)),
        ({"AIM_SHARD": "0/1"}, None, None),
        ({"AIM_PROCESSES": "3"}, None, Shard(0, 3)),
        ({**TWO_OF_FOUR, "AIM_PROCESSES": "3"}, Shard(2, 4), Shard(6, 12)),
    ],
    ids=["alone", "an index alone", "a pod", "an option", "one of one", "processes", "processes of a pod"],
)
def test_the_place_of_a_process_follows_from_pod_and_processes(
    environ: dict[str, str], pod: Shard | None, place: Shard | None
) -> None:
    sharing = Settings.from_environment(environ).sharing
    assert sharing.pod == pod
    assert sharing.place(sharing.count) == place


@pytest.mark.parametrize("text", ["1", "4/4", "-1/4", "1/4/2", "a/b", "0/9999", "٣/4"])
def test_other_shards_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="AIM_SHARD"):
        Settings.from_environment({"AIM_SHARD": text})


def test_other_numbers_of_processes_are_refused() -> None:
    for text in ("0", "65", "many"):
        with pytest.raises(ConfigurationError, match=r"AIM_PROCESSES: .* is not auto or"):
            Settings.from_environment({"AIM_PROCESSES": text})
    assert Settings.from_environment({"AIM_PROCESSES": "auto"}).sharing.automatic
    assert not Settings.from_environment({}).sharing.automatic
