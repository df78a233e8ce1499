"""Standard Webhooks: published vectors, our own checks, and what receivers' libraries make of our headers."""

from __future__ import annotations

import base64
import json
import time

import pytest
import standardwebhooks
import svix
from hypothesis import given
from hypothesis import strategies as st

from webhooks.signing import SignatureRefused, new_secret, secret_key, sign_all, signed_headers, verify

VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1649367553,
        b'{"email":"test@example.com","username":"test_user"}',
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
    (
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        "msg_loFOjxBNrRLzqYUf",
        1731705121,
        b'{"event_type":"ping","data":{"success":true}}',
        "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ),
]


@pytest.mark.parametrize(("secret", "message_id", "timestamp", "body", "signature"), VECTORS)
def test_published_vectors(secret: str, message_id: str, timestamp: int, body: bytes, signature: str) -> None:
    # The third key has 18 bytes, fewer than the specification allows for new ones.
    assert sign_all([base64.b64decode(secret.removeprefix("whsec_"))], message_id, timestamp, body) == signature


def test_a_published_vector_verifies() -> None:
    secret, message_id, timestamp, body, signature = VECTORS[0]
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    verify([secret], headers, body, timestamp)


@given(data=st.dictionaries(st.text(), st.text() | st.integers()), count=st.integers(1, 4), which=st.integers(0, 3))
def test_the_receivers_libraries_accept_each_live_secret(data: dict[str, object], count: int, which: int) -> None:
    secrets = [new_secret() for _ in range(count)]
    body = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
    headers = signed_headers([secret_key(secret) for secret in secrets], "evt_1", int(time.time()), body)
    chosen = secrets[which % count]
    standardwebhooks.Webhook(chosen).verify(body, headers)
    svix.Webhook(chosen).verify(body, headers)
    verify([chosen], headers, body, time.time())
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(new_secret()).verify(body, headers)


def test_any_change_is_refused() -> None:
    secret, now = new_secret(), 1_700_000_000
    headers = signed_headers([secret_key(secret)], "evt_1", now, b"{}")
    verify([secret], {name.upper(): value for name, value in headers.items()}, b"{}", now)
    for changed in (
        {**headers, "webhook-id": "evt_2"},
        {**headers, "webhook-timestamp": str(now + 1)},
        {**headers, "webhook-timestamp": f"{now}.0"},
        {**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "v2,")},
        {**headers, "webhook-signature": ""},
        {name: value for name, value in headers.items() if name != "webhook-id"},
    ):
        with pytest.raises(SignatureRefused):
            verify([secret], changed, b"{}", now)
    with pytest.raises(SignatureRefused):
        verify([secret], headers, b"{ }", now)


@pytest.mark.parametrize(("age", "fine"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_five_minutes_either_way(age: int, fine: bool) -> None:
    secret = new_secret()
    headers = signed_headers([secret_key(secret)], "evt_1", 1_700_000_000, b"{}")
    if fine:
        verify([secret], headers, b"{}", 1_700_000_000 + age)
    else:
        with pytest.raises(SignatureRefused):
            verify([secret], headers, b"{}", 1_700_000_000 + age)


def test_a_malformed_item_does_not_hide_a_good_signature() -> None:
    secret = new_secret()
    headers = signed_headers([secret_key(secret)], "evt_1", 1_700_000_000, b"{}")
    headers["webhook-signature"] = f"junk v1a,AAAA v1,%% {headers['webhook-signature']} é"
    verify([secret], headers, b"{}", 1_700_000_000)


@pytest.mark.parametrize("size", [0, 23, 65])
def test_secrets_of_the_wrong_size_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        secret_key("whsec_" + base64.b64encode(b"k" * size).decode())


@pytest.mark.parametrize("secret", ["whsk_" + "A" * 32, "A" * 32, "whsec_not base64!", "whsec_é"])
def test_other_secrets_are_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"whsec_|base64"):
        secret_key(secret)


@pytest.mark.parametrize("message_id", ["a.b", "", "a b", "evt-1", "é"])
def test_ids_that_would_be_ambiguous_are_refused(message_id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        sign_all([b"k" * 32], message_id, 1, b"")
