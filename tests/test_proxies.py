"""Calls are counted by the caller's address, behind trusted reverse proxies too."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxies import caller_address
from gateway.services import Ground
from kernel.settings import Network
from tests.http_face import Client, served

OURS: tuple[Network, ...] = (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("203.0.113.9", "", (), "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", (), "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", OURS, "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", OURS, "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", OURS, "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.2.0.1 , 127.0.0.1", OURS, "198.51.100.1"),
        ("10.0.0.1", "", OURS, "10.0.0.1"),
        ("10.0.0.1", "unknown", OURS, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nobody, 10.0.0.2", OURS, "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1:4711", OURS, "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", OURS, "198.51.100.1"),
        ("fd00::1", "[2001:db8:1:2:3::4]:4711", OURS, "2001:db8:1:2::"),
        ("fd00::1", "2001:db8:1:2:ffff::9", OURS, "2001:db8:1:2::"),
        ("fe80::1%eth0", "", OURS, "fe80::"),
        ("", "198.51.100.1", OURS, ""),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has(
    peer: str, forwarded: str, trusted: Sequence[Network], address: str
) -> None:
    assert caller_address(peer, forwarded, trusted) == address


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_sent_is_read(peer: str, forwarded: str) -> None:
    caller_address(peer, forwarded, OURS)


@given(st.text(max_size=60))
def test_nobody_outside_chooses_an_address(forwarded: str) -> None:
    assert caller_address("203.0.113.9", forwarded, OURS) == "203.0.113.9"
    assert caller_address("10.0.0.1", forwarded + ", 203.0.113.9", OURS) == "203.0.113.9"


async def test_wrong_keys_are_counted_by_the_address_behind_the_proxy(ground: Ground, workspace_id: str) -> None:
    async with served(ground, trusted_proxies=OURS) as server:
        nobody = Client(server, workspace_id, "prl_live_wrong")
        for address in ("198.51.100.7", "198.51.100.8"):
            await server.ground.redis.delete(f"rl:auth:{address}")
        statuses = [
            (await nobody("GET", "/api/v1/webhooks", headers={"X-Forwarded-For": "198.51.100.7"})).status
            for _ in range(60)
        ]
        other = (await nobody("GET", "/api/v1/webhooks", headers={"X-Forwarded-For": "198.51.100.8"})).status
        assert statuses[0] == 401 and statuses[-1] == 429 and other == 401
