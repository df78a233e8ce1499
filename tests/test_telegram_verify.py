"""Who may call the Telegram webhook: only who knows the secret, judged before any JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from channels.telegram import verify
from kernel.types import Account

SECRET = "s3cret_Token-42"
HEADER = "X-Telegram-Bot-Api-Secret-Token"


def account(secret: object) -> Account:
    credentials = {"token": "1:a"} if secret is None else {"token": "1:a", "webhook_secret": secret}
    return Account("ws_1", "acc_1", "telegram", "webhook", credentials, {}, {})


def test_the_right_secret_verifies_whatever_the_body_and_the_spelling_of_the_header() -> None:
    assert verify(account(SECRET), CIMultiDict({HEADER: SECRET}), b"not json")
    assert verify(account(SECRET), CIMultiDict({HEADER.lower(): SECRET}), b"")


@pytest.mark.parametrize("given_secret", ["", SECRET[:-1], SECRET + "x", SECRET.upper(), "ключ", "\udcff\udc80"])
def test_any_other_secret_is_refused(given_secret: str) -> None:
    assert not verify(account(SECRET), CIMultiDict({HEADER: given_secret}), b"{}")


def test_no_header_is_refused() -> None:
    assert not verify(account(SECRET), CIMultiDict({"X-Other": SECRET}), b"{}")


@pytest.mark.parametrize("secret", [None, "", 7])
def test_an_account_without_a_secret_trusts_nobody(secret: object) -> None:
    assert not verify(account(secret), CIMultiDict({HEADER: ""}), b"{}")
    assert not verify(account(secret), CIMultiDict({HEADER: "7"}), b"{}")


@given(st.text(st.characters(exclude_categories=())))
def test_no_header_value_raises(value: str) -> None:
    assert verify(account(SECRET), {HEADER: value}, b"") == (value == SECRET)
