"""What a kube-apiserver does with requests for one namespaced custom resource, without the network around it.

Only what a ServiceAccount with access to the status subresource can see is here: of the patch types it takes JSON merge
patches, and everything beside the resource is forbidden.
"""

from __future__ import annotations

import copy
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.servers import messages
from tests.servers.kubernetes_rbac import Attributes
from tests.servers.kubernetes_schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.servers.kubernetes_rbac import Rbac

MERGE_PATCH = "application/merge-patch+json"
ANONYMOUS = "system:anonymous"
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"GET": "list", "DELETE": "deletecollection"}


@dataclass(frozen=True, kw_only=True)
class Request(messages.Request):
    """What a client asked for, and with what in the body."""

    content: bytes = b""

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.content)


@dataclass(frozen=True)
class Answer:
    """What goes back: a JSON object."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


def status_object(code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make the `Status` that the API server sends with every refusal."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status |= {"message": message, "reason": reason, "code": code}
    return status | {"details": details} if details else status


class Refusal(Exception):
    """The request ends with this answer."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.answer = Answer(code, status_object(code, reason, message, details))


class Api:
    """The objects of one custom resource, and what may be done to them over HTTP. Not thread-safe."""

    def __init__(self, crd: Mapping[str, Any], rbac: Rbac, user_of: Callable[[str], str | None]) -> None:
        """`user_of` tells whose a bearer token is, None if it is not valid (any more)."""
        self.group: str = crd["spec"]["group"]
        self.plural: str = crd["spec"]["names"]["plural"]
        self.kind: str = crd["spec"]["names"]["kind"]
        self._resource = f"{self.plural}.{self.group}"
        (version,) = crd["spec"]["versions"]
        self.version: str = version["name"]
        self._schema = Schema(version["schema"]["openAPIV3Schema"])
        self._rbac = rbac
        self._user_of = user_of
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._histories: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._revision = 1000

    def user(self, request: Request) -> str:
        """Return who asks, or refuse a token that is not valid."""
        authorization = request.headers.get("authorization")
        if authorization is None:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        user = self._user_of(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        return user

    def answer(self, request: Request) -> Answer:
        """Do what is asked, if it is allowed."""
        try:
            user = self.user(request)
            wish = self._authorize(user, request)
            match request.method:
                case "GET":
                    return Answer(HTTPStatus.OK, self.read(wish.namespace, wish.name))
                case "PATCH":
                    return self._patch_status(wish.namespace, wish.name, request)
                case "PUT":
                    return self._put_status(wish.namespace, wish.name, request)
            raise ValueError(f"RBAC allows a request that is not implemented: {request.method} {request.target}")
        except Refusal as refusal:
            return refusal.answer

    def _authorize(self, user: str, request: Request) -> Attributes:
        wish = self._wish(request)
        if wish is None:
            path = urlsplit(request.target).path
            raise Refusal(403, "Forbidden", f'forbidden: User "{user}" cannot {request.method.lower()} path "{path}"')
        if not self._rbac.allows(user, wish):
            named = f'{self._resource} "{wish.name}"' if wish.name else self._resource
            where = f'in the namespace "{wish.namespace}"' if wish.namespace else "at the cluster scope"
            message = f'{named} is forbidden: User "{user}" cannot {wish.verb} resource "{wish.resource}"'
            message += f' in API group "{wish.group}" {where}'
            raise Refusal(403, "Forbidden", message, self._details(wish.name))
        return wish

    def _wish(self, request: Request) -> Attributes | None:
        match request.parts:
            case ("apis", self.group, self.version, "namespaces", namespace, self.plural, *rest):
                pass
            case ("apis", self.group, self.version, self.plural):
                namespace, rest = "", []
            case _:
                return None
        name, *subresource = rest or [""]
        verb = (_VERBS if name else _COLLECTION_VERBS | {"POST": "create"}).get(request.method, request.method.lower())
        return Attributes(verb, self.group, "/".join([self.plural, *subresource]), namespace, name)

    def create(self, namespace: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object, as its owner would; return it."""
        thing = {"apiVersion": f"{self.group}/{self.version}", "kind": self.kind, "spec": dict(spec)}
        pruned, _ = self._schema.prune(thing)
        self._validate(name, pruned)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "generation": 1}
        pruned["metadata"] = metadata | {"creationTimestamp": now, "resourceVersion": self._next_revision()}
        self._objects[namespace, name] = pruned
        self._histories.setdefault((namespace, name), [])
        return copy.deepcopy(pruned)

    def delete(self, namespace: str, name: str) -> None:
        """Remove an object, as its owner would. Its history stays."""
        del self._objects[namespace, name]

    def read(self, namespace: str, name: str) -> dict[str, Any]:
        """Return an object, or refuse with 404."""
        if (namespace, name) not in self._objects:
            raise Refusal(404, "NotFound", f'{self._resource} "{name}" not found', self._details(name))
        return copy.deepcopy(self._objects[namespace, name])

    def objects(self, namespace: str) -> list[dict[str, Any]]:
        """Return all objects of a namespace, by name."""
        return [copy.deepcopy(thing) for (place, _), thing in sorted(self._objects.items()) if place == namespace]

    def history(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """Return every status that an object had, oldest first; writes that changed nothing are not in it."""
        return copy.deepcopy(self._histories[namespace, name])

    def _patch_status(self, namespace: str, name: str, request: Request) -> Answer:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip()
        if content_type != MERGE_PATCH:
            message = "the body of the request was in an unknown format - accepted media types include: "
            raise Refusal(415, "UnsupportedMediaType", message + MERGE_PATCH)
        old = self.read(namespace, name)
        try:
            patch = request.json
        except ValueError as error:
            raise Refusal(400, "BadRequest", f"error decoding patch: {error}") from error
        if not isinstance(patch, dict):
            raise Refusal(400, "BadRequest", "error decoding patch: it is not an object")
        new, unknown = self._schema.prune(merge(old, patch))
        if unknown and request.query.get("fieldValidation") == "Strict":
            fields = ", ".join(f'unknown field "{path}"' for path in unknown)
            message = f' "" is invalid: patch: Invalid value: {patch}: strict decoding error: {fields}'
            raise Refusal(422, "Invalid", message)
        warnings = {"Warning": f'299 - "unknown field {json.dumps(unknown[0])}"'} if unknown else {}
        written = self.write_status(old, new, _manager(request), dry_run=_is_trial(request))
        return Answer(HTTPStatus.OK, written, warnings)

    def _put_status(self, namespace: str, name: str, request: Request) -> Answer:
        old = self.read(namespace, name)
        try:
            new, _ = self._schema.prune(request.json)
        except ValueError as error:
            raise Refusal(400, "BadRequest", f"cannot decode the body: {error}") from error
        if not new.get("metadata", {}).get("resourceVersion"):
            raise self._invalid(name, "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update")
        return Answer(HTTPStatus.OK, self.write_status(old, new, _manager(request), dry_run=_is_trial(request)))

    def write_status(
        self, old: dict[str, Any], new: dict[str, Any], manager: str, *, dry_run: bool = False
    ) -> dict[str, Any]:
        """Store the status of `new` in the object that was `old`, and nothing else of it; return what is stored.

        With `dry_run` return what would be stored, and store nothing.
        """
        name, namespace = old["metadata"]["name"], old["metadata"]["namespace"]
        # A foreign uid is ignored, as a real server does it in a patch.
        if new.get("metadata", {}).get("resourceVersion", version := old["metadata"]["resourceVersion"]) != version:
            message = f'Operation cannot be fulfilled on {self._resource} "{name}": the object has been modified; '
            message += "please apply your changes to the latest version and try again"
            raise Refusal(409, "Conflict", message, self._details(name))
        stored = {key: value for key, value in old.items() if key != "status"}
        if "status" in new:
            stored["status"] = copy.deepcopy(new["status"])
        self._schema.fill_defaults(stored)
        self._validate(name, stored)
        if stored != old:
            stored["metadata"] = dict(stored["metadata"])
            if not dry_run:
                stored["metadata"]["resourceVersion"] = self._next_revision()
            stored["metadata"]["managedFields"] = self._managers(old, manager)
            if dry_run:
                return stored
            self._objects[namespace, name] = stored
            self._histories[namespace, name].append(copy.deepcopy(stored.get("status", {})))
        return copy.deepcopy(self._objects[namespace, name])

    def _managers(self, old: dict[str, Any], manager: str) -> list[dict[str, Any]]:
        entry = {"manager": manager, "operation": "Update", "apiVersion": old["apiVersion"], "subresource": "status"}
        others = [one for one in old["metadata"].get("managedFields", []) if one["manager"] != manager]
        return [*others, entry]

    def _validate(self, name: str, thing: dict[str, Any]) -> None:
        problems = self._schema.problems(thing)
        if problems:
            causes = [{"reason": one.reason, "message": one.message, "field": one.field} for one in problems]
            raise self._invalid(name, "; ".join(f"{one.field}: {one.message}" for one in problems), causes)

    def _invalid(self, name: str, why: str, causes: list[dict[str, str]] | None = None) -> Refusal:
        details: dict[str, Any] = {"name": name, "group": self.group, "kind": self.kind, "causes": causes or []}
        return Refusal(422, "Invalid", f'{self.kind}.{self.group} "{name}" is invalid: {why}', details)

    def _details(self, name: str) -> dict[str, Any]:
        return {"group": self.group, "kind": self.plural} | ({"name": name} if name else {})

    def _next_revision(self) -> str:
        self._revision += 1
        return str(self._revision)


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396): objects are merged, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def _is_trial(request: Request) -> bool:
    """Tell whether a request changes nothing; refuse values of `dryRun` that are not known."""
    asked = request.query.get("dryRun")
    if asked not in (None, "All"):
        message = f'"" is invalid: dryRun: Unsupported value: "{asked}": supported values: "All"'
        raise Refusal(422, "Invalid", message)
    return asked is not None


def _manager(request: Request) -> str:
    return request.query.get("fieldManager") or request.headers.get("user-agent", "unknown").partition("/")[0]
