"""Role-based access control as the API server decides it, from ClusterRoles and RoleBindings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Attributes:
    """What a request wants to do. `resource` includes the subresource: `aimartifacts/status`."""

    verb: str
    group: str
    resource: str
    namespace: str
    """Empty for all namespaces."""
    name: str = ""


class Rbac:
    """Allows what a role allows that is bound to the account in the namespace of the request, and nothing else."""

    def __init__(self, manifests: Iterable[Mapping[str, Any]]) -> None:
        """Take ClusterRoles and RoleBindings; anything else is refused."""
        self._roles: dict[str, list[dict[str, Any]]] = {}
        self._bindings: list[Mapping[str, Any]] = []
        for manifest in manifests:
            if manifest["kind"] == "ClusterRole":
                self._roles[manifest["metadata"]["name"]] = manifest["rules"]
            elif manifest["kind"] == "RoleBinding":
                self._bindings.append(manifest)
            else:
                raise ValueError(f"not supported here: {manifest['kind']}")

    def allows(self, user: str, wish: Attributes) -> bool:
        """Tell whether this user (`system:serviceaccount:NAMESPACE:NAME`) may do it."""
        return any(
            binding["metadata"]["namespace"] == wish.namespace
            and any(_user(subject) == user for subject in binding["subjects"])
            and any(_covers(rule, wish) for rule in self._roles[binding["roleRef"]["name"]])
            for binding in self._bindings
        )


def _user(subject: Mapping[str, Any]) -> str:
    if subject["kind"] != "ServiceAccount":
        raise ValueError(f"only ServiceAccounts exist here, not {subject['kind']}")
    return f"system:serviceaccount:{subject['namespace']}:{subject['name']}"


def _covers(rule: Mapping[str, Any], wish: Attributes) -> bool:
    return wish.verb in rule["verbs"] and wish.group in rule["apiGroups"] and wish.resource in rule["resources"]
