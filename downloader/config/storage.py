"""KServe's variable with all settings of a storage service in one JSON object, which comes from a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.config.env import Malformed, json_object

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG, OVERRIDE = "STORAGE_CONFIG", "STORAGE_OVERRIDE_CONFIG"
MEANING = {
    "endpoint_url": "AWS_ENDPOINT_URL",
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "region": "AWS_REGION",
    "ca_bundle": "AWS_CA_BUNDLE",
    "verify_ssl": "S3_VERIFY_SSL",
    "anonymous": "awsAnonymousCredential",
}
"""The members that are used, and the variables with the same meaning."""
SECRET = ("access_key_id", "secret_access_key", "session_token")


class StorageSpec(dict[str, str]):
    """The members of KServe's object. The keys are secret; URLs and switches may be shown."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that the redactor has to remove."""
        return tuple(self[name] for name in SECRET if name in self)


def storage_spec(text: str) -> StorageSpec:
    """Parse STORAGE_CONFIG or STORAGE_OVERRIDE_CONFIG. Numbers and booleans are returned as text."""
    members = json_object(text)
    if not all(isinstance(value, str | int | float | None) for value in members.values()):
        raise Malformed("a JSON object of strings, numbers and booleans")
    return StorageSpec({name: _text(value) for name, value in members.items()})


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_variables(values: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """Return the members of KServe's objects as variables; the second object overrides the first.

    Empty members are ignored. An object for another kind of storage adds a line to `problems`. One that cannot be
    parsed is ignored here: its variable is reported as invalid.
    """
    found: dict[str, str] = {}
    for name in (CONFIG, OVERRIDE):
        try:
            found |= storage_spec(values.get(name, "").strip() or "{}")
        except Malformed:
            continue
    kind = found.get("type", "s3")
    if kind != "s3":
        problems.append(f"{CONFIG}: its type is {kind[:40]!r}, and only s3 is served")
    return {variable: found[member] for member, variable in MEANING.items() if found.get(member, "").strip()}
