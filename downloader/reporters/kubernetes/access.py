"""Where the API server is, and what its responses mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.config.cluster import SERVICE_ACCOUNT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from downloader.config import ClusterSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """One AIMArtifact, and how its API server is reached."""

    host: str
    """A name or an IP address, IPv6 without brackets."""
    port: int
    namespace: str
    name: str
    interval: float = 10.0
    """Minimum seconds between two patches if only numbers have changed."""
    service_account: Path = SERVICE_ACCOUNT

    @classmethod
    def of(cls, cluster: ClusterSettings, interval: float) -> Self | None:
        """Return how the AIMArtifact is reached that the environment names; None if it names none, or no cluster."""
        if not (cluster.artifact_name and cluster.artifact_namespace and cluster.host):
            return None
        return cls(
            host=cluster.host,
            port=cluster.port,
            namespace=cluster.artifact_namespace,
            name=cluster.artifact_name,
            interval=interval,
            service_account=cluster.service_account,
        )

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://[{self.host}]:{self.port}" if ":" in self.host else f"https://{self.host}:{self.port}"

    @property
    def token_file(self) -> Path:
        """The bearer token. The kubelet replaces it during the run."""
        return self.service_account / "token"

    @property
    def ca_file(self) -> Path:
        """The CA that issued the API server's certificate."""
        return self.service_account / "ca.crt"


class NotWritten(Exception):
    """The status was not written. The reason is worded by us: the text of the server must not get into the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(NotWritten):
    """Sending the patch again soon would not help."""


class Busy(NotWritten):
    """The failure may pass: send it again, after `retry_after` seconds if the server names them."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
