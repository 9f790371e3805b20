"""What to write in place of what a command line cannot mean: habits of other tools, and a shell that expands globs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

DETAILS = "--log-level debug logs every request"
FOLDER = "write the folder after the URI"
CONNECTIONS = "--connections NUMBER says how many there are"
HEADERS = "set AIM_HTTP_HEADERS, or AIM_HTTP_TOKEN"
RATE = "--bandwidth RATE limits it, such as --bandwidth 50M"
RESUMES = "leave it out: every run resumes, and fetches what is missing or damaged"
TRUST = "name the CA in AIM_CA_BUNDLE; nothing is read from a server that cannot be verified"
ELSEWHERE = {
    "--revision": "write it into the URI: hf://org/name@revision",
    "--repo-type": "write hf://datasets/org/name or hf://spaces/org/name",
    "--local-dir": FOLDER,
    "--output": FOLDER,
    "--dir": FOLDER,
    "-o": FOLDER,
    "-O": FOLDER,
    "-d": FOLDER,
    "--cache-dir": "--hub-cache=DIR fills a cache of huggingface_hub",
    "--token": "set HF_TOKEN, or log in once with hf auth login",
    "--endpoint": "set HF_ENDPOINT",
    "--endpoint-url": "set AWS_ENDPOINT_URL",
    "--profile": "set AWS_PROFILE",
    "--region": "set AWS_REGION",
    "--no-sign-request": "set AIM_S3_ANONYMOUS=true",
    "--max-workers": CONNECTIONS,
    "--numworkers": CONNECTIONS,
    "--transfers": CONNECTIONS,
    "--jobs": CONNECTIONS,
    "-j": CONNECTIONS,
    "-x": CONNECTIONS,
    "--limit-rate": RATE,
    "--bwlimit": RATE,
    "--continue": RESUMES,
    "--resume": RESUMES,
    "--force-download": RESUMES,
    "-c": RESUMES,
    "--checksum": "write the digest into the URI: https://host/file#sha256=…",
    "--header": HEADERS,
    "-H": HEADERS,
    "--proxy": "set HTTPS_PROXY",
    "--timeout": "--stall-timeout SECONDS is the time without a byte, --deadline SECONDS that of the whole run",
    "--verbose": DETAILS,
    "--debug": DETAILS,
    "-v": DETAILS,
    "--recursive": "leave it out: what is below a prefix or a folder is downloaded whole",
    "--no-verify-ssl": TRUST,
    "--no-check-certificate": TRUST,
    "--insecure": TRUST,
    "-k": TRUST,
}
"""Option of `hf`, `aws s3`, `s5cmd`, `rclone`, `curl`, `wget` or `aria2c` → what does the same here."""
GLOBS = ("--include", "--exclude")


def usage(error: click.ClickException, arguments: Sequence[str]) -> tuple[str, str]:
    """Return what is wrong with a command line, and what to write, or which help page tells that."""
    message = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.option_name in ELSEWHERE:
        return f"No such option {error.option_name!r}.", ELSEWHERE[error.option_name]
    if message.startswith("No such command") and any("/" in word for word in arguments):
        return message, "write artifact-downloader download URI TARGET"
    if message.startswith("Got unexpected extra argument") and any(word.startswith(GLOBS) for word in arguments):
        return message, "quote each glob and repeat the option: --include '*.json' --include '*.txt'"
    context = getattr(error, "ctx", None)
    return message, f"see {context.command_path} --help" if context is not None else ""
