"""A real etcd and kube-apiserver on loopback, from the folder that KUBEBUILDER_ASSETS names (envtest's convention).

    KUBEBUILDER_ASSETS=$(setup-envtest use -p path 1.32.x) make test

The tests that use it are the same that our own server passes; they were last run with kube-apiserver 1.32.13.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers.closable import Closable
from tests.servers.kubernetes import artifact_crd, artifact_rbac, holds
from tests.servers.process import Child, free_port, listening
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from tests.servers.certificates import Authority

ARTIFACTS = "/apis/aim.eai.amd.com/v1alpha1/namespaces/{namespace}/aimartifacts"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
NAMESPACES = ("models", "elsewhere")
_POLL_SECONDS = 0.05


def assets() -> Path | None:
    """Return the folder with the binaries, None if there is no such folder."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(folder) if folder else None


class Envtest(Closable):
    """A control plane without nodes and controllers: what of it answers the API is the real thing."""

    def __init__(self, binaries: Path, folder: Path, authority: Authority, *, newest: bool = True) -> None:
        """`folder` takes etcd's data, keys and logs."""
        folder.mkdir(parents=True, exist_ok=True)
        self.host = "127.0.0.1"
        self.port = free_port()
        self.authority = authority.bundle.read_bytes()
        self._admin = secrets.token_urlsafe(32)
        store, peers = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self._etcd = Child(
            [
                f"{binaries}/etcd",
                f"--data-dir={folder}/etcd",
                f"--listen-client-urls={store}",
                f"--advertise-client-urls={store}",
                f"--listen-peer-urls={peers}",
                "--unsafe-no-fsync",
            ],
            folder=folder,
        )
        self._etcd.wait_until(lambda: listening(int(store.rpartition(":")[2])))
        self._server = Child(
            [f"{binaries}/kube-apiserver", *self._flags(folder, store, authority.certificate)], folder=folder
        )
        self._client = httpx2.Client(
            base_url=f"https://{self.host}:{self.port}",
            headers={"Authorization": f"Bearer {self._admin}"},
            verify=authority.client_context(),
            trust_env=False,
        )
        self._server.wait_until(self._ready)
        self._install(newest=newest)

    def _flags(self, folder: Path, store: str, certificate: Path) -> list[str]:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (folder / "accounts.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        (folder / "accounts.pub").write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        (folder / "tokens.csv").write_text(f'{self._admin},admin,admin,"system:masters"\n')
        return [
            f"--etcd-servers={store}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={certificate}",
            f"--cert-dir={folder}",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder}/accounts.pub",
            f"--service-account-signing-key-file={folder}/accounts.key",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
        ]

    def _ready(self) -> bool:
        try:
            return self._client.get("/readyz").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def _install(self, *, newest: bool) -> None:
        for namespace in NAMESPACES:
            namespaced = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            self._post("/api/v1/namespaces", namespaced)
            for account in ("default", "stranger"):
                manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
                self._post(f"/api/v1/namespaces/{namespace}/serviceaccounts", manifest)
        access = "/apis/rbac.authorization.k8s.io/v1"
        role, binding = artifact_rbac()
        self._post(f"{access}/clusterroles", role)
        self._post(f"{access}/namespaces/{binding['metadata']['namespace']}/rolebindings", binding)
        self._post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", artifact_crd(newest=newest))
        served = ARTIFACTS.format(namespace=NAMESPACES[0])
        self._server.wait_until(lambda: self._client.get(served).status_code == httpx2.codes.OK)

    def _post(self, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.post(path, json=manifest).raise_for_status().json()
        return answer

    def create_artifact(self, namespace: str, name: str) -> dict[str, Any]:
        """Create an AIMArtifact; return it."""
        thing = {"apiVersion": "aim.eai.amd.com/v1alpha1", "kind": "AIMArtifact", "metadata": {"name": name}}
        return self._post(ARTIFACTS.format(namespace=namespace), thing | {"spec": {"sourceUri": "hf://org/model"}})

    def delete_artifact(self, namespace: str, name: str) -> None:
        """Remove an AIMArtifact."""
        self._client.delete(f"{ARTIFACTS.format(namespace=namespace)}/{name}").raise_for_status()

    def artifact(self, namespace: str, name: str) -> dict[str, Any]:
        """Return an AIMArtifact as it is now."""
        answer = self._client.get(f"{ARTIFACTS.format(namespace=namespace)}/{name}").raise_for_status()
        thing: dict[str, Any] = answer.json()
        return thing

    def write_status(self, namespace: str, name: str, patch: dict[str, Any]) -> None:
        """Merge this into an AIMArtifact's status."""
        path = f"{ARTIFACTS.format(namespace=namespace)}/{name}/status"
        self._client.patch(path, json={"status": patch}, headers=MERGE_PATCH).raise_for_status()

    def token(self, namespace: str, account: str = "default") -> str:
        """Mint a token for a ServiceAccount (TokenRequest)."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token: str = self._post(path, wish)["status"]["token"]
        return token

    def wait_for_status(self, namespace: str, name: str, expected: dict[str, Any], timeout: float = AT_LAST) -> None:
        """Return when the status holds all that `expected` names, or raise TimeoutError after so many seconds."""
        deadline = time.monotonic() + timeout
        while not holds(status := self.artifact(namespace, name).get("status", {}), expected):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout:g} s; the status is {status}")
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End both processes."""
        self._client.close()
        self._server.close()
        self._etcd.close()
