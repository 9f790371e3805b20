"""One page of a listing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_s3.type_defs import ObjectTypeDef


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a listing request."""

    objects: list[ObjectTypeDef]
    truncated: bool | None
    """Whether the server says that more follows; None if it says neither."""
    following: Mapping[str, str]
    """The parameter that asks for the next page, as the server named it; empty if it named none."""

    @property
    def is_last(self) -> bool:
        """The listing ends here. Without `IsTruncated`, only a page without objects ends it."""
        if self.truncated is None:
            return not (self.objects or self.following)
        return not (self.truncated or self.following)

    @property
    def first_key(self) -> str | None:
        """Where the page begins."""
        return next((item.get("Key") for item in self.objects), None)

    @property
    def last_key(self) -> str:
        """The key behind which the listing goes on."""
        return max((item.get("Key", "") for item in self.objects), default="")
