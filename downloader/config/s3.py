"""What the environment says about S3: the operator's names, AWS's, KServe's and those of the old image.

Each variable may also be given as `NAME_FILE`, the path of a file that holds its value. An empty value or path counts
as unset; the two keys alone tell "set to nothing" (ask unsigned) from "unset".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from downloader.config.addresses import EXAMPLE, is_service_address
from downloader.config.env import count, documented, flag, member, path, read, shown_value, variable, with_files
from downloader.config.s3_values import (
    AddressingStyle,
    Authentication,
    log_level,
    request_payer,
    signature_version,
)
from downloader.config.storage import CONFIG, OVERRIDE, StorageSpec, as_variables, storage_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping
    from pathlib import Path

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
AWS = (".amazonaws.com", ".amazonaws.com.cn")
"""How the names of its hosts end."""
ANONYMOUS = "anonymous"
"""As a key: ask unsigned. An empty key is read as this word."""
KEYWORDS = frozenset({ANONYMOUS})
WORKERS, CONCURRENCY = 8, 10
SPAN_MEBIBYTES, STREAM_MEBIBYTES = 8, 64
MAX_CONNECTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """S3.

    The fields are what the environment says, the properties are derived from them.
    """

    endpoint: str = variable(
        "AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3",
        "URL of the S3 service; without a scheme it is https, or http with S3_NO_SSL=true or S3_USE_HTTPS=0",
        default="",
        default_text="AWS",
    )
    endpoint_host: str = variable("S3_ENDPOINT", "host:port of the S3 service, if no URL is given", default="")
    use_https: bool | None = variable("S3_USE_HTTPS", "0: use http for an endpoint without a scheme", parse=flag)
    no_ssl: bool = variable("S3_NO_SSL", "true: the same, with the name of the old image", parse=flag, default=False)
    sts_endpoint: str = variable(
        "AWS_ENDPOINT_URL_STS", "URL of the token service; AWS_ENDPOINT_URL does not apply to it", default=""
    )
    region: str = variable(
        "AWS_REGION AWS_DEFAULT_REGION",
        "region of the bucket",
        default="",
        default_text="`us-east-1` with an endpoint, otherwise the SDK's",
    )
    requested_style: AddressingStyle | None = variable(
        "AIM_S3_ADDRESSING_STYLE",
        "where the bucket is in a URL: `path`, `virtual` or `auto`",
        parse=member(AddressingStyle),
        default_text="`path` with an endpoint, otherwise `auto`",
    )
    virtual_bucket: bool | None = variable("S3_USER_VIRTUAL_BUCKET", "true: the style is `virtual`", parse=flag)
    signature: str = variable(
        "AIM_S3_SIGNATURE_VERSION",
        "`s3v4`, or `s3` (version 2) for stores that support nothing else",
        parse=signature_version,
        default="s3v4",
    )
    requested_authentication: Authentication | None = variable(
        "AIM_S3_AUTH_MODE",
        "`chain` (the SDK's providers), `static` (the two keys) or `anonymous` (unsigned); overrides everything else",
        parse=member(Authentication),
        default_text="by the keys; missing credentials never mean unsigned",
    )
    anonymous: bool = variable(
        "AIM_S3_ANONYMOUS awsAnonymousCredential", "true: send unsigned requests", parse=flag, default=False
    )
    access_key_id: str = variable(
        "AWS_ACCESS_KEY_ID",
        "access key; if it is empty or `anonymous`, requests are unsigned",
        default="",
        secret=True,
        keywords=KEYWORDS,
    )
    secret_access_key: str = variable("AWS_SECRET_ACCESS_KEY", "secret key", default="", secret=True, keywords=KEYWORDS)
    session_token: str = variable(
        "AWS_SESSION_TOKEN",
        "session token of temporary credentials",
        default="",
        secret=True,
        keywords=KEYWORDS,
    )
    profile: str = variable("AWS_PROFILE", "profile in the AWS configuration files", default="")
    ca_bundle: Path | None = variable("AWS_CA_BUNDLE AIM_S3_CA_BUNDLE", "PEM file with CAs to trust", parse=path)
    ca_config_map: str = variable(
        "CA_BUNDLE_CONFIGMAP_NAME", "ConfigMap with a CA bundle, which is mounted", default=""
    )
    ca_mount: Path | None = variable(
        "CA_BUNDLE_VOLUME_MOUNT_POINT", "its mount point; the file is `cabundle.crt`", parse=path
    )
    skip_verify: bool | None = variable("AIM_S3_INSECURE_SKIP_VERIFY", "true: accept any certificate", parse=flag)
    verify_ssl: bool | None = variable("S3_VERIFY_SSL", "0: the same, with KServe's name", parse=flag)
    accelerate: bool = variable("S3_USE_ACCELERATE", "true: use AWS transfer acceleration", parse=flag, default=False)
    dualstack: bool | None = variable(
        "AWS_USE_DUALSTACK_ENDPOINT", "true: use AWS dual-stack (IPv6) endpoints", parse=flag
    )
    fips: bool | None = variable("AWS_USE_FIPS_ENDPOINT", "true: use AWS FIPS endpoints", parse=flag)
    requester_pays: bool = variable(
        "S3_REQUEST_PAYER", "`requester`: agree to pay for the requests", parse=request_payer, default=False
    )
    storage: StorageSpec | None = variable(
        CONFIG,
        "KServe's JSON object with `type: s3` and any of `endpoint_url`, `access_key_id`, `secret_access_key`,"
        " `session_token`, `region`, `ca_bundle`, `verify_ssl`, `anonymous`; it overrides the variables",
        parse=storage_spec,
        secret=True,
        keywords=KEYWORDS,
    )
    storage_override: StorageSpec | None = variable(
        OVERRIDE, "the same; it overrides STORAGE_CONFIG", parse=storage_spec, secret=True, keywords=KEYWORDS
    )
    max_workers: int = variable(
        "AIM_S3_MAX_WORKERS", "number of concurrent objects", parse=count(1, 64), default=WORKERS
    )
    max_concurrency: int = variable(
        "AIM_S3_MAX_CONCURRENCY",
        "connections per object; if one of these two is set, their product, up to 64, replaces AIM_CONNECTIONS",
        parse=count(1, 64),
        default=CONCURRENCY,
    )
    span_mebibytes: int | None = variable(
        "AIM_S3_MULTIPART_CHUNKSIZE_MB",
        "MiB per range",
        parse=count(5, 5120),
        default_text="8, or 64 while there are as many objects as connections",
    )
    log_level: str = variable(
        "AIM_S3_LOG_LEVEL", "log level of our S3 code", parse=log_level, default="", default_text="AIM_LOG_LEVEL"
    )
    keys_are_empty: bool = False
    """A key is set, but to nothing."""
    only_profile: bool = False
    """Endpoint, region and keys are those of the profile and of no other place; without a profile there are none."""
    unusable_keys: str = ""
    """Which files of keys are unusable, and why; empty if there are none."""
    warnings: tuple[str, ...] = ()
    """What the environment says that is odd but no obstacle, for the log."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], problems: list[str]) -> S3Settings:
        """Read an environment; what cannot be used adds a line to `problems`."""
        names = [name for _, facts in documented(cls) for name in facts.names]
        values, useless = with_files(environ, names)
        values |= as_variables(values, problems)
        empty = [key for key in KEYS if key in values and not values[key].strip()]
        settings = read(cls, values | dict.fromkeys(empty, ANONYMOUS), problems)
        settings = dataclasses.replace(
            settings,
            keys_are_empty=bool(empty),
            unusable_keys="; ".join(useless[key] for key in KEYS if key in useless),
            warnings=(*(f"{why}, so {name} counts as unset" for name, why in useless.items()), *_suspicious(settings)),
        )
        problems.extend(_contradictions(settings))
        return settings

    @property
    def url(self) -> str | None:
        """The address of the service, None for AWS's own."""
        given = self.endpoint or self.endpoint_host
        if not given:
            return None
        scheme, separator, address = given.partition("://")
        if not separator:
            scheme, address = "http" if self.no_ssl or self.use_https is False else "https", given
        return f"{scheme}://{address.rstrip('/')}"

    @property
    def is_aws(self) -> bool:
        """The service is AWS's own, whether it is named or not."""
        host = (urlsplit(self.url).hostname or "") if self.url else AWS[0]
        return host.endswith(AWS)

    @property
    def style(self) -> AddressingStyle:
        """Where the bucket stands in an address."""
        if self.requested_style is not None:
            return self.requested_style
        if self.virtual_bucket:
            return AddressingStyle.VIRTUAL
        return AddressingStyle.PATH if self.url else AddressingStyle.AUTO

    @property
    def authentication(self) -> Authentication:
        """Where credentials come from."""
        if self.requested_authentication is not None:
            return self.requested_authentication
        keys = self.access_key_id, self.secret_access_key
        if self.anonymous or ANONYMOUS in keys:
            return Authentication.ANONYMOUS
        return Authentication.STATIC if any(keys) else Authentication.CHAIN

    @property
    def has_keys(self) -> bool:
        """The environment has both keys."""
        keys = self.access_key_id, self.secret_access_key
        return all(keys) and ANONYMOUS not in keys

    @property
    def verify(self) -> bool:
        """Check certificates."""
        if self.skip_verify is not None:
            return not self.skip_verify
        return self.verify_ssl is not False

    @property
    def trusted(self) -> tuple[Path, ...]:
        """PEM files with CAs to trust besides the usual ones."""
        bundle = self.ca_bundle or self.mounted_bundle
        return (bundle,) if bundle is not None else ()

    @property
    def mounted_bundle(self) -> Path | None:
        """The CA bundle that KServe mounts: for every client, whatever it downloads from."""
        return self.ca_mount / "cabundle.crt" if self.ca_config_map and self.ca_mount is not None else None

    @property
    def connections(self) -> int | None:
        """Connections of all objects together; None where the environment says nothing of them."""
        if (self.max_workers, self.max_concurrency) == (WORKERS, CONCURRENCY):
            return None
        return min(MAX_CONNECTIONS, self.max_workers * self.max_concurrency)

    @property
    def span_size(self) -> int:
        """Bytes per range."""
        return (self.span_mebibytes or SPAN_MEBIBYTES) << 20

    @property
    def stream_size(self) -> int:
        """Bytes per range while there are objects for all connections.

        Never a whole large object: there are stores that hash those while they are read.
        """
        return (self.span_mebibytes or STREAM_MEBIBYTES) << 20


