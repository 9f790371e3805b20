"""TLS trust: the system's certificates, the bundle that comes with us, and a CA of the user's, merged."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


def trust(bundles: Iterable[Path] = (), *, verify: bool = True) -> ssl.SSLContext:
    """Return a context that trusts the system's store, certifi's and each PEM file of `bundles`.

    Raises ConfigurationError when a bundle cannot be loaded. `verify=False` trusts everybody.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    for bundle in (Path(certifi.where()), *bundles):
        try:
            context.load_verify_locations(bundle)
        except (OSError, ssl.SSLError) as error:
            hint = "it must be a readable PEM file with certificates"
            raise ConfigurationError(f"the CA bundle {bundle} cannot be loaded: {error}", hint=hint) from error
    return context
