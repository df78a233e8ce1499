"""Signatures, slash commands and buttons, and what Discord hears at once."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from multidict import CIMultiDict

from channels.discord import CHANNEL, verify
from channels.discord.commands import COMMANDS
from kernel.types import Account, InboundMessage, Json, Sender
from tests.discord_kit import (
    ACCOUNT,
    ANN,
    APPLICATION_ID,
    DM_CHANNEL,
    GUILD,
    MESSAGE,
    SENT_AT,
    TEXT_CHANNEL,
    event,
    guild_interaction,
    ignored,
    interaction,
    told,
)

# Test 3 of RFC 8032, section 7.1: the message is two bytes, here a timestamp of one and a body of one.
PUBLIC = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
SIGNED = (
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)
TOKEN = "aW50ZXJhY3Rpb24-_token"


def keyed(key: str) -> Account:
    return Account("ws_1", "acc_1", "discord", "webhook", {"public_key": key}, {}, {})


def test_the_published_vector_of_ed25519() -> None:
    Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    ).public_key().verify(bytes.fromhex(SIGNED), b"\xaf\x82")


def signed(timestamp: str, body: bytes) -> tuple[Account, CIMultiDict[str]]:
    private = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
    signature = private.sign(timestamp.encode() + body).hex()
    headers = CIMultiDict({"x-signature-ed25519": signature, "x-signature-timestamp": timestamp})
    return keyed(private.public_key().public_bytes_raw().hex()), headers


def test_a_signed_request_is_discords() -> None:
    account, headers = signed("1700000000", b'{"type":1}')
    assert verify(account, headers, b'{"type":1}')
    assert not verify(account, headers, b'{"type":2}')
    assert not verify(keyed(PUBLIC), headers, b'{"type":1}')
    headers["X-Signature-Timestamp"] = "1700000001"
    assert not verify(account, headers, b'{"type":1}')


@pytest.mark.parametrize("broken", ["", "zz", "00", "é", "00" * 64, "\udcff"])
def test_a_broken_signature_proves_nothing(broken: str) -> None:
    account, headers = signed("1700000000", b"{}")
    headers["X-Signature-Ed25519"] = broken
    assert not verify(account, headers, b"{}")
    assert not verify(account, CIMultiDict(), b"{}")
    assert not verify(keyed(broken), signed("1", b"{}")[1], b"{}")
    assert not verify(Account("w", "a", "discord", "webhook", {}, {}, {}), headers, b"{}")


def ask(text: str) -> Json:
    return {"id": "1", "name": "ask", "type": 1, "options": [{"name": "question", "type": 3, "value": text}]}


def test_a_question_by_slash_command_whole() -> None:
    assert told(guild_interaction(2, ask(" When? "))) == InboundMessage(
        external_id=MESSAGE,
        conversation_key=TEXT_CHANNEL,
        kind="text",
        sender=Sender(ANN["id"], "Annie", "ann", "de"),
        text="When?",
        address={
            "channel_id": TEXT_CHANNEL,
            "guild_id": GUILD,
            "reply_to": None,
            "private": False,
            "interaction": {
                "id": MESSAGE,
                "application_id": APPLICATION_ID,
                "token": TOKEN,
                "expires_at": SENT_AT + 900,
            },
        },
        private=False,
        sent_at=SENT_AT,
        chat=TEXT_CHANNEL,
    )


def test_commands_in_direct_messages_and_threads() -> None:
    link = interaction(2, {"name": "link", "type": 1, "options": [{"name": "code", "type": 3, "value": " 12 "}]})
    heard = told(link)
    assert (heard.kind, heard.command, heard.text, heard.private) == ("command", "link", "12", True)
    assert (heard.conversation_key, heard.sender.language) == (DM_CHANNEL, "de")
    thread = {"id": "9", "type": 11, "parent_id": TEXT_CHANNEL}
    inside = told(guild_interaction(2, ask("x"), channel_id="9", channel=thread))
    assert (inside.conversation_key, inside.chat, inside.thread) == ("9", TEXT_CHANNEL, True)
    assert told(interaction(2, ask(""))).command == "help"
    assert told(event("INTERACTION_CREATE", link)) == heard


def press(custom_id: str, kind: int = 2) -> Json:
    data = {"custom_id": custom_id, "component_type": kind, "id": 3}
    return interaction(3, data, message={"id": "1310000000000000001", "channel_id": DM_CHANNEL})


def test_buttons_praise_blame_and_speak() -> None:
    praise = told(press("fb:up:turn_1"))
    assert (praise.kind, praise.detail, praise.about) == ("feedback", "up", "turn_1")
    assert (praise.message_ref, praise.press) == ("1310000000000000001", f"{APPLICATION_ID}/{TOKEN}")
    assert told(press("fb:down:turn_1")).detail == "down"
    choice = told(press("say:Opening hours: Monday"))
    assert (choice.kind, choice.text) == ("text", "Opening hours: Monday")


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (interaction(1), "ping"),
        (interaction(4, {"name": "ask"}), "other_interaction"),
        (interaction(2, {"name": "dance", "type": 1}), "unknown_command"),
        (interaction(2, {"name": "ask", "type": 3}), "unknown_command"),
        (press("fb:sideways:turn_1"), "unknown_button"),
        (press("fb:up:"), "unknown_button"),
        (press("say: "), "unknown_button"),
        (press("fb:up:turn_1", 3), "unknown_button"),
    ],
)
def test_other_interactions_need_nothing(update: Json, reason: str) -> None:
    assert ignored(update) == reason


@pytest.mark.parametrize(
    ("update", "response"),
    [
        (interaction(1), {"type": 1}),
        (guild_interaction(2, ask("x")), {"type": 5}),
        (guild_interaction(2, {"name": "link"}), {"type": 5, "data": {"flags": 64}}),
        (interaction(2, {"name": "link"}), {"type": 5}),
        (press("fb:up:turn_1"), {"type": 6}),
        (press("say:yes"), {"type": 5}),
        (interaction(4, {}), None),
        (event("INTERACTION_CREATE", press("say:yes")), {"type": 5}),
        (event("MESSAGE_CREATE", {"type": 1}), None),
    ],
)
def test_discord_hears_at_once(update: Json, response: Json | None) -> None:
    assert CHANNEL.immediate is not None
    assert CHANNEL.immediate(ACCOUNT, update) == response


def test_a_discreet_answer_says_so_in_its_address() -> None:
    assert told(guild_interaction(2, {"name": "link", "type": 1})).address["interaction"]["discreet"] is True
    assert "discreet" not in told(interaction(2, {"name": "link", "type": 1})).address["interaction"]


def test_the_table_is_what_discord_takes() -> None:
    """https://docs.discord.com/developers/interactions/application-commands#application-command-object"""
    for name, command in COMMANDS.items():
        registered = command.to_json()
        assert registered["name"] == name.lower() and 1 <= len(name) <= 32
        assert 1 <= len(registered["description"]) <= 100
        for option in registered.get("options", ()):
            assert option["type"] == 3 and option["max_length"] <= 6000 and 1 <= len(option["description"]) <= 100
