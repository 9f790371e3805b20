"""Values that all packages share: a digest, a byte range, a file and what pins it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class TransferProtocol(StrEnum):
    """A way to move bytes, named as in `AIM_DOWNLOADER_PROTOCOL`."""

    XET = "XET"
    HF_TRANSFER = "HF_TRANSFER"
    RANGES = "RANGES"
    HTTP = "HTTP"
    S3 = "S3"
    FILE = "FILE"


class Completion(StrEnum):
    """Where the mark of a finished artifact lives, as in `AIM_COMPLETION`."""

    AUTO = "auto"
    FILE = "file"
    XATTR = "xattr"
    NONE = "none"


class Layout(StrEnum):
    """How an artifact is laid out on its volume, as in `AIM_LAYOUT`."""

    FOLDER = "folder"
    """Its files under their own names, in the target folder."""
    HUB_CACHE = "hub-cache"
    """A cache of huggingface_hub: blobs, snapshots and references."""


class Algorithm(StrEnum):
    """A digest that a source may publish for a file. The names are also what `verify` prints."""

    SHA256 = "sha256"
    SHA512 = "sha512"
    SHA1 = "sha1"
    GIT_SHA1 = "git-sha1"
    MD5 = "md5"
    CRC64NVME = "crc64nvme"
    CRC32C = "crc32c"
    CRC32 = "crc32"
    ETAG = "etag"
    """The MD5 of the MD5s of the parts that an object was uploaded in; the others below are made the same way."""
    SHA256_PARTS = "sha256-parts"
    SHA1_PARTS = "sha1-parts"
    CRC32C_PARTS = "crc32c-parts"
    CRC32_PARTS = "crc32-parts"


class Mismatch(Enum):
    """What it means if the bytes have another digest than the one that was published."""

    DAMAGE = "damage"
    """The bytes are wrong."""
    AMBIGUOUS = "ambiguous"
    """The bytes are wrong, or the server means something else by what it publishes: another look will tell."""
    NOTHING = "nothing"
    """The digest was worth a try: how it is made could only be guessed."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A published digest: lowercase hexadecimal, most significant byte first also for the CRCs.

    The value of a digest of parts ends in `-` and their number.
    """

    algorithm: Algorithm
    value: str
    layouts: tuple[tuple[int, ...], ...] = ()
    """Of a digest of parts: how the file may have been cut. Each is the parts' sizes in bytes, the last one repeats."""
    mismatch: Mismatch = Mismatch.DAMAGE
    expected: bool = False
    """It is not published by the source: the user's own list of digests has it."""

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes `start <= offset < stop` of a file."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"bytes {self.start}-{self.stop - 1}"


MAX_FILES = 1_000_000
"""Files that an artifact may have: a listing of more is refused."""
UNKNOWN_END = 1 << 62
"""The end of a file whose size is unknown."""
MAX_SIZE = 10**18 - 1
"""Bytes. No file has more, whatever a server says: positions in it fit into 64 bits, and are before `UNKNOWN_END`."""


