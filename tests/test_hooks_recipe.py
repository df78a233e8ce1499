"""What a hook makes of a call: examples, targets, names for repeats, proofs; all of it without a gateway."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as StandardWebhook

from channels.rooms import room
from channels.slack.parse import parse as parse_slack
from channels.table import CHANNELS
from channels.telegram.parse import parse as parse_telegram
from gateway.hooks import headers_of, name_of, payload_of
from kernel.errors import MalformedRequest, Unsupported
from kernel.platform import NoRoom
from kernel.types import Account, InboundMessage, Json, Reply
from tests import discord_kit, slack_parts
from webhooks.hooks.examples import Example, examples
from webhooks.hooks.paths import Fault
from webhooks.hooks.recipe import LONGEST_TEXT, Call, Message, Passed, Unusable, apply, compile_recipe
from webhooks.hooks.verify import Kind, Proof, external_id, new_secret, proof_of, refusal, secret_fault

NOW = 1_795_512_612.0
ANN = {"user_id": "ann"}
INTEGERS = st.integers(-(2**63), 2**64 - 1)  # larger ones are read as floats
SAMPLES = [(example, name) for example in examples().values() for name in example.samples]


def made(
    template: Json, payload: Any, target: Json = ANN, headers: Mapping[str, str] | None = None
) -> Message | Passed | Unusable:
    return apply(compile_recipe(template, target), Call(payload, headers or {}, NOW))


def said(template: Json, payload: Any, target: Json = ANN, headers: Mapping[str, str] | None = None) -> Message:
    message = made(template, payload, target, headers)
    assert isinstance(message, Message), message
    return message


# ---- examples ------------------------------------------------------------------------------------------------------

TEXTS = {
    "github push": "**harbour/bikes**: annberg pushed [2 commits](https://github.com/harbour/bikes/compare/"
    "6113728f27ae...0a1b2c3d4e5f) to `main`\n- [`9f2c1de`](https://github.com/harbour/bikes/commit/"
    "9f2c1de04b7a5c8e6d3f1a2b4c5d6e7f80912345) Rent by the hour (Ann Berg)\n- [`0a1b2c3`](https://github.com/harbour/"
    r"bikes/commit/0a1b2c3d4e5f60718293a4b5c6d7e8f901234567) Fix rounding of prices with \`Decimal\` \*everywhere\* "
    "(Ann Berg)",
    "github issues": "**harbour/bikes**: lindqvist opened issue [#57 Deposit is charged twice \\[iOS\\]]"
    "(https://github.com/harbour/bikes/issues/57) (bug, payments)\n\nSteps:\n1\\. rent a bike\n2\\. pay\n\n"
    "The deposit appears \\*\\*twice\\*\\*. @\u2060annberg can you look?",
    "github pull_request": "**harbour/bikes**: annberg opened pull request [#58 Charge deposits once]"
    "(https://github.com/harbour/bikes/pull/58)\n2 commits, +34 −12, from `harbour:deposit_once` into `main`",
    "github workflow_run": "**harbour/bikes**: [tests #412](https://github.com/harbour/bikes/actions/runs/19640112233)"
    " ended with **failure** on `deposit_once`\nCharge deposits once (Ann Berg)",
    "alertmanager firing": "🔥 **FIRING: DiskAlmostFull** (2)\n- Disk almost full on db1.example.org:9100, warning, "
    "`db1.example.org:9100`, since 2026-11-24 03:08 UTC\n- Disk almost full on db2.example.org:9100, warning, "
    "`db2.example.org:9100`, since 2026-11-24 03:10 UTC\n\n[Alertmanager](http://alertmanager.example.org:9093)",
    "alertmanager resolved": "✅ **RESOLVED: DiskAlmostFull** (1)\n- Disk almost full on db1.example.org:9100, "
    "warning, `db1.example.org:9100`, resolved 2026-11-24 05:21 UTC\n\n[Alertmanager](http://alertmanager.example.org:9093)",
    "stripe payment_intent.succeeded": "💰 **59.00 EUR** paid by lind@example.org: E-bike, one weekend "
    "(`pi_3PqTa1LkdIwHu7ix0qOyL4tH`)",
    "stripe charge.dispute.created": "🚨 **Dispute over 59.00 EUR**: fraudulent, evidence is due by 2026-12-04 "
    "(`ch_3PqTa1LkdIwHu7ix0rXZ7kQm`)",
    "stripe invoice.payment_failed": "⚠️ Invoice [Q-2026-0042](https://invoice.stripe.com/i/acct_1032D82eZvKYlo2C/"
    "live_YWNjdF8xMDMy?s=ap) of **120,000 JPY** was not paid by ops@example.org "
    "(attempt 1, the next one on 2026-11-27)",
    "json text": "**Backup finished**\n\n14 GB in 12 minutes.\nNothing was skipped.\n\n"
    "https://backup.example.org/runs/1207",
    "json anything": '```\n{\n  "event": "door.opened",\n  "door": 3,\n  "by": [\n    "badge",\n    "A-17"\n  ]\n}'
    "\n```",
}


@pytest.mark.parametrize(("example", "name"), SAMPLES, ids=[f"{example.name} {name}" for example, name in SAMPLES])
def test_examples_say_what_their_systems_tell(example: Example, name: str) -> None:
    sample = example.samples[name]
    message = said(example.template, sample.payload, headers=sample.headers)
    assert message.text == TEXTS[f"{example.name} {name}"]
    for kind in ("telegram", "slack", "discord", "web", "rest"):
        assert CHANNELS[kind].render(Reply(message.text), {"chat_id": 1})


def github(event: str, **changes: Any) -> Message | Passed | Unusable:
    sample = examples()["github"].samples[event]
    return made(examples()["github"].template, {**sample.payload, **changes}, headers=sample.headers)


def test_of_github_only_what_people_want_to_hear_is_told() -> None:
    run = examples()["github"].samples["workflow_run"].payload["workflow_run"]
    pull = examples()["github"].samples["pull_request"].payload["pull_request"]
    for passed in (
        github("push", commits=[]),
        github("issues", action="labeled"),
        github("pull_request", action="synchronize"),
        github("workflow_run", workflow_run={**run, "conclusion": "success"}),
        github("workflow_run", action="requested"),
        made(examples()["github"].template, {"zen": "Keep it."}, headers={"x-github-event": "ping"}),
    ):
        assert isinstance(passed, Passed)
    for told, words in (
        (github("push", deleted=True, commits=[]), "annberg deleted `main`"),
        (github("push", created=True, commits=[], ref="refs/tags/v1"), "annberg created `v1`"),
        (github("push", forced=True), "annberg force- pushed"),
        (github("pull_request", action="closed", pull_request={**pull, "merged": True}), "annberg merged [#58"),
        (github("pull_request", action="closed"), "annberg closed pull request [#58"),
        (github("pull_request", action="ready_for_review"), "annberg finished pull request"),
    ):
        assert isinstance(told, Message)
        assert words in told.text
    many = [{**examples()["github"].samples["push"].payload["commits"][0], "id": f"{n:040}"} for n in range(8)]
    told = github("push", commits=many)
    assert isinstance(told, Message)
    assert told.text.endswith("- and 3 more")


def test_alertmanagers_own_repeat_is_one_call_and_a_later_reminder_another() -> None:
    example = examples()["alertmanager"]
    firing = example.samples["firing"].payload
    first = said(example.template, firing)
    again = said(example.template, orjson.loads(orjson.dumps(firing)))
    assert first.key == again.key != ""
    assert first.seconds == 240
    others = [
        {**firing, "status": "resolved"},
        {**firing, "groupKey": "{}:{}"},
        {**firing, "alerts": firing["alerts"][:1]},
        {**firing, "alerts": [{**firing["alerts"][0], "status": "resolved"}, firing["alerts"][1]]},
    ]
    keys = [said(example.template, other).key for other in others]
    assert len({first.key, *keys}) == 5
    crowd = [{**firing["alerts"][0], "fingerprint": f"{n:016}"} for n in range(90)]
    swapped = [*crowd[:-1], {**crowd[-1], "fingerprint": "f" * 16}]
    one, other = (said(example.template, {**firing, "alerts": alerts}) for alerts in (crowd, swapped))
    assert one.key != other.key


# ---- recipes -------------------------------------------------------------------------------------------------------


def test_the_first_case_that_fits_counts() -> None:
    template: Json = {
        "ignore": {"draft": True},
        "cases": [
            {"when": {"kind": "a"}, "text": "A {{ v }}"},
            {"when": {"v": {"$gt": 1}}, "text": "big"},
            {"text": "else"},
        ],
    }
    assert said(template, {"kind": "a", "v": 5}).text == "A 5"
    assert said(template, {"kind": "b", "v": 5}).text == "big"
    assert said(template, {"kind": "b"}).text == "else"
    assert made(template, {"kind": "a", "draft": True}) == Passed("the condition for ignoring it holds")
    assert made({"cases": template["cases"][:1]}, {}) == Passed("none of the cases fits")
    assert made({"text": " {{ v }}\n"}, {}) == Passed("the text is empty")


def test_targets_and_names_may_be_templates() -> None:
    template = {"text": "x", "dedupe": {"key": "{{ order.id }}", "seconds": 60}}
    message = said(template, {"order": {"id": 7, "by": "usr_1"}}, {"user_id": "{{ order.by }}", "channel": "{{ on }}"})
    assert (message.target, message.key, message.seconds) == ({"user_id": "usr_1"}, "7", 60)
    lacking = made(template, {"order": {"id": 7}}, {"user_id": "{{ order.by }}"})
    assert isinstance(lacking, Unusable)
    assert lacking.field == "target.user_id"
    rooms = said({"text": "x"}, {"team": "-100"}, {"account_id": "acc_1", "chat": "{{ team }}"})
    assert rooms.target == {"account_id": "acc_1", "chat": "-100"}
    long = said({"text": "x", "dedupe": {"key": "{{ k }}"}}, {"k": "k" * 300})
    assert long.key.startswith("blake2b:")
    assert len(long.key) < 80


@pytest.mark.parametrize(
    ("template", "target", "field"),
    [
        ({}, ANN, "template"),
        ({"text": "x", "cases": [{"text": "y"}]}, ANN, "template"),
        ({"cases": []}, ANN, "template.cases"),
        ({"cases": [{"text": "{{ a"}]}, ANN, "template.cases.0.text"),
        ({"cases": [{"text": "a"}, {"when": {"a": {"$x": 1}}, "text": "b"}]}, ANN, "template.cases.1.when.a"),
        ({"text": "x", "ignore": {"$or": 1}}, ANN, "template.ignore.$or"),
        ({"text": "x", "dedupe": {"key": "{{ a | b }}"}}, ANN, "template.dedupe.key"),
        ({"text": "x"}, {}, "target"),
        ({"text": "x"}, {"user_id": "a", "conversation_id": "b"}, "target"),
        ({"text": "x"}, {"account_id": "a"}, "target"),
        ({"text": "x"}, {"chat": "a"}, "target"),
        ({"text": "x"}, {"user_id": "a", "thread": "b"}, "target"),
        ({"text": "x"}, {"user_id": "{{"}, "target.user_id"),
    ],
)
def test_a_wrong_recipe_names_the_field(template: Json, target: Json, field: str) -> None:
    with pytest.raises(Fault) as refused:
        compile_recipe(template, target)
    assert refused.value.field == field


def test_a_condition_that_is_nested_too_deeply_is_refused() -> None:
    deep: Json = {"a": 1}
    for _ in range(400):
        deep = {"$not": deep}
    with pytest.raises(Fault):
        compile_recipe({"text": "x", "ignore": deep}, ANN)


def test_headers_that_prove_something_are_not_shown() -> None:
    hidden = ("authorization", "x-hub-signature-256", "x-gitlab-token", "cookie", "x-api-key")
    headers = {"x-event": "e", **dict.fromkeys(hidden, "s")}
    everything = said({"text": "{{ $header | block }}"}, {}, headers=headers).text
    assert '"x-event": "e"' in everything
    assert '"s"' not in everything


@given(st.dictionaries(st.text(), st.text() | INTEGERS | st.lists(st.text(), max_size=3)), st.text())
def test_no_payload_breaks_an_example(payload: Json, event: str) -> None:
    for example in examples().values():
        outcome = made(example.template, payload, headers={"x-github-event": event})
        assert isinstance(outcome, Message | Passed | Unusable)
        if isinstance(outcome, Message):
            assert len(outcome.text) <= LONGEST_TEXT


# ---- proofs --------------------------------------------------------------------------------------------------------


def test_githubs_published_vector() -> None:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secret, body = "It's a Secret to Everybody", b"Hello, World!"
    proof = Proof("github")
    assert refusal(proof, secret, {"x-hub-signature-256": signature}, body, NOW) is None
    for headers in (
        {},
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": "sha256="},
        {"x-hub-signature-256": signature[7:]},
        {"x-hub-signature-256": signature[:-1] + "8"},
        {"x-hub-signature-256": "sha256=é"},
        {"x-hub-signature": "sha1=757107ea"},
    ):
        assert refusal(proof, secret, headers, body, NOW), headers
    assert refusal(proof, secret, {"x-hub-signature-256": signature}, body + b" ", NOW)
    assert refusal(proof, None, {"x-hub-signature-256": signature}, body, NOW) == (
        "this hook has no secret yet to check signatures with"
    )


def stripe(secret: str, stamp: int, body: bytes) -> str:
    """https://docs.stripe.com/webhooks#verify-manually"""
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def test_stripes_signature_has_a_tolerance_and_several_keys() -> None:
    secret, body, now = "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH", b'{"id": "evt_1"}', int(NOW)
    right = stripe(secret, now, body)

    def judged(header: str, at: float = NOW, body: bytes = body) -> str | None:
        return refusal(Proof("stripe"), secret, {"stripe-signature": header}, body, at)

    assert judged(f"t={now},v1={right},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39") is None
    assert judged(f"t={now}, v1={'0' * 64}, v1={right}") is None
    assert judged(f"t={now},v1={right}", NOW + 300) is None
    assert judged(f"t={now},v1={right}", NOW + 301) == "the timestamp is too old or too new"
    assert judged(f"t={now},v1={right}", NOW - 301) == "the timestamp is too old or too new"
    assert judged(f"t={now},v0={right}") == "no signature matches"
    assert judged(f"t={now},v1={right}", body=body + b" ") == "no signature matches"
    for stamps in ("", "t=,", "t=1e9,", f"t={now},t={now},", "t=²,"):
        header = f"{stamps}v1={right}"
        assert judged(header) == "the header Stripe-Signature holds no timestamp"
    wide = Proof("stripe", tolerance=3_600)
    assert refusal(wide, secret, {"stripe-signature": f"t={now},v1={right}"}, body, NOW + 3_000) is None


