"""A kube-apiserver for AIMArtifacts on loopback: HTTPS, bearer tokens, RBAC, the CRD's schema, and faults on demand.

    with KubernetesServer(Authority(folder)) as cluster:
        cluster.create_artifact("models", "llama")
        pod = Pod(cluster, folder / "serviceaccount")
        cluster.answer(429, retry_after=2, times=3)

It answers like the API server that the operator's contract was tried on; `test_kubernetes.py` proves it, and proves the
same of a real one where there is one.
"""

from __future__ import annotations

import copy
import math
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.servers.closable import Closable
from tests.servers.kubernetes_api import Answer, Api, merge, status_object
from tests.servers.kubernetes_https import Listener
from tests.servers.kubernetes_rbac import Rbac
from tests.servers.process import free_port
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.certificates import Authority
    from tests.servers.kubernetes_api import Request

FOREVER = math.inf
CRD = Path(__file__).with_name("aimartifact-crd.yaml")
RBAC = Path(__file__).with_name("aimartifact-rbac.yaml")
_FORBIDDEN = (
    'aimartifacts.aim.eai.amd.com "it" is forbidden: User "system:serviceaccount:models:default" cannot patch resource '
    '"aimartifacts/status" in API group "aim.eai.amd.com" in the namespace "models": RBAC: '
    'clusterrole.rbac.authorization.k8s.io "aim-engine-artifact-status-updater" not found'
)
_REFUSALS = {
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", _FORBIDDEN),
    404: ("NotFound", 'aimartifacts.aim.eai.amd.com "it" not found'),
    409: (
        "Conflict",
        'Operation cannot be fulfilled on aimartifacts.aim.eai.amd.com "it": the object has been modified',
    ),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    500: ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
}
"""Reason and message of injected answers, as the real server words them."""


def artifact_crd(*, newest: bool = True) -> dict[str, Any]:
    """Return the CRD of the operator's newest state, or of its release 0.2.0, which has no `progress.message`."""
    crd: dict[str, Any] = yaml.safe_load(CRD.read_text())
    if not newest:
        (version,) = crd["spec"]["versions"]
        status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
        del status["progress"]["properties"]["message"]
    return crd


def artifact_rbac() -> list[dict[str, Any]]:
    """Return the ClusterRole and the RoleBinding that the operator makes for download pods."""
    return list(yaml.safe_load_all(RBAC.read_text()))


@dataclass(frozen=True)
class Exchange:
    """One request and what became of it."""

    request: Request
    status: int | None
    """None where nothing was answered."""
    at: float
    """When the request had been read, by the monotonic clock."""


@dataclass
class _Fault:
    answer: Answer | None
    times: float
    meanwhile: Callable[[], object]


