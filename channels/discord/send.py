"""One message out, and what became of it. Every failure is a value.

Codes: https://docs.discord.com/developers/topics/opcodes-and-status-codes#json-json-error-codes
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any

from channels.discord.client import Answer, DiscordClient, NoAnswer, NotConnected
from channels.discord.interactions import EPHEMERAL, live
from kernel.types import Json, NotSent, Refused, SendOutcome, Sent, Unit, Unknown

LOADING = 1 << 7
ORIGINAL = "@original"
INVALID_FORM = 50035
CANNOT_REPLY = 160002  # without the right to read the history
_UNDEFERRED_SECONDS = 5.0
_GONE_TOKEN = (10008, 10015, 10062, 50027)
_REFUSALS = {
    10003: "channel_not_found",
    10008: "message_not_found",
    50001: "no_access",
    50007: "blocked",
    50013: "no_permission",
    50278: "blocked",
    160005: "thread_locked",
}
_OUT = ("blocked", "no_access", "channel_not_found")
_FORMATTING = {"content", "components", "embeds"}
_BUSY = (40062, 130000)
_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large"}


async def send(client: DiscordClient, address: Json, unit: Unit, plain: bool, key: str = "") -> SendOutcome:
    """Sends one unit to `address`, formatted or `plain`. The receipt of a Sent holds `channel_id` and `message_id`.

    To an interaction that is still owed its answer the unit is that answer; further ones follow it up. When its time is
    over, and everywhere else, the unit becomes a message in the channel, which Discord shows once however often it is
    sent within minutes: `key` makes the nonce.
    """
    try:
        if (given := live(address)) is not None:
            outcome = await _respond(client, given, unit, plain)
            if outcome is not None:
                return outcome
        if address.get("interaction", {}).get("discreet"):
            return Refused("interaction_expired", "the answer was for one person's eyes, and their time is over")
        return await post(client, address["channel_id"], message_of(unit, plain), nonce_of(key), plain=plain)
    except NotConnected as error:
        return NotSent(str(error))
    except NoAnswer as error:
        return Unknown(str(error))


async def post(client: DiscordClient, channel_id: str, message: Json, nonce: str, *, plain: bool) -> SendOutcome:
    """A message in a channel. Raises NotConnected or NoAnswer."""
    path, body = f"/channels/{channel_id}/messages", {**message, "nonce": nonce, "enforce_nonce": True}
    answer = await client.call("POST", path, body)
    if answer.code == CANNOT_REPLY and body.pop("message_reference", None):
        answer = await client.call("POST", path, body)
    return outcome(answer, plain=plain)


async def _respond(client: DiscordClient, given: Json, unit: Unit, plain: bool) -> SendOutcome | None:
    """The answer to an interaction, or a follow-up to it; None when it can be answered no more."""
    message = webhook_message(unit, plain)
    shown = await original(client, given)
    if shown.status == 404 and time.time() < given["expires_at"] - 15 * 60 + _UNDEFERRED_SECONDS:
        return NotSent("the deferral is not there yet", retry_after=0.5)
    if shown.ok and is_loading(shown.data):
        answer = await client.call("PATCH", webhook(given, ORIGINAL), message, as_bot=False)
        return None if answer.code in _GONE_TOKEN else _webhook_outcome(answer, ORIGINAL, plain=plain)
    if not shown.ok and shown.code != 10008:
        return None if shown.code in _GONE_TOKEN else outcome(shown, plain=plain)
    if given.get("discreet"):
        message = {**message, "flags": message.get("flags", 0) | EPHEMERAL}
    answer = await client.call("POST", webhook(given), message, as_bot=False)
    return None if answer.code in _GONE_TOKEN else _webhook_outcome(answer, "", plain=plain)


def _webhook_outcome(answer: Answer, name: str, *, plain: bool) -> SendOutcome:
    """The receipt tells that the message can be edited with the interaction's token, too, and under which name."""
    found = outcome(answer, plain=plain)
    return Sent({**found.receipt, "webhook": name or found.receipt["message_id"]}) if isinstance(found, Sent) else found


async def original(client: DiscordClient, given: Json) -> Answer:
    """The message in which an interaction is answered."""
    return await client.call("GET", webhook(given, ORIGINAL), as_bot=False)


def webhook(given: Json, message: str = "") -> str:
    """https://docs.discord.com/developers/interactions/receiving-and-responding#endpoints"""
    path = f"/webhooks/{given['application_id']}/{given['token']}"
    return f"{path}/messages/{message}" if message else path


def is_loading(message: Any) -> bool:
    flags = message.get("flags") if isinstance(message, dict) else None
    return type(flags) is int and bool(flags & LOADING)


def message_of(unit: Unit, plain: bool) -> Json:
    """The unit as a message; `plain` without anything that could have been at fault."""
    if not plain:
        return unit.payload
    kept = ("allowed_mentions", "flags", "message_reference")
    return {"content": unit.plain, **{name: unit.payload[name] for name in kept if name in unit.payload}}


def webhook_message(unit: Unit, plain: bool) -> Json:
    """The same for an interaction, which answers by itself."""
    return {name: value for name, value in message_of(unit, plain).items() if name != "message_reference"}


def nonce_of(key: str) -> str:
    """24 characters; Discord takes 25."""
    return base64.b32encode(hashlib.blake2b(key.encode(), digest_size=15).digest()).decode()


def outcome(answer: Answer, *, plain: bool) -> SendOutcome:
    """What the answer to a message means. A refused `plain` one is never asked to be plainer."""
    if answer.ok:
        return _receipt(answer.data)
    if answer.status == 429 or answer.code in _BUSY:
        return NotSent(answer.reason, answer.retry_after, "bot" if answer.bot else "chat")
    if answer.status >= 500 or answer.status < 400:
        return Unknown(answer.reason)
    code = _REFUSALS.get(answer.code) or _CODES.get(answer.status, f"http_{answer.status}")
    plainer = not plain and answer.code == INVALID_FORM and bool(_faults(answer) & _FORMATTING)
    return Refused(code, _told(answer), plainer=plainer, blocked=code in _OUT)


def _receipt(message: Any) -> SendOutcome:
    if not isinstance(message, dict) or not isinstance(message.get("id"), str):
        return Unknown("an answer without a message id")
    return Sent({"channel_id": str(message.get("channel_id") or ""), "message_id": message["id"]})


def _faults(answer: Answer) -> set[str]:
    errors = answer.data.get("errors") if isinstance(answer.data, dict) else None
    return set(errors) if isinstance(errors, dict) else set()


def _told(answer: Answer) -> str:
    faults = _faults(answer)
    return f"{answer.reason} ({', '.join(sorted(faults))})" if faults else answer.reason


async def typing(client: DiscordClient, address: Json) -> None:
    """Shows "is typing…" for up to ten seconds; an interaction shows by itself that we think."""
    if live(address) is not None:
        return
    try:
        await client.call("POST", f"/channels/{address['channel_id']}/typing")
    except (NotConnected, NoAnswer):
        return


async def acknowledge(client: DiscordClient, message: Any, text: str) -> None:
    """Thanks whoever pressed a button, in words that they alone see. Without words there is nothing left to do: the
    press itself was answered when it came in."""
    if not text or not message.press:
        return
    body = {"content": text, "flags": EPHEMERAL, "allowed_mentions": {"parse": []}}
    try:
        await client.call("POST", f"/webhooks/{message.press}", body, as_bot=False, patience=2.0)
    except (NotConnected, NoAnswer):
        return
