"""Sources that read from the S3 services of the suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import botocore.session
import pytest

from downloader import integrity
from downloader.config.env import read
from downloader.config.proxies import ProxySettings
from downloader.config.s3 import S3Settings
from downloader.network import HttpClient
from downloader.network.pool import Timeouts
from downloader.network.proxies import Proxies
from downloader.network.tls import Trust
from downloader.sources.s3 import S3Source
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from downloader.filters import FileFilter
    from tests.servers.s3 import S3Server


TIMEOUTS = Timeouts(AT_LAST, AT_LAST)


@pytest.fixture(scope="session", autouse=True)
def sdk_descriptions() -> Iterator[None]:
    """Let the SDK read its descriptions of services once instead of once for each source."""
    loader = botocore.session.create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lambda *_: loader)
        yield


@pytest.fixture(params=["s3", pytest.param("ceph", marks=pytest.mark.slow)])
def strict_s3(request: pytest.FixtureRequest) -> S3Server:
    """Each S3 service that takes any key, has versions and several accounts."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def plain_web() -> Iterator[HttpClient]:
    """The HTTP client that sources share: reading the trusted certificates takes longer than most tests."""
    web = HttpClient(Trust(), Proxies(), user_agent="tests", timeouts=TIMEOUTS, content=integrity)
    yield web
    web.close()


@pytest.fixture
def s3_source(
    plain_web: HttpClient, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., S3Source]]:
    """Make a source from a URI and the variables of a Job; the SDK sees nothing of this machine's environment."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    webs: list[HttpClient] = []

    def make(
        uri: str, environ: Mapping[str, str], file_filter: FileFilter | None = None, *, skip_unsafe: bool = False
    ) -> S3Source:
        problems: list[str] = []
        settings = S3Settings.from_environment(environ, problems)
        assert problems == []
        if settings.verify and not settings.trusted and "HTTP_PROXY" not in environ:
            return S3Source(uri, settings, plain_web, (), file_filter, skip_unsafe=skip_unsafe)
        tls = Trust(settings.trusted, verify=settings.verify)
        webs.append(
            HttpClient(
                tls,
                Proxies(read(ProxySettings, environ, problems)),
                user_agent="tests",
                timeouts=TIMEOUTS,
                content=integrity,
            )
        )
        return S3Source(uri, settings, webs[-1], (), file_filter, skip_unsafe=skip_unsafe)

    yield make
    for web in webs:
        web.close()
