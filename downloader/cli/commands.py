"""The commands and their options. Each reads the settings and starts a run; what it needs is imported then.

This module is long because each command is declared here, with all that its `--help` says.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from downloader.artifact import TransferProtocol
from downloader.cli import completion as shells
from downloader.cli import options
from downloader.config.signing import SignatureMode
from downloader.errors import UsageError
from downloader.formatting import format_count, format_size
from downloader.sources.registry import ArtifactUri, forms
from downloader.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.cli.context import CommandContext
    from downloader.config import Settings


log = logging.getLogger(__name__)

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


HELP = f"""Download an AI model artifact to a volume and verify every byte.

An artifact is named by a URI: {forms()}.
An interrupted download resumes when the same command is run again.
Results go to stdout, everything else to stderr. Names in brackets are environment variables.

A failure ends with a line that says what to do, and with one of these numbers: 64 usage, 65 wrong bytes, 66 no such
source, 69 network or server, 70 bug, 73 no space, 74 volume or output, 75 stall or another process, 77 access denied,
78 configuration or certificate, 129, 130 and 143 a signal. docs/exit-status.md explains each.
"""


class Commands(click.Group):
    """The group of all commands, some of which have a second name."""

    ALIASES: ClassVar = {"ls": "list"}

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the command of a name or an alias."""
        return super().get_command(context, self.ALIASES.get(name, name))


@click.group(cls=Commands, context_settings=CONTEXT, help=HELP)
@options.verbosity
@click.version_option(__version__, prog_name="artifact-downloader")
def cli() -> None:
    """Run one of the commands below."""


