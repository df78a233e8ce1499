"""A call of an inbound hook, from its bytes to the message that is owed: proven, read, put into words, committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qsl

import orjson

from channels import accounts
from channels.rooms import room
from gateway.reading import read_body
from gateway.telling import Told, Unreachable, first_open, tell
from gateway.web import MEBIBYTE, Call
from kernel.db import Connection
from kernel.errors import (
    InvalidRequest,
    MalformedRequest,
    NotFound,
    ParleyError,
    RateLimited,
    Unauthorized,
    Unsupported,
)
from kernel.ids import new_id
from kernel.platform import NoRoom
from kernel.ratelimit import Rate
from kernel.types import Json
from pipeline.outbox import Lane
from pipeline.reach import Reach, reach, reach_room
from webhooks.hooks import calls, registered
from webhooks.hooks.calls import Taken
from webhooks.hooks.recipe import Call as HookCall
from webhooks.hooks.recipe import Message, Passed, Unusable, apply, short_name
from webhooks.hooks.registered import Hook
from webhooks.hooks.verify import Proof, external_id, refusal

LIMIT = 4 * MEBIBYTE
_STRANGERS = Rate(count=60, seconds=60, burst=30)  # calls of one address without a known token, or with a wrong proof
_CALLS = Rate(count=300, seconds=60, burst=300)  # of one hook
_LARGE = 256 << 10  # bytes; more are parsed in a thread
_MOST_FIELDS = 1_000


async def receive(call: Call, token: str) -> tuple[Hook, Taken, bool]:
    """Handles one call. Returns after the commit, with what came of it and whether it came before.

    Raises NotFound, Unauthorized, RateLimited, TooLarge, MalformedRequest, Unsupported, InvalidRequest, Unreachable.
    """
    services = call.services
    async with services.ground.database.anywhere() as conn:
        hook = await registered.find(conn, services.ground.ring, token)
    if hook is None:
        raise await _stranger(call, NotFound("there is no such hook"))
    with call.face.uploads.enter() if (call.request.content_length or LIMIT) > MEBIBYTE else nullcontext():
        body = await read_body(call.request, LIMIT)
        arrived = await _arrived(call, hook, body)
    taken, repeated = await _commit(call, hook, arrived)
    if taken.conversation_id:  # also for a repeat, whose first try may have died
        services.sender.wake(Lane(hook.workspace_id, taken.conversation_id))
    return hook, taken, repeated


async def _arrived(call: Call, hook: Hook, body: bytes) -> HookCall:
    headers, now = headers_of(call.request.headers), time.time()
    if why := refusal(hook.proof, hook.secret, headers, body, now):
        raise await _stranger(call, Unauthorized(why))
    wait = await call.services.ground.limiter.take("hook", hook.hook_id, _CALLS)
    if wait > 0:
        raise RateLimited("this hook is called too often", retry_after=wait)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    read = asyncio.to_thread(payload_of, kind, body) if len(body) > _LARGE else None
    return HookCall(await read if read else payload_of(kind, body), headers, now)


async def _stranger(call: Call, refused: ParleyError) -> ParleyError:
    wait = await call.services.ground.limiter.take("hook-strangers", call.address, _STRANGERS)
    return RateLimited("too many calls without a valid token or signature", retry_after=wait) if wait > 0 else refused


def headers_of(given: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case; bytes that are no UTF-8 are replaced."""
    return {name.lower(): text.encode("utf-8", "replace").decode() for name, text in given.items()}


def payload_of(kind: str, body: bytes) -> Any:
    """JSON, or a form's fields (GitHub's hold their JSON in `payload`). Raises Unsupported and MalformedRequest."""
    if kind == "application/x-www-form-urlencoded":
        fields = _fields(body)
        try:
            return orjson.loads(fields["payload"]) if isinstance(fields.get("payload"), str) else fields
        except orjson.JSONDecodeError:
            return fields
    if kind not in ("", "application/json", "text/plain") and not kind.endswith("+json"):
        raise Unsupported("a hook takes JSON, or a form as application/x-www-form-urlencoded")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from None


def _fields(body: bytes) -> Json:
    """A field that stands several times is a list."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace")
    except ValueError:
        raise MalformedRequest("the form cannot be read") from None
    fields: Json = {}
    for name, value in pairs:
        if name in fields:
            fields[name] = [*fields[name], value] if isinstance(fields[name], list) else [fields[name], value]
        else:
            fields[name] = value
    return fields


async def _commit(call: Call, hook: Hook, arrived: HookCall) -> tuple[Taken, bool]:
    """One transaction: the call is claimed, its message owed, and what came of it kept for repeats."""
    made = apply(hook.recipe, arrived)
    if isinstance(made, Unusable):
        raise invalid(made.field, made.message)
    name, seconds = name_of(hook.proof, arrived, made) or new_id("once"), made.seconds
    async with call.services.ground.database.workspace(hook.workspace_id) as conn:
        claimed = await calls.claim(conn, hook.workspace_id, hook.hook_id, name, seconds)
        if isinstance(claimed, Taken):
            return claimed, True
        taken = Taken(claimed, "ignored", "", "")
        if isinstance(made, Message):
            told = await _tell(conn, hook, made)
            taken = Taken(claimed, "accepted", told.message_id, told.reach.conversation_id)
        await calls.settle(conn, hook.workspace_id, hook.hook_id, name, taken)
    return taken, False


def name_of(proof: Proof, arrived: HookCall, made: Message | Passed) -> str:
    """What a repeat is known by: the template's own key, or the sender's id of the call; empty without either."""
    if made.key:
        return f"own:{made.key}"
    return short_name(external_id(proof, arrived.headers, arrived.payload))


async def _tell(conn: Connection, hook: Hook, made: Message) -> Told:
    return await tell(conn, hook.workspace_id, first_open(await places(conn, made.target)), made.text, {})


async def places(conn: Connection, target: Mapping[str, str]) -> list[Reach]:
    """Where a target may be told something; at least one. Raises InvalidRequest and Unreachable."""
    if "chat" in target:
        return await _room(conn, target)
    try:
        found = await reach(
            conn,
            user_id=target.get("user_id"),
            conversation_id=target.get("conversation_id"),
            channel=target.get("channel"),
            account_id=target.get("account_id"),
        )
    except NotFound:
        raise invalid("target.user_id", "there is no such user") from None
    if not found and "conversation_id" in target:
        raise invalid("target.conversation_id", "there is no such conversation")
    if not found:
        raise Unreachable("this user has not written to a bot of this workspace there in private, so none may write")
    return found


async def _room(conn: Connection, target: Mapping[str, str]) -> list[Reach]:
    try:
        account = await accounts.get(conn, target["account_id"])
    except NotFound:
        raise invalid("target.account_id", "there is no such bot, or it is disconnected") from None
    try:
        place = room(account["kind"], account["profile"], target["chat"], target.get("thread", ""))
    except NoRoom as error:
        raise invalid("target.chat", str(error)) from None
    return await reach_room(conn, account["account_id"], place.key, place.address, private=place.private)


def invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", details=[{"field": field, "message": message}])
