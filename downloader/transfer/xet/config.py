"""How hf_xet is set up: bounded by the memory there is, quick to give up, silent, and overruled by HF_XET_*.

Measured with 1 GiB (hf_xet 1.8): the child's peak is roughly 100 MiB, half the buffer, and 1.3 spans for each stream.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from downloader.config.proxies import exceptions
from downloader.errors import ProtocolDown
from downloader.formatting import reason
from downloader.network import merged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from downloader.deadlines import Deadlines
    from downloader.sources import XetAccess
    from downloader.transfer.xet.child import ChildConfig

MIB = 1 << 20
SPAN = 16 * MIB
"""Bytes that one stream is asked for: larger ones need more memory, smaller ones more requests."""
SMALL_MEMORY, LARGE_MEMORY = 512 * MIB, 2048 * MIB
PREFIX = "HF_XET_"
HIGH_PERFORMANCE = ("HF_XET_HIGH_PERFORMANCE", "HF_XET_HP")
HIGH_PERFORMANCE_NEEDS = 16 << 30
TRUST = "trust.pem"
OURS = {"HF_XET_LOG_DEST", "HF_XET_CACHE", "HF_XET_TELEMETRY_ENABLED"}
PASSED_ON = (
    "PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "RUST_LOG", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip
NO_PROXY = ("NO_PROXY", "no_proxy")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class XetSettings:
    """Numbers for one machine, and what the user says about it."""

    memory: int
    """Bytes that we may use at all."""
    deadlines: Deadlines
    environment: Mapping[str, str]
    scratch_folder: Path
    bundles: Sequence[Path] = ()
    """PEM files with CAs to trust besides the usual ones."""
    threads: int = 0
    """Of hf_xet's runtime, which has one for each CPU of the machine if this is 0: many where several processes run."""

    @property
    def streams(self) -> int:
        """Spans that are fetched at once."""
        if self.memory < SMALL_MEMORY:
            return 2
        return 4 if self.memory < LARGE_MEMORY else 8

    @property
    def buffers(self) -> int:
        """Bytes that hf_xet may fetch ahead of us."""
        if self.memory < SMALL_MEMORY:
            return 32 * MIB
        return 64 * MIB if self.memory < LARGE_MEMORY else 128 * MIB

    def child_config(self, access: XetAccess) -> ChildConfig:
        """Return what the child needs, without the sockets, which `XetProcess` adds."""
        hf_xet = {name: value for name, value in self._config().items() if not self._chosen_by_user(name)}
        return {
            "endpoint": access.endpoint,
            "token": access.token,
            "expires": access.expires,
            "refresh_url": access.refresh_url,
            "refresh_headers": dict(access.refresh_headers),
            "hf_xet": hf_xet,
            "channels": [],
            "control": -1,
        }

    @contextlib.contextmanager
    def scratch(self) -> Iterator[dict[str, str]]:
        """Give the child's environment, with a private scratch folder that is removed afterwards.

        Raises ProtocolDown where no scratch folder can be made.
        """
        try:
            self.scratch_folder.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="xet-", dir=self.scratch_folder))
        except OSError as error:
            raise ProtocolDown(
                f"Xet has no scratch folder: {reason(error)}", hint="let HF_HOME name a writable one"
            ) from error
        try:
            yield self._child_environment(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _config(self) -> dict[str, Any]:
        return {
            "client.connect_timeout": "3s",
            "client.read_timeout": f"{self.deadlines.xet_read}s",
            "client.retry_max_attempts": 2,
            "client.retry_base_delay": "200ms",
            "reconstruction.download_buffer_size": self.buffers,
            "reconstruction.download_buffer_perfile_size": 0,
            "reconstruction.download_buffer_limit": self.buffers,
            "chunk_cache.size_bytes": 0,
            "telemetry.enabled": False,
        }

    def _chosen_by_user(self, name: str) -> bool:
        return PREFIX + name.upper().replace(".", "_") in self.environment

    def _child_environment(self, folder: Path) -> dict[str, str]:
        given = {name: value for name, value in self.environment.items() if name.startswith(PREFIX)}
        if self.memory < HIGH_PERFORMANCE_NEEDS:
            for name in HIGH_PERFORMANCE:
                if given.pop(name, None):
                    log.warning("ignoring %s: its buffers do not fit into %d MiB", name, self.memory // MIB)
        chosen = sorted(name for name in given if name not in OURS)
        if chosen:
            log.info("user settings for Xet: %s", ", ".join(f"{name}={given[name]}" for name in chosen))
        environment = {name: self.environment[name] for name in PASSED_ON if name in self.environment}
        # Its client knows no blanks between the names.
        environment |= {name: ",".join(exceptions(environment[name])) for name in NO_PROXY if name in environment}
        environment |= given
        environment |= {"HF_XET_CACHE": str(folder), "HF_XET_LOG_DEST": "/dev/null", "HF_XET_TELEMETRY_ENABLED": "0"}
        if self.threads:
            environment["TOKIO_WORKER_THREADS"] = str(self.threads)
        if self.bundles:
            environment["SSL_CERT_FILE"] = str(self._merged_trust(folder))
        return environment

    def _merged_trust(self, folder: Path) -> Path:
        """Write all trusted CAs to one file: SSL_CERT_FILE replaces those that hf_xet would trust."""
        path = folder / TRUST
        try:
            path.write_bytes(merged(self.bundles))
        except OSError as error:
            raise ProtocolDown(f"Xet cannot be told whom to trust: {reason(error)}") from error
        return path
