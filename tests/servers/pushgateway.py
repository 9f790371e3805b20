"""A Prometheus Pushgateway as its README describes it: groups by path, PUT replaces one, POST the metrics it brings."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.servers.closable import Closable
from tests.servers.faults import Faults
from tests.servers.messages import Log, Reply
from tests.servers.origin import Server

if TYPE_CHECKING:
    import ssl

    from prometheus_client.core import Metric

    from tests.servers.messages import Request

Group = dict[str, str]


class Pushgateway(Closable):
    """Keeps the families of each group; with a `login`, only for who has it."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.login = ""
        self.faults = Faults()
        self.log = Log()
        self.groups: dict[tuple[tuple[str, str], ...], dict[str, Metric]] = {}
        self._lock = threading.Lock()
        self._server = Server(self._answer, self.faults, self.log, tls=tls)
        self.address = f"127.0.0.1:{self._server.port}"
        self.url = f"http{'s' * (tls is not None)}://{self.address}"

    def close(self) -> None:
        self._server.close()

    def value(self, name: str, **labels: str) -> float:
        """Return the value of the one sample of that name with these labels among others."""
        (found,) = (
            sample.value
            for families in self.groups.values()
            for family in families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
        return found

    def _answer(self, request: Request) -> Reply:
        basic = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and request.headers.get("authorization") != basic:
            return Reply("push", 401, {"WWW-Authenticate": "Basic"})
        first, *parts = request.target.strip("/").split("/")
        if first != "metrics" or len(parts) % 2 or request.method not in ("PUT", "POST"):
            return Reply("push", 404)
        key = tuple(_label(name, value) for name, value in zip(parts[::2], parts[1::2], strict=True))
        try:
            brought = {family.name: family for family in text_string_to_metric_families(request.content.decode())}
        except ValueError:
            return Reply("push", 400, content=b"text format parsing error")
        with self._lock:
            kept = self.groups.get(key, {}) if request.method == "POST" else {}
            self.groups[key] = {**kept, **brought}
        return Reply("push", 200)


def _label(name: str, value: str) -> tuple[str, str]:
    plain = name.removesuffix("@base64")
    return (plain, value if plain == name else base64.urlsafe_b64decode(value).decode())
