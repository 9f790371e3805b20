"""Maps S3's codes and botocore's errors to ours: the one place for everything that S3 can answer.

Longer than other modules, since nearly all of it is two tables that are read from top to bottom.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from botocore import exceptions
from botocore.parsers import ResponseParserError

from downloader.error_map import ErrorRow, always, instance_of, map_error
from downloader.errors import (
    AccessDenied,
    ConfigurationError,
    DownloadError,
    InternalError,
    ProtocolFailed,
    SourceChanged,
    SourceNotFound,
    SourceUnavailable,
    Throttled,
)
from downloader.network import map_tls_error
from downloader.sources.s3.answers import ErrorResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.network import HttpStatusError
    from downloader.sources.s3.answers import Identity

NO_CREDENTIALS = (
    "Unable to locate credentials: there are none in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and none from a"
    " profile in AWS's files, a web identity, a container's agent or an instance role"
)
WITHOUT_CREDENTIALS = "set the two keys or a role; a public bucket needs AIM_S3_ANONYMOUS=true"
KEYS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the endpoint"
PERMISSIONS = (
    "the credentials need s3:ListBucket and s3:GetObject; without the first S3 denies what does not exist, too"
)
LOCATION = "check the URI and the endpoint"
ARCHIVED = "{what} lies in an archive and cannot be read"
RESTORE = "restore it first, then start again"

DENIED = {
    "InvalidAccessKeyId": ("the access key is unknown to the server", KEYS),
    "SignatureDoesNotMatch": ("the secret key does not fit the access key", KEYS),
    "AccessDenied": ("the credentials do not allow it", PERMISSIONS),
    "AllAccessDisabled": ("the bucket's owner has disabled all access", "ask the bucket's owner"),
    "AccountProblem": ("the account has a problem", "ask the account's owner"),
    "InvalidToken": ("the session token is not valid", "check AWS_SESSION_TOKEN; it belongs to its two keys"),
    "RequestTimeTooSkewed": ("this node's clock differs from the server's", "set the node's clock"),
    "RequestExpired": ("this node's clock differs from the server's", "set the node's clock"),
    "InvalidSecurity": ("the credentials are not valid", KEYS),
    "NotSignedUp": ("the account has no S3", "ask the account's owner"),
}
"""Code → what is wrong with who asks, and the hint."""
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
THROTTLED = frozenset(
    {
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "TooManyRequests",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "Throttling",
        "ThrottlingException",
    }
)
PASSING = frozenset(
    {"InternalError", "ServiceUnavailable", "RequestTimeout", "XMinioServerNotInitialized", "OperationAborted"}
)
UNSUPPORTED = frozenset(
    {
        "NotImplemented",
        "MethodNotAllowed",
        "UnsupportedOperation",
        f"{HTTPStatus.NOT_IMPLEMENTED:d}",
        f"{HTTPStatus.METHOD_NOT_ALLOWED:d}",
    }
)
"""The numbers are the codes of answers that have none."""


class CredentialsExpired(AccessDenied):
    """Temporary credentials have expired; their provider may have others by now."""


@dataclass(frozen=True, slots=True)
class _Denial:
    """What the rows of the table look at."""

    answer: ErrorResponse
    asker: Identity

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def code(self) -> str:
        return self.answer.code

    @property
    def denied(self) -> bool:
        return self.code in DENIED or self.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def _code(*codes: str) -> Callable[[_Denial], bool]:
    return lambda it: it.code in codes


_RESPONSES: tuple[ErrorRow[_Denial, DownloadError], ...] = (
    ErrorRow(_code("NoSuchBucket"), SourceNotFound, "{told}: there is no such bucket: {what}", LOCATION),
    ErrorRow(_code("NoSuchKey"), SourceNotFound, "{told}: there is no such object: {what}", LOCATION),
    ErrorRow(
        _code("NoSuchVersion"), SourceNotFound, "{told}: there is no such version of the object: {what}", LOCATION
    ),
    ErrorRow(
        lambda it: it.status == HTTPStatus.NOT_FOUND and it.code not in DENIED,
        SourceNotFound,
        "{told}: there is no such thing: {what}",
        LOCATION,
    ),
    ErrorRow(
        _code(f"{HTTPStatus.OK:d}"), ProtocolFailed, "{what}: the server's answer is not S3", "check the endpoint"
    ),
    ErrorRow(
        _code("InvalidObjectState"),
        ProtocolFailed,
        ARCHIVED,
        RESTORE,
    ),
    ErrorRow(
        lambda it: it.code in THROTTLED or it.status == HTTPStatus.TOO_MANY_REQUESTS,
        Throttled,
        "the S3 server asks for a pause ({told}): {what}",
    ),
    # A server answers 501 to what it does not know: that does not pass.
    ErrorRow(
        lambda it: it.code in PASSING or (it.status >= HTTPStatus.INTERNAL_SERVER_ERROR and it.code not in UNSUPPORTED),
        SourceUnavailable,
        "the S3 server fails ({told}): {what}{own_words}",
    ),
    # Every range carries If-Match, so this is another version of the object.
    ErrorRow(
        lambda it: it.status == HTTPStatus.PRECONDITION_FAILED,
        SourceChanged,
        "{what} changed while it was being read",
        "start again for its new version",
    ),
    # botocore follows redirects between regions by itself: these are answered where that failed.
    ErrorRow(
        _code(
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ),
        ConfigurationError,
        "the bucket is in another region ({told}): {what}{own_words}",
        "set AWS_REGION to the bucket's region, and check the endpoint",
    ),
    ErrorRow(
        _code("InvalidBucketName"),
        ConfigurationError,
        "the server refuses the bucket's name ({told}): {what}{own_words}",
        "check the URI and AIM_S3_ADDRESSING_STYLE",
    ),
    # What a HEAD or GET of ours lacks is the customer's key of SSE-C.
    ErrorRow(
        _code("InvalidRequest"),
        ConfigurationError,
        "the server refuses the request ({told}): {what}{own_words}",
        "objects with customer-provided keys cannot be read",
    ),
    ErrorRow(
        lambda it: it.code in EXPIRED and bool(it.asker.provider),
        CredentialsExpired,
        "{told}: the temporary credentials have expired: {what}",
        "they come from {provider}",
    ),
    ErrorRow(
        lambda it: it.code in EXPIRED,
        CredentialsExpired,
        "{told}: the temporary credentials have expired: {what}",
        "renew AWS_SESSION_TOKEN and its keys",
    ),
    ErrorRow(
        lambda it: it.denied and bool(it.asker.unsigned),
        AccessDenied,
        "{told}: {what} may not be read without credentials: {unsigned}{own_words}",
        KEYS,
    ),
    *(
        ErrorRow(_code(code), AccessDenied, f"{{told}}: {sentence}: {{what}}{{own_words}}", hint)
        for code, (sentence, hint) in DENIED.items()
    ),
    # A HEAD is answered without a code, so its status is all there is.
    ErrorRow(
        lambda it: it.denied and it.code == str(it.status),
        AccessDenied,
        "{told}: the credentials do not allow it: {what}{own_words}",
        PERMISSIONS,
    ),
    # For a reason of the server's own, which only its words explain.
    ErrorRow(lambda it: it.denied, AccessDenied, "{told}: the server refuses it: {what}{own_words}"),
    ErrorRow(
        always,
        ProtocolFailed,
        "the server refuses the request ({told}): {what}{own_words}",
        "check the endpoint",
    ),
)
"""By the codes of S3's API, which gateways use as well: AWS, "Error responses" in the S3 API reference."""


