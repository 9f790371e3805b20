"""The Python API: what `from downloader import …` offers. The command line is built on it.

Nothing here is global: each call reads its settings once, and starts and ends threads of its own. Several calls may run
at once in one process, each with its own progress and cancellation. No signal is handled and nothing is printed; log
records go to the logger `downloader`.

This module is long because callers find here what each function promises and what each option means.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from downloader.artifact import Layout
from downloader.config import Settings
from downloader.config.given import given
from downloader.errors import UsageError
from downloader.formatting import format_count
from downloader.integrity import artifact_digest
from downloader.presets import available
from downloader.reporters.fanout import FanOut
from downloader.runs.download import Download
from downloader.runs.runner import Runner
from downloader.runs.size import list_artifact
from downloader.runs.verify import read_recorded, verify_volume
from downloader.runs.wiring import make_filter, unfiltered
from downloader.sources.registry import ArtifactUri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias, Unpack

    from downloader.artifact import Manifest, TransferProtocol
    from downloader.cancellation import Cancellation
    from downloader.config.addresses import Endpoint
    from downloader.config.file_location import FileLocation
    from downloader.config.formats import FormatPolicy
    from downloader.config.mirrors import Mirrors
    from downloader.config.sharing import Shard
    from downloader.config.signing import SignatureMode
    from downloader.doctor import Diagnosis, Finding
    from downloader.engine import Outcome, Preview
    from downloader.hub_cache import CachedRepository
    from downloader.presets import Preset
    from downloader.progress import Snapshot
    from downloader.redaction import Redactor
    from downloader.reporters import Reporter
    from downloader.reporters.run_report import RunReport
    from downloader.runs.ending import Ending
    from downloader.volume import Verification

    Progress: TypeAlias = Callable[[Snapshot], None]
    """Gets a snapshot of the run twice a second and at its end, in a thread of the run. It must not block."""


class Options(TypedDict, total=False):
    """What may be said of one run in place of its environment variable. `docs/environment.md` has the defaults.

    A value may be a text, too, and then means what it means in the variable.
    """

    include: tuple[str, ...] | list[str] | str
    """Globs, or one; only files that match one are wanted. `*` crosses `/`."""
    exclude: tuple[str, ...] | list[str] | str
    """Globs, or one; files that match one are not wanted."""
    only: Preset | str
    """Weights in one format, such as `safetensors` or `gguf:Q4_K_M`, and the files without weights."""
    mirrors: Mirrors | list[str] | str
    """URIs of other places that have the artifact, in the order in which they are asked for bytes."""
    mirror_first: bool
    """Ask the mirrors before the artifact's own URI."""
    trust_mirror: bool
    """Believe a mirror about the commit in the URI, if the artifact's own URI cannot be asked."""
    sequence: tuple[TransferProtocol, ...] | str
    """The protocols to use, in this order, such as `XET,HTTP`."""
    connections: int
    """Connections at once."""
    bandwidth: int | str
    """Bytes a second, at most, such as `200M`."""
    stall_timeout: float | str
    """Seconds without a byte after which an attempt is given up, or a duration such as `2m`."""
    deadline: float | str
    """Seconds after which the run fails, or a duration such as `2h`."""
    expect_digest: str
    """The artifact digest, `sha256:…`, without which nothing is published."""
    expect_list: FileLocation | Path | str
    """File or URI of a list of all files with their sha256, without which nothing is published."""
    require_digest: bool
    """Fail if a file has no digest that can be checked."""
    accept_any: bool
    """Accept files whose content contradicts their name."""
    replace: bool
    """Allow files of another artifact in the target to be replaced; `prune` is implied."""
    prune: bool
    """Remove the files that only an older revision of the artifact had, once the newer one is complete."""
    report: Path | str
    """File for a JSON summary of the run."""
    bom: Path | str
    """File for a bill of materials of the artifact, in CycloneDX."""
    metrics_file: Path | str
    """File for metrics of the run; its name ends in `.prom`."""
    pushgateway: Endpoint | str
    """URL of the Pushgateway that metrics of the run are sent to."""
    signature: SignatureMode | str
    """`require`: fail unless the named signer has signed the artifact; `warn`: only log it."""
    signature_uri: FileLocation | Path | str
    """File or URI of the signature, if it is not in the artifact."""
    signer_key: Path | str
    """PEM file of the public key whose owner must have signed."""
    signer_ca: Path | str
    """PEM file of the authorities of which one must have certified the signer."""
    signer_identity: str
    """E-mail address or URI in the signer's certificate."""
    signer_issuer: str
    """Of a keyless signature: URL of the OpenID Connect provider."""
    signer_trust_root: Path | str
    """Of a keyless signature: file with the trusted root of Sigstore."""
    formats: FormatPolicy | str
    """`safe`: fail if a file may run code when the model is loaded; `warn`: only log it."""
    shard: Shard | str
    """`I/N`, such as `0/4`: this is one of N runs, on one machine or many, that fill the volume together."""
    processes: int | str
    """How many processes share the work of this run, or `auto`; one if nothing is said."""
    layout: Layout | str
    """With `hub-cache`, `download` fills the cache of huggingface_hub that HF_HUB_CACHE or HF_HOME names."""


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One file of an artifact."""

    path: str
    """Relative to the artifact's folder, with `/` between parts."""
    size: int | None
    """Bytes; None if the server does not say."""
    digests: Mapping[str, str]
    """What the source publishes of the content: algorithm → value. Empty if it publishes nothing."""
    sha256: str | None = None
    """The digest of the file on the volume, after a download."""
    verified_by: str | None = None
    """After a download: the algorithm that verified it, or `size only`, `etag unverifiable` or `unknown`."""
    chosen: bool = True
    """The filters choose it. Others are only in a listing of everything."""