class KubernetesServer(Closable):
    """The API server. Everything but HTTP acts with all rights, as a cluster's administrator or the operator."""

    def __init__(self, authority: Authority, *, newest: bool = True, rbac: list[dict[str, Any]] | None = None) -> None:
        """`newest` is the state of the operator whose CRD is installed: its main branch, or else its release 0.2.0.

        `rbac` takes the place of the ClusterRole and the RoleBinding that the operator makes.
        """
        self._crd = artifact_crd(newest=newest)
        self._tokens: dict[str, str] = {}
        self._api = Api(self._crd, Rbac(artifact_rbac() if rbac is None else rbac), self._tokens.get)
        self._changed = threading.Condition()
        self._faults: list[_Fault] = []
        self._behaving = threading.Event()
        self.exchanges: list[Exchange] = []
        """Everything that was asked, oldest first."""
        self._authority = authority
        self.host = "127.0.0.1"
        self.port = free_port()
        self._listener: Listener | None = Listener(self.port, authority.server_context(), self._answer)

    @property
    def authority(self) -> bytes:
        """PEM of the CA that issued the server's certificate."""
        return self._authority.bundle.read_bytes()

    def replace_authority(self, authority: Authority) -> None:
        """Go on with a certificate of another CA, as after a cluster's CA rotation. All connections end."""
        self.refuse()
        self._authority = authority
        self.accept()

    def refuse(self) -> None:
        """Close the port: end all connections and refuse new ones until `accept`."""
        self._behaving.set()
        if self._listener is not None:
            self._listener.end()
            self._listener = None

    def accept(self) -> None:
        """Open the port again."""
        self._listener = Listener(self.port, self._authority.server_context(), self._answer)

    def close(self) -> None:
        """End everything."""
        self.refuse()

    def token(self, namespace: str, account: str = "default") -> str:
        """Mint a token for a ServiceAccount."""
        token = secrets.token_urlsafe(32)
        self._tokens[token] = f"system:serviceaccount:{namespace}:{account}"
        return token

    def expire(self, token: str) -> None:
        """End a token's life."""
        del self._tokens[token]

    def answer(
        self,
        status: int,
        *,
        times: float = FOREVER,
        retry_after: int | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Answer the next requests with this status, whatever they ask, and do nothing of it.

        What happens `meanwhile` comes after the request and before the answer.
        """
        reason, message = _REFUSALS[status]
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        answer = Answer(status, status_object(status, reason, message), headers)
        with self._changed:
            self._faults.append(_Fault(answer, times, meanwhile))

    def hang(self, *, times: float = FOREVER) -> None:
        """Read the next requests and never answer them."""
        with self._changed:
            self._behaving.clear()
            self._faults.append(_Fault(None, times, lambda: None))

    def behave(self) -> None:
        """Forget all faults; what hangs loses its connection."""
        with self._changed:
            self._faults.clear()
        self._behaving.set()

    def create_artifact(self, namespace: str, name: str) -> dict[str, Any]:
        """Create an AIMArtifact; return it."""
        with self._changed:
            return self._api.create(namespace, name, {"sourceUri": "hf://org/model"})

    def delete_artifact(self, namespace: str, name: str) -> None:
        """Remove an AIMArtifact; its history stays."""
        with self._changed:
            self._api.delete(namespace, name)

    def artifact(self, namespace: str, name: str) -> dict[str, Any]:
        """Return an AIMArtifact as it is now."""
        with self._changed:
            return self._api.read(namespace, name)

    def write_status(self, namespace: str, name: str, patch: dict[str, Any]) -> None:
        """Merge this into an AIMArtifact's status."""
        with self._changed:
            old = self._api.read(namespace, name)
            self._api.write_status(old, merge(old, {"status": patch}), "operator")
            self._changed.notify_all()

    def history(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """Return every status that an AIMArtifact had, oldest first."""
        with self._changed:
            return self._api.history(namespace, name)

    def wait_for(self, condition: Callable[[], bool], timeout: float = AT_LAST) -> None:
        """Return when the condition holds after some request, or raise TimeoutError after so many seconds."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(f"not within {timeout:g} s; requests so far: {len(self.exchanges)}")

    def wait_for_status(self, namespace: str, name: str, expected: dict[str, Any], timeout: float = AT_LAST) -> None:
        """Return when the status holds all that `expected` names, or raise TimeoutError after so many seconds."""
        try:
            self.wait_for(lambda: holds(self._api.read(namespace, name).get("status", {}), expected), timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the status is {self.artifact(namespace, name).get('status')}") from None

    def table(self, namespace: str) -> str:
        """Return what `kubectl get aimartifacts -o wide` prints, but for the age."""
        columns = self._crd["spec"]["versions"][0]["additionalPrinterColumns"]
        with self._changed:
            things = self._api.objects(namespace)
        rows = [["NAME", *(column["name"].upper() for column in columns)]]
        rows += [
            [thing["metadata"]["name"], *(_cell(thing, column["jsonPath"]) for column in columns)] for thing in things
        ]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def _answer(self, request: Request) -> Answer | None:
        at = time.monotonic()
        with self._changed:
            fault = next((one for one in self._faults if one.times > 0), None)
            if fault is None:
                answer: Answer | None = self._api.answer(request)
            else:
                fault.times -= 1
                answer = fault.answer
            self.exchanges.append(Exchange(request, answer.status if answer else None, at))
            self._changed.notify_all()
        if fault is not None:
            fault.meanwhile()
        if answer is None:
            self._behaving.wait()
        return answer


def holds(status: Any, expected: Any) -> bool:
    """Tell whether everything that `expected` names is so; None means that it is not there."""
    if isinstance(expected, dict):
        status = status or {}
        return isinstance(status, dict) and all(holds(status.get(name), value) for name, value in expected.items())
    return bool(status == expected)


def _cell(thing: dict[str, Any], path: str) -> str:
    value: Any = copy.deepcopy(thing)
    for name in path.strip(".").split("."):
        value = value.get(name, {}) if isinstance(value, dict) else {}
    return "" if value == {} else str(value)