_EXCEPTIONS: tuple[ErrorRow[BaseException, DownloadError], ...] = (
    ErrorRow(instance_of(exceptions.NoCredentialsError), AccessDenied, NO_CREDENTIALS, WITHOUT_CREDENTIALS),
    ErrorRow(
        instance_of(exceptions.PartialCredentialsError),
        ConfigurationError,
        "the S3 credentials are incomplete: {why}",
        KEYS,
    ),
    # S3 itself is asked by our own HTTP client: what fails in botocore's is a service that hands out credentials.
    ErrorRow(
        instance_of(exceptions.SSLError),
        SourceUnavailable,
        "the TLS connection to AWS's token service failed: {why}",
    ),
    ErrorRow(
        instance_of(exceptions.HTTPClientError, exceptions.ConnectionError),
        SourceUnavailable,
        "AWS's token service cannot be reached: {why}",
    ),
    ErrorRow(
        instance_of(
            exceptions.CredentialRetrievalError,
            exceptions.UnauthorizedSSOTokenError,
            exceptions.SSOError,
            exceptions.TokenRetrievalError,
            exceptions.RefreshWithMFAUnsupportedError,
        ),
        AccessDenied,
        "AWS credentials not found: {why}",
        "check the role or the profile that the credentials come from",
    ),
    ErrorRow(
        instance_of(exceptions.ProfileNotFound, exceptions.ConfigNotFound, exceptions.ConfigParseError),
        ConfigurationError,
        "AWS's configuration files are unusable: {why}",
        "check AWS_PROFILE and AWS_CONFIG_FILE",
    ),
    ErrorRow(
        instance_of(exceptions.MetadataRetrievalError), SourceUnavailable, "no instance credentials for now: {why}"
    ),
    ErrorRow(
        instance_of(exceptions.PaginationError),
        ProtocolFailed,
        "the S3 server's listing of {what} does not come to an end",
    ),
    ErrorRow(
        instance_of(ResponseParserError), ProtocolFailed, "{what}: the server's answer is not S3", "check the endpoint"
    ),
    # Some of botocore's checks of addresses and settings raise plain ValueError.
    ErrorRow(
        instance_of(exceptions.BotoCoreError, ValueError),
        ConfigurationError,
        "the S3 settings do not work for {what}: {why}",
        "check endpoint, region, addressing style and bucket",
    ),
)