def test_standard_webhooks_as_their_library_signs() -> None:
    secret = new_secret("standard_webhooks")
    assert secret
    body = '{"type": "x"}'
    signature = StandardWebhook(secret).sign("msg_1", datetime.fromtimestamp(NOW, UTC), body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(NOW)), "webhook-signature": signature}
    proof = Proof("standard_webhooks")
    assert refusal(proof, secret, headers, body.encode(), NOW) is None
    assert refusal(proof, secret, headers, body.encode(), NOW + 301)
    assert refusal(proof, new_secret("standard_webhooks"), headers, body.encode(), NOW)
    assert refusal(proof, secret, {}, body.encode(), NOW)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_any_header_may_hold_an_hmac_of_the_body(algorithm: Any, encoding: Any) -> None:
    digest = hmac.new(b"secret-of-8", b"body", algorithm).digest()
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    proof = Proof("hmac", header="X-Sign", algorithm=algorithm, encoding=encoding, prefix="v=")
    assert refusal(proof, "secret-of-8", {"x-sign": "v=" + text}, b"body", NOW) is None
    for wrong in (text, "v=", "v=" + text[:-2], "v=v=" + text, ""):
        assert refusal(proof, "secret-of-8", {"x-sign": wrong}, b"body", NOW)


def test_ways_to_verify_and_their_secrets_are_checked() -> None:
    wrongs: list[Json] = [{"kind": "hmac"}, {"kind": "hmac", "header": "a b"}, {"x": 1}]
    for wrong in (*wrongs, {"kind": "standard_webhooks", "tolerance": 9}):
        with pytest.raises(Fault):
            proof_of(wrong)
    assert secret_fault("none", "12345678")
    assert secret_fault("github", "short")
    assert secret_fault("github", "with a blank")
    assert secret_fault("standard_webhooks", "whsec_short")
    assert secret_fault("stripe", "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH") is None
    assert new_secret("stripe") is None
    assert new_secret("none") is None
    kinds: tuple[Kind, ...] = ("github", "hmac", "standard_webhooks")
    for kind in kinds:
        secret = new_secret(kind)
        assert secret and secret_fault(kind, secret) is None