class Artifact:
    """An artifact at one revision. Its files are made when they are looked at: there may be 100,000 of them."""

    def __init__(self, manifest: Manifest, outcome: Outcome | None = None, chosen: Manifest | None = None) -> None:
        self._manifest = manifest
        self._outcome = outcome
        self._chosen = chosen or manifest

    def __repr__(self) -> str:
        return f"<Artifact {self.uri} at {self.revision}: {format_count(self.count, 'file')}, {self.size} bytes>"

    @property
    def uri(self) -> str:
        """The URI as given, without secrets."""
        return self._manifest.uri

    @property
    def revision(self) -> str | None:
        """The commit, where the source has commits."""
        return self._manifest.revision

    @property
    def count(self) -> int:
        """The number of files."""
        return len(self._manifest.files)

    @property
    def size(self) -> int:
        """Bytes of all files whose size is known."""
        return self._manifest.size

    @property
    def digest(self) -> str | None:
        """After a download, the artifact digest, `sha256:…`, over the sha256 and the path of each file."""
        return (self._outcome and self._outcome.digest) or None

    @property
    def presets(self) -> tuple[Preset, ...]:
        """The presets that have weights to choose here: values of the option `only`."""
        return tuple(available([file.path for file in self._manifest.files]))

    @cached_property
    def files(self) -> tuple[ArtifactFile, ...]:
        """The files, sorted by path."""
        outcome, chosen = self._outcome, {file.path for file in self._chosen.files}
        checksums, proofs = (outcome.checksums, outcome.proofs) if outcome else ({}, {})
        return tuple(
            ArtifactFile(
                file.path,
                file.size if file.sized or outcome else None,
                {str(digest.algorithm): digest.value for digest in file.digests},
                checksums.get(file.path),
                proofs.get(file.path),
                file.path in chosen,
            )
            for file in self._manifest.files
        )


def download(
    uri: str | ArtifactUri,
    target: str | Path | None = None,
    *,
    hub_cache: str | Path | None = None,
    on_progress: Progress | None = None,
    reporters: Iterable[Reporter] = (),
    cancellation: Cancellation | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    runner: Runner | None = None,
    ended: Callable[[Ending], None] | None = None,
    on_report: Callable[[RunReport], None] | None = None,
    **options: Unpack[Options],
) -> Artifact:
    """Download the artifact that `uri` names into the folder `target`, and verify every byte of it.

    Files that are there and right are kept; after a failure, the next call downloads only what is missing. Another
    thread ends the run with `cancellation.cancel()`.

    Variables are read from `environ`, by default the process's own; `TARGET_DIR` stands in for a missing `target`. A
    caller that has read them gives `settings`; one that handles signals gives a `runner`. `reporters` get snapshots
    and are closed at the end; then `ended` is called with the ending of the run. `on_report` gets the report of the
    run, also where it fails.

    With `hub_cache`, or `layout="hub-cache"`, a cache of huggingface_hub is filled instead of the target.

    Raises a `DownloadError`; `docs/exit-status.md` lists its kinds.
    """
    artifact = _parsed(uri)
    environ = _environment(environ)
    settings = _settings(settings, environ, artifact, target, options)
    settings, cache = _layout(artifact, settings, hub_cache)
    outcome = Download(
        artifact,
        settings,
        runner or Runner(settings.job.deadline, cancellation=cancellation),
        [*reporters, *([OnProgress(on_progress)] if on_progress is not None else [])],
        environment=environ,
        cache=cache,
        ended=ended or _ignore,
        on_report=on_report,
    ).run()
    return Artifact(outcome.manifest, outcome)


