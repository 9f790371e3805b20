"""From S3's codes and botocore's errors to ours: the one place for everything that S3 can answer."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
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
    UntrustedServer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.wire import Refusal

CODE = re.compile(rb"<Code>([A-Za-z0-9._-]{1,80})</Code>")
NO_CREDENTIALS = "NoCredentialProviders: no AWS credentials in environment, profile, web identity or instance role"
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
    "ExpiredToken": ("the temporary credentials have expired", "renew AWS_SESSION_TOKEN and its keys"),
    "TokenRefreshRequired": ("the temporary credentials have expired", "renew AWS_SESSION_TOKEN and its keys"),
    "InvalidToken": ("the session token is not valid", "check AWS_SESSION_TOKEN; it belongs to its two keys"),
    "RequestTimeTooSkewed": ("this node's clock differs from the server's", "set the node's clock"),
    "RequestExpired": ("this node's clock differs from the server's", "set the node's clock"),
    "InvalidSecurity": ("the credentials are not valid", KEYS),
    "NotSignedUp": ("the account has no S3", "ask the account's owner"),
}
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
UNSUPPORTED = frozenset({"NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "501", "405"})
BARE = frozenset({"301", "400", "403", "404"})
"""What botocore calls the code of a HEAD's refusal, which has no body to tell more."""
UNAUTHORIZED, FORBIDDEN, LOST, CHANGED, BUSY, BROKEN = 401, 403, 404, 412, 429, 500


LIBRARY: tuple[tuple[tuple[type[Exception], ...], type[DownloadError], str, str], ...] = (
    ((exceptions.NoCredentialsError,), AccessDenied, NO_CREDENTIALS, KEYS),
    ((exceptions.PartialCredentialsError,), ConfigurationError, "the S3 credentials are incomplete: {why}", KEYS),
    ((exceptions.SSLError,), UntrustedServer, "AWS's token service is not trusted: {why}", "set AWS_CA_BUNDLE"),
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


@dataclass(frozen=True, slots=True)
class Answer:
    """A refusal by an S3 server."""

    status: int
    code: str

    @classmethod
    def of(cls, error: exceptions.ClientError) -> Answer:
        """Read botocore's error."""
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return cls(status, str(error.response.get("Error", {}).get("Code") or status))

    @classmethod
    def read(cls, status: int, body: bytes) -> Answer:
        """Read an answer of the wire."""
        code = CODE.search(body)
        return cls(status, code.group(1).decode() if code else str(status))


def meaning(answer: Answer, what: str, *, unsigned: str = "") -> DownloadError:
    """Return the error that a refusal stands for; `what` names the bucket or the object.

    `unsigned` says why requests go unsigned, if they do: then a denial is for want of credentials.
    """
    status, code = answer.status, answer.code
    told = f"S3 {status} {code}" if code != str(status) else f"S3 {status}"
    rules: tuple[tuple[bool, Callable[[], DownloadError]], ...] = (
        (
            code in MISSING or (status == LOST and code not in DENIED),
            lambda: SourceNotFound(
                f"{told}: {MISSING.get(code, 'there is no such thing')}: {what}", hint="check the URI and the endpoint"
            ),
        ),
        (code == ARCHIVED, lambda: archived(what)),
        (
            code in THROTTLED or status == BUSY,
            lambda: Throttled(f"the S3 server asks for a pause ({code}): {what}"),
        ),
        (
            code in PASSING or (status >= BROKEN and code not in UNSUPPORTED),
            lambda: SourceUnavailable(f"the S3 server fails ({status} {code}): {what}"),
        ),
        (
            status == CHANGED,
            lambda: SourceChanged(f"{what} changed while it was being read", hint="start again for its new version"),
        ),
        (code in MISDIRECTED, lambda: _misdirected(f"{status} {code}", code, what)),
        (code in DENIED or status in (UNAUTHORIZED, FORBIDDEN), lambda: _denial(told, code, what, unsigned)),
        (True, lambda: ProtocolFailed(f"the S3 server answers {status} {code}: {what}")),
    )
    return next(make() for applies, make in rules if applies)


def _misdirected(told: str, code: str, what: str) -> ConfigurationError:
    sentence, hint = MISDIRECTED[code]
    return ConfigurationError(f"{sentence} ({told}): {what}", hint=hint)


def _denial(told: str, code: str, what: str, unsigned: str) -> AccessDenied:
    if unsigned:
        return AccessDenied(f"{told}: {what} may not be read without credentials: {unsigned}", hint=KEYS)
    sentence, hint = DENIED.get(code, ("the credentials do not allow it", PERMISSIONS))
    return AccessDenied(f"{told}: {sentence}: {what}", hint=hint)


def archived(what: str) -> ProtocolFailed:
    """Return the error for an object that has to be brought back from an archive before it can be read."""
    return ProtocolFailed(f"{what} lies in an archive and cannot be read", hint="restore it first, then start again")


def refused(refusal: Refusal, what: str, *, unsigned: str = "") -> DownloadError:
    """Return the error for a refused span."""
    return meaning(Answer.read(refusal.status, refusal.body), what, unsigned=unsigned)


@contextlib.contextmanager
def translated(what: str, unsigned: Callable[[], str]) -> Iterator[None]:
    """Turn whatever botocore raises in the block into one of our errors; `unsigned` as for `meaning`."""
    try:
        yield
    except exceptions.ClientError as error:
        raise _of_client(error, what, unsigned()) from error
    except (exceptions.BotoCoreError, ResponseParserError, ValueError) as error:
        # Some of botocore's checks of addresses and settings raise plain ValueError.
        raise _of_library(error, what) from error


def _of_client(error: exceptions.ClientError, what: str, unsigned: str) -> DownloadError:
    answer = Answer.of(error)
    if error.operation_name.startswith(("Assume", "GetRoleCredentials", "CreateToken")):
        if answer.code in PASSING | THROTTLED or answer.status >= BROKEN:
            return SourceUnavailable(f"AWS's token service fails ({answer.code})")
        return AccessDenied(
            f"AWS credentials not found: the role was refused ({error.operation_name}: {answer.code})",
            hint="check the role, its trust policy and the service account's annotation",
        )
    return meaning(answer, what, unsigned=unsigned)


def _of_library(error: Exception, what: str) -> DownloadError:
    for classes, ours, sentence, hint in LIBRARY:
        if isinstance(error, classes):
            return ours(sentence.format(what=what, why=error), hint=hint)
    return InternalError(f"{what}: {type(error).__name__}: {error}")