def test_what_a_repeat_is_known_by() -> None:
    none, passed = Proof(), Passed("")
    for headers, payload, name in (
        ({"x-github-delivery": "72d3162e"}, {}, "github:72d3162e"),
        ({"webhook-id": "msg_1"}, {}, "webhook:msg_1"),
        ({"idempotency-key": "k"}, {}, "key:k"),
        ({"x-github-delivery": "g", "idempotency-key": "k"}, {}, "github:g"),
        ({"stripe-signature": "t=1"}, {"id": "evt_1"}, "stripe:evt_1"),
        ({"stripe-signature": "t=1"}, ["id"], ""),
        ({}, {"id": "evt_1"}, ""),
    ):
        assert external_id(none, headers, payload) == name
    assert external_id(Proof("stripe"), {}, {"id": "evt_1"}) == "stripe:evt_1"
    assert name_of(none, Call({}, {"webhook-id": "m"}, NOW), passed) == "webhook:m"
    assert name_of(none, Call({}, {"webhook-id": "m"}, NOW), Passed("", "mine")) == "own:mine"
    assert name_of(none, Call({}, {}, NOW), passed) == ""
    assert len(name_of(none, Call({}, {"webhook-id": "m" * 5_000}, NOW), passed)) < 80


# ---- bodies and rooms ----------------------------------------------------------------------------------------------