def plan(
    uri: str | ArtifactUri,
    target: str | Path | None = None,
    *,
    hub_cache: str | Path | None = None,
    on_progress: Progress | None = None,
    cancellation: Cancellation | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    runner: Runner | None = None,
    **options: Unpack[Options],
) -> Preview:
    """Return what `download` would do, without changing or hashing anything. The parameters are those of `download`.

    What would keep it from starting is in `Preview.problems`. Raises a `DownloadError` where not even a plan can be
    made, because the artifact cannot be listed or the volume cannot be read.
    """
    artifact = _parsed(uri)
    environ = _environment(environ)
    settings = _settings(settings, environ, artifact, target, options)
    settings, cache = _layout(artifact, settings, hub_cache)
    runner = runner or Runner(settings.job.deadline, grace=0.0, cancellation=cancellation)
    return Download(artifact, settings, runner, environment=environ, cache=cache).preview(on_progress or _ignore)


def list_files(
    uri: str | ArtifactUri,
    *,
    on_progress: Progress | None = None,
    cancellation: Cancellation | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    runner: Runner | None = None,
    everything: bool = False,
    **options: Unpack[Options],
) -> Artifact:
    """Return the files that `download` would bring, without downloading them.

    With `everything`, return also those that the filters leave out, and those whose size the server does not tell.

    Raises a `DownloadError`: ProtocolFailed where the server does not tell the size of a file.
    """
    artifact = _parsed(uri)
    settings = _settings(settings, _environment(environ), artifact, None, options)
    # A listing leaves nothing behind: a cancelled one needs no time to put things in order.
    runner = runner or Runner(settings.job.deadline, grace=0.0, cancellation=cancellation)
    if not everything:
        return Artifact(list_artifact(artifact, settings, runner, _observer(on_progress)))
    manifest = list_artifact(artifact, unfiltered(settings), runner, _observer(on_progress), unsized=True)
    return Artifact(manifest, chosen=make_filter(settings).of(manifest))


def size(
    uri: str | ArtifactUri,
    *,
    cancellation: Cancellation | None = None,
    environ: Mapping[str, str] | None = None,
    **options: Unpack[Options],
) -> int:
    """Return the bytes that `download` would put on the volume. Raises a `DownloadError`."""
    return list_files(uri, cancellation=cancellation, environ=environ, **options).size


def verify(
    target: str | Path | None = None,
    *,
    revision: str | None = None,
    on_progress: Progress | None = None,
    cancellation: Cancellation | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    runner: Runner | None = None,
    **options: Unpack[Options],
) -> Verification:
    """Hash the files in `target`, compare them with the digests recorded there, and return what was found.

    In the folder of a repository in a cache of huggingface_hub, each snapshot is verified, or only the one of
    `revision`, which is a branch, a tag or a commit.

    Damaged files are in the result and raise nothing. Nothing is sent over a network.

    Raises a `DownloadError`: IntegrityError if nothing is recorded or nothing passes the filters.
    """
    settings = _settings(settings, _environment(environ), None, target, options)
    runner = runner or Runner(settings.job.deadline, cancellation=cancellation)
    return verify_volume(settings, runner, _observer(on_progress), revision=revision)


