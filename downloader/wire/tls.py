"""TLS trust: the system's certificates, the bundle that comes with us, and a CA of the user's, merged."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

SYSTEM_BUNDLE = "ca-certificates.crt"
"""What Debian calls the file with all certificates of its folder."""


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


def merged(bundles: Iterable[Path] = ()) -> bytes:
    """Return the PEM text of all whom `trust` trusts, for clients of others: they take one file instead of their own.

    Bytes, as there may be remarks in any encoding between the certificates. A bundle that is not there is left out:
    `trust` has complained of it. Raises OSError when one cannot be read.
    """
    usual = ssl.get_default_verify_paths()
    system = usual.cafile or (usual.capath and f"{usual.capath}/{SYSTEM_BUNDLE}") or "/dev/null"
    paths = [Path(system), Path(certifi.where()), *bundles]
    return b"\n".join(path.read_bytes() for path in paths if path.is_file())