@dataclass(frozen=True, slots=True)
class Validator:
    """Identifies one version of a file over HTTP (RFC 9110, section 8.8): an entity tag, or a date if it has none."""

    value: str
    """The field value of `ETag` or `Last-Modified`."""
    is_date: bool = False

    @classmethod
    def of(cls, tag: str | None) -> Validator | None:
        """Return the validator of an entity tag; None where there is no tag."""
        return cls(tag) if tag else None

    @property
    def is_strong(self) -> bool:
        """Whether `If-Match` may name it: equal tags mean equal bytes."""
        # One that is not ASCII is compared and not sent: no two programs agree about its encoding.
        return not self.is_date and not self.value.startswith("W/") and self.value.isascii()

    def __str__(self) -> str:
        """Return it as it enters a file's identity. Partials of earlier releases are found by this form."""
        return f"modified:{self.value}" if self.is_date else self.value


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of an artifact, pinned: the same value always means the same bytes."""

    path: str
    """Where the file goes, relative to the target folder, `/` between parts."""
    size: int
    """Bytes."""
    digests: tuple[Digest, ...] = ()
    """What the source publishes of the content, the strongest first."""
    validator: Validator | None = None
    """What must not change while ranges are read; None where the source does not send it with each response."""
    locator: str = ""
    """Where its source finds it: a URL, a key. Only that source reads it."""
    version: str | None = None
    """The object's version where the store keeps several."""
    xet_hash: str | None = None
    """The Xet file hash, where the Hub stores the file in Xet."""
    sized: bool = True
    """The source tells the size. Else `size` is 0 until the file has been read to its end, in one stream."""
    _identity: str = field(default="", init=False, compare=False, repr=False)

    @property
    def span(self) -> Span:
        """All bytes of the file; as many as can be where the source does not tell how many that is."""
        return Span(0, self.size if self.sized else UNKNOWN_END)

    def with_size(self, size: int) -> RemoteFile:
        """Return a file of unknown size with the `size` in bytes that it turned out to have."""
        return replace(self, size=size)

    def served_as(self, other: RemoteFile) -> RemoteFile:
        """Return this file as it is asked for at another place, which has the same bytes under `other`."""
        where = other.locator or (other.path if other.path != self.path else "")
        file = replace(self, locator=where, validator=other.validator, version=other.version, xet_hash=other.xet_hash)
        object.__setattr__(file, "_identity", self.identity)
        return file

    @property
    def identity(self) -> str:
        """Names the content: equal for equal bytes, and safe as a file name (32 hex digits). Computed once."""
        if self._identity:
            return self._identity
        # Without what the user's list says: a file is the same with it and without it, and so is its partial.
        published = [str(digest) for digest in self.digests if not digest.expected]
        facts = (self.path, str(self.size) if self.sized else "?", *published)
        if not published:
            facts += (unsigned_url(self.locator), str(self.validator or ""), self.version or "")
        identity = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]
        object.__setattr__(self, "_identity", identity)
        return identity


SIGNATURES = (
    ("x-amz-signature", re.compile(r"x-amz-.+")),
    ("x-goog-signature", re.compile(r"x-goog-.+")),
    ("x-oss-signature", re.compile(r"x-oss-.+")),
    ("q-signature", re.compile(r"q-.+|x-cos-security-token")),
    ("signature", re.compile(r"signature|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid|ossaccesskeyid")),
    ("signature", re.compile(r"security-token|x-amz-security-token")),
    ("sig", re.compile(r"sig|s[eiprtv]|spr|sip|sk(?:oid|tid|t|e|s|v)")),
)
"""What holds a signature, and the names of what belongs to it: AWS, GCS, OSS, COS, CloudFront and the like, Azure."""


def unsigned_url(url: str) -> str:
    """Return a URL without the signature that lets it be read for a while: what is left names the same object."""
    address, mark, query = url.partition("?")
    if not mark or "://" not in address:
        return url
    parameters = [(part, part.partition("=")[0].lower()) for part in query.split("&")]
    names = {name for _, name in parameters}
    signed = [belongs for signature, belongs in SIGNATURES if signature in names]
    kept = [part for part, name in parameters if not any(belongs.fullmatch(name) for belongs in signed)]
    return address + mark * bool(kept) + "&".join(kept)


def is_within(path: str, folder: str) -> bool:
    """Tell whether a path is that of a folder or file, or of something in it; everything is in the empty one."""
    return not folder or path == folder or path.startswith(f"{folder}/")


def folders_above(paths: Iterable[str]) -> set[str]:
    """Return every folder that one of these paths is in, at any depth; the root does not count."""
    folders: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def shown_url(url: str) -> str:
    """Return a URL as it may be shown: no user, no password, no query, no fragment."""
    head, separator, rest = url.partition("://")
    if not separator:
        return url
    authority, slash, path = rest.partition("/")
    path = path.split("?", 1)[0].split("#", 1)[0]
    return f"{head}://{authority.rpartition('@')[2].split('?', 1)[0].split('#', 1)[0]}{slash}{path}"