def test_bodies() -> None:
    form = "application/x-www-form-urlencoded"
    assert payload_of("application/json", b'{"a": [1]}') == {"a": [1]}
    assert payload_of("application/cloudevents+json", b"[]") == []
    assert payload_of("", b'"x"') == "x"
    assert payload_of("text/plain", b"3") == 3
    assert payload_of(form, b"a=1&b=x%20y&b=z&c=") == {"a": "1", "b": ["x y", "z"], "c": ""}
    assert payload_of(form, b"payload=%7B%22action%22%3A%22opened%22%7D") == {"action": "opened"}
    assert payload_of(form, b"payload=nope&x=1") == {"payload": "nope", "x": "1"}
    assert payload_of(form, b"payload=1&payload=2") == {"payload": ["1", "2"]}
    assert payload_of(form, b"a=%ff%00") == {"a": "\ufffd\0"}
    for kind, body, error in (
        ("application/json", b"", MalformedRequest),
        ("application/json", b"{", MalformedRequest),
        ("application/json", b'"\xff"', MalformedRequest),
        ("application/json", b"[" * 5_000, MalformedRequest),
        (form, b"\xff", MalformedRequest),
        (form, b"&".join([b"a=1"] * 1_001), MalformedRequest),
        ("application/xml", b"<a/>", Unsupported),
        ("multipart/form-data", b"", Unsupported),
    ):
        with pytest.raises(error):
            payload_of(kind, body)
    assert headers_of({"X-A": "b\udcff"}) == {"x-a": "b?"}


