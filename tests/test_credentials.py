"""What bots are known by is told in the channels' rows, and held against them as it comes in."""

from __future__ import annotations

import re

import pytest

from channels.table import CHANNELS
from gateway.credentials import KINDS, checked
from gateway.openapi import document
from gateway.routes.table import ROUTES
from kernel.errors import InvalidRequest

TOKEN = "123456:AAF-abcdefghijklmnop"
EXAMPLES = {
    "token": TOKEN,
    "bot_token": "xoxb-1",
    "app_token": "xapp-1",
    "signing_secret": "s",
    "client_id": "1.2",
    "client_secret": "c",
    "public_key": "ab" * 32,
    "application_id": "12",
}


def test_every_mode_takes_what_it_tells_of_and_nothing_else() -> None:
    for kind in KINDS:
        for name, mode in CHANNELS[kind].modes.items():
            whole = {c.name: EXAMPLES[c.name] for c in mode.credentials}
            assert checked(kind, name, whole) == whole
            for c in mode.credentials:
                assert re.fullmatch(c.pattern, EXAMPLES[c.name], re.ASCII)
                if c.required:
                    with pytest.raises(InvalidRequest, match=rf"credentials\.{c.name}: .* needs it"):
                        checked(kind, name, {**whole, c.name: None})
            with pytest.raises(InvalidRequest, match=r"credentials\.password: .* no use"):
                checked(kind, name, {**whole, "password": "x"})


@pytest.mark.parametrize(
    ("kind", "mode", "given", "fault"),
    [
        ("pigeon", "webhook", {}, "kind: one of telegram"),
        ("rest", "api", {}, "kind: one of telegram"),
        ("telegram", "socket", {}, "mode: telegram knows the modes webhook, polling"),
        ("telegram", "polling", {"token": "nonsense"}, "credentials.token: this is not what it looks like"),
        ("telegram", "polling", {"token": TOKEN + "\n"}, "credentials.token: this is not"),
        ("slack", "webhook", {"signing_secret": "s"}, "credentials.bot_token: .* bot_token, or client_id and"),
        ("slack", "webhook", {"signing_secret": "s", "client_id": "1"}, "credentials.bot_token: "),
        ("discord", "webhook", {"bot_token": "t"}, "credentials.public_key: .* needs it"),
    ],
)
def test_what_is_wrong_is_named(kind: str, mode: str, given: dict[str, str], fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        checked(kind, mode, given)


def test_the_openapi_document_tells_the_kinds_and_their_credentials() -> None:
    shapes = document(ROUTES)["components"]["schemas"]
    asked = shapes["NewChannel"]["properties"]
    assert asked["kind"]["enum"] == list(KINDS)
    told = asked["credentials"]
    assert set(told["properties"]) == {
        c.name for kind in KINDS for mode in CHANNELS[kind].modes.values() for c in mode.credentials
    }
    assert "slack (socket) app_token, bot_token" in told["description"]


def test_every_channel_that_is_called_has_a_route() -> None:
    paths = {route.path for route in ROUTES if route.scope == "platform"}
    assert paths == {f"/channels/{kind}/{{account_id}}" for kind, channel in CHANNELS.items() if channel.called}
