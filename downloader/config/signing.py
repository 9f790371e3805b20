"""The settings of signatures: whether one is wanted, where it is, and who must have made it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from downloader.config.env import member, path, variable
from downloader.config.file_location import file_location

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.config.file_location import FileLocation


class SignatureMode(StrEnum):
    """What a missing or wrong signature means, as in `AIM_SIGNATURE`."""

    OFF = "off"
    WARN = "warn"
    REQUIRE = "require"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureSettings:
    """Signatures of models, in the format of OpenSSF Model Signing (docs/trust.md)."""

    signature: SignatureMode | None = variable(
        "AIM_SIGNATURE",
        "signature of the artifact: `require` publishes nothing that the signer below has not signed, `warn` only says"
        " so, `off` verifies none",
        parse=member(SignatureMode),
        default_text="`require` if a signer or a signature is named, otherwise `off`",
    )
    signature_uri: FileLocation | None = variable(
        "AIM_SIGNATURE_URI",
        "file or URI of the signature; without it, it is `model.sig` or the only `*.sig.json` of the artifact",
        parse=file_location,
    )
    signer_key: Path | None = variable(
        "AIM_SIGNER_KEY",
        "signer: the owner of the private key that belongs to this public one, a PEM file",
        parse=path,
        option="--signer-key FILE",
    )
    signer_ca: Path | None = variable(
        "AIM_SIGNER_CA",
        "signer: anyone with a certificate for signing from these certificate authorities, a PEM file",
        parse=path,
        option="--signer-ca FILE",
    )
    signer_identity: str = variable(
        "AIM_SIGNER_IDENTITY",
        "signer: the one whose certificate has this e-mail address or URI; needs a CA, or an issuer and a trust root",
        default="",
        option="--signer-identity NAME",
    )
    signer_issuer: str = variable(
        "AIM_SIGNER_ISSUER",
        "of a keyless signature: URL of the OpenID Connect provider that knows the identity",
        default="",
        option="--signer-issuer URL",
    )
    signer_trust_root: Path | None = variable(
        "AIM_SIGNER_TRUST_ROOT",
        "of a keyless signature: file with the trusted root of Sigstore, `trusted_root.json`; it is not fetched",
        parse=path,
        option="--signer-trust-root FILE",
    )

    @property
    def mode(self) -> SignatureMode:
        """What a missing or wrong signature means. To name a signer or a signature is to require one."""
        if self.signature is not None:
            return self.signature
        named = (self.signature_uri, self.signer_key, self.signer_ca, self.signer_identity, self.signer_issuer)
        return SignatureMode.REQUIRE if any((*named, self.signer_trust_root)) else SignatureMode.OFF
