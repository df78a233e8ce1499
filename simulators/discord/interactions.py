"""Interactions: a slash command or a pressed button, on its way to the bot and waiting for its answer
(https://docs.discord.com/developers/interactions/receiving-and-responding)."""

from functools import partial
from typing import Any

from simulators.discord.access import permissions
from simulators.discord.commands import chosen
from simulators.discord.events import dispatch, secret
from simulators.discord.payloads import channel_object, member_object, message_object
from simulators.discord.people import Refused
from simulators.discord.sessions import Session
from simulators.discord.state import DM, Bot, Channel, Interaction, JsonObject, Person, Seen, World

PING, COMMAND, COMPONENT = 1, 2, 3
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def press(
    world: World, channel: Channel, person: Person, number: int, custom_id: str, values: list[str] | None = None
) -> Interaction:
    """A person presses a button, or picks `values` from a menu. Raises Refused when there is none."""
    seen = channel.messages.get(number)
    if seen is None or seen.deleted or seen.only not in (None, person.id):
        raise Refused(f"no message {number}")
    component = _component(seen.message, custom_id)
    if component.get("disabled"):
        raise Refused("this button is disabled")
    data: JsonObject = {"custom_id": custom_id, "component_type": component["type"], "id": 1}
    if component["type"] != 2:
        data["values"] = values or []
    bot = world.bots[int(seen.message["author"]["id"])]
    return _ask(world, bot, channel, person, COMPONENT, data, number)


def _component(message: JsonObject, custom_id: str) -> JsonObject:
    for row in message["components"]:
        for component in row["components"]:
            if component.get("custom_id") == custom_id:
                found: JsonObject = component
                return found
    raise Refused("this message has no such button")


def run_command(
    world: World, bot: Bot, channel: Channel, person: Person, name: str, options: JsonObject
) -> Interaction:
    """A person runs "/name", or "/group name" with a subcommand. Raises Refused."""
    return _ask(world, bot, channel, person, COMMAND, chosen(world, bot, channel, name, options))


def _ask(
    world: World, bot: Bot, channel: Channel, person: Person, kind: int, data: JsonObject, source: int = 0
) -> Interaction:
    token = "".join(world.rng.choices(LETTERS, k=60))
    asked = Interaction(world.take_id(), token, bot.id, person.id, channel.id, kind, world.now(), data, source)
    asked.http = bool(bot.interactions_url)
    world.interactions[asked.id] = asked
    world.tokens[token] = asked
    world.changes += 1
    channel.typing.pop(person.id, None)
    world.hub.publish("interaction", **interaction_view(asked))
    world.after(world.config.response_seconds, partial(expire, world, asked))
    if asked.http:
        world.deliver(bot, asked, payload(world, asked, world.root))
    else:
        dispatch(world, bot.id, "INTERACTION_CREATE", channel, partial(_for_session, world, asked))
    return asked


def _for_session(world: World, asked: Interaction, session: Session) -> JsonObject:
    return payload(world, asked, session.root)


def expire(world: World, asked: Interaction) -> None:
    """Nobody answered in time: the person sees that the application did not respond."""
    if asked.state == "waiting":
        asked.state = "failed"
        world.changes += 1
        world.hub.publish("interaction", **interaction_view(asked))


def payload(world: World, asked: Interaction, root: str) -> JsonObject:
    """The interaction object that the bot gets."""
    channel = world.channels[asked.channel]
    bot, person = world.bots[asked.bot], world.people[asked.user]
    shown: JsonObject = {
        "id": str(asked.id),
        "application_id": str(asked.bot),
        "type": asked.kind,
        "token": asked.token,
        "version": 1,
        "data": asked.data,
        "channel_id": str(asked.channel),
        "channel": channel_object(world, channel),
        "app_permissions": str(permissions(world, channel, bot.id)),
        "locale": "en-US",
        "entitlements": [],
        "authorizing_integration_owners": owners(channel),
        "context": 1 if channel.type == DM else 0,
        "attachment_size_limit": world.config.file_limit,
    }
    shown |= _who(world, channel, person)
    if asked.source:
        seen = channel.messages[asked.source]
        shown["message"] = message_object(channel, seen, bot.id, root, secret(world), True)
    return shown


def _who(world: World, channel: Channel, person: Person) -> JsonObject:
    """`user` in direct messages; `member` and the guild elsewhere."""
    if channel.type == DM:
        return {"user": person.profile()}
    guild = world.guilds[channel.guild]
    member = member_object(guild) | {
        "user": person.profile(),
        "permissions": str(permissions(world, channel, person.id)),
    }
    place = {"id": str(guild.id), "locale": "en-US", "features": []}
    return {"member": member, "guild": place, "guild_id": str(guild.id), "guild_locale": "en-US"}


def owners(channel: Channel) -> JsonObject:
    """Who installed the application where this happens: the guild, or for direct messages "0"."""
    return {"0": str(channel.guild)}


def interaction_view(asked: Interaction) -> JsonObject:
    """An interaction as the control API shows it."""
    return {
        "interaction_id": str(asked.id),
        "user_id": str(asked.user),
        "channel_id": str(asked.channel),
        "kind": "command" if asked.kind == COMMAND else "component",
        "data": asked.data,
        "source_id": str(asked.source) if asked.source else None,
        "state": asked.state,
        "response_id": str(asked.response) if asked.response else None,
        "message_ids": [str(number) for number in asked.messages],
    }


def original(world: World, asked: Interaction) -> tuple[Channel, Seen | None]:
    """Where @original is: the message that answered, or the one whose button was pressed."""
    channel: Any = world.channels[asked.channel]
    return channel, channel.messages.get(asked.response)
