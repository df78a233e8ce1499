"""Telegram's samples. Shapes: https://core.telegram.org/bots/api"""

from __future__ import annotations

from typing import Any

import orjson

from channels.telegram.parse import OTHER_UPDATES
from kernel.settings import Settings
from kernel.types import Account, Json, Unit
from tests.contract_case import QUESTION, TURN, Api, Said, Sample, Signing, Updates
from tests.test_telegram_render import check

TOKEN, SECRET = "123456:AAE-very_secret", "s3cret_Token-42"
ME = {"id": 4242, "is_bot": True, "first_name": "Parley", "username": "ParleyBot"}
PROFILE = {"id": 4242, "username": "ParleyBot"}
ANN = {"id": 7, "is_bot": False, "first_name": "Ann", "username": "ann", "language_code": "en"}
PRIVATE = {"id": 7, "type": "private", "first_name": "Ann", "username": "ann"}
GROUP = {"id": -1001, "type": "supergroup", "title": "Team", "is_forum": True}
OTHERS = {"id": -1002, "type": "supergroup", "title": "Others"}
ASKED = f"@ParleyBot {QUESTION}"
MENTIONED = {"text": ASKED, "entities": [{"type": "mention", "offset": 0, "length": 10}]}


def account(secret: str = SECRET) -> Account:
    credentials = {"token": TOKEN, **({"webhook_secret": secret} if secret else {})}
    return Account("ws_1", "acc_1", "telegram", "webhook", credentials, {}, PROFILE)


def update(number: int, **parts: Any) -> Json:
    return {"update_id": 900 + number, **parts}


def message(number: int, chat: Json = PRIVATE, **content: Any) -> Json:
    return {"message_id": 30 + number, "from": ANN, "chat": chat, "date": 1_790_000_000, **content}


def said(number: int, chat: Json = PRIVATE, **content: Any) -> Json:
    return update(number, message=message(number, chat, **content))


def pressed(number: int, data: str) -> Json:
    shown = {**message(50, GROUP, text="So."), "from": ME}
    return update(number, callback_query={"id": f"q{number}", "from": ANN, "message": shown, "data": data})


def refusal(status: int, description: str, **parameters: Any) -> Said:
    return Said(status, {"ok": False, "error_code": status, "description": description, "parameters": parameters})


def buttons(unit: Unit) -> list[str]:
    rows = unit.payload.get("reply_markup", {}).get("inline_keyboard", [])
    return [button["callback_data"] for row in rows for button in row]


FIRST = said(1, text=QUESTION)
FILE = {"file_id": "BQACAgIA", "file_unique_id": "u", "file_name": "a.pdf", "mime_type": "application/pdf"}
IGNORED = {
    "from_bot": update(40, message={**message(40, text="x"), "from": {**ANN, "is_bot": True}}),
    "via_bot": said(41, text="x", via_bot=ME),
    "anonymous": said(42, GROUP, text="x", sender_chat=GROUP),
    "channel_post": update(43, channel_post={}),
    "service_message": said(44, GROUP, new_chat_members=[ANN]),
    "not_addressed": said(45, GROUP, text="morning"),
    "other_button": pressed(46, "buy:now"),
    "unknown_update": update(47, something_new={}),
}
REASONS = frozenset(
    (
        *IGNORED,
        *OTHER_UPDATES,
        "edit_without_text",
        "channel_membership",
        "membership_unchanged",
        "command_for_another_bot",
        "other_reaction",
    )
)
UPDATES = Updates(
    private=FIRST,
    mention=said(2, GROUP, **MENTIONED),
    thread=said(3, GROUP, **MENTIONED, is_topic_message=True, message_thread_id=12),
    elsewhere=said(4, OTHERS, **MENTIONED),
    again=said(5, text=QUESTION),
    chatter=IGNORED["not_addressed"],
    command=said(6, text="/help", entities=[{"type": "bot_command", "offset": 0, "length": 5}]),
    edit=update(7, edited_message={**message(1, text="How early is it?"), "edit_date": 1_790_000_009}),
    deletion=None,
    praise=pressed(8, f"fb:up:{TURN}"),
    blame=pressed(9, f"fb:down:{TURN}"),
    choice=pressed(10, f"say:{QUESTION}"),
    chosen_command=pressed(11, "say:/new"),
    file=said(12, document={**FILE, "file_size": 1234}, caption=QUESTION),
    unsupported=said(13, voice={"file_id": "x", "duration": 3}),
    retold=[FIRST, {**FIRST, "message": {**FIRST["message"], "link_preview_options": {"is_disabled": True}}}],
    own=update(14, message={**message(14, text="x"), "from": ME}),
    other_bot=IGNORED["from_bot"],
    ignored=IGNORED,
    reasons=REASONS,
    malformed=[
        {},
        {"update_id": "900"},
        update(1, message=[]),
        update(1, message={"message_id": 1}),
        said(1, text=5),
        said(1, text="x", entities=[5]),
        update(1, callback_query={"data": "fb:up:x", "message": {}}),
    ],
    secrets=[TOKEN, SECRET],
)


def sign(of: Account, body: bytes, at: float) -> Json:
    return {"X-Telegram-Bot-Api-Secret-Token": of.credentials.get("webhook_secret", "")}


SIGNING = Signing(
    sign,
    ["X-Telegram-Bot-Api-Secret-Token"],
    body=orjson.dumps(FIRST),
    other=orjson.dumps(said(2, text="x")),
    strangers=[account("another_Token-43"), account("")],
    covers_body=False,
)
API = Api(
    lambda root: Settings.read({"TELEGRAM_API_BASE_URL": root}),
    {
        "accepted": Said(200, {"ok": True, "result": {"message_id": 5, "chat": {"id": 7}}}),
        "malformed": refusal(400, "Bad Request: can't parse entities: Unsupported start tag"),
        "unauthorized": refusal(401, "Unauthorized"),
        "forbidden": refusal(403, "Forbidden: bot was blocked by the user"),
        "gone": refusal(404, "Not Found"),
        "limited": refusal(429, "Too Many Requests: retry after 7", retry_after=7),
        "broken": refusal(500, "Internal Server Error"),
    },
)
SAMPLE = Sample(
    account=account(),
    updates=UPDATES,
    signing=SIGNING,
    api=API,
    addresses=[
        {"chat_id": 7, "thread_id": None, "reply_to": None, "private": True},
        {"chat_id": -1001, "thread_id": 12, "reply_to": 31, "private": False},
    ],
    check=check,
    buttons=buttons,
)
