"""Error responses of an S3 server, and the credentials that they were given for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING

from downloader.formatting import single_line
from downloader.network import host_of

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

CODE = re.compile(rb"<Code>([A-Za-z0-9._-]{1,80})</Code>")
MESSAGE = re.compile(rb"<Message>([^<]{1,1000})</Message>")
MAX_SENTENCE_LENGTH = 200
"""Characters of a server's own words that are passed on."""
ANSWERED_BY, ANSWERED_WITH = "x-answered-by", "x-answered-with"
"""Headers that our client adds to each answer before botocore reads it: errors have to name the host, and the status,
of which botocore makes 500 where it cannot read the answer."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks the server: a denial is explained by it."""

    unsigned: str = ""
    """Why requests are not signed; empty if they are."""
    provider: str = ""
    """Where the credentials come from, if not from the two variables."""


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error response of an S3 server."""

    status: int
    code: str
    host: str = ""
    sentence: str = ""
    """The server's own words, in one line."""

    @classmethod
    def of(cls, error: ClientError) -> ErrorResponse:
        """Read botocore's error."""
        told = error.response.get("ResponseMetadata", {})
        headers, found = told.get("HTTPHeaders", {}), error.response.get("Error", {})
        read_with = told.get("HTTPStatusCode", 0)
        status = int(headers.get(ANSWERED_WITH, read_with))
        code, sentence = str(found.get("Code") or read_with), str(found.get("Message") or "")
        if code == str(read_with):
            # botocore's own, for an answer without an error that it could read.
            code, sentence = str(status), sentence if status == read_with else ""
        return cls(status, code, headers.get(ANSWERED_BY, ""), _sentence(sentence))

    @classmethod
    def read(cls, status: int, body: bytes, url: str) -> ErrorResponse:
        """Read a response of our own client; `url` is where it came from."""
        code, message = CODE.search(body), MESSAGE.search(body)
        sentence = unescape(message.group(1).decode(errors="replace")) if message else ""
        return cls(status, code.group(1).decode() if code else str(status), host_of(url), _sentence(sentence))

    @property
    def told(self) -> str:
        """Status, code and host, to name in a message."""
        code = "" if self.code == str(self.status) else f" {self.code}"
        return f"S3 {self.status}{code}" + (f" from {self.host}" if self.host else "")

    @property
    def in_its_words(self) -> str:
        """The server's own sentence, to follow ours; empty where it says nothing that the code does not say."""
        bare = "".join(filter(str.isalnum, self.sentence)).lower()
        return f'; it says "{self.sentence}"' if bare and bare != self.code.lower() else ""


def _sentence(text: str) -> str:
    return single_line(text, MAX_SENTENCE_LENGTH)
