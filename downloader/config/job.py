"""The settings of the run itself: target, places, protocols, limits, checks and log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.artifact import Completion, Layout
from downloader.config.env import count, flag, items, member, path, present, seconds, variable
from downloader.config.file_location import FileLocation, file_location
from downloader.config.job_values import (
    DROP,
    artifact_digest,
    bandwidth,
    page_cache,
    preset,
    protocols,
    unsafe_names,
    volume_timeout,
)
from downloader.config.mirrors import Mirrors, mirrors
from downloader.deadlines import LEASE_TTL, PROGRESS_INTERVAL, STALL_TIMEOUT, VOLUME_TIMEOUT

if TYPE_CHECKING:
    from downloader.artifact import TransferProtocol
    from downloader.presets import Preset

MAX_BYTES = 1 << 62
CONNECTIONS, MAX_CONNECTIONS = 8, 16
"""Connections of a process at the start, and at most while more increase throughput, unless the user sets a number."""
TERMINATION_LOG = Path("/dev/termination-log")
"""Where the kubelet reads the termination message by default."""
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """The run: target, protocols, limits and log."""

    target: Path = variable(
        "TARGET_DIR", "folder that the artifact is downloaded to", parse=path, default=Path("/cache")
    )
    layout: Layout = variable(
        "AIM_LAYOUT",
        "`folder`, or `hub-cache`: `download hf://…` fills the cache of huggingface_hub that HF_HUB_CACHE or HF_HOME"
        " names, and TARGET_DIR has no effect",
        parse=member(Layout),
        default=Layout.FOLDER,
    )
    hub_cache: Path | None = None
    """The cache to fill in place of the one that the environment names. It means the layout of a cache, too."""
    sequence: tuple[TransferProtocol, ...] = variable(
        "AIM_DOWNLOADER_PROTOCOL",
        "protocols to try, in order; a name may repeat, and names that do not apply to the source are ignored",
        parse=protocols,
        default=(),
        default_text="hf `XET,HF_TRANSFER,HTTP`, s3 `S3,HTTP`, http(s) `RANGES,HTTP`, file `FILE`",
        option="--protocol LIST",
    )
    mirrors: Mirrors = variable(
        "AIM_MIRRORS",
        "other places of the same artifact, asked for bytes in this order; `origin` stands for the artifact's own URI,"
        " which otherwise is the first (docs/mirrors.md)",
        parse=mirrors,
        default=Mirrors(),
        default_text="none",
        option="--mirror URI",
    )
    mirror_first: bool = variable(
        "AIM_MIRROR_FIRST",
        "ask the mirrors for bytes before the artifact's own URI",
        parse=flag,
        default=False,
        option="--mirror-first",
    )
    trust_mirror: bool = variable(
        "AIM_TRUST_MIRROR",
        "if the artifact's own URI cannot be asked and names a commit, believe a mirror that says that its files are of"
        " this commit",
        parse=flag,
        default=False,
        option="--trust-mirror",
    )
    include: tuple[str, ...] = variable(
        "AIM_HF_INCLUDE",
        "globs: download only files that match one of them; `*` also matches `/`, and `folder/` matches all files below"
        " it",
        parse=items,
        default=(),
        option="--include GLOB",
    )
    only: Preset | None = variable(
        "AIM_ONLY",
        "download the weights in one format only: `safetensors`, or GGUF in one quantisation, such as `gguf:Q4_K_M`;"
        " files without weights are kept",
        parse=preset,
        default=None,
        option="--only PRESET",
    )
    exclude: tuple[str, ...] = variable(
        "AIM_HF_EXCLUDE",
        "globs: do not download files that match one of them; `*/*` excludes all subfolders",
        parse=items,
        default=(),
        option="--exclude GLOB",
    )
    expected_size: int | None = variable(
        "EXPECTED_SIZE_BYTES",
        "total size in bytes that is shown until the source has been listed",
        parse=count(0, MAX_BYTES),
    )
    stall_timeout: float = variable(
        "STALL_TIMEOUT",
        "seconds without a byte before the next protocol is tried",
        parse=seconds,
        default=STALL_TIMEOUT,
        option="--stall-timeout SECONDS",
    )
    volume_timeout: float = variable(
        "DU_TIMEOUT",
        "seconds that a file operation may take before the volume counts as stuck; invalid values mean the default",
        parse=volume_timeout,
        default=VOLUME_TIMEOUT,
    )
    progress_interval: float = variable(
        "PROGRESS_INTERVAL", "minimum seconds between progress reports", parse=seconds, default=PROGRESS_INTERVAL
    )
    deadline: float | None = variable(
        "AIM_DEADLINE", "time limit of the whole run in seconds", parse=seconds, option="--deadline SECONDS"
    )
    bandwidth: int | None = variable(
        "AIM_BANDWIDTH",
        "bandwidth limit in bytes per second, such as `200M`",
        parse=bandwidth,
        option="--bandwidth RATE",
    )
    connections: int | None = variable(
        "AIM_CONNECTIONS",
        "number of concurrent connections, of all processes together; over XET, number of concurrent ranges, at most 8",
        parse=count(1, 64),
        default_text=f"two per CPU up to {CONNECTIONS}, and up to {MAX_CONNECTIONS} while that increases throughput;"
        " of several processes, each",
        option="--connections NUMBER",
    )
    keep_metadata_on_failure: bool = variable(
        "AIM_KEEP_METADATA_ON_FAILURE",
        "keep the working state after a failed verification",
        parse=present,
        default=False,
    )
    unsafe_names: str = variable(
        "AIM_UNSAFE_NAMES",
        "S3 keys with `.` or `..` between slashes, which would lead out of the folder: `skip` skips them with a"
        " warning, `refuse` ends the run",
        parse=unsafe_names,
        default="",
        default_text="`skip` in the operator's Jobs, otherwise `refuse`",
    )
    expect_digest: str = variable(
        "AIM_EXPECTED_DIGEST",
        "digest that the whole artifact must have, as a run, `digest` and `verify` print it: `sha256:` and 64"
        " hexadecimal digits; otherwise nothing is published",
        parse=artifact_digest,
        default="",
        option="--expect-digest DIGEST",
    )
    expect_list: FileLocation | None = variable(
        "AIM_EXPECTED_LIST",
        "file, or URI of a file, that lists every file of the artifact with its sha256 as `sha256sum` does; otherwise"
        " nothing is published",
        parse=file_location,
        option="--expect-list FILE|URI",
    )
    require_digest: bool = variable(
        "AIM_REQUIRE_DIGEST",
        "fail if a file has no digest to verify",
        parse=flag,
        default=False,
        option="--require-digest",
    )
    accept_any: bool = variable(
        "AIM_ACCEPT_ANY",
        "accept files whose content is not what their names say, such as an HTML page or a Git LFS pointer",
        parse=flag,
        default=False,
        option="--accept-any",
    )
    completion: Completion = variable(
        "AIM_COMPLETION",
        "where a finished artifact is marked: `file` (.artifact.sha256), `xattr` (extended attributes, so that the"
        " volume contains only the source's files) or `none` (a rerun hashes all files)",
        parse=member(Completion),
        default=Completion.AUTO,
        default_text="`auto`: `xattr` for an s3:// artifact with ARTIFACT_NAME, otherwise `file`",
    )
    keep_pages: bool = variable(
        "AIM_PAGE_CACHE",
        "`keep` leaves files in the page cache as far as memory allows, for a server on this node that loads them next;"
        " `drop` writes past it",
        parse=page_cache,
        default=False,
        default_text=f"`{DROP}`",
    )
    replace: bool = variable(
        "AIM_REPLACE",
        "allow an artifact to replace files of another one in its target; what AIM_PRUNE removes is removed, too",
        parse=flag,
        default=False,
        option="--replace",
    )
    prune: bool = variable(
        "AIM_PRUNE",
        "after a newer revision is complete, remove the files that only an older revision of the same artifact had;"
        " files that were changed since, and those of other artifacts and programs, are kept",
        parse=flag,
        default=False,
        option="--prune",
    )
    lease_ttl: float = variable(
        "AIM_LEASE_TTL",
        "seconds without a heartbeat after which the lease of another pod can be taken over",
        parse=seconds,
        default=LEASE_TTL,
    )
    log_level: str = variable(
        "AIM_LOG_LEVEL",
        "`debug`, `info`, `warning` or `error`; other values mean the default, with a warning",
        default="info",
        option="--log-level LEVEL",
    )
    log_format: str = variable(
        "AIM_LOG_FORMAT",
        "`text`, or `json` for one object per line (docs/events.md); other values mean the default, with a warning",
        default="text",
        option="--log-format FORMAT",
    )
    termination_log: Path = variable(
        "AIM_TERMINATION_LOG", "file for the termination message", parse=path, default=TERMINATION_LOG
    )

    @property
    def in_hub_cache(self) -> bool:
        """Whether a download fills a cache of huggingface_hub in place of the target."""
        return self.hub_cache is not None or self.layout == Layout.HUB_CACHE