@cli.command(context_settings=CONTEXT)
@options.uri
@options.target
@options.hub_cache
@options.filters
@options.overriding("mirrors", "mirror_first", "trust_mirror")
@options.overriding("sequence", "connections", "bandwidth", "stall_timeout", "deadline")
@options.overriding("expect_digest", "expect_list", "require_digest", "accept_any", "replace", "prune")
@options.signatures
@options.overriding("formats")
@options.overriding("report", "bom", "metrics_file", "pushgateway")
@options.overriding("shard", "processes")
@click.option(
    "--dry-run", is_flag=True, help="Print the plan and change nothing; fail if the download would not start."
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan of --dry-run as one JSON object.")
@options.verbosity
@click.pass_obj
def download(
    context: CommandContext,
    /,
    uri: ArtifactUri,
    target: Path | None,
    hub_cache: Path | str | None,
    *,
    dry_run: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Download URI into TARGET [TARGET_DIR, else /cache].

    Intact files on the volume are kept; missing and damaged files are downloaded. A file gets its final name after it
    has been verified and synced. The checksum file, .artifact.sha256, is written last.
    """
    _check_protocols(uri, given["sequence"])
    if as_json and not dry_run:
        raise UsageError("--json prints the plan of --dry-run", hint="add --dry-run, or leave --json out")
    settings = context.settings(uri)
    if hub_cache is not None:
        given["hub_cache"] = _cache_for(settings, target, hub_cache)
    settings = _with_options(settings, target=target, **given)
    context.redactor.add(*settings.job.mirrors.secrets)
    if target is None and not settings.job.in_hub_cache and not context.environ.get("TARGET_DIR", "").strip():
        log.info("neither TARGET nor TARGET_DIR names a folder: %s is used", settings.job.target)
    if dry_run:
        from downloader.cli.plan import print_plan

        print_plan(uri, settings, context, as_json=as_json)
    else:
        from downloader.cli.download import download_artifact

        download_artifact(uri, settings, context)


@cli.command(context_settings=CONTEXT)
@options.uri
@options.filters
@options.accept_any
@options.verbosity
@click.pass_obj
def size(context: CommandContext, /, uri: ArtifactUri, **given: Any) -> None:  # noqa: ANN401
    """Print the size of a download of URI with these filters.

    The last line on stdout is a JSON object with the keys url and sizeBytes.
    """
    from downloader.api import list_files

    settings = _with_options(context.settings(uri), **given)
    runner = context.runner(settings.job.deadline, grace=0.0)  # a listing leaves nothing behind
    console = context.console(settings)
    try:
        artifact = list_files(uri, settings=settings, runner=runner, on_progress=console.report)
    finally:
        console.clear()
    log.info("%s in %s", format_size(artifact.size), format_count(artifact.count, "file"))
    context.logs.end()
    context.write(json.dumps({"url": context.redactor.redact(uri.shown), "sizeBytes": artifact.size}) + "\n")


@cli.command("list", context_settings=CONTEXT)
@options.uri
@options.filters
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.verbosity
@click.pass_obj
def list_(context: CommandContext, /, uri: ArtifactUri, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """List the files of URI with sizes and published digests; `ls` is the same.

    A minus marks the files that the filters leave out. The log names the presets for --only that fit the artifact.
    """
    from downloader.cli.listing import print_listing

    print_listing(uri, _with_options(context.settings(uri), **given), context, as_json=as_json)


@cli.command(context_settings=CONTEXT)
@options.optional_uri
@options.target
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/doctor.md) instead of lines.")
@options.filters
@options.overriding("mirrors", "sequence", "stall_timeout")
@options.verbosity
@click.pass_obj
def doctor(context: CommandContext, /, uri: ArtifactUri | Path | None, target: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Find out whether a download of URI into TARGET [TARGET_DIR, else /cache] would start, and why not.

    Prints a line for each check, marked ok, note or problem, with what to do about it. Without URI, only what does not
    depend on it is checked. Nothing is downloaded, and nothing stays on the target. The exit status is the one with
    which a download would fail, or 0.
    """
    from downloader.cli.doctor import examine

    if isinstance(uri, Path):
        if target is not None:
            raise UsageError(f"{uri} is a folder, not a URI", hint="see artifact-downloader doctor --help")
        uri, target = None, uri
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    examine(uri, target, context, **{"as_json": False, **chosen})


@cli.command(context_settings=CONTEXT)
@options.target
@options.verbosity
@click.pass_obj
def checksums(context: CommandContext, /, target: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Print the checksums of the artifact in TARGET [TARGET_DIR, else /cache], for `sha256sum -c`.

    They are read from its .artifact.sha256, or from extended attributes if the artifact is marked there.
    """
    from downloader.cli.verify import print_checksums

    print_checksums(_with_options(context.settings(), target=target, **given), context)


@cli.command(context_settings=CONTEXT)
@options.target
@options.revision
@options.verbosity
@click.pass_obj
def digest(context: CommandContext, /, target: Path | None, revision: str | None, **given: Any) -> None:  # noqa: ANN401
    """Print the digest of the artifact in TARGET [TARGET_DIR, else /cache]: one value for all of its files.

    It is read from the completion mark, and no file is hashed: `verify` does that. The exit status is 65 if TARGET has
    no mark. TARGET may be the folder of a repository in a cache of huggingface_hub, or one snapshot in it.
    """
    from downloader.cli.verify import print_digest

    print_digest(_with_options(context.settings(), target=target, **given), context, revision)


@cli.command(context_settings=CONTEXT)
@click.argument("shell", type=click.Choice(shells.SHELLS))
@click.pass_obj
def completion(context: CommandContext, /, shell: str) -> None:
    """Print the script that completes commands, options and files in SHELL.

    bash: eval "$(artifact-downloader completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc;
    fish: artifact-downloader completion fish > ~/.config/fish/completions/artifact-downloader.fish
    """
    context.write(shells.script(cli, shell) + "\n")


@cli.command(context_settings=CONTEXT, hidden=True)
@options.uri
@options.filters
@options.accept_any
@options.verbosity
@click.pass_context
def check_size(context: click.Context, /, uri: ArtifactUri, **given: Any) -> None:  # noqa: ANN401
    """Do what `size` does, with a log for the operator: the entry point `/check-size.sh`."""
    context.invoke(size, uri=uri, **given)


@cli.command(context_settings=CONTEXT)
@options.target
@options.revision
@options.overriding("expect_digest", "expect_list")
@options.filters
@options.accept_any
@options.signatures
@options.overriding("formats")
@options.verbosity
@click.pass_obj
def verify(
    context: CommandContext,
    /,
    target: Path | None,
    revision: str | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Verify the files in TARGET [TARGET_DIR, else /cache] against its .artifact.sha256, without network.

    Prints a line for each file that is damaged or missing; then the exit status is 65. TARGET may be the folder of a
    repository in a cache of huggingface_hub, or one snapshot in it. With a signer, the files must be what that signer
    has signed, and no others may be in the folder. With --formats, files beside them are judged, too.
    """
    from downloader.cli.verify import verify_target

    settings = _with_options(context.settings(), target=target, **given)
    verify_target(settings, context, revision)


@cli.command(context_settings=CONTEXT, hidden=True)
@options.uri
@options.verbosity
@click.pass_obj
def adapter_stage(context: CommandContext, /, uri: ArtifactUri) -> None:
    """Download an adapter onto the adapter disk and make it live: the entry point `/adapter-stage.sh`."""
    from downloader.cli.adapters import stage_adapter

    stage_adapter(uri, context)


@cli.command(context_settings=CONTEXT, hidden=True)
@options.verbosity
@click.pass_obj
def adapter_reap(context: CommandContext, /) -> None:
    """Remove from the adapter disk what no service needs: the entry point `/adapter-reap.sh`."""
    from downloader.cli.adapters import reap_adapters

    reap_adapters(context)


@cli.command(context_settings=CONTEXT, hidden=True)
@options.verbosity
@click.pass_obj
def adapter_sync(context: CommandContext, /) -> None:
    """Remove the adapters that a service no longer declares: the entry point `/adapter-subtree-sync.sh`."""
    from downloader.cli.adapters import sync_adapters

    sync_adapters(context)


@cli.command(context_settings=CONTEXT, hidden=True)
@click.argument("pairs", nargs=-1, required=True, metavar="SRC DEST [SRC DEST]...")
@options.verbosity
@click.pass_obj
def kserve(context: CommandContext, /, pairs: tuple[str, ...]) -> None:
    """Download each SRC into its DEST, one after the other: the entry point of KServe's storage initializer."""
    from downloader.cli.kserve import initialize

    if len(pairs) % 2:
        raise UsageError(f"{pairs[-1]!r} has no target folder", hint="give pairs of SRC and DEST")
    # All URIs are parsed before the first download: an invalid one must be reported before hours are spent on others.
    sources, targets = map(ArtifactUri.parse, pairs[::2]), map(Path, pairs[1::2])
    initialize(list(zip(sources, targets, strict=True)), context)


def _cache_for(settings: Settings, target: Path | None, given: Path | str) -> Path:
    """Return the cache that --hub-cache means. Raises UsageError beside a target, and if none is named anywhere."""
    if target is not None:
        hint = "leave TARGET out, or leave --hub-cache out for a plain folder"
        raise UsageError(f"--hub-cache fills a cache, and TARGET, {target}, is for a plain folder", hint=hint)
    cache = Path(given) if given else settings.hub.cache
    if cache is None:
        raise UsageError("--hub-cache has no folder, and HF_HUB_CACHE, HF_HOME and HOME are unset", hint="add DIR")
    return cache


def _check_protocols(uri: ArtifactUri, asked: Sequence[TransferProtocol] | None) -> None:
    """Raise UsageError if none of the protocols of the command line applies to this URI.

    Those of the environment are ignored instead: the operator sets them for all Jobs, whatever their source.
    """
    fitting = uri.scheme.fitting
    if asked and fitting.isdisjoint(asked):
        hint = f"use some of {', '.join(protocol for protocol in TransferProtocol if protocol in fitting)}"
        raise UsageError(f"--protocol {','.join(asked)} does not apply to {uri.prefix}", hint=hint)


def _with_options(settings: Settings, **given: Any) -> Settings:  # noqa: ANN401
    """Return the settings, overridden by the options that were given."""
    if given.get("signature_uri") is not None:
        given |= {"signature": SignatureMode.REQUIRE, "signature_uri": given["signature_uri"] or None}
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    return settings.overridden(**chosen)
