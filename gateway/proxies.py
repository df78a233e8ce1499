"""Who calls, when reverse proxies stand in between."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from kernel.settings import Network

_ONE_CALLER = 64  # bits of an IPv6 address that tell networks apart; whoever has one address there has all


def caller_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """The address to count calls by: the last one in `X-Forwarded-For` that no trusted proxy has.

    Only what a trusted proxy adds is believed, so nobody chooses an address by sending the header. An IPv6 caller is
    the network of 64 bits that it calls from. A peer without an address (a Unix socket) is "".
    """
    found = _read(peer)
    for hop in reversed(forwarded.split(",")):
        if found is None or not any(found in network for network in trusted):
            break
        before = _read(hop)
        if before is None:
            break
        found = before
    return _name(found) if found else ""


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: bare, in brackets, with a port."""
    bare = text.strip().partition("%")[0]
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _name(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    network = ip_network((address, _ONE_CALLER), strict=False)
    assert isinstance(network, IPv6Network)
    return str(network.network_address)
