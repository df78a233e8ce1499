"""The control API under /sim/: what people do, what they saw, and what shall go wrong. JSON in, JSON out."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from simulators.slack import founding, people
from simulators.slack.delivery import Delivery
from simulators.slack.errors import Refused, SlackError
from simulators.slack.outages import arm, disarm
from simulators.slack.params import Params, read_params
from simulators.slack.sockets import REASONS, Sockets
from simulators.slack.state import World
from simulators.slack.uploads import shared_files
from simulators.slack.values import Channel, JsonObject, Team, User
from simulators.slack.views_of import channel_view, delivery_view, seen_view, team_view, user_view

TRUTH_PAGE = 1000
HEARTBEAT_SECONDS = 15.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The handlers. `closing` ends event streams when the server stops."""

    def __init__(self, world: World, sockets: Sockets, closing: asyncio.Event) -> None:
        self._world = world
        self._sockets = sockets
        self._closing = closing
        self.delivery: Delivery | None = None

    def add_routes(self, app: web.Application) -> None:
        posts: dict[str, Callable[[Params], Awaitable[JsonObject]]] = {
            "app": self.post_app,
            "pace": self.post_pace,
            "teams": self.post_team,
            "users": self.post_user,
            "channels": self.post_channel,
            "members": self.post_member,
            "messages": self.post_message,
            "edits": self.post_edit,
            "deletes": self.post_delete,
            "reactions": self.post_reaction,
            "home": self.post_home,
            "installs": self.post_install,
            "disconnect": self.post_disconnect,
            "faults": self.post_fault,
            "reset": self.post_reset,
        }
        gets: dict[str, Callable[[web.Request], Awaitable[Any]]] = {
            "state": self.get_state,
            "channels/{id}/messages": self.get_messages,
            "truth": self.get_truth,
            "calls": self.get_calls,
            "faults": self.get_faults,
        }
        for path, post in posts.items():
            app.router.add_post(f"/sim/{path}", answering(post))
        for path, get in gets.items():
            app.router.add_get(f"/sim/{path}", answering(get))
        app.router.add_delete("/sim/faults", answering(self.delete_faults))
        app.router.add_delete("/sim/faults/{id}", answering(self.delete_fault))
        app.router.add_get("/sim/events", self.get_events)

    def _team(self, params: Params) -> Team:
        return people.find_team(self._world, params.text("team") or None)

    def who(self, params: Params) -> tuple[Team, User]:
        """The team and the person of a request. A person's id says the team, too."""
        known = self._world.users.get(params.text("user"))
        team = self._world.teams[known.team] if known else self._team(params)
        return team, people.find_user(self._world, team, params.text("user"))

    def place(self, params: Params) -> tuple[User, Channel]:
        team, user = self.who(params)
        return user, people.find_channel(self._world, team, user, params.text("channel") or None)

    async def post_app(self, params: Params) -> JsonObject:
        """request_url (verified first), interactivity_url, commands_url, streaming."""
        app = self._world.app
        if params.has("request_url") and self.delivery:
            if problem := await self.delivery.verify(params.text("request_url")):
                raise Refused(problem)
            app.verified = True
        for name in ("request_url", "interactivity_url", "commands_url"):
            if name in params.values:
                setattr(app, name, params.text(name))
        if "streaming" in params.values:
            self._world.streaming = params.flag("streaming")
        self._world.changes += 1
        return self._app()

    def _app(self) -> JsonObject:
        app = self._world.app
        return {
            "id": app.id,
            "name": app.name,
            "client_id": app.client_id,
            "request_url": app.request_url,
            "interactivity_url": app.interactivity_url,
            "commands_url": app.commands_url,
            "verified": app.verified,
            "streaming": self._world.streaming,
        }

    async def post_pace(self, params: Params) -> JsonObject:
        """Seconds of `Pace`: ack, retries (three), scale, trigger, stream, ping, response_url, grant."""
        known = asdict(self._world.pace)
        for name, value in params.values.items():
            numbers = value if isinstance(value, list) else [value]
            good = all(isinstance(one, int | float) and one >= 0 for one in numbers)
            if name not in known or not good or isinstance(value, list) != (name == "retries"):
                raise Refused(f"{name} is no pace, or not a number of seconds")
            setattr(self._world.pace, name, tuple(value) if isinstance(value, list) else float(value))
        return asdict(self._world.pace)

    async def post_team(self, params: Params) -> JsonObject:
        return team_view(self._world, founding.add_team(self._world, params.text("name") or "Team"))

    async def post_user(self, params: Params) -> JsonObject:
        team = self._team(params)
        return user_view(founding.add_user(self._world, team.id, params.text("name"), params.text("real_name")))

    async def post_channel(self, params: Params) -> JsonObject:
        """name, kind channel or group, users (all when absent), bot (false: without it)."""
        team = self._team(params)
        names = params.names("users")
        users = [people.find_user(self._world, team, name) for name in names] or list(self._world.people(team.id))
        with_bot = params.flag("bot") if "bot" in params.values else True
        kind = params.text("kind") or "channel"
        made = founding.add_channel(self._world, team.id, params.text("name"), kind, users, with_bot)
        return channel_view(self._world, made)

    async def post_member(self, params: Params) -> JsonObject:
        """status "member" brings a person or (user "bot") the bot into a channel, "left" takes them out."""
        team = self._team(params)
        channel = people.find_channel(self._world, team, None, params.text("channel"))
        if params.text("user") == "bot":
            user = self._world.users[people.home_of(self._world, team).bot_user]
        else:
            user = people.find_user(self._world, team, params.text("user"))
        move = {"member": people.join, "left": people.leave}.get(params.text("status"))
        if move is None or channel.kind in ("im", "mpim"):
            raise Refused("status must be member or left, and the conversation a channel")
        move(self._world, channel, user)
        return channel_view(self._world, channel)

    async def post_message(self, params: Params) -> JsonObject:
        """user, text, and perhaps channel, thread_ts, files, reply_broadcast."""
        user, channel = self.place(params)
        files = shared_files(self._world, user, params)
        thread, broadcast = params.text("thread_ts"), params.flag("reply_broadcast")
        return people.write(self._world, channel, user, params.text("text"), thread, files, broadcast)

    async def post_edit(self, params: Params) -> JsonObject:
        user, channel = self.place(params)
        return people.edit(self._world, channel, user, params.text("ts"), params.text("text"))

    async def post_delete(self, params: Params) -> JsonObject:
        user, channel = self.place(params)
        return people.delete(self._world, channel, user, params.text("ts"))

    async def post_reaction(self, params: Params) -> JsonObject:
        """name, and remove: true to take it away."""
        user, channel = self.place(params)
        away = params.flag("remove")
        return people.react(self._world, channel, user, params.text("ts"), params.text("name"), away)

    async def post_home(self, params: Params) -> JsonObject:
        _, user = self.who(params)
        return {"event_id": people.open_home(self._world, user, params.text("tab") or "home")}

    async def post_install(self, params: Params) -> JsonObject:
        """Install the app in a team without OAuth, or with remove: true take it out."""
        team = self._team(params)
        if params.flag("remove"):
            founding.uninstall(self._world, team.id)
        else:
            founding.install(self._world, team.id, tuple(params.names("scopes")) or self._world.config.scopes)
        return team_view(self._world, team)

    async def post_disconnect(self, params: Params) -> JsonObject:
        """Tell Socket Mode connections to go; reason "close" closes them without a word."""
        reason = params.text("reason") or "refresh_requested"
        if reason == "close":
            await self._sockets.cut()
            return {}
        if reason not in REASONS:
            raise Refused(f"reason must be close, or one of {', '.join(REASONS)}")
        return {"told": await self._sockets.disconnect(reason)}

    async def post_fault(self, params: Params) -> JsonObject:
        return {"id": arm(self._world, self._sockets, params.values)}

    async def delete_faults(self, request: web.Request) -> JsonObject:
        disarm(self._world)
        return {}

    async def delete_fault(self, request: web.Request) -> JsonObject:
        if not disarm(self._world, Params(dict(request.match_info)).whole("id")):
            raise Refused(f"no fault {request.match_info['id']}")
        return {}

    async def post_reset(self, params: Params) -> JsonObject:
        self._world.reset()
        return {}

    async def get_state(self, request: web.Request) -> JsonObject:
        world = self._world
        return {
            "app": self._app(),
            "teams": [team_view(world, team) for team in world.teams.values()],
            "users": [user_view(user) for user in world.users.values()],
            "channels": [channel_view(world, channel) for channel in world.channels.values()],
            "faults": world.faults.rules(),
            "flood": world.flood is not None,
            **delivery_view(world),
        }

    async def get_messages(self, request: web.Request) -> JsonObject:
        """Every message after the ts `after`; with `user`, the ephemeral ones that only they see as well."""
        channel = self._world.channels.get(request.match_info["id"])
        if channel is None:
            raise Refused(f"no channel {request.match_info['id']}")
        query = Params(dict(request.query))
        after, user = query.text("after"), query.text("user")
        return {
            "channel": channel_view(self._world, channel),
            "messages": [seen_view(seen) for ts, seen in channel.messages.items() if ts > after],
            "ephemerals": [one["message"] for one in channel.ephemerals if one["user"] == user],
        }

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
        """Server-sent events from now on: send, message, edited, deleted, reaction, delivery, …"""
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


def answering(handler: Callable[[Any], Awaitable[Any]]) -> Handler:
    """Hand POSTs their parameters and others the request; answer JSON, and 400 with the reason when refused."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            result = await handler(await read_params(request) if request.method == "POST" else request)
        except SlackError as error:
            return _json({"error": error.error}, 400)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return result if isinstance(result, web.StreamResponse) else _json(result, 200)

    return answer


def _json(value: JsonObject, status: int) -> web.Response:
    return web.Response(status=status, text=json.dumps(value), content_type="application/json")
