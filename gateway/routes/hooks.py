"""Inbound hooks: other systems post to an address of their own, and it becomes a message. docs/hooks.md tells how."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from channels import accounts
from channels.rooms import room
from channels.table import CHANNELS
from gateway import hooks
from gateway.hook_shapes import (
    ExampleView,
    Hook,
    HookAddress,
    HookAnswer,
    HookCalled,
    HookChange,
    HookChanged,
    HookMade,
    NewHook,
    Rehearsal,
    Rehearsed,
)
from gateway.hooks import invalid
from gateway.idempotency import REPLAYED
from gateway.telling import Unreachable, first_open, rendered
from gateway.web import Answer, Call, Listed, Paging, Route, page
from kernel.db import Connection
from kernel.errors import (
    InvalidRequest,
    MalformedRequest,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from kernel.platform import NoRoom
from kernel.types import Json
from webhooks.hooks import calls, registered
from webhooks.hooks.examples import Example, examples
from webhooks.hooks.recipe import Call as HookCall
from webhooks.hooks.recipe import Message, Unusable, apply, compile_recipe
from webhooks.hooks.verify import proof_of


async def receive(call: Call) -> Answer:
    """An outside system calls. Answered when its message is committed; 200 when there is nothing to say. A repeat is
    answered like the first time, and says nothing again."""
    hook, taken, repeated = await hooks.receive(call, call.path["token"])
    body = {
        "outcome": taken.outcome,
        "hook_id": hook.hook_id,
        "call_id": taken.call_id,
        "message_id": taken.message_id or None,
        "conversation_id": taken.conversation_id or None,
    }
    return Answer(body, 202 if taken.message_id else 200, {REPLAYED: "true"} if repeated else {})


async def create(call: Call) -> Json:
    """The address with its token is in this answer and nowhere else; so is a secret that was made here."""
    asked: NewHook = call.body
    shipped = _shipped(asked)
    verify = asked.verify.model_dump() if asked.verify else {"kind": shipped.verify if shipped else "none"}
    template = shipped.template if shipped else asked.template.model_dump(exclude_none=True) if asked.template else {}
    target = asked.target.model_dump(exclude_none=True)
    async with call.database() as conn:
        made = await registered.create(
            conn,
            call.services.ground.ring,
            call.workspace_id,
            name=asked.name,
            template=template,
            target=target,
            verify=verify,
            secret=asked.secret,
            example=asked.example or "",
        )
        await _check_target(conn, target)
        hook = await registered.get(conn, call.workspace_id, made.hook_id)
    return {**hook, "url": _url(call, made.token), "secret": made.secret}


def _shipped(asked: NewHook) -> Example | None:
    if (asked.example is None) == (asked.template is None):
        raise invalid("template", "give either example or template")
    if asked.example is None:
        return None
    if asked.example not in examples():
        raise invalid("example", f"there is {', '.join(examples())}")
    return examples()[asked.example]


async def _check_target(conn: Connection, target: Mapping[str, str]) -> None:
    """A room that is written out has to be one now; what a template makes is judged when it is called."""
    if "{{" not in target.get("channel", "{{") and target["channel"] not in CHANNELS:
        raise invalid("target.channel", f"there is {', '.join(CHANNELS)}")
    if "account_id" not in target or "{{" in target["account_id"]:
        return
    try:
        account = await accounts.get(conn, target["account_id"])
        if "chat" in target and "{{" not in target["chat"] + target.get("thread", ""):
            room(account["kind"], account["profile"], target["chat"], target.get("thread", ""))
    except NotFound:
        raise invalid("target.account_id", "there is no such bot, or it is disconnected") from None
    except NoRoom as error:
        raise invalid("target.chat", str(error)) from None


def _url(call: Call, token: str) -> str:
    return f"{call.services.ground.settings.public_url}/hooks/{token}"


async def listed(call: Call) -> Json:
    asked: Paging = call.query
    async with call.database() as conn:
        return page(await registered.list_hooks(conn, call.workspace_id, cursor=asked.cursor, limit=asked.limit))


async def one(call: Call) -> Json:
    async with call.database() as conn:
        return await registered.get(conn, call.workspace_id, call.path["hook_id"])


async def change(call: Call) -> Json:
    """`verify` and `target` are replaced whole. With another kind of `verify` the old secret is forgotten."""
    asked: HookChange = call.body
    changes = asked.model_dump(exclude_none=True)
    async with call.database() as conn:
        secret = await registered.change(
            conn, call.services.ground.ring, call.workspace_id, call.path["hook_id"], changes
        )
        await _check_target(conn, changes.get("target", {}))
        return {**await registered.get(conn, call.workspace_id, call.path["hook_id"]), "secret": secret}


async def delete(call: Call) -> Answer:
    async with call.database() as conn:
        await registered.delete(conn, call.workspace_id, call.path["hook_id"])
    return Answer(None)


async def rotate(call: Call) -> Json:
    """The address before it is one no more from then on."""
    async with call.database() as conn:
        token = await registered.rotate(conn, call.services.ground.ring, call.workspace_id, call.path["hook_id"])
    return {"hook_id": call.path["hook_id"], "url": _url(call, token)}


async def list_calls(call: Call) -> Json:
    asked: Paging = call.query
    hook_id = call.path["hook_id"]
    async with call.database() as conn:
        await registered.get(conn, call.workspace_id, hook_id)
        return page(await calls.list_calls(conn, call.workspace_id, hook_id, cursor=asked.cursor, limit=asked.limit))


async def rehearse(call: Call) -> Json:
    """What a call would become. Nothing is proven, sent or kept."""
    asked: Rehearsal = call.body
    async with call.database() as conn:
        hook = await registered.get(conn, call.workspace_id, call.path["hook_id"])
        arrived = _imagined(hook, asked)
        made = apply(compile_recipe(hook["template"], hook["target"]), arrived)
        told: Json = {"outcome": "message", "reason": "", "text": "", "shown": [], "target": {}, "channel": None}
        if isinstance(made, Unusable):
            return {**told, "key": "", "outcome": "refused", "reason": f"{made.field}: {made.message}"}
        told["key"] = hooks.name_of(proof_of(hook["verify"]), arrived, made)
        if not isinstance(made, Message):
            return {**told, "outcome": "ignored", "reason": made.reason}
        return {**told, "text": made.text, "target": made.target, **await _placed(conn, made)}


def _imagined(hook: Json, asked: Rehearsal) -> HookCall:
    headers = hooks.headers_of(asked.headers)
    if "payload" in asked.model_fields_set:
        return HookCall(asked.payload, headers, time.time())
    samples = examples()[hook["example"]].samples if hook["example"] in examples() else {}
    name = asked.sample or next(iter(samples), "")
    if name not in samples:
        given = f"one of {', '.join(samples)} as sample, or " if samples else ""
        raise invalid("sample" if asked.sample else "payload", f"give {given}a payload")
    return HookCall(samples[name].payload, {**samples[name].headers, **headers}, time.time())


async def _placed(conn: Connection, made: Message) -> Json:
    """Where it would stand, and what would stand there."""
    undone = conn.transaction()
    await undone.start()
    try:
        place = first_open(await hooks.places(conn, made.target))
    except (InvalidRequest, Unreachable) as error:
        return {"outcome": "refused", "reason": error.message}
    finally:
        await undone.rollback()
    return {"channel": place.channel, "shown": [unit.plain for unit in rendered(place, made.text)]}


async def list_examples(call: Call) -> Json:
    return page(([_example(example) for example in examples().values()], None))


def _example(example: Example) -> dict[str, Any]:
    samples = {name: {"headers": s.headers, "payload": s.payload} for name, s in example.samples.items()}
    return {
        "name": example.name,
        "title": example.title,
        "verify": example.verify,
        "template": example.template,
        "samples": samples,
    }


_HOOKS, _ONE = "/api/v1/hooks", "/api/v1/hooks/{hook_id}"
_REFUSALS = (
    NotFound,
    Unauthorized,
    RateLimited,
    TooLarge,
    MalformedRequest,
    Unsupported,
    InvalidRequest,
    Unreachable,
    Unavailable,
)

ROUTES = [
    Route(
        "POST",
        "/hooks/{token}",
        receive,
        "public",
        "Another system calls; what it says becomes a message",
        "hooks",
        response=HookAnswer,
        status=202,
        also={200: "Nothing is said of it"},
        errors=_REFUSALS,
        limit=hooks.LIMIT,
    ),
    Route("POST", _HOOKS, create, "write", "Make a hook", "hooks", NewHook, response=HookMade, status=201),
    Route("GET", _HOOKS, listed, "read", "List hooks", "hooks", query=Paging, response=Listed[Hook]),
    Route("GET", _ONE, one, "read", "One hook", "hooks", response=Hook, errors=(NotFound,)),
    Route("PATCH", _ONE, change, "write", "Change a hook, or put it in or out of use", "hooks", HookChange,
          response=HookChanged, errors=(NotFound,)),
    Route("DELETE", _ONE, delete, "write", "Remove a hook", "hooks", status=204, errors=(NotFound,)),
    Route("POST", _ONE + "/rotate-token", rotate, "write", "Give a hook another address", "hooks",
          response=HookAddress, errors=(NotFound,)),
    Route("POST", _ONE + "/test", rehearse, "write", "Show what a call would become, without sending", "hooks",
          Rehearsal, response=Rehearsed, errors=(NotFound,)),
    Route("GET", _ONE + "/calls", list_calls, "read", "A hook's calls, newest first", "hooks", query=Paging,
          response=Listed[HookCalled], errors=(NotFound,)),
    Route("GET", "/api/v1/hook-examples", list_examples, "read", "The templates that come along", "hooks",
          response=Listed[ExampleView]),
]  # fmt: skip
