"""The objects of a page of a listing, read from its XML by a shorter way than botocore's.

botocore reads a page twice: to see whether it is an error in spite of its status, and by the descriptions that it has
of each element. Together that was half the time of a listing. It lets handlers of `before-parse` hand over what they
have read themselves. Where a page is not as plain as every known server writes it, nothing is handed over and botocore
reads all of it.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = ("before-parse.*.ListObjects", "before-parse.*.ListObjectsV2")
"""With `*` they come before those of `before-parse.s3.*`, and botocore's look for errors reads only what is left."""
OPENING, CLOSING = b"<Contents>", b"</Contents>"
DECLARATION = b"<!"
"""Begins a comment, a DTD and raw text, of which no plain page has any."""
FIELDS = frozenset({"Key", "Size", "ETag", "StorageClass"})
TRUNCATED = re.compile(rb"<IsTruncated>([^<]{0,40})</IsTruncated>")
PLAIN = ([b"true"], [b"false"])
SAYS = {b"true": True, b"1": True, b"false": False, b"0": False}


def read_contents(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Take the objects out of a page before botocore reads the rest of it, and hand them over in botocore's form."""
    body = response_dict["body"]
    if response_dict["status_code"] != HTTPStatus.OK or not isinstance(body, bytes):
        return
    start, stop = body.find(OPENING), body.rfind(CLOSING) + len(CLOSING)
    if not 0 <= start < stop or DECLARATION in body:
        return
    try:
        # No larger than a page, and without a DTD: nothing in it can grow.
        contents = ET.fromstring(b"<all>" + body[start:stop] + b"</all>")  # noqa: S314
        objects = list(_objects(contents))
    except (ET.ParseError, ValueError, KeyError):
        return
    customized_response_dict["Contents"] = objects
    response_dict["body"] = body[:start] + body[stop:]


def read_truncation(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Hand over whether more follows, where botocore would misread it: to it all but `true` means that this is all."""
    body = response_dict["body"]
    said = TRUNCATED.findall(body) if response_dict["status_code"] == HTTPStatus.OK and isinstance(body, bytes) else []
    if said and said not in PLAIN:
        customized_response_dict["IsTruncated"] = SAYS.get(said[0].strip().lower()) if len(said) == 1 else None


def _objects(contents: ET.Element) -> Iterator[dict[str, str | int]]:
    """Yield the fields of each object that are used. Raises ValueError or KeyError for anything but objects."""
    for element in contents:
        if element.tag != "Contents":
            raise ValueError(element.tag)
        found: dict[str, str | int] = {}
        for field in element:
            if field.tag in FIELDS:
                if len(field) or field.tag in found:
                    raise ValueError(field.tag)
                found[field.tag] = field.text or ""
        found["Size"] = int(found["Size"])
        yield {"Key": found["Key"], **found}
