"""The control API under /sim/: what people do, what they saw, and what shall go wrong. JSON in, JSON out."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

from aiohttp import web

from simulators.discord import doing, people, seeding
from simulators.discord.doing import message_id, place
from simulators.discord.errors import ApiError, JsonObject
from simulators.discord.faults import parse_fault
from simulators.discord.params import Params, read_params
from simulators.discord.people import Refused
from simulators.discord.places import root_of
from simulators.discord.state import Channel, Person, World
from simulators.discord.striking import arm
from simulators.discord.views import bot_view, channel_view, seen_view, undelivered
from simulators.discord.wire import dump

TRUTH_PAGE = 1000
MESSAGE_PAGE = 100_000
HEARTBEAT_SECONDS = 15.0

Post = Callable[[Params], Awaitable[JsonObject]]
Get = Callable[[web.Request], Awaitable[Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The handlers. `closing` ends event streams when the server stops."""

    def __init__(self, world: World, closing: asyncio.Event) -> None:
        self._world = world
        self._closing = closing

    def add_routes(self, app: web.Application) -> None:
        posts: dict[str, Post] = {
            "bots": self.post_bot,
            "users": self.post_user,
            "messages": self.post_message,
            "edits": self.post_edit,
            "deletions": self.post_deletion,
            "reactions": self.post_reaction,
            "typing": self.post_typing,
            "block": self.post_block,
            "unblock": self.post_unblock,
            "faults": self.post_fault,
            "reset": self.post_reset,
            **doing.posts(self._world),
        }
        gets: dict[str, Get] = {
            "state": self.get_state,
            "channels/{id}/messages": self.get_messages,
            "truth": self.get_truth,
            "calls": self.get_calls,
            "faults": self.get_faults,
            **doing.gets(self._world),
        }
        for path, post in posts.items():
            app.router.add_post(f"/sim/{path}", answering(post))
        for path, get in gets.items():
            app.router.add_get(f"/sim/{path}", answering(get))
        app.router.add_delete("/sim/faults", answering(self.delete_faults))
        app.router.add_delete("/sim/faults/{id}", answering(self.delete_fault))
        app.router.add_get("/sim/events", self.get_events)

    def _place(self, params: Params) -> tuple[Person, Channel]:
        return place(self._world, params)

    async def post_bot(self, params: Params) -> JsonObject:
        bot = seeding.add_bot(
            self._world,
            params.text("token") or None,
            params.whole("id") or None,
            params.text("name"),
            params.text("private_key"),
        )
        return bot_view(self._world, bot) | {"token": bot.token}

    async def post_user(self, params: Params) -> JsonObject:
        return people.add_person(self._world, params.text("name"), params.text("display")).profile()

    async def post_message(self, params: Params) -> JsonObject:
        """A person says something: user, content, channel, reply_to, and files as parts of a form."""
        person, channel = self._place(params)
        seen = people.write(self._world, channel, person, params.text("content"), params.values.get("reply_to"), params)
        return said(channel, seen.message)

    async def post_edit(self, params: Params) -> JsonObject:
        person, channel = self._place(params)
        seen = people.edit(self._world, channel, person, message_id(params), params.text("content"))
        return said(channel, seen.message)

    async def post_deletion(self, params: Params) -> JsonObject:
        person, channel = self._place(params)
        people.delete(self._world, channel, person, message_id(params))
        return {}

    async def post_reaction(self, params: Params) -> JsonObject:
        """user, message_id, emoji; remove: take it away again."""
        person, channel = self._place(params)
        remove = bool(params.values.get("remove"))
        emoji = params.text("emoji")
        done = people.react_as(self._world, channel, person, message_id(params), emoji, remove)
        return {"changed": done}

    async def post_typing(self, params: Params) -> JsonObject:
        person, channel = self._place(params)
        people.start_typing(self._world, channel, person.id)
        return {}

    async def post_block(self, params: Params) -> JsonObject:
        """The person takes no direct messages of the bot any more."""
        bot, person = people.find_bot(self._world, params.values.get("bot")), self._person(params)
        person.closed.add(bot.id)
        self._world.changes += 1
        return {}

    async def post_unblock(self, params: Params) -> JsonObject:
        bot, person = people.find_bot(self._world, params.values.get("bot")), self._person(params)
        person.closed.discard(bot.id)
        self._world.changes += 1
        return {}

    def _person(self, params: Params) -> Person:
        return people.find_person(self._world, params.values.get("user"))

    async def post_fault(self, params: Params) -> JsonObject:
        return {"id": arm(self._world, parse_fault(params.values))}

    async def post_reset(self, params: Params) -> JsonObject:
        seeding.reset(self._world)
        return {}

    async def delete_faults(self, request: web.Request) -> JsonObject:
        self._world.faults.clear()
        return {}

    async def delete_fault(self, request: web.Request) -> JsonObject:
        if not self._world.faults.remove(Params(dict(request.match_info)).whole("id")):
            raise Refused(f"no fault {request.match_info['id']}")
        return {}

    async def get_state(self, request: web.Request) -> JsonObject:
        world = self._world
        return {
            "bots": [bot_view(world, bot) for bot in world.bots.values()],
            "users": [p.profile() | {"closed": [str(n) for n in p.closed]} for p in world.people.values()],
            "guilds": [{"id": str(guild.id), "name": guild.name} for guild in world.guilds.values()],
            "channels": [channel_view(world, channel) for channel in world.channels.values()],
            "faults": world.faults.rules(),
            "flood": world.config.flood,
            "undelivered": undelivered(world),
        }

    async def get_messages(self, request: web.Request) -> JsonObject:
        """The messages of a channel, oldest first; with `user`, what this person sees; `after`, `limit`: a part."""
        world = self._world
        channel = next((c for c in world.channels.values() if str(c.id) == request.match_info["id"]), None)
        if channel is None:
            raise Refused(f"no channel {request.match_info['id']}")
        user = request.query.get("user")
        person = people.find_person(world, user) if user else None
        query = Params(dict(request.query))
        after, limit = query.whole("after"), query.whole("limit", MESSAGE_PAGE)
        wanted = (
            seen
            for key, seen in channel.messages.items()
            if key > after and (person is None or seen.only in (None, person.id))
        )
        root = root_of(request, "/sim/")
        shown = [seen_view(world, channel, seen, root) for seen in islice(wanted, limit)]
        return {"channel": channel_view(world, channel), "messages": shown}

    async def get_truth(self, request: web.Request) -> JsonObject:
        query = Params(dict(request.query))
        since = max(0, query.whole("since"))
        entries = self._world.truth[since : since + max(1, query.whole("limit", TRUTH_PAGE))]
        return {"entries": entries, "last": len(self._world.truth)}

    async def get_calls(self, request: web.Request) -> JsonObject:
        return {"calls": self._world.calls}

    async def get_faults(self, request: web.Request) -> JsonObject:
        return {"faults": self._world.faults.rules()}

    async def get_events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events from now on: send, message, edited_message, deleted_message, reaction, action, …"""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        listener = self._world.hub.listen()
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n: open\n\n")
            while not closing.done() and not listener.lost:
                waiting = asyncio.ensure_future(listener.queue.get())
                await asyncio.wait({waiting, closing}, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                batch = [waiting.result()] if waiting.done() else []
                waiting.cancel()
                while not listener.queue.empty():
                    batch.append(listener.queue.get_nowait())
                await response.write(b"".join(b"data: " + e + b"\n\n" for e in batch) or b": still here\n\n")
        except ConnectionError:
            pass
        finally:
            closing.cancel()
            self._world.hub.leave(listener)
        return response


def said(channel: Channel, message: JsonObject) -> JsonObject:
    return {"channel_id": str(channel.id), "message_id": message["id"], "message": message}


def answering(handler: Callable[[Any], Awaitable[Any]]) -> Handler:
    """Hand POSTs their parameters and others the request; answer JSON, and 400 with the reason when refused."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            result = await handler(await read_params(request) if request.method == "POST" else request)
        except ApiError as error:
            return _json({"error": error.message, "errors": error.errors}, error.status)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return result if isinstance(result, web.StreamResponse) else _json(result, 200)

    return answer


def _json(value: JsonObject, status: int) -> web.Response:
    return web.Response(status=status, body=dump(value), content_type="application/json")
