"""Making one message into another, and showing an answer while it is made."""

from __future__ import annotations

import time

from channels.discord.client import DiscordClient, NoAnswer, NotConnected
from channels.discord.find import NONCE_SECONDS
from channels.discord.interactions import live
from channels.discord.render import render
from channels.discord.send import ORIGINAL, is_loading, message_of, nonce_of, original, outcome, post, webhook
from kernel.types import Json, NotSent, Preview, Refused, Reply, SendOutcome, Sent, Unit, Unknown

FLOOR_SECONDS = 1.2  # a channel takes five edits in five seconds, and the answer itself needs its share
_PENDING = "…"


async def edit(
    client: DiscordClient, address: Json, receipt: Json, unit: Unit, plain: bool, key: str = ""
) -> SendOutcome:
    """Shows `unit` in place of the message that `receipt` names, repeatably. Refused when that is gone."""
    message = {"components": [], **message_of(unit, plain)}
    message.pop("message_reference", None)
    try:
        return await _patch(client, address, receipt, message, plain=plain)
    except NotConnected as error:
        return NotSent(str(error))
    except NoAnswer as error:
        return Unknown(str(error))


async def _patch(client: DiscordClient, address: Json, receipt: Json, message: Json, *, plain: bool) -> SendOutcome:
    """With the interaction's token while that lives, because there it needs no rights in the channel."""
    given = live(address) if receipt.get("webhook") else None
    if given is not None:
        answer = await client.call("PATCH", webhook(given, receipt["webhook"]), message, as_bot=False)
    else:
        path = f"/channels/{receipt['channel_id']}/messages/{receipt['message_id']}"
        answer = await client.call("PATCH", path, message)
    found = outcome(answer, plain=plain)
    return Sent({**receipt, **found.receipt}) if isinstance(found, Sent) else found


async def show(client: DiscordClient, address: Json, state: Json, markdown: str, key: str) -> Json | None:
    """See `kernel.types.Preview`. What does not fit into one message is shown as far as it does."""
    unit = render(Reply(markdown), address)[0]
    try:
        if state:
            found = await _patch(client, address, state, message_of(unit, False), plain=False)
        elif (given := live(address)) is not None:
            return await _begin_response(client, address, given, unit)
        else:
            found = await post(
                client, address["channel_id"], {**unit.payload, **_reference(address)}, _nonce(key), plain=False
            )
    except (NotConnected, NoAnswer):
        return state
    if isinstance(found, Refused):
        return None
    return found.receipt if isinstance(found, Sent) else state


async def _begin_response(client: DiscordClient, address: Json, given: Json, unit: Unit) -> Json | None:
    """The deferred answer becomes the preview, unless something was said in it already."""
    shown = await original(client, given)
    if not shown.ok or not is_loading(shown.data):
        return {} if shown.status == 429 or shown.status >= 500 else None
    receipt = {"channel_id": address["channel_id"], "message_id": str(shown.data["id"]), "webhook": ORIGINAL}
    found = await _patch(client, address, receipt, message_of(unit, False), plain=False)
    return found.receipt if isinstance(found, Sent) else None if isinstance(found, Refused) else {}


async def recover(client: DiscordClient, address: Json, key: str, since: float) -> Json | None:
    """The preview that somebody posted and could not tell of. In a channel the nonce finds it while Discord remembers
    that, and makes it when there was none: the answer takes its place in any case."""
    try:
        if (given := live(address)) is not None:
            shown = await original(client, given)
            if not shown.ok or is_loading(shown.data):
                return None
            receipt = {"channel_id": address["channel_id"], "message_id": str(shown.data["id"])}
            return {**receipt, "webhook": ORIGINAL}
        if time.time() - since > NONCE_SECONDS:
            return None
        message = {"content": _PENDING, **_reference(address)}
        found = await post(client, address["channel_id"], message, _nonce(key), plain=False)
    except (NotConnected, NoAnswer):
        return None
    return found.receipt if isinstance(found, Sent) else None


def _nonce(key: str) -> str:
    return nonce_of(f"preview:{key}")


def _reference(address: Json) -> Json:
    return {"message_reference": reference(address)} if address.get("reply_to") else {}


def reference(address: Json) -> Json:
    """A reply to the message that asked; without it when that is gone."""
    return {"message_id": address["reply_to"], "fail_if_not_exists": False}


def _floor(address: Json) -> float:
    return FLOOR_SECONDS


PREVIEW = Preview(show, recover, _floor, lasting=True)
