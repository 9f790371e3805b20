"""Sends patches with the `kubernetes` package, whose import takes 0.25 seconds: only the thread imports this."""

from __future__ import annotations

import json
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from kubernetes.client import ApiClient, Configuration, CustomObjectsApi
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError, InvalidHeader, SSLError
from urllib3.util import Retry, create_urllib3_context

from downloader.error_map import ErrorRow, map_error, one_of
from downloader.reporters.kubernetes.access import Busy, NotWritten, Refused

if TYPE_CHECKING:
    from downloader.reporters.kubernetes.access import ClusterAccess

GROUP: Final = "aim.eai.amd.com"
VERSION: Final = "v1alpha1"
PLURAL: Final = "aimartifacts"
FIELD_MANAGER: Final = "artifact-downloader"
UNREADABLE: Final = "the API server, or something on the way to it, answers with something other than JSON"
_PASSING: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        *range(HTTPStatus.INTERNAL_SERVER_ERROR, 1000),
    }
)
_STATUSES: Final[tuple[ErrorRow[int, NotWritten], ...]] = (
    # The package has no status where TLS failed, as where it cannot read a success.
    ErrorRow(one_of(0), Busy, "the certificate of the API server does not fit {ca_file}"),
    # The kubelet replaces the token, so the next one may be accepted.
    ErrorRow(one_of(HTTPStatus.UNAUTHORIZED), Busy, "the API server does not accept the token in {token_file}"),
    ErrorRow(one_of(*_PASSING), Busy, "the API server fails or asks for a pause"),
    ErrorRow(
        one_of(HTTPStatus.FORBIDDEN),
        Refused,
        "this pod's account may not patch it; apply the RoleBinding that docs/kubernetes.md shows",
    ),
    ErrorRow(
        one_of(HTTPStatus.NOT_FOUND),
        Refused,
        "there is no AIMArtifact of the name and namespace in ARTIFACT_NAME and ARTIFACT_NAMESPACE",
    ),
)


class StatusClient:
    """Writes the status of one AIMArtifact, with one request at a time and without retries."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._configuration = Configuration(
            host=access.url,
            # By its path: every new connection reads the file again, so the CA of the cluster may change.
            ssl_ca_cert=str(access.ca_file),
            connection_pool_maxsize=1,
            # The throttle decides when to retry, and a token must not follow a redirect.
            retries=False,
            # The API server is inside the cluster: the proxy of the environment does not apply to it.
            proxy="",
            no_proxy="*",
            api_key_prefix={"BearerToken": "Bearer"},
        )
        client = ApiClient(self._configuration)
        client.user_agent = FIELD_MANAGER
        # From Python 3.13 on urllib3 refuses certificates without key identifiers, which a cluster's CA need not write.
        client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = _tls()
        self._api = CustomObjectsApi(client)

    def write(self, patch: dict[str, Any], *, timeout: float, trial: bool = False) -> object:
        """Merge the patch into the object's status within about `timeout` seconds. Raises Busy or Refused.

        Return the object as it is then, also what the patch does not name.

        A `trial` is checked like any other patch, and changes nothing (`dryRun=All`).
        The token is read each time: the kubelet replaces it, and the next one may be accepted after a rejection.
        """
        self._read_token()
        try:
            answer: object = self._api.patch_namespaced_custom_object_status(
                GROUP,
                VERSION,
                self._access.namespace,
                PLURAL,
                self._access.name,
                patch,
                field_manager=FIELD_MANAGER,
                dry_run="All" if trial else None,
                _content_type="application/merge-patch+json",
                _request_timeout=timeout,
            )
        except ApiException as error:
            raise self._map_error(error) from error
        except (json.JSONDecodeError, UnicodeDecodeError, LookupError, RecursionError) as error:
            raise Busy(UNREADABLE) from error
        except (HTTPError, OSError, ValueError) as error:
            raise Busy("the API server does not answer") from error
        return answer

    def _read_token(self) -> None:
        try:
            token = self._access.token_file.read_text().strip()
        except (OSError, ValueError) as error:
            raise Busy(f"no token can be read from {self._access.token_file}") from error
        self._configuration.api_key["BearerToken"] = token

    def _map_error(self, error: ApiException) -> NotWritten:
        status = error.status or 0
        if not status and not isinstance(error.__context__, SSLError):
            return Busy(UNREADABLE)
        files = {"token_file": self._access.token_file, "ca_file": self._access.ca_file}
        ours = map_error(_STATUSES, status, **files) or Refused(
            f"the API server does not take our patch (HTTP {status}); is its AIMArtifact CRD up to date?"
        )
        if isinstance(ours, Busy) and status in _PASSING:
            ours.retry_after = retry_after_of(error)
        return ours


def _tls() -> ssl.SSLContext:
    """Return a context without CAs: each new connection adds the one that is in the file at that time."""
    return create_urllib3_context(verify_flags=ssl.VERIFY_X509_PARTIAL_CHAIN)


def retry_after_of(error: ApiException) -> float | None:
    """Return the pause in seconds that the API server asks for; None where it names none."""
    text = (error.headers or {}).get("Retry-After")
    try:
        return Retry().parse_retry_after(text) if text else None
    except (InvalidHeader, ValueError, OverflowError):  # the last two: numbers and dates beyond what Python counts
        return None
