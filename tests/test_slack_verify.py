"""Slack's signature, with the vector of its documentation, and what the request URL answers at once."""

from __future__ import annotations

import importlib
import json
import time
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from channels.slack import CHANNEL
from channels.slack.requests import decode, immediate
from channels.slack.verify import verify
from simulators.slack.delivery import signed_headers
from tests.slack_parts import account

# https://docs.slack.dev/authentication/verifying-requests-from-slack
SECRET, TIMESTAMP = "8f742231b10e8888abcd99yyyzzz85a5", 1531420618
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
MODULE = importlib.import_module("channels.slack.verify")
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def headers(timestamp: str = str(TIMESTAMP), signature: str = SIGNATURE) -> CIMultiDict[str]:
    return CIMultiDict({"x-slack-request-timestamp": timestamp, "x-slack-signature": signature})


@pytest.fixture(autouse=True)
def then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "clock", lambda: float(TIMESTAMP))


def test_the_documented_request_is_genuine() -> None:
    assert CHANNEL.verify(account(signing_secret=SECRET), headers(), BODY)


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (headers(signature=SIGNATURE[:-1] + "4"), BODY),
        (headers(signature=""), BODY),
        (headers(signature="\udce9"), BODY),
        (headers(timestamp=str(TIMESTAMP + 1)), BODY),
        (headers(timestamp=""), BODY),
        (headers(timestamp="-1"), BODY),
        (headers(timestamp="²"), BODY),
        (headers(timestamp="9" * 5000), BODY),
        (headers(), BODY + b" "),
        (CIMultiDict({}), BODY),
    ],
)
def test_anything_else_is_not(given: CIMultiDict[str], body: bytes) -> None:
    assert not verify(account(signing_secret=SECRET), given, body)


def test_an_account_without_a_signing_secret_trusts_nobody() -> None:
    assert not verify(account(), headers(), BODY)
    assert not verify(account(signing_secret=""), headers(), BODY)


@pytest.mark.parametrize(("age", "genuine"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_five_minutes_either_way(age: int, genuine: bool) -> None:
    signed = CIMultiDict(signed_headers(SECRET, b"{}", TIMESTAMP - age))
    assert verify(account(signing_secret=SECRET), signed, b"{}") is genuine


def test_now_is_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert verify(account(signing_secret="s"), CIMultiDict(signed_headers("s", b"x", int(time.time()))), b"x")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_other_body_has_the_same_signature(one: bytes, other: bytes) -> None:
    signed = CIMultiDict(signed_headers(SECRET, one, TIMESTAMP))
    assert verify(account(signing_secret=SECRET), signed, other) is (one == other)


def test_bodies_are_json_a_form_with_json_or_a_form() -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert decode({"Content-Type": "application/json"}, b'{"type": "event_callback"}') == {"type": "event_callback"}
    payload = {"type": "block_actions", "user": {"id": "U1"}}
    assert decode(form, urlencode({"payload": json.dumps(payload)}).encode()) == payload
    assert decode(form, BODY)["command"] == "/webhook-collect"
    assert decode(form, BODY)["text"] == ""


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"[1]"),
        ("application/json", b"{"),
        ("application/json", b"\xff"),
        ("", b""),
        ("application/x-www-form-urlencoded", b"payload=%7B"),
        ("application/x-www-form-urlencoded; charset=utf-8", b"payload=1"),
    ],
)
def test_what_is_no_update_is_a_value_error(kind: str, body: bytes) -> None:
    with pytest.raises(ValueError):
        decode({"Content-Type": kind}, body)


def test_what_slack_hears_at_once() -> None:
    challenge = {
        "token": "x",
        "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P",
        "type": "url_verification",
    }
    assert immediate(account(), challenge) == {"challenge": challenge["challenge"]}
    assert immediate(account(), {"type": "view_submission"}) == {"response_action": "clear"}
    assert immediate(account(), {"type": "block_actions"}) is None
    assert immediate(account(), {"type": "event_callback"}) is None
    assert immediate(account(), {"command": "/parley", "text": "how far is the moon?"}) == {
        "response_type": "in_channel"
    }
    told = immediate(account(), {"command": "/parley", "text": "link 123456"})
    assert told is not None and told["response_type"] == "ephemeral" and "123456" not in told["text"]
