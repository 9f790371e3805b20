"""Who must have signed, and what that signer has signed."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from downloader.errors import ConfigurationError, SignatureRejected
from downloader.formatting import reason, single_line
from downloader.loading import loading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_SIGNATURE_SIZE: Final = 16 << 20
"""Bytes of a signature that are read. Each file of a model takes about 250 of them."""
MISSING_EXTRA: Final = "pip install 'artifact-downloader[signing]', or take the image whose tag ends in -full"
ONE_OF: Final = (
    "name --signer-key (AIM_SIGNER_KEY), or --signer-ca (AIM_SIGNER_CA), or --signer-identity with --signer-issuer and"
    " --signer-trust-root (AIM_SIGNER_…)"
)
UNUSED: Final = ("boto3",)
"""What `sigstore` would import for keys in the cloud if it is there, as it is: a third of the time of its import."""
LAZY: Final = ("model_signing", "sigstore", "in_toto_attestation", "google")
"""What has modules for every kind of signer, and for signing: nothing of what is only for another one is executed."""
_PUBLIC_KEY = ("public key of an elliptic curve", "`openssl ec -in PRIVATE -pubout` writes that of a private key")
_CERTIFICATE = ("certificate", "name a PEM file that has BEGIN CERTIFICATE")
_TRUST_ROOT = ("trusted root", "name the trusted_root.json of Sigstore, or of your own installation of it")
"""What a file of the signer's should be, and what to do if it is not."""
_QUOTED = 200
"""Characters of what a signature says that a message quotes."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What has been signed. The signature has been verified."""

    files: Mapping[str, str]
    """Path → sha256."""
    ignored: frozenset[str]
    """Files and folders that the signer has left out, such as the signature itself."""
    signer: str
    """Who has signed, in words."""


@dataclass(frozen=True, slots=True)
class TrustedSigner:
    """The signer that is trusted: by a public key, a certificate authority, or an identity of Sigstore."""

    key: Path | None = None
    ca: Path | None = None
    identity: str = ""
    issuer: str = ""
    trust_root: Path | None = None

    def require_usable(self) -> None:
        """Raise ConfigurationError unless this names one signer, by files that can be read, and can be verified."""
        keyless = bool(self.issuer or self.trust_root)
        ways = [self.key is not None, self.ca is not None, keyless or (bool(self.identity) and self.ca is None)]
        if not any(ways):
            raise ConfigurationError("a signature is to be verified, and nothing says whose", hint=ONE_OF)
        if sum(ways) > 1:
            raise ConfigurationError("more than one kind of signer is named", hint=ONE_OF)
        if ways[2] and not (self.identity and self.issuer and self.trust_root):
            raise ConfigurationError("an identity without its issuer or a trust root proves nothing", hint=ONE_OF)
        for file in filter(None, (self.key, self.ca, self.trust_root)):
            try:
                file.read_bytes()
            except OSError as error:
                hint = "check the name and, in a pod, the mount"
                raise ConfigurationError(f"the signer's {file} cannot be read: {reason(error)}", hint=hint) from error
        if importlib.util.find_spec("model_signing") is None:
            raise ConfigurationError("signatures are verified by model-signing, which is not here", hint=MISSING_EXTRA)

    def __str__(self) -> str:
        if self.key is not None:
            return f"the key {self.key}"
        if self.ca is not None:
            return f"{self.identity or 'a signer'} certified by {self.ca}"
        return f"{self.identity} of {self.issuer}"

    def prepare(self) -> None:
        """Import what verifies a signature of this signer. Raises any exception."""
        with loading(*UNUSED, lazy=LAZY):
            from downloader.signing import library

            self._verifier(library)

    def verify(self, bundle: bytes, name: str) -> Statement:
        """Verify a signature, `name` in messages, and return what has been signed.

        Raises SignatureRejected unless this signer has made it, in words that say who was expected and who has signed;
        ConfigurationError for a file of the signer's that is not what it should be.
        """
        with loading(*UNUSED, lazy=LAZY):  # to the end: what is imported lazily imports more
            from downloader.signing import library

            return self._verify(library, bundle, name)

    def _verify(self, library: Any, bundle: bytes, name: str) -> Statement:  # noqa: ANN401 - a module that may not be there
        verifier = self._verifier(library)
        try:
            claimed = single_line(library.claimed(bundle), _QUOTED)
        except Exception as error:
            hint = "a signature of model_signing is a bundle of Sigstore in JSON"
            raise SignatureRejected(f"{name} is not a signature", hint=hint) from error
        try:
            if self.key is not None:
                bundle = library.one_key(bundle, self.key)
            elif self.ca is not None:
                bundle = library.one_chain(bundle)
            signed = library.signed_manifest(bundle, verifier)
            if self.ca is not None:
                library.require_current(bundle, self.identity, self.ca)
        except Exception as error:
            why = single_line(reason(error), _QUOTED)
            raise SignatureRejected(
                f"{name} is not signed by {self}: it says that it is from {claimed} ({why})"
            ) from error
        return self._statement(signed, name, self._named(library, bundle))

    def _verifier(self, library: Any) -> Any:  # noqa: ANN401 - as above
        try:
            if self.key is not None:
                return library.by_key(self.key)
            if self.ca is not None:
                return library.by_authority(self.ca)
            return library.by_identity(self.identity, self.issuer, self.trust_root)
        except Exception as error:
            file = self.key or self.ca or self.trust_root
            kind, hint = _PUBLIC_KEY if self.key else _CERTIFICATE if self.ca else _TRUST_ROOT
            why = single_line(reason(error), _QUOTED)
            raise ConfigurationError(f"the signer's {file} is not a {kind}: {why}", hint=hint) from error

    def _statement(self, signed: Any, name: str, signer: str) -> Statement:  # noqa: ANN401 - as above
        kind, described = signed.serialization_type, list(signed.resource_descriptors())
        if kind["method"] != "files" or any(item.digest.algorithm != "sha256" for item in described):
            raise SignatureRejected(
                f"{name} lists shards of files, or other digests than sha256, which are not computed here",
                hint="sign with the defaults of model_signing",
            )
        files = {item.identifier: item.digest.digest_hex for item in described}
        ignored = frozenset(kind.get("ignore_paths", ()))
        return Statement(files, ignored, signer)

    def _named(self, library: Any, bundle: bytes) -> str:  # noqa: ANN401 - as above
        """Return who has signed: of what a bundle says, only what was verified."""
        if self.key is not None:
            return f"the key {library.fingerprint(self.key)} ({self.key.name})"
        return single_line(library.claimed(bundle), _QUOTED) if self.ca is not None else str(self)
