"""What people do: write, edit, delete, react, open threads. Each refusal is for whoever asked, in words."""

from typing import Any

from simulators.discord import messages
from simulators.discord.access import can, permissions
from simulators.discord.errors import ApiError, JsonObject
from simulators.discord.events import emit, place_of
from simulators.discord.params import Params
from simulators.discord.permissions import ADD_REACTIONS, MANAGE_MESSAGES, SEND_MESSAGES, VIEW_CHANNEL
from simulators.discord.snowflakes import fixed
from simulators.discord.state import DM, FORUM, THREADS, TYPING_SECONDS, Bot, Channel, Person, Seen, World

FIRST_PERSON = 100


class Refused(ValueError):
    """Something a person cannot do, in words for whoever asked."""


def find_bot(world: World, which: Any = None) -> Bot:
    """A bot by id, name or token; without one, the first. Raises Refused."""
    for bot in world.bots.values():
        if which in (None, "", bot.id, str(bot.id), bot.name, bot.token):
            return bot
    raise Refused(f"no bot {which!r}")


def find_person(world: World, which: Any) -> Person:
    """A person by name or id. Raises Refused."""
    for person in world.people.values():
        if which in (person.id, str(person.id), person.name):
            return person
    raise Refused(f"no person {which!r}; there are {', '.join(p.name for p in world.people.values())}")


def add_person(world: World, name: str, display: str = "") -> Person:
    """Somebody new, who joins every guild. Raises Refused when the name is taken."""
    name = name.strip().lower()
    if not 2 <= len(name) <= 32 or any(person.name == name for person in world.people.values()):
        raise Refused("a name has 2 to 32 characters and belongs to one person")
    number = fixed(world.config.seed, FIRST_PERSON + len(world.people))
    person = Person(number, name, display or name.capitalize())
    world.people[person.id] = person
    for guild in world.guilds.values():
        guild.members.add(person.id)
    world.changes += 1
    world.hub.publish("user", user=person.profile())
    return person


def find_channel(world: World, person: Person, which: Any = None, bot: Any = None) -> Channel:
    """A channel that a person sees, by id or name; without one, the dialogue with the bot. Raises Refused."""
    if which in (None, ""):
        return world.dialogue(find_bot(world, bot), person)
    name = str(which).removeprefix("#")
    for channel in world.channels.values():
        if str(channel.id) == name or (channel.name == name and channel.type != DM):
            if not can(world, channel, person.id, VIEW_CHANNEL):
                raise Refused(f"{person.name} does not see #{channel.name}")
            return channel
    raise Refused(f"no channel {which!r}")


def write(
    world: World, channel: Channel, person: Person, content: str, reply_to: Any = None, files: Params | None = None
) -> Seen:
    """A message of a person. Raises Refused."""
    if channel.type == FORUM:
        raise Refused("a forum holds posts; open one")
    if not permissions(world, channel, person.id) & SEND_MESSAGES:
        raise Refused(f"{person.name} may not write here")
    values: JsonObject = {"content": content}
    if reply_to:
        values["message_reference"] = {"message_id": reply_to}
    form = Params(values, files.files if files else {})
    message = _allowed(lambda: messages.compose(world, channel, person.id, form))
    if channel.type in THREADS:
        channel.members.add(person.id)
    return messages.post(world, channel, message)


def edit(world: World, channel: Channel, person: Person, number: int, content: str) -> Seen:
    """Raises Refused."""
    seen = _own(channel, person, number)
    _allowed(lambda: messages.change(world, channel, seen, Params({"content": content})))
    return seen


def delete(world: World, channel: Channel, person: Person, number: int) -> None:
    """Raises Refused."""
    seen = _found(channel, number)
    if seen.message["author"]["id"] != str(person.id) and not can(world, channel, person.id, MANAGE_MESSAGES):
        raise Refused("no such message of this person")
    messages.remove(world, channel, seen)


def react(world: World, channel: Channel, member: int, seen: Seen, emoji: str, remove: bool = False) -> bool:
    """Put or take away a reaction; False when nothing changes."""
    users = seen.reactions.setdefault(emoji, [])
    if (member in users) != remove:
        return False
    if remove:
        users.remove(member)
    else:
        users.append(member)
    if not users:
        del seen.reactions[emoji]
    world.changes += 1
    event: JsonObject = {
        "user_id": str(member),
        "channel_id": str(channel.id),
        "message_id": seen.message["id"],
        "emoji": {"id": None, "name": emoji},
        "burst": False,
        "type": 0,
    }
    place = place_of(world, channel, member)
    if remove:
        place.pop("member", None)
    else:
        event["message_author_id"] = seen.message["author"]["id"]
        if "member" in place:
            place["member"] = place["member"] | {"user": world.profile(member)}
    if seen.only is None:
        emit(world, "MESSAGE_REACTION_REMOVE" if remove else "MESSAGE_REACTION_ADD", channel, event | place)
    world.hub.publish("reaction", channel_id=str(channel.id), message_id=seen.message["id"], emoji=emoji)
    return True


def react_as(world: World, channel: Channel, person: Person, number: int, emoji: str, remove: bool = False) -> bool:
    """A person reacts. Raises Refused."""
    seen = _found(channel, number)
    if not can(world, channel, person.id, ADD_REACTIONS):
        raise Refused(f"{person.name} may not react here")
    if not emoji.strip():
        raise Refused("which emoji?")
    return react(world, channel, person.id, seen, emoji.strip(), remove)


def start_typing(world: World, channel: Channel, member: int) -> None:
    """Shown for ten seconds, or until they write."""
    channel.typing[member] = world.now() + TYPING_SECONDS
    place = place_of(world, channel, member)
    if "member" in place:
        place["member"] = place["member"] | {"user": world.profile(member)}
    event = {"channel_id": str(channel.id), "user_id": str(member), "timestamp": int(world.now()), **place}
    emit(world, "TYPING_START", channel, event)
    world.hub.publish("action", channel_id=str(channel.id), user_id=str(member), until=channel.typing[member])


def _found(channel: Channel, number: int) -> Seen:
    seen = channel.messages.get(number)
    if seen is None or seen.deleted:
        raise Refused(f"no message {number}")
    return seen


def _own(channel: Channel, person: Person, number: int) -> Seen:
    seen = _found(channel, number)
    if seen.message["author"]["id"] != str(person.id):
        raise Refused("no such message of this person")
    return seen


def _allowed(make: Any) -> Any:
    """What the API would refuse a bot, its apps refuse a person. Raises Refused."""
    try:
        return make()
    except ApiError as error:
        found = (error.errors or {}).get("content", {}).get("_errors")
        raise Refused(found[0]["message"] if found else error.message) from None
