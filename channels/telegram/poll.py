"""Our own polling and the calls that connect a bot. The caller advances the offset, and only after its commit.

Source: https://core.telegram.org/bots/api#getupdates. A webhook and polling exclude each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from telegram import BotCommand
from telegram.error import NetworkError, TelegramError

from channels.telegram.client import Answer, ApiError, TelegramClient
from channels.telegram.send import retry_after
from kernel.types import Json, NotSent, Refused

ALLOWED_UPDATES = ["message", "edited_message", "my_chat_member", "callback_query", "message_reaction"]
BATCH = 100
MARGIN_SECONDS = 10.0  # how much longer than the server we wait before a long poll counts as lost
COMMANDS = (
    BotCommand("start", "Say hello"),
    BotCommand("help", "What I can do"),
    BotCommand("new", "Start a new conversation"),
    BotCommand("link", "Be the same person here and in another chat"),
    BotCommand("unlink", "Take that back"),
)

_KINDS: dict[int, Literal["conflict", "unauthorized", "retry"]] = {
    401: "unauthorized",
    404: "unauthorized",
    409: "conflict",
    429: "retry",
}


@dataclass(frozen=True, slots=True)
class PollError:
    """Why a poll brought nothing.

    conflict      another process polls this bot, or a webhook is set
    unauthorized  the token is not, or no longer, valid
    retry         too many requests; wait `retry_after` seconds
    network       no answer, or none that makes sense: try again with the same offset
    """

    kind: Literal["conflict", "unauthorized", "retry", "network"]
    reason: str
    retry_after: float | None = None


async def get_updates(client: TelegramClient, offset: int, timeout: int) -> list[Json] | PollError:
    """Updates from `offset` on, waiting up to `timeout` seconds for the first; asking confirms all before `offset`."""
    parameters = {"offset": offset, "timeout": timeout, "limit": BATCH, "allowed_updates": ALLOWED_UPDATES}
    try:
        answer = await client.call("getUpdates", parameters, timeout + MARGIN_SECONDS)
    except NetworkError as error:
        return PollError("network", error.message)
    if not answer.ok:
        return PollError(_KINDS.get(answer.status, "network"), answer.description, retry_after(answer))
    if not isinstance(answer.result, list) or not all(map(_is_update, answer.result)):
        return PollError("network", "an answer without updates")
    return answer.result


def _is_update(update: object) -> bool:
    return isinstance(update, dict) and type(update.get("update_id")) is int


def next_offset(offset: int, updates: Sequence[Json]) -> int:
    """The offset that confirms `updates`; never less than before."""
    return max((update["update_id"] + 1 for update in updates), default=offset) if updates else offset


async def connect(client: TelegramClient, mode: str, url: str = "", secret: str = "") -> Json | Refused | NotSent:
    """Registers the bot for `mode` ("webhook" with `url` and `secret`, or "polling") and returns its profile.

    The profile holds id, username, name, can_join_groups and can_read_all_group_messages. Updates that wait at the
    platform are kept. Refused: the platform will not have it; NotSent: it could not be asked, so try again.
    """
    try:
        answer = await client.call("getMe", {})
        if not answer.ok:
            return _refusal(answer)
        if mode == "webhook":
            await client.bot.set_webhook(url, secret_token=secret, allowed_updates=ALLOWED_UPDATES)
        else:
            await client.bot.delete_webhook()
        await client.bot.set_my_commands(COMMANDS)
    except ApiError as error:
        return _refusal(error.answer)
    except NetworkError as error:
        return NotSent(error.message, scope="bot")
    except TelegramError as error:
        return Refused("unauthorized", error.message)
    return _profile(answer.result)


def _profile(me: Any) -> Json | NotSent:
    if not isinstance(me, dict) or type(me.get("id")) is not int:
        return NotSent("an answer that describes no bot", scope="bot")
    return {
        "id": me["id"],
        "username": str(me.get("username") or ""),
        "name": str(me.get("first_name") or ""),
        "can_join_groups": me.get("can_join_groups") is True,
        "can_read_all_group_messages": me.get("can_read_all_group_messages") is True,
    }


async def disconnect(client: TelegramClient) -> Refused | NotSent | None:
    """Takes the webhook away, so that the platform stops calling; None when that is done."""
    try:
        await client.bot.delete_webhook()
    except ApiError as error:
        return _refusal(error.answer)
    except TelegramError as error:
        return NotSent(error.message, scope="bot")
    return None


def _refusal(answer: Answer) -> Refused | NotSent:
    if answer.status == 429 or answer.status >= 500:
        return NotSent(answer.description, retry_after(answer), "bot")
    code = "unauthorized" if answer.status in (401, 404) else "bad_request"
    return Refused(code, answer.description)
