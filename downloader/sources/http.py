"""Plain web servers: one file, or a folder that says itself what it holds."""

from __future__ import annotations

import base64
import email.utils
import logging
import netrc
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, Span, shown_url
from downloader.errors import (
    AccessDenied,
    ConfigurationError,
    ConnectionBroken,
    DownloadError,
    ProtocolFailed,
    SourceChanged,
    SourceNotFound,
    UnexpectedContent,
    UsageError,
)
from downloader.filters import FileFilter, nothing_left
from downloader.formatting import reason
from downloader.integrity import (
    FRAGMENTS,
    HEAD,
    MARKER,
    SPECS,
    ContentCheck,
    instead,
    is_suspicious,
    parse_checksums,
    proves_itself,
)
from downloader.integrity import HINT as ACCEPT_ANY
from downloader.network import HttpStatusError, RangeRequest, is_encoded, unpacked
from downloader.sources.base import folder_of, version_of
from downloader.sources.http_digests import published
from downloader.sources.http_errors import map_status_error
from downloader.sources.paths import check_names
from downloader.sources.web_probe import HINT, WebProbe, validator_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from downloader.network import HttpClient, Response
    from downloader.sources.base import Body

CHECKSUM_FILES = (MARKER, "SHA256SUMS")
FRAGMENT = re.compile(rf"({'|'.join(FRAGMENTS)})[=:]([0-9a-fA-F]+)")
HUB_PAGE = re.compile(r"/(datasets/|spaces/)?([\w.-]+/[\w.-]+)(?:/(?:blob|tree|resolve|raw)/([^/]+)(/.*)?)?/?")
"""The path of a page about a repository or a file on the Hub."""
PARAMETER = re.compile(r';\s*([\w!#$%&*+.^`|~-]{1,40})\s*=\s*("(?:\\.|[^"\\])*"|[^;]*)')
"""A parameter of a field, such as `; filename="a b"`."""
CHARSETS = frozenset({"utf-8", "iso-8859-1"})
"""Those of RFC 8187 and of the one before it."""
HEAD_WORKERS = 2
PORTION = 256
"""Files whose sizes one of them asks for, many ahead: that is quicker than more threads. Trouble ends it."""
MAX_CHECKSUMS = 64 << 20
"""Bytes of a list: each of its files takes a request of its own, so that a longer one leads nowhere."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """A parsed `http(s)://` URI."""

    url: str
    """What is fetched: without user, password and fragment."""
    authorization: str = field(default="", repr=False)
    digest: Digest | None = None

    @classmethod
    def parse(cls, uri: str) -> HttpAddress:
        """Raise UsageError for anything that is not an http(s) URL with a host."""
        try:
            parts = urlsplit(uri)
            port = f":{parts.port}" if parts.port else ""
        except ValueError as error:
            raise UsageError(f"{shown_url(uri)} is not a web address: {error}") from error
        if not parts.hostname or not parts.hostname.isprintable():
            raise UsageError(f"{shown_url(uri)} names no host", hint="write http(s)://host/path")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        authorization = ""
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + base64.b64encode(secret.encode()).decode()
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        return cls(
            urlunsplit((parts.scheme, host + port, path, parts.query, "")), authorization, _fragment(parts.fragment)
        )

    @property
    def folder(self) -> bool:
        """The URI names a folder."""
        return urlsplit(self.url).path.endswith("/")

    def below(self, path: str) -> str:
        """Return the URL of a file in the folder; a query, which may hold a signature, is for every file."""
        folder, mark, query = self.url.partition("?")
        return folder + quote(path) + mark + query

    @property
    def name(self) -> str:
        """The last part of the path, decoded."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


def _fragment(fragment: str) -> Digest | None:
    if not fragment:
        return None
    match = FRAGMENT.fullmatch(fragment)
    if match is None or len(match.group(2)) != 2 * SPECS[Algorithm(match.group(1))].length:
        raise UsageError(f"#{fragment[:80]} is not a digest", hint="write #sha256= and 64 hexadecimal digits")
    return Digest(Algorithm(match.group(1)), match.group(2).lower())