def map_response(answer: ErrorResponse, what: str, asker: Identity) -> DownloadError:
    """Return the error that an answer of the server stands for; `what` names the bucket or the object."""
    error = map_error(
        _RESPONSES,
        _Denial(answer, asker),
        told=answer.told,
        what=what,
        own_words=answer.in_its_words,
        unsigned=asker.unsigned,
        provider=asker.provider,
    )
    if error is None:
        raise AssertionError("unreachable: the last row applies to every answer")
    return error


def no_credentials(unusable: str) -> AccessDenied:
    """Return the error for want of credentials; `unusable` says which keys were given, and why they are unusable."""
    told = f"{NO_CREDENTIALS}; {unusable}" if unusable else NO_CREDENTIALS
    return AccessDenied(told, hint=WITHOUT_CREDENTIALS)


def archived(what: str) -> ProtocolFailed:
    """Return the error for an object that has to be brought back from an archive before it can be read."""
    return ProtocolFailed(ARCHIVED.format(what=what), hint=RESTORE)


def map_status_error(error: HttpStatusError, what: str, asker: Identity) -> DownloadError:
    """Return the error for a range that the server refused."""
    return map_response(ErrorResponse.read(error.status, error.body, error.url), what, asker)


@contextlib.contextmanager
def map_exceptions(what: str, asker: Callable[[], Identity]) -> Iterator[None]:
    """Turn whatever botocore raises in the block into one of our errors; `what` and `asker` as for `map_response`."""
    try:
        yield
    except exceptions.ClientError as error:
        raise _map_client_error(error, what, asker()) from error
    except (exceptions.BotoCoreError, ResponseParserError, ValueError) as error:
        raise _map_exception(error, what) from error


def _map_client_error(error: exceptions.ClientError, what: str, asker: Identity) -> DownloadError:
    answer = ErrorResponse.of(error)
    if not error.operation_name.startswith(("Assume", "GetRoleCredentials", "CreateToken")):
        return map_response(answer, what, asker)
    # Another service: it hands out the credentials of a role.
    if answer.code in PASSING | THROTTLED or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return SourceUnavailable(f"AWS's token service fails ({answer.code})")
    return AccessDenied(
        f"AWS credentials not found: the role was refused ({error.operation_name}: {answer.code}){answer.in_its_words}",
        hint="check the role, its trust policy and the service account's annotation",
    )


def _map_exception(error: Exception, what: str) -> DownloadError:
    untrusted = map_tls_error(error, "AWS's token service") if isinstance(error, exceptions.SSLError) else None
    ours = untrusted or map_error(_EXCEPTIONS, error, what=what, why=error)
    return ours or InternalError(f"{what}: {type(error).__name__}: {error}")
