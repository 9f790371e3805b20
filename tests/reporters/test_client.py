"""What the API server's answers mean, beyond their status."""

from __future__ import annotations

from email.utils import formatdate
from time import time

import pytest
from kubernetes.client.exceptions import ApiException

from downloader.reporters.kubernetes import client


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("7", 7),
        ("soon", None),
        pytest.param("9" * 5000, None, id="beyond an int"),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_a_pause_is_read_as_seconds(field: str | None, seconds: float | None) -> None:
    error = ApiException(status=429)
    error.headers = {} if field is None else {"Retry-After": field}
    assert client.retry_after_of(error) == seconds


def test_a_pause_is_read_as_a_date() -> None:
    error = ApiException(status=429)
    error.headers = {"Retry-After": formatdate(time() + 3600, usegmt=True)}
    assert client.retry_after_of(error) == pytest.approx(3600, abs=900)