class HttpSource:
    """Lists and reads one file, or a folder with `.artifact.sha256` or `SHA256SUMS` in it."""

    def __init__(
        self,
        uri: str,
        web: HttpClient,
        headers: Mapping[str, str],
        netrc_file: Path | None = None,
        content: ContentCheck | None = None,
        *,
        selection: FileFilter | None = None,
    ) -> None:
        """Of a folder, leave out what `selection` does not keep: it is neither judged nor asked for."""
        self._uri = shown_url(uri)
        self._address = HttpAddress.parse(uri)
        self._web = web
        self._selection = selection or FileFilter()
        self._headers = _credentials(self._address, headers, netrc_file)
        self._parts_came: set[str] = set()
        """Files of which a part was handed out."""
        self._probe = WebProbe(web, self._headers)
        self._content = content or ContentCheck()
        self._probed: dict[tuple[str, str], RemoteFile] = {}
        """What was learned of a folder's files, by path and digest, before passing trouble made us list it again."""
        self._listed: tuple[str, bytes] | None = None
        """The checksum list that `version` has named, for the next manifest."""

    def version(self) -> str | None:
        """Name a folder's checksum list; None for a single file, which is one request in any case."""
        if not self._address.folder:
            return None
        self._listed = self._checksums()
        return version_of(self._uri, self._listed)

    def manifest(self) -> Manifest:
        """Return the manifest; sizes and validators come from one request for each file."""
        if self._address.folder:
            manifest = self._folder()
            self._probed.clear()
            return manifest
        reply, size = self._probe.describe(self._address.url, self._address.digest)
        file = self._read(reply, size, self._address.url, self._address.name, self._address.digest)
        check_names([file.path], self._uri)
        self._refuse_page(file, reply.headers.get("content-type", ""))
        return Manifest(self._uri, (file,), single=True, whole=folder_of(self._uri))

    def _refuse_page(self, file: RemoteFile, media_type: str) -> None:
        """Raise UnexpectedContent for a web page that is not called one, judged by its first bytes too."""
        if file.digests or not len(file.span) or not is_suspicious(file.path, media_type):
            return
        head = bytearray(min(HEAD, len(file.span)))
        with closing(self.open(file, file.span)) as body:
            filled = 0
            while filled < len(head) and (count := body.readinto(memoryview(head)[filled:])):
                filled += count
        found = self._content.instead(file.path, len(file.span), bytes(head), proved=False, media_type=media_type)
        if found:
            page = HUB_PAGE.fullmatch(urlsplit(self._address.url).path)
            hint = f"for a repository on the Hub write {_hub_uri(page)}" if page else ACCEPT_ANY
            raise UnexpectedContent(f"{self._uri}: {file.path} {found}", hint=hint)

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span."""
        request = self._request(file, span)
        try:
            body = self._web.open(request)
        except SourceChanged:
            self._probe.doubt(file.locator)
            raise
        except HttpStatusError as refusal:
            what = shown_url(file.locator)
            # Where parts came before, it is the access that has ended.
            part = not request.whole and file.locator not in self._parts_came
            raise map_status_error(refusal, what, hint=HINT, asked=file.locator, listed=True, part=part) from refusal
        if not request.whole:
            self._parts_came.add(file.locator)
        return body

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Ask for all that will be opened next."""
        self._web.prefetch([self._request(file, span) for file, span in pieces])

    def _request(self, file: RemoteFile, span: Span) -> RangeRequest:
        proved = proves_itself(file)
        size = file.size if file.sized else None
        return RangeRequest(file.locator, span, size, file.validator, self._headers, proved)

    def close(self) -> None:
        """Nothing to release: connections belong to the run."""

    def _folder(self) -> Manifest:
        (name, content), self._listed = self._listed or self._checksums(), None
        listed = {
            path: digest
            for path, digest in parse_checksums(content, f"{self._uri}{name}").files.items()
            if path not in (name, MARKER)
        }
        digests = {path: digest for path, digest in listed.items() if self._selection.wants(path)}
        if listed and not digests:
            raise nothing_left(len(listed), self._uri)
        check_names(digests, self._uri)
        unknown = [item for item in digests.items() if item not in self._probed]
        with ThreadPoolExecutor(HEAD_WORKERS, thread_name_prefix="head") as pool:
            list(pool.map(self._probe_all, (unknown[n : n + PORTION] for n in range(0, len(unknown), PORTION))))
        files = [self._probed[item] for item in digests.items()]
        files.sort(key=lambda file: file.path)
        if not files:
            raise SourceNotFound(f"{self._uri}{name} lists no files")
        version = version_of(self._uri, [name, content])
        whole = name == MARKER and len(digests) == len(listed)
        return Manifest(self._uri, tuple(files), version=version, checksums=content if whole else None)

    def _checksums(self) -> tuple[str, bytes]:
        if self._address.digest is not None:
            raise UsageError(f"{self._uri} is a folder: a digest in the URI is for a single file")
        first: DownloadError | None = None
        for name in CHECKSUM_FILES:
            reply = self._web.fetch(self._address.below(name), headers=self._headers, limit=MAX_CHECKSUMS)
            error = self._no_list(reply, name)
            if error is None:
                return name, _content(reply)
            if not isinstance(error, SourceNotFound | AccessDenied | UnexpectedContent):
                raise error
            if not isinstance(error, SourceNotFound):
                first = first or error
        if first is not None:
            raise first
        raise SourceNotFound(
            f"{self._uri} holds neither {CHECKSUM_FILES[0]} nor {CHECKSUM_FILES[1]}, so its files cannot be known",
            hint="name a single file, or put a checksum list into the folder",
        )

    def _no_list(self, reply: Response, name: str) -> DownloadError | None:
        """Return why an answer is no checksum list; None if it may be one.

        Many servers hand out no file whose name begins with a dot, and answer 403, or a page of their own.
        """
        if reply.status == HTTPStatus.OK:
            found = instead(name, len(reply.body), reply.body[:HEAD], vouched=False)
            return UnexpectedContent(f"{self._uri}{name} {found}", hint="check the URI") if found else None
        refusal = HttpStatusError(reply.status, reply.url, reply.headers, reply.body)
        return map_status_error(refusal, self._uri + name, hint=HINT, asked=self._address.url)

    def _probe_all(self, listed: Sequence[tuple[str, str]]) -> None:
        urls = [self._address.below(path) for path, _ in listed]
        digests = [Digest(Algorithm.SHA256, sha256) for _, sha256 in listed]
        described = self._probe.describe_all(urls, digests)
        for (path, sha256), url, digest, (reply, size) in zip(listed, urls, digests, described, strict=True):
            self._probed[path, sha256] = self._read(reply, size, url, path, digest)

    def _read(self, reply: Response, size: int | None, url: str, path: str, digest: Digest | None) -> RemoteFile:
        """Return what an answer tells of a file; of digests only if none is known."""
        if not self._address.folder:
            path = proposed_name(reply) or path
        # What is published of an answer that will be unpacked is of its packed bytes.
        packed = size is None and "content-encoding" in reply.headers
        told = () if packed else published(reply.headers, whole=reply.status == HTTPStatus.OK)
        digests = (digest,) if digest is not None else told
        # Nodes behind one name may differ in their validators, and a digest that the user knows is the truth.
        known = self._address.digest is not None or self._probe.is_doubted(url)
        validator = None if known else validator_of(reply)
        return RemoteFile(path, size or 0, digests, validator, url, sized=size is not None)


