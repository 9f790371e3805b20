"""From S3's codes and botocore's errors to ours: the one place for everything that S3 can answer."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from botocore import exceptions
from botocore.parsers import ResponseParserError

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
from downloader.network import untrusted
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
PERMISSIONS = (
    "the credentials need s3:ListBucket and s3:GetObject; without the first S3 denies what does not exist, too"
)
KEYS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the endpoint"
REGION = "set AWS_REGION to the bucket's region, and check the endpoint"

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
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
MISSING = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such object",
    "NoSuchVersion": "there is no such version of the object",
}
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
MISDIRECTED = {
    "PermanentRedirect": ("the bucket is in another region", REGION),
    "TemporaryRedirect": ("the bucket is in another region", REGION),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", REGION),
    "IllegalLocationConstraintException": ("the bucket is in another region", REGION),
    "InvalidBucketName": ("the server refuses the bucket's name", "check the URI and AIM_S3_ADDRESSING_STYLE"),
    "InvalidRequest": ("the server refuses the request", "objects with customer-provided keys cannot be read"),
}
ARCHIVED = "InvalidObjectState"
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


LIBRARY: tuple[tuple[tuple[type[Exception], ...], type[DownloadError], str, str], ...] = (
    ((exceptions.NoCredentialsError,), AccessDenied, NO_CREDENTIALS, WITHOUT_CREDENTIALS),
    ((exceptions.PartialCredentialsError,), ConfigurationError, "the S3 credentials are incomplete: {why}", KEYS),
    ((exceptions.SSLError,), SourceUnavailable, "the TLS connection to AWS's token service failed: {why}", ""),
    (
        (exceptions.HTTPClientError, exceptions.ConnectionError),
        SourceUnavailable,
        "AWS's token service cannot be reached: {why}",
        "",
    ),
    (
        (
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
    (
        (exceptions.ProfileNotFound, exceptions.ConfigNotFound, exceptions.ConfigParseError),
        ConfigurationError,
        "AWS's configuration files are of no use: {why}",
        "check AWS_PROFILE and AWS_CONFIG_FILE",
    ),
    ((exceptions.MetadataRetrievalError,), SourceUnavailable, "no instance credentials for now: {why}", ""),
    (
        (exceptions.PaginationError,),
        ProtocolFailed,
        "the S3 server's listing of {what} does not come to an end",
        "",
    ),
    ((ResponseParserError,), ProtocolFailed, "{what}: the server's answer is not S3", "check the endpoint"),
    (
        (exceptions.BotoCoreError, ValueError),
        ConfigurationError,
        "the S3 settings do not work for {what}: {why}",
        "check endpoint, region, addressing style and bucket",
    ),
)
"""The first that fits counts."""


class CredentialsExpired(AccessDenied):
    """Temporary credentials have expired; their provider may have others by now."""


def meaning(answer: ErrorResponse, what: str, asker: Identity) -> DownloadError:
    """Return the error that a refusal stands for; `what` names the bucket or the object."""
    status, code, told = answer.status, answer.code, answer.told
    rules: tuple[tuple[bool, Callable[[], DownloadError]], ...] = (
        (
            code in MISSING or (status == HTTPStatus.NOT_FOUND and code not in DENIED),
            lambda: SourceNotFound(
                f"{told}: {MISSING.get(code, 'there is no such thing')}: {what}", hint="check the URI and the endpoint"
            ),
        ),
        (code == ARCHIVED, lambda: archived(what)),
        (
            code in THROTTLED or status == HTTPStatus.TOO_MANY_REQUESTS,
            lambda: Throttled(f"the S3 server asks for a pause ({told}): {what}"),
        ),
        (
            code in PASSING or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and code not in UNSUPPORTED),
            lambda: SourceUnavailable(f"the S3 server fails ({told}): {what}{answer.in_its_words}"),
        ),
        (
            status == HTTPStatus.PRECONDITION_FAILED,
            lambda: SourceChanged(f"{what} changed while it was being read", hint="start again for its new version"),
        ),
        (code in MISDIRECTED, lambda: _misdirected(answer, what)),
        (code in EXPIRED, lambda: _expired(told, what, asker)),
        (
            code in DENIED or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN),
            lambda: _denial(answer, what, asker),
        ),
        (
            True,
            lambda: ProtocolFailed(
                f"the server refuses the request ({told}): {what}{answer.in_its_words}", hint="check the endpoint"
            ),
        ),
    )
    return next(make() for applies, make in rules if applies)


def _misdirected(answer: ErrorResponse, what: str) -> ConfigurationError:
    sentence, hint = MISDIRECTED[answer.code]
    return ConfigurationError(f"{sentence} ({answer.told}): {what}{answer.in_its_words}", hint=hint)


def _expired(told: str, what: str, asker: Identity) -> CredentialsExpired:
    hint = f"they come from {asker.provider}" if asker.provider else "renew AWS_SESSION_TOKEN and its keys"
    return CredentialsExpired(f"{told}: the temporary credentials have expired: {what}", hint=hint)


def _denial(answer: ErrorResponse, what: str, asker: Identity) -> AccessDenied:
    told, own = answer.told, answer.in_its_words
    if asker.unsigned:
        return AccessDenied(f"{told}: {what} may not be read without credentials: {asker.unsigned}{own}", hint=KEYS)
    if answer.code not in DENIED and answer.code != str(answer.status):
        return AccessDenied(f"{told}: the server refuses it: {what}{own}")  # for a reason that only it knows
    sentence, hint = DENIED.get(answer.code, ("the credentials do not allow it", PERMISSIONS))
    return AccessDenied(f"{told}: {sentence}: {what}{own}", hint=hint)


def no_credentials(unusable: str) -> AccessDenied:
    """Return the error for want of credentials; `unusable` says which keys were given, and why they are of no use."""
    told = f"{NO_CREDENTIALS}; {unusable}" if unusable else NO_CREDENTIALS
    return AccessDenied(told, hint=WITHOUT_CREDENTIALS)


def archived(what: str) -> ProtocolFailed:
    """Return the error for an object that has to be brought back from an archive before it can be read."""
    return ProtocolFailed(f"{what} lies in an archive and cannot be read", hint="restore it first, then start again")


def refused(refusal: HttpStatusError, what: str, asker: Identity) -> DownloadError:
    """Return the error for a refused span."""
    return meaning(ErrorResponse.read(refusal.status, refusal.body, refusal.url), what, asker)


@contextlib.contextmanager
def translated(what: str, asker: Callable[[], Identity]) -> Iterator[None]:
    """Turn whatever botocore raises in the block into one of our errors; `what` and `asker` as for `meaning`."""
    try:
        yield
    except exceptions.ClientError as error:
        raise _of_client(error, what, asker()) from error
    except (exceptions.BotoCoreError, ResponseParserError, ValueError) as error:
        # Some of botocore's checks of addresses and settings raise plain ValueError.
        raise _of_library(error, what) from error


def _of_client(error: exceptions.ClientError, what: str, asker: Identity) -> DownloadError:
    answer = ErrorResponse.of(error)
    if error.operation_name.startswith(("Assume", "GetRoleCredentials", "CreateToken")):
        if answer.code in PASSING | THROTTLED or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return SourceUnavailable(f"AWS's token service fails ({answer.code})")
        return AccessDenied(
            f"AWS credentials not found: the role was refused ({error.operation_name}: {answer.code})"
            f"{answer.in_its_words}",
            hint="check the role, its trust policy and the service account's annotation",
        )
    return meaning(answer, what, asker)


def _of_library(error: Exception, what: str) -> DownloadError:
    if isinstance(error, exceptions.SSLError):
        refused = untrusted(error, "AWS's token service")
        if refused is not None:
            return refused
    for classes, ours, sentence, hint in LIBRARY:
        if isinstance(error, classes):
            return ours(sentence.format(what=what, why=error), hint=hint)
    return InternalError(f"{what}: {type(error).__name__}: {error}")
