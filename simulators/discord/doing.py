"""The control API's part for what people do with applications and places: commands, presses, channels, threads."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from simulators.discord import commands, interactions, people, places_made, threads
from simulators.discord.errors import JsonObject
from simulators.discord.interactions import interaction_view
from simulators.discord.params import Params, listing, mapping, number
from simulators.discord.people import Refused
from simulators.discord.state import Channel, Person, World
from simulators.discord.views import channel_view

Post = Callable[[Params], Awaitable[JsonObject]]


def posts(world: World) -> dict[str, Post]:
    """Paths under /sim/ and their handlers."""

    async def press(params: Params) -> JsonObject:
        """user, message_id, custom_id, and for menus values."""
        person, channel = place(world, params)
        source, values = message_id(params), params.values.get("values")
        return interaction_view(interactions.press(world, channel, person, source, params.text("custom_id"), values))

    async def command(params: Params) -> JsonObject:
        """user, command ("ask", or "group name"), options by name."""
        person, channel = place(world, params)
        bot = people.find_bot(world, params.values.get("bot"))
        options = mapping("options", params.values.get("options"))
        name = params.text("command")
        return interaction_view(interactions.run_command(world, bot, channel, person, name, options))

    async def thread(params: Params) -> JsonObject:
        """user, channel (a forum for a post), name, content, and message_id to start from a message."""
        person, channel = place(world, params)
        start = message_id(params) if params.has("message_id") else 0
        made, seen = threads.person_opens(
            world, person, channel, params.text("name"), params.text("content"), start, params
        )
        return {"channel": channel_view(world, made), "message": seen.message if seen else None}

    async def channel(params: Params) -> JsonObject:
        """name, type ("text" or "forum"), private, users: who sees a private one."""
        users = [people.find_person(world, user) for user in listing("users", params.values.get("users"))]
        made = places_made.add_channel(
            world, params.text("name"), params.text("type") or "text", bool(params.values.get("private")), users
        )
        return channel_view(world, made)

    async def member(params: Params) -> JsonObject:
        """channel, user or bot, status: "member" gives access to a private channel, "removed" takes it."""
        where = places_made.any_channel(world, params.values.get("channel"))
        who: Any = params.values.get("user")
        one = people.find_person(world, who) if who else people.find_bot(world, params.values.get("bot"))
        places_made.set_member(world, where, one.id, params.text("status"))
        return channel_view(world, where)

    async def permission(params: Params) -> JsonObject:
        """channel, denied: names of permissions that a bot has not, user or bot: only this one."""
        where = places_made.any_channel(world, params.values.get("channel"))
        who: Any = params.values.get("user")
        one = people.find_person(world, who) if who else people.find_bot(world, params.values.get("bot"))
        places_made.deny(world, where, one.id, listing("denied", params.values.get("denied")))
        return channel_view(world, where)

    async def endpoint(params: Params) -> JsonObject:
        """url: where interactions go from now on, "" for the gateway. Refused when the probes fail."""
        bot = people.find_bot(world, params.values.get("bot"))
        if world.verify is None:
            raise Refused("the simulator is not running")
        await world.verify(bot, params.text("url"))
        return {"url": bot.interactions_url}

    return {
        "presses": press,
        "commands": command,
        "threads": thread,
        "channels": channel,
        "members": member,
        "permissions": permission,
        "interactions": endpoint,
    }


def gets(world: World) -> dict[str, Callable[[web.Request], Awaitable[Any]]]:
    async def interaction(request: web.Request) -> JsonObject:
        asked = world.interactions.get(number("id", request.match_info["id"]))
        if asked is None:
            raise Refused(f"no interaction {request.match_info['id']}")
        return interaction_view(asked)

    async def offered(request: web.Request) -> JsonObject:
        """The slash commands a person is offered in a channel, by bot."""
        person, channel = place(world, Params(dict(request.query)))
        found = [
            command | {"bot_id": str(bot.id)}
            for bot in world.bots.values()
            if channel.guild or bot.id in channel.members
            for command in commands.available(world, bot, channel)
        ]
        return {"user_id": str(person.id), "commands": found}

    return {"interactions/{id}": interaction, "commands": offered}


def place(world: World, params: Params) -> tuple[Person, Channel]:
    """Who acts and where: `user`, and `channel` (id or name; the dialogue with `bot` when absent). Raises Refused."""
    person = people.find_person(world, params.values.get("user"))
    return person, people.find_channel(world, person, params.values.get("channel"), params.values.get("bot"))


def message_id(params: Params) -> int:
    return number("message_id", params.needed("message_id"))
