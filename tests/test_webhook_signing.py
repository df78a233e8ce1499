"""Standard Webhooks: published vectors, our own checks, and what receivers' libraries make of our headers."""

from __future__ import annotations

import base64
import json
import time

import pytest
import standardwebhooks
import svix
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from webhooks.signing import (
    SignatureRefused,
    kind_of,
    new_private_key,
    new_secret,
    public_key,
    secret_key,
    sign_all,
    signed_headers,
    signing_key,
    verify,
)

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


# Of the test `test_asymmetric_key_signing` in svix-server; message, time and body are those of the first vector above.
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
ASYMMETRIC = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


@pytest.mark.parametrize(("secret", "message_id", "timestamp", "body", "signature"), VECTORS)
def test_published_vectors(secret: str, message_id: str, timestamp: int, body: bytes, signature: str) -> None:
    # The third key has 18 bytes, fewer than the specification allows for new ones.
    assert sign_all([base64.b64decode(secret.removeprefix("whsec_"))], message_id, timestamp, body) == signature


def test_a_published_vector_verifies() -> None:
    secret, message_id, timestamp, body, signature = VECTORS[0]
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    verify([secret], headers, body, timestamp)


def test_the_published_vector_of_v1a() -> None:
    _, message_id, timestamp, body, _ = VECTORS[0]
    assert sign_all([signing_key(PRIVATE)], message_id, timestamp, body) == ASYMMETRIC
    assert public_key(PRIVATE) == PUBLIC
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": ASYMMETRIC}
    verify([PUBLIC], headers, body, timestamp)
    seed = base64.b64decode(PRIVATE.removeprefix("whsk_"))[:32]
    short = "whsk_" + base64.b64encode(seed).decode()
    assert sign_all([signing_key(short)], message_id, timestamp, body) == ASYMMETRIC


@given(
    kinds=st.lists(st.sampled_from(["v1", "v1a"]), min_size=1, max_size=5),
    body=st.binary(max_size=200),
    timestamp=st.integers(0, 10**11),
)
def test_both_versions_stand_in_one_header_and_each_key_verifies_its_own(
    kinds: list[str], body: bytes, timestamp: int
) -> None:
    texts = [new_secret() if kind == "v1" else new_private_key() for kind in kinds]
    assert [kind_of(text) for text in texts] == kinds
    headers = signed_headers([signing_key(text) for text in texts], "evt_1", timestamp, body)
    items = headers["webhook-signature"].split(" ")
    assert [item.partition(",")[0] for item in items] == sorted(kinds)
    content = b"evt_1.%d.%b" % (timestamp, body)
    for text in texts:
        if text.startswith("whsec_"):
            verify([text], headers, body, timestamp)
            continue
        raw = base64.b64decode(public_key(text).removeprefix("whpk_"))
        Ed25519PublicKey.from_public_bytes(raw).verify(_signature_of(text, texts, items), content)
        verify([public_key(text)], headers, body, timestamp)
    for stranger in (new_secret(), public_key(new_private_key())):
        with pytest.raises(SignatureRefused):
            verify([stranger], headers, body, timestamp)


def _signature_of(text: str, texts: list[str], items: list[str]) -> bytes:
    """The n-th v1a key's is the n-th v1a signature."""
    asymmetric = [other for other in texts if other.startswith("whsk_")]
    own = [item for item in items if item.startswith("v1a,")][asymmetric.index(text)]
    return base64.b64decode(own.removeprefix("v1a,"))


def test_what_is_no_v1a_signature_is_passed_over() -> None:
    headers = signed_headers([signing_key(PRIVATE)], "evt_1", 1_700_000_000, b"{}")
    good = headers["webhook-signature"]
    for junk in ("v1a,", "v1a,AAAA", "v1a,%%", "v1a", "v1," + good.removeprefix("v1a,"), "", "v1a,é", "v1a,A"):
        with pytest.raises(SignatureRefused):
            verify([PUBLIC], {**headers, "webhook-signature": junk}, b"{}", 1_700_000_000)
        verify([PUBLIC], {**headers, "webhook-signature": f"{junk} {good}"}, b"{}", 1_700_000_000)
    with pytest.raises(SignatureRefused):
        verify([PUBLIC], headers, b"{ }", 1_700_000_000)


def test_the_receivers_libraries_bear_v1a_beside_v1() -> None:
    secret, now = new_secret(), int(time.time())
    headers = signed_headers([signing_key(PRIVATE), signing_key(secret)], "evt_1", now, b"{}")
    standardwebhooks.Webhook(secret).verify(b"{}", headers)
    svix.Webhook(secret).verify(b"{}", headers)


@pytest.mark.parametrize(
    "text",
    [
        "whsk_", "whsk_AAAA", PRIVATE[:-4], PRIVATE.replace("6Xb", "7Xb"), PUBLIC, "whsk_é", "sk_" + "A" * 44, "",
        "whsk_" + base64.b64encode(b"k" * 33).decode(),
    ],
)  # fmt: skip
def test_texts_that_are_no_private_key_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"whsk_|bytes|base64|belong"):
        signing_key(text)


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
