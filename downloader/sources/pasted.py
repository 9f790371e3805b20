"""What people paste in place of a URI: addresses of pages in a browser, names without a scheme, quotes around."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

from downloader.artifact import shown_url
from downloader.errors import UsageError
from downloader.sources.hub_address import PART, uri_of_page

if TYPE_CHECKING:
    from urllib.parse import SplitResult

HUB = frozenset({"huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"})
FILE_ROUTES = re.compile(r"/(?:datasets/|spaces/)?[^/]+/[^/]+/(?:resolve|raw)/.+")
"""These routes of the Hub answer with the file and not with a page about it."""
OTHER_PAGES = frozenset(
    {
        *("blog", "chat", "collections", "docs", "join", "learn", "login", "new", "organizations", "papers"),
        *("posts", "settings", "tasks"),
    }
)
"""What stands in the place of an organisation in addresses of the Hub that name no repository."""
PAGE_OF_REPOSITORY = re.compile(r"/(?P<name>(?:(?:datasets|spaces)/)?[^/]+/[^/]+)/.+")
CONSOLE = re.compile(r"(?:[a-z0-9-]+\.)?(?:s3\.)?console\.aws\.amazon\.com")
CONSOLE_PATH = re.compile(r"/s3/(?P<what>buckets|object)/(?P<bucket>[a-z0-9.-]+)/?")
PATH_STYLE = re.compile(r"s3(?:[.-][a-z0-9-]+)?(?:\.dualstack\.[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?")
VIRTUAL_HOST = re.compile(rf"(?P<bucket>[a-z0-9.-]+)\.{PATH_STYLE.pattern}")
QUOTES = "\"'`"
SHOWN = 120
"""Characters of a text that a message quotes."""


def canonical(text: str) -> str:
    """Return the URI that a pasted text means: without quotes and spaces around, and for a page what it shows.

    Raises UsageError for a page that shows no artifact, and for a name without a scheme: the message has the command.
    """
    text = _bare(text)
    if "://" not in text:
        return _with_scheme(text)
    parts = _split(text)
    if parts is None or parts.scheme.lower() not in ("http", "https"):
        return text
    host = (parts.hostname or "").lower()
    if host in HUB and not FILE_ROUTES.fullmatch(parts.path):
        return _of_hub_page(text, parts)
    if CONSOLE.fullmatch(host):
        return _of_console_page(text, parts)
    return text


def s3_uri(url: str) -> str:
    """Return the `s3://` URI of what an address of Amazon S3 names; empty for any other address, and a signed one.

    A server may hand out a public object at such an address, and answers 403 for any other one.
    """
    parts = _split(url)
    if parts is None or "x-amz-signature" in parts.query.lower():
        return ""
    host, path = (parts.hostname or "").lower(), unquote(parts.path)
    if PATH_STYLE.fullmatch(host):
        return f"s3:/{path}" if path.strip("/") else ""
    match = VIRTUAL_HOST.fullmatch(host)
    return f"s3://{match['bucket']}{path}" if match else ""


def _bare(text: str) -> str:
    """Remove spaces and pairs of quotes around a text: shells, YAML and chats leave them."""
    text = text.strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES:
        text = text[1:-1].strip()
    return text


def _split(text: str) -> SplitResult | None:
    try:
        return urlsplit(text)
    except ValueError:  # the source reports a malformed address
        return None


def _with_scheme(text: str) -> str:
    host = text.partition("/")[0].lower()
    if host in HUB or CONSOLE.fullmatch(host):
        return canonical(f"https://{text}")
    if text.startswith("/"):
        raise UsageError(
            f"{text[:SHOWN]!r} has no scheme", hint=f"for a folder of this machine write file://{quote(text)[:SHOWN]}"
        )
    repository = re.split("[@:]", text, maxsplit=1)[0]
    parts = repository.removeprefix("models/").removeprefix("datasets/").removeprefix("spaces/").split("/")
    if len(parts) > 1 and all(PART.fullmatch(part) for part in parts):
        raise UsageError(
            f"{shown_url(text)[:SHOWN]!r} has no scheme", hint=f"for a repository on the Hub write hf://{text[:SHOWN]}"
        )
    return text


def _of_hub_page(text: str, parts: SplitResult) -> str:
    # A branch or tag with a slash is one part of a page's path too, unless it is one of the Hub's own.
    path = re.sub(r"(/(?:tree|blob)/)refs/(pr|convert)/", r"\1refs%2F\2%2F", parts.path)
    elsewhere = path.split("/")[1] in OTHER_PAGES
    uri = None if elsewhere else uri_of_page(path)
    if uri is None:
        repository = None if elsewhere else PAGE_OF_REPOSITORY.fullmatch(path)
        name = repository["name"] if repository else "org/name"
        raise UsageError(
            f"{shown_url(text)[:SHOWN]!r} is a page of the Hub that shows no files", hint=f"write hf://{name}"
        )
    return uri


def _of_console_page(text: str, parts: SplitResult) -> str:
    match = CONSOLE_PATH.fullmatch(parts.path)
    if match is None:
        raise UsageError(
            f"{shown_url(text)[:SHOWN]!r} is a page of the AWS console that shows no objects",
            hint="write s3://bucket/prefix",
        )
    prefix = parse_qs(parts.query).get("prefix", [""])[0]
    return f"s3://{match['bucket']}/{prefix}"
