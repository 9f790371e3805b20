"""A CRD's structural schema as the API server applies it: pruning, defaults, validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, FormatChecker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema import ValidationError

_INTEGERS = FormatChecker(formats=())


@_INTEGERS.checks("int32")
def _fits_int32(value: object) -> bool:
    return not isinstance(value, int) or -(1 << 31) <= value < 1 << 31


@_INTEGERS.checks("int64")
def _fits_int64(value: object) -> bool:
    return not isinstance(value, int) or -(1 << 63) <= value < 1 << 63


@dataclass(frozen=True)
class Cause:
    """One reason why an object is invalid."""

    field: str
    reason: str
    message: str


class Schema:
    """The `openAPIV3Schema` of one version of a CRD."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._validator = Draft202012Validator(document, format_checker=_INTEGERS)

    def prune(self, thing: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the object without the fields that the schema does not know, and the paths of these."""
        unknown: list[str] = []
        return self._prune(thing, self._document, "", unknown), unknown

    def _prune(self, value: Any, schema: Mapping[str, Any], path: str, unknown: list[str]) -> Any:
        # An object without properties, such as metadata, is opaque here.
        if not isinstance(value, dict) or "properties" not in schema:
            return value
        kept = {}
        for name, part in value.items():
            where = f"{path}.{name}".lstrip(".")
            if name in schema["properties"]:
                kept[name] = self._prune(part, schema["properties"][name], where, unknown)
            else:
                unknown.append(where)
        return kept

    def fill_defaults(self, thing: dict[str, Any]) -> None:
        """Set each absent field that has a default, in objects that are there."""
        self._fill_defaults(thing, self._document)

    def _fill_defaults(self, value: Any, schema: Mapping[str, Any]) -> None:
        if not isinstance(value, dict):
            return
        for name, part in schema.get("properties", {}).items():
            if "default" in part:
                value.setdefault(name, part["default"])
            self._fill_defaults(value.get(name), part)

    def problems(self, thing: dict[str, Any]) -> list[Cause]:
        """Return everything that is wrong with the object."""
        return list(self._problems(thing))

    def _problems(self, thing: dict[str, Any]) -> Iterator[Cause]:
        for error in self._validator.iter_errors(thing):
            yield _cause(error)


def _cause(error: ValidationError) -> Cause:
    field = ".".join(map(str, error.absolute_path))
    allowed: Any = error.validator_value
    match error.validator:
        case "type":
            reason, message = "FieldValueTypeInvalid", f"Invalid value: {field} in body must be of type {allowed}"
        case "enum":
            supported = ", ".join(f'"{value}"' for value in allowed)
            reason, message = "FieldValueNotSupported", f"Unsupported value: supported values: {supported}"
        case "maximum":
            reason, message = "FieldValueInvalid", f"Invalid value: {field} in body should be less than or equal to"
            message += f" {allowed}"
        case "minimum":
            reason, message = "FieldValueInvalid", f"Invalid value: {field} in body should be greater than or equal to"
            message += f" {allowed}"
        case "required":
            reason, message = "FieldValueRequired", f"Required value: {error.message}"
        case _:
            reason, message = "FieldValueInvalid", f"Invalid value: {error.message}"
    return Cause(field, reason, message)
