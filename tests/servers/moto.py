"""moto as an S3 service in a process of its own: signatures and permissions are checked, everything is in memory."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import boto3

from tests.servers.process import Child, free_port, listening
from tests.servers.s3 import REGION, Account, S3Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Authority

SETUP_CALLS = 3
"""How many calls moto lets through unchecked: just those that make the first account."""
NEVER = 1 << 30
ALLOW_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


class Moto(S3Server):
    """moto's server. It cannot check signatures and serve anonymous readers at once: `checked=False` is for those."""

    keeps_versions = True

    def __init__(self, folder: Path, *, authority: Authority | None = None, checked: bool = True) -> None:
        """Start it; `folder` takes its log."""
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        if authority is not None:
            command += ["--ssl-cert", str(authority.certificate), "--ssl-key", str(authority.certificate)]
            self.bundle = authority.bundle
        self.endpoint = f"{'https' if authority else 'http'}://127.0.0.1:{port}"
        self.anonymous_buckets = not checked
        self._child = Child(
            command,
            folder=folder,
            environment={"INITIAL_NO_AUTH_ACTION_COUNT": str(SETUP_CALLS if checked else NEVER)},
        )
        self._child.wait_until(lambda: listening(port))
        self.account = self._make_account(Account("first", "first"), "owner", ALLOW_ALL)
        self.stranger = self._make_account(self.account, "stranger", None) if checked else None

    def stop(self) -> None:
        self._child.close()

    def _make_account(self, by: Account, name: str, policy: str | None) -> Account:
        session = boto3.session.Session(by.access_key_id, by.secret_access_key, region_name=REGION)
        identities: Any = session.client(
            "iam",
            endpoint_url=self.endpoint,
            verify=str(self.bundle) if self.bundle else None,
        )
        identities.create_user(UserName=name)
        key = identities.create_access_key(UserName=name)["AccessKey"]
        if policy is not None:
            identities.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=policy)
        identities.close()
        return Account(key["AccessKeyId"], key["SecretAccessKey"])