def _content(reply: Response) -> bytes:
    """Return a checksum list. Raise if it may have been cut: what is left of one looks like a list of fewer files."""
    if is_encoded(reply.headers):
        # The coding has an end of its own, and a checksum.
        return unpacked(reply.body, reply.headers, MAX_CHECKSUMS, shown_url(reply.url))
    if reply.complete:
        return reply.body
    where = shown_url(reply.url)
    if urlsplit(reply.url).scheme == "https":
        raise ConnectionBroken(f"{where} ended in the middle: no length was sent, and no close_notify")
    raise ProtocolFailed(
        f"{where} is sent without its length, so nobody can tell whether it is complete",
        hint="let the server send Content-Length, or chunks",
    )


def _hub_uri(page: re.Match[str]) -> str:
    """Return the hf:// URI of what a page of the Hub shows."""
    kind, repository, revision, path = page.groups(default="")
    return f"hf://{kind}{repository}" + (f"@{revision}" if revision not in ("", "main") else "") + path.rstrip("/")


def proposed_name(reply: Response) -> str | None:
    """Return the name that the server proposes for the file: of its path only the last part, as RFC 6266 wants it."""
    found = PARAMETER.findall(reply.headers.get("content-disposition", ""))
    parameters = {name.lower(): email.utils.unquote(text.strip()) for name, text in reversed(found)}
    # The plain form is the stopgap, in ASCII, for those who do not know the other one.
    proposed = _extended(parameters.get("filename*", "")) or parameters.get("filename", "")
    name = proposed.replace("\\", "/").rpartition("/")[2]
    return name if name not in ("", ".", "..") else None


def _extended(value: str) -> str:
    """Return a value in the notation of RFC 8187, `UTF-8'en'a%20name`; empty if it is not in it."""
    charset, _, rest = value.partition("'")
    _, mark, text = rest.partition("'")
    if not mark or charset.lower() not in CHARSETS:
        return ""
    try:
        return unquote(text, encoding=charset, errors="strict")
    except UnicodeDecodeError:
        return ""


def _credentials(address: HttpAddress, headers: Mapping[str, str], netrc_file: Path | None) -> dict[str, str]:
    """Return the headers for the URI's own origin; what the URI says beats the environment, that beats netrc."""
    chosen = {name.lower(): value for name, value in headers.items()}
    if address.authorization:
        chosen["authorization"] = address.authorization
    if "authorization" not in chosen and netrc_file is not None and _is_there(netrc_file):
        try:
            entry = netrc.netrc(str(netrc_file)).authenticators(urlsplit(address.url).hostname or "")
        except netrc.NetrcParseError as error:  # its message quotes words, and they may be passwords
            why = f"line {error.lineno} is not as in a netrc file"
            raise ConfigurationError(f"{netrc_file} cannot be read: {why}", hint="mend or remove it") from error
        except (OSError, UnicodeError) as error:
            raise ConfigurationError(
                f"{netrc_file} cannot be read: {reason(error)}", hint="mend or remove it"
            ) from error
        if entry is not None:
            secret = f"{entry[0]}:{entry[2]}"
            chosen["authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
    return chosen


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError as error:  # a home that is closed to a random user, for example
        log.warning("%s cannot be looked for: %s", file, error.strerror)
        return False
