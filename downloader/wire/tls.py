"""TLS trust: the system's certificates, the bundle that comes with us, and a CA of the user's, merged."""

from __future__ import annotations

import ssl
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from downloader.errors import ConfigurationError
from downloader.words import reason

if TYPE_CHECKING:
    from collections.abc import Iterable

SYSTEM_BUNDLE = "ca-certificates.crt"
"""What Debian calls the file with all certificates of its folder."""


class Trust:
    """Whom we trust: the system's store, certifi's and each PEM file of `bundles`; everybody if not to `verify`.

    Raises ConfigurationError when one of the bundles cannot be loaded.
    """

    def __init__(self, bundles: Iterable[Path] = (), *, verify: bool = True) -> None:
        self._bundles = tuple(bundles)
        self._verify = verify
        if self._bundles:
            _ = self.context  # what was given is to be right, whether this run needs it or not

    @cached_property
    def context(self) -> ssl.SSLContext:
        """For connections to servers. Made when it is needed first: reading hundreds of certificates takes a while."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 asks for what RFC 5280 wants of a certificate, such as an authority key identifier, and many
        # private CAs do not write; it also takes a CA for trusted though the one above it is not. One rule for all.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        for bundle in (Path(certifi.where()), *self._bundles):
            try:
                context.load_verify_locations(bundle)
            except (OSError, ssl.SSLError) as error:
                hint = "it must be a readable PEM file with certificates"
                raise ConfigurationError(
                    f"the CA bundle {bundle} cannot be loaded: {reason(error)}", hint=hint
                ) from error
        return context


def merged(bundles: Iterable[Path] = ()) -> bytes:
    """Return the PEM text of all whom `Trust` trusts, for clients of others: they take one file instead of their own.

    Bytes, as there may be remarks in any encoding between the certificates. A bundle that is not there is left out:
    `Trust` has complained of it. Raises OSError when one cannot be read.
    """
    usual = ssl.get_default_verify_paths()
    system = usual.cafile or (usual.capath and f"{usual.capath}/{SYSTEM_BUNDLE}") or "/dev/null"
    paths = [Path(system), Path(certifi.where()), *bundles]
    return b"\n".join(path.read_bytes() for path in paths if path.is_file())