def _contradictions(settings: S3Settings) -> Iterator[str]:
    name = "AWS_ENDPOINT_URL" if settings.endpoint else "S3_ENDPOINT"
    if settings.url and not is_service_address(settings.url):
        yield f"{name}: {shown_value(settings.endpoint or settings.endpoint_host)} is not {EXAMPLE}"
    elif settings.no_ssl and settings.url and settings.url.startswith("https://"):
        yield f"{name} says https:// and S3_NO_SSL says true: remove one of them"
    if settings.sts_endpoint and not is_service_address(settings.sts_endpoint):
        yield f"AWS_ENDPOINT_URL_STS: {shown_value(settings.sts_endpoint)} is not {EXAMPLE}"
    key, secret = settings.access_key_id, settings.secret_access_key
    why = f" ({settings.unusable_keys})" if settings.unusable_keys else ""
    if settings.requested_authentication is Authentication.STATIC:
        if not key or not secret or ANONYMOUS in (key, secret):
            yield f"AIM_S3_AUTH_MODE is static, which needs both {KEYS[0]} and {KEYS[1]}{why}"
    elif settings.requested_authentication is None and not settings.anonymous and bool(key or secret):
        if ANONYMOUS in (key, secret) and {key, secret} - {ANONYMOUS, ""}:
            yield f"{KEYS[0]} and {KEYS[1]} are contradictory: one is a key, the other asks for unsigned requests"
        elif ANONYMOUS not in (key, secret) and not (key and secret):
            yield f"{KEYS[1] if key else KEYS[0]} is missing: one key alone is incomplete{why}"


def _suspicious(settings: S3Settings) -> Iterator[str]:
    given, other = _authority(settings.url or ""), _authority(f"//{settings.endpoint_host}")
    if settings.endpoint and settings.endpoint_host and given != other:
        yield "AWS_ENDPOINT_URL and S3_ENDPOINT name different hosts: AWS_ENDPOINT_URL counts"
    if not settings.verify:
        yield "TLS certificates of the S3 service are not checked"


def _authority(url: str) -> str:
    """Return host and port of what may be no URL at all."""
    return url.partition("//")[2].partition("/")[0]


def unset_empty(environ: MutableMapping[str, str]) -> None:
    """Remove AWS's variables that are set to nothing: the SDK takes some for values, and fails or trusts any server.

    For the environment of the process, after the settings have been read: optional secrets are mounted like that.
    """
    for name in [name for name, value in environ.items() if name.startswith("AWS_") and not value.strip()]:
        del environ[name]