def test_rooms_are_the_places_that_messages_come_from() -> None:
    """A message at the top of a room, as each platform's `parse` reads it, is in the very conversation."""
    bot = Account("ws", "acc", "telegram", "webhook", {}, {}, {"id": 1, "username": "parley_bot"})
    update = {
        "update_id": 1,
        "message": {
            "message_id": 5, "date": 1, "chat": {"id": -1001234567890, "type": "supergroup", "title": "Ops"},
            "from": {"id": 7, "is_bot": False, "first_name": "Ann"}, "text": "/help@parley_bot",
            "entities": [{"type": "bot_command", "offset": 0, "length": 16}],
        },
    }  # fmt: skip
    (heard,) = parse_telegram(bot, update)
    assert isinstance(heard, InboundMessage)
    place = room("telegram", {}, "-1001234567890")
    assert (place.key, place.private) == (heard.conversation_key, heard.private)
    assert place.address == {**heard.address, "reply_to": None}
    topic = room("telegram", {}, "-1001234567890", "42")
    assert (topic.key, topic.address["thread_id"]) == ("-1001234567890:42", 42)
    assert room("telegram", {}, "7").private

    direct = slack_parts.message_of(parse_slack(slack_parts.account(), slack_parts.said("hi", slack_parts.DIRECT)))
    place = room("slack", {"team": slack_parts.TEAM}, slack_parts.DIRECT)
    assert (place.key, place.private) == (direct.conversation_key, direct.private)
    assert room("slack", {"team": "T061EG9R6"}, "C0LAN2Q65").address["channel"] == "C0LAN2Q65"
    assert room("slack", {}, "T061EG9R6:C0LAN2Q65").key == "T061EG9R6:C0LAN2Q65"
    thread = "1515449000.000001"
    update = slack_parts.said(f"<@{slack_parts.BOT}> hi", thread_ts=thread)
    answered = slack_parts.message_of(parse_slack(slack_parts.account(), update))
    place = room("slack", {"team": slack_parts.TEAM}, slack_parts.CHANNEL, thread)
    assert (place.key, place.private) == (answered.conversation_key, False)

    server = discord_kit.told(discord_kit.event("MESSAGE_CREATE", discord_kit.in_guild(f"<@{discord_kit.BOT_ID}> hi")))
    place = room("discord", {}, server.address["channel_id"])
    assert (place.key, place.private) == (server.conversation_key, server.private)
    assert room("discord", {}, server.chat, "1204567890123456789").key == "1204567890123456789"


@pytest.mark.parametrize(
    ("kind", "chat", "thread"),
    [
        ("telegram", "@ops", ""), ("telegram", "0", ""), ("telegram", "-1", "x"), ("telegram", "1" * 30, ""),
        ("slack", "#ops", ""), ("slack", "C0LAN2Q65", ""), ("slack", "T1X:C0LAN2Q65", "1"), ("slack", "U0LAN2Q65", ""),
        ("discord", "ops", ""), ("discord", "12", ""), ("discord", "1204567890123456789", "x"), ("web", "x", ""),
        ("rest", "x", ""),
    ],
)  # fmt: skip
def test_what_is_no_room(kind: str, chat: str, thread: str) -> None:
    with pytest.raises(NoRoom):
        room(kind, {}, chat, thread)