def digest(
    target: str | Path | None = None,
    *,
    revision: str | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    runner: Runner | None = None,
) -> str:
    """Return the artifact digest of the finished download in `target`, `sha256:…`, as it is recorded there.

    No file is hashed: `verify` does that. In the folder of a repository in a cache of huggingface_hub, it is that of
    the snapshot that was downloaded last, or of the one of `revision`, which is a branch, a tag or a commit.

    Raises a `DownloadError`: IntegrityError if nothing is recorded.
    """
    settings = _settings(settings, _environment(environ), None, target, {})
    return artifact_digest(read_recorded(settings, runner or Runner(settings.job.deadline), revision=revision).digests)


def diagnose(
    uri: str | ArtifactUri | None = None,
    target: str | Path | None = None,
    *,
    on_finding: Callable[[Finding], None] | None = None,
    cancellation: Cancellation | None = None,
    environ: Mapping[str, str] | None = None,
    runner: Runner | None = None,
    redactor: Redactor | None = None,
    for_operator: bool = False,
    **options: Unpack[Options],
) -> Diagnosis:
    """Find out whether `download` with the same arguments would start, and why not. Nothing is downloaded.

    Each check is a finding in words, with a remedy where it is not good; `on_finding` is called with each of them as
    soon as it is known. Without `uri` only what does not depend on it is checked. A check that hangs does not hold up
    the others, and ends after half a minute, or STALL_TIMEOUT if that is shorter. On the target, small files are
    made and removed again.

    An error that `download` would raise is in the result. Raises UsageError for a URI that cannot be understood, and
    the reason of a cancellation.
    """
    from downloader.doctor import diagnose as examine  # noqa: PLC0415 - paid for only where it is used

    artifact = None if uri is None else _parsed(uri)
    environ = _environment(environ)
    section = artifact.scheme.section if artifact else None
    settings, problems = Settings.read(environ, section=section, for_operator=for_operator)
    settings = _settings(settings, environ, artifact, target, options)
    cache = None
    if artifact is not None and settings.job.in_hub_cache:
        settings, cache = _layout(artifact, settings, None)
        settings = settings if cache else settings.overridden(layout=Layout.FOLDER)
    return examine(
        artifact,
        settings,
        problems,
        environ,
        runner or Runner(settings.job.deadline, grace=0.0, cancellation=cancellation),
        cache=cache,
        on_finding=on_finding or _ignore,
        redactor=redactor,
    )


class OnProgress:
    """A reporter that calls a function."""

    def __init__(self, function: Progress) -> None:
        self.report = function
        self.close = function


def _observer(on_progress: Progress | None) -> Progress:
    """Return a function that never raises."""
    return _ignore if on_progress is None else FanOut([OnProgress(on_progress)]).report


def _parsed(uri: str | ArtifactUri) -> ArtifactUri:
    return uri if isinstance(uri, ArtifactUri) else ArtifactUri.parse(uri)


def _environment(given: Mapping[str, str] | None) -> Mapping[str, str]:
    return dict(os.environ) if given is None else given


def _settings(
    settings: Settings | None,
    environ: Mapping[str, str],
    uri: ArtifactUri | None,
    target: str | Path | None,
    options: Options,
) -> Settings:
    if settings is None:
        settings = Settings.from_environment(environ, section=uri.scheme.section if uri else None)
    if unknown := sorted(options.keys() - Options.__annotations__.keys()):
        raise TypeError(f"{unknown[0]!r} is not an option; there are {', '.join(Options.__annotations__)}")
    chosen = given(options)
    if target is not None:
        chosen["target"] = _folder(target)
    return settings.overridden(**chosen) if chosen else settings


def _layout(
    uri: ArtifactUri, settings: Settings, hub_cache: str | Path | None
) -> tuple[Settings, CachedRepository | None]:
    """Return the settings of a run, and the repository's folder if it is to be in a cache of huggingface_hub."""
    if hub_cache is not None:
        settings = settings.overridden(hub_cache=_folder(hub_cache))
    if not settings.job.in_hub_cache:
        return settings, None
    from downloader.runs.hub_cache import layout_of  # noqa: PLC0415 - paid for only where a cache is filled

    return layout_of(uri, settings)


def _folder(target: str | Path) -> Path:
    """Return the folder that a program names. An empty name would mean the current folder."""
    if not str(target).strip():
        raise UsageError("the target is empty", hint="give the name of a folder")
    try:
        return Path(target).expanduser()  # no shell has done it
    except RuntimeError as error:
        raise UsageError(f"the target {str(target)!r} is below a home that is not known") from error


def _ignore(_: object) -> None:
    pass
