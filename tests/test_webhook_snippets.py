"""The snippets that receivers copy, in every language at hand: published vectors, what we sign, and forgeries."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_webhook_signing import VECTORS
from tests.webhook_snippets import LANGUAGES, Language, code, verdicts
from webhooks.signing import new_private_key, new_secret, public_key, sign_all, signing_key

HERE = [language for language in LANGUAGES if language.there]
NOW = 1_700_000_000

# Of svix-server's tests (server/svix-server/src/core/cryptography.rs): the private key and what it signs.
V1A_PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
V1A = (
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    1614265330,
    b'{"test": 2432232314}',
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
)


def line(keys: list[str], message_id: str, stamp: object, signatures: str, body: bytes, now: int = NOW) -> str:
    return "\t".join((",".join(keys), message_id, str(stamp), signatures, base64.b64encode(body).decode(), str(now)))


def good() -> Iterator[str]:
    for secret, message_id, stamp, body, signature in VECTORS:
        yield line([secret], message_id, stamp, signature, body, stamp)
    message_id, stamp, body, signature = V1A
    yield line([public_key(V1A_PRIVATE)], message_id, stamp, signature, body, stamp)
    secrets, private = [new_secret(), new_secret()], new_private_key()
    body = '{"text":"é 💥","n":1.0}'.encode()
    both = sign_all([*map(signing_key, [*secrets, private])], "evt_1", NOW, body)
    for key in (*secrets, public_key(private)):
        yield line([key], "evt_1", NOW, both, body)
        yield line([new_secret(), key], "evt_1", NOW, both, body)
        yield line([key], "evt_1", NOW, f"v9,x nonsense , v1, v1a, {both} v1,!", body)
        yield line([key], "evt_1", NOW, both, body, NOW + 300)
        yield line([key], "evt_1", NOW, both, body, NOW - 300)
    for odd in (b"", b"\0\xff\xfe no text", b"x" * 100_000):
        yield line([secrets[0]], "evt_1", NOW, sign_all([signing_key(secrets[0])], "evt_1", NOW, odd), odd)
        yield line([public_key(private)], "evt_1", NOW, sign_all([signing_key(private)], "evt_1", NOW, odd), odd)


def bad() -> Iterator[str]:
    secret, private = new_secret(), new_private_key()
    public, body = public_key(private), b'{"type":"ping"}'
    for key, signature in ((secret, _of(secret, body)), (public, _of(private, body))):
        flipped = base64.b64decode(signature.partition(",")[2])
        flipped = bytes([flipped[0] ^ 1]) + flipped[1:]
        version = signature.partition(",")[0]
        yield line([key], "evt_1", NOW, signature, body, NOW + 301)
        yield line([key], "evt_1", NOW, signature, body, NOW - 301)
        yield line([key], "evt_2", NOW, signature, body)
        yield line([key], "evt_1", NOW + 1, signature, body)
        yield line([key], "evt_1", NOW, signature, body + b" ")
        yield line([key], "evt_1", NOW, f"{version},{base64.b64encode(flipped).decode()}", body)
        yield line([key], "evt_1", NOW, signature.replace(",", ", "), body)
        yield line([key], "evt_1", NOW, signature.partition(",")[2], body)
        yield line([key], "evt_1", NOW, signature + "!", body)
        yield line([key], "evt_1", NOW, signature[:-8], body)
        yield line([key], "evt_1", NOW, signature.upper(), body)
        yield line([key], "evt_1", NOW, f"v2{signature[2:]}", body)
        for nothing in ("", "v1,", "v1a,", "v1a,AAAA", ",", "v1,v1,v1", "é"):
            yield line([key], "evt_1", NOW, nothing, body)
        for stamp in ("", " ", f"{NOW}.0", f"{NOW}x", f" {NOW}", "-1", "1e9", "9" * 40, "٣"):
            yield line([key], "evt_1", stamp, signature, body)
    yield line([new_secret()], "evt_1", NOW, _of(secret, body), body)
    yield line([public_key(new_private_key())], "evt_1", NOW, _of(private, body), body)
    # The public key is known to everybody: it must not pass for a secret, nor the other way round.
    known = "whsec_" + public.removeprefix("whpk_")
    yield line([public], "evt_1", NOW, _of(known, body), body)
    yield line([public], "evt_1", NOW, f"v1a,{_of(known, body)[3:]}", body)
    yield line([secret], "evt_1", NOW, _of(private, body), body)
    yield line([secret], "evt_1", NOW, f"v1,{_of(private, body)[4:]}", body)


def _of(secret: str, body: bytes) -> str:
    return sign_all([signing_key(secret)], "evt_1", NOW, body)


@pytest.mark.parametrize("language", HERE, ids=lambda language: language.fence)
def test_a_snippet_believes_what_it_should_and_nothing_else(language: Language, tmp_path: Path) -> None:
    cases = [*((case, "ok") for case in good()), *((case, "refused") for case in bad())]
    random.Random(1).shuffle(cases)
    found = verdicts(language, [case for case, _ in cases], tmp_path)
    assert len(found) == len(cases)
    wrong = [case for (case, expected), verdict in zip(cases, found, strict=True) if verdict != expected]
    assert wrong == []


def test_python_is_at_hand() -> None:
    assert "python" in [language.fence for language in HERE]


@pytest.mark.parametrize(
    ("fence", "compare", "tolerance"),
    [
        ("python", "hmac.compare_digest(", "> 300"),
        ("javascript", "timingSafeEqual(", "> 300"),
        ("go", "hmac.Equal(", "> 300"),
        ("ruby", "OpenSSL.secure_compare(", "> 300"),
        ("php", "hash_equals(", "> 300"),
        ("java", "MessageDigest.isEqual(", "> 300"),
    ],
)
def test_every_snippet_compares_in_constant_time(fence: str, compare: str, tolerance: str) -> None:
    text = code(next(language for language in LANGUAGES if language.fence == fence))
    assert compare in text
    assert tolerance in text
