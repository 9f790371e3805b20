"""Addresses that only this node or this cloud may reach: a redirect must not lead there."""

from __future__ import annotations

import ipaddress
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NETWORKS: Final[tuple[Network, ...]] = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",  # link-local, and the metadata services of AWS, Azure, GCP and others
            "fe80::/10",
            "fd00:ec2::/32",  # AWS
            "100.100.100.200/32",  # Alibaba
            "192.0.0.192/32",  # Oracle
            "168.63.129.16/32",  # Azure
        ),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_link_local(address: str) -> bool:
    """Tell whether a numeric address is link-local or a cloud's metadata service, however it is wrapped into IPv6."""
    try:
        found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return False
    forms = [found]
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if found in _NAT64 or int(found) < 1 << 32:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        forms += [inner] if inner is not None else []
    return any(form in network for form in forms for network in NETWORKS)
