"""Discord's samples. Shapes: https://docs.discord.com/developers"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kernel.settings import Settings
from kernel.types import Account, Json, Unit
from tests.contract_case import QUESTION, TURN, Api, Said, Sample, Signing, Updates
from tests.discord_kit import (
    ACCOUNT,
    ANN,
    BOT_ID,
    DM_CHANNEL,
    GUILD,
    MESSAGE,
    TEXT_CHANNEL,
    US,
    event,
    guild_interaction,
    in_guild,
    interaction,
    message,
)
from tests.test_render_discord import check

TOKEN = "MTEwMDAwMDAwMDAwMDAwMDAwMQ.very.secret"
THREAD, OTHERS = "1600000000000000001", "1600000000000000002"
ASKED = f"<@{BOT_ID}> {QUESTION}"
FILE_URL = "https://cdn.discordapp.com/attachments/1/2/a.pdf?ex=65&is=66&hm=abc"


def account(seed: bytes = b"7" * 32) -> Account:
    return replace(ACCOUNT, mode="webhook", credentials={"bot_token": TOKEN, "public_key": _key(seed)})


def _key(seed: bytes) -> str:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()


def _number(last: int) -> str:
    return str(int(MESSAGE) + last)


def said(number: int, content: str = QUESTION, **fields: Any) -> Json:
    return event("MESSAGE_CREATE", message(content, id=_number(number), **fields))


def called(number: int, content: str = ASKED, **fields: Any) -> Json:
    return event("MESSAGE_CREATE", in_guild(content, id=_number(number), mentions=[US], **fields))


def pressed(number: int, custom_id: str) -> Json:
    shown = {"id": _number(90), "channel_id": TEXT_CHANNEL}
    return guild_interaction(3, {"custom_id": custom_id, "component_type": 2}, id=_number(number), message=shown)


FILE = {"id": "1900000000000000001", "filename": "a.pdf", "size": 9, "content_type": "application/pdf", "url": FILE_URL}
IGNORED = {
    "own_message": event("MESSAGE_CREATE", in_guild("x", author=US)),
    "from_bot": event("MESSAGE_CREATE", in_guild("x", author={**ANN, "bot": True})),
    "webhook": event("MESSAGE_CREATE", in_guild("x", webhook_id="1700000000000000001")),
    "service_message": event("MESSAGE_CREATE", in_guild("x", type=7)),
    "not_edited": event("MESSAGE_UPDATE", message("an embed was added")),
    "empty": event("MESSAGE_CREATE", in_guild("")),
    "ping": interaction(1),
    "unknown_button": pressed(50, "buy:now"),
    "unknown_command": interaction(2, {"name": "dance", "type": 1}),
    "other_interaction": interaction(4, {"name": "ask"}),
    "thread_created": event("THREAD_CREATE", {"id": THREAD}),
    "other_event": event("TYPING_START", {}),
}
REASONS = frozenset((*IGNORED, "other_reaction", "own_reaction", "reaction_to_others"))
UPDATES = Updates(
    private=said(0),
    mention=called(1),
    thread=event(
        "MESSAGE_CREATE",
        in_guild(ASKED, id=_number(2), mentions=[US], channel_id=THREAD),
        channel={"id": THREAD, "type": 11, "parent_id": TEXT_CHANNEL, "name": "Ideas", "parent_type": 0},
    ),
    elsewhere=event("MESSAGE_CREATE", in_guild(ASKED, id=_number(3), mentions=[US], channel_id=OTHERS)),
    again=said(4),
    chatter=event("MESSAGE_CREATE", in_guild("morning", id=_number(5))),
    command=said(6, "/help"),
    edit=event("MESSAGE_UPDATE", message("How early is it?", edited_timestamp="2024-10-27T12:05:00+00:00")),
    deletion=event("MESSAGE_DELETE", {"id": MESSAGE, "channel_id": DM_CHANNEL}),
    praise=pressed(7, f"fb:up:{TURN}"),
    blame=pressed(8, f"fb:down:{TURN}"),
    choice=pressed(9, f"say:{QUESTION}"),
    chosen_command=pressed(10, "say:/new"),
    file=said(11, attachments=[FILE]),
    unsupported=said(12, "", sticker_items=[{"id": "1", "name": "wave", "format_type": 1}]),
    retold=[
        called(1),
        event("MESSAGE_CREATE", called(1)["d"], event="session:5"),  # once more, after a resume
        # https://docs.discord.com/developers/resources/message#get-channel-messages, with the server that was asked
        event("MESSAGE_CREATE", {**message(ASKED, id=_number(1), channel_id=TEXT_CHANNEL), "guild_id": GUILD}),
    ],
    own=IGNORED["own_message"],
    other_bot=IGNORED["from_bot"],
    ignored=IGNORED,
    reasons=REASONS,
    malformed=[
        {},
        {"t": "MESSAGE_CREATE"},
        {"t": "MESSAGE_CREATE", "d": {}},
        {"t": "MESSAGE_CREATE", "d": message(content=5)},
        {"t": "MESSAGE_CREATE", "d": message("x", id="../x")},
        {"t": "MESSAGE_CREATE", "d": message("x", attachments=[5])},
        interaction(2, {"name": "ask"}, token="a/b"),
    ],
    secrets=[FILE_URL, "cdn.discordapp.com"],
)


def sign(of: Account, body: bytes, at: float, seeds: tuple[bytes, ...] = (b"7" * 32, b"8" * 32)) -> Json:
    seed = next((seed for seed in seeds if _key(seed) == of.credentials.get("public_key")), seeds[0])
    stamp = str(int(at))
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(stamp.encode() + body).hex()
    return {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": stamp}


SIGNING = Signing(
    sign,
    ["X-Signature-Ed25519", "X-Signature-Timestamp"],
    body=orjson.dumps(interaction(1)),
    other=orjson.dumps(interaction(2, {"name": "new", "type": 1})),
    strangers=[account(b"8" * 32), replace(account(), credentials={"bot_token": TOKEN})],
)


def refusal(status: int, code: int, text: str, **more: Any) -> Said:
    return Said(status, {"code": code, "message": text, **more})


def buttons(unit: Unit) -> list[str]:
    return [button["custom_id"] for row in unit.payload.get("components", []) for button in row["components"]]


API = Api(
    lambda root: Settings.read({"DISCORD_API_BASE_URL": f"{root}/api/v10"}),
    {
        "accepted": Said(200, {"id": _number(60), "channel_id": DM_CHANNEL, "content": "x", "flags": 0}),
        "malformed": refusal(400, 50035, "Invalid Form Body", errors={"content": {"_errors": [{"code": "X"}]}}),
        "unauthorized": refusal(401, 0, "401: Unauthorized"),
        "forbidden": refusal(403, 50007, "Cannot send messages to this user"),
        "gone": refusal(404, 10003, "Unknown Channel"),
        "limited": Said(429, {"message": "You are being rate limited.", "retry_after": 7.0, "global": False}),
        "broken": refusal(500, 0, "500: Internal Server Error"),
    },
)
SAMPLE = Sample(
    account=account(),
    updates=UPDATES,
    signing=SIGNING,
    api=API,
    addresses=[
        {"channel_id": DM_CHANNEL, "guild_id": None, "reply_to": None, "private": True},
        {"channel_id": TEXT_CHANNEL, "guild_id": GUILD, "reply_to": MESSAGE, "private": False},
    ],
    check=check,
    buttons=buttons,
)
