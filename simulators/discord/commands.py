"""Application commands: registered by bots, run by people
(https://docs.discord.com/developers/interactions/application-commands)."""

import re
from typing import Any

from simulators.discord.access import can
from simulators.discord.calls import NOTHING, Call, Status
from simulators.discord.errors import JsonObject, invalid, missing_access, required, too_long, unknown
from simulators.discord.params import listing, mapping, number
from simulators.discord.payloads import channel_object, member_object
from simulators.discord.people import Refused
from simulators.discord.permissions import SEND_MESSAGES
from simulators.discord.state import DM, Bot, Channel, Person, World

COMMAND_LIMIT = 100
OPTION_LIMIT = 25
NAME = re.compile(r"[-_'\w]{1,32}")
SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, NUMBER = 1, 2, 3, 4, 5, 6, 7, 10
CHAT_INPUT = 1


def _scope(call: Call) -> int:
    """The guild of the path, 0 for global commands. Raises ApiError."""
    if call.number("application") != call.bot.id:
        raise missing_access()
    guild = int(call.path.get("guild", 0))
    if guild and guild not in call.world.guilds:
        raise missing_access()
    return guild


def list_commands(call: Call) -> Any:
    return call.bot.commands.get(_scope(call), [])


def overwrite_commands(call: Call) -> Any:
    """Replace all of a scope; a command keeps its id as long as its name stays."""
    scope = _scope(call)
    given = call.params.values.get("")
    if not isinstance(given, list) or len(given) > COMMAND_LIMIT:
        raise invalid("_", "APPLICATION_COMMANDS_MAX", f"At most {COMMAND_LIMIT} application commands are allowed")
    checked = [_checked(str(index), one) for index, one in enumerate(given)]
    names = [(one["type"], one["name"]) for one in checked]
    for index, name in enumerate(names):
        if name in names[:index]:
            words = "Application command names must be unique"
            raise invalid(str(index), "APPLICATION_COMMANDS_DUPLICATE_NAME", words)
    made = [_made(call, scope, one) for one in checked]
    call.bot.commands[scope] = made
    _changed(call, made)
    return made


def create_command(call: Call) -> Any:
    """Add one, or replace the one with its name."""
    scope = _scope(call)
    command = _checked("", call.params.values)
    known = call.bot.commands.get(scope, [])
    made = _made(call, scope, command)
    others = [one for one in known if one["id"] != made["id"]]
    call.bot.commands[scope] = [*others, made]
    _changed(call, [made])
    return Status(200 if len(others) < len(known) else 201, made)


def get_command(call: Call) -> Any:
    return _found(call)[1]


def edit_command(call: Call) -> Any:
    scope, command = _found(call)
    changed = _made(call, scope, _checked("", command | call.params.values)) | {"id": command["id"]}
    call.bot.commands[scope] = [changed if one is command else one for one in call.bot.commands[scope]]
    _changed(call, [changed])
    return changed


def delete_command(call: Call) -> Any:
    scope, command = _found(call)
    call.bot.commands[scope].remove(command)
    _changed(call, [])
    return NOTHING


def _found(call: Call) -> tuple[int, JsonObject]:
    scope = _scope(call)
    for command in call.bot.commands.get(scope, []):
        if command["id"] == call.path["command"]:
            return scope, command
    raise unknown(10063)


def _changed(call: Call, made: list[JsonObject]) -> None:
    call.world.changes += 1
    call.world.hub.publish("commands", bot_id=str(call.bot.id), names=[one["name"] for one in made])


def _made(call: Call, scope: int, command: JsonObject) -> JsonObject:
    before = [one for one in call.bot.commands.get(scope, []) if one["name"] == command["name"]]
    command_id = before[0]["id"] if before else str(call.world.take_id())
    defaults: JsonObject = {
        "id": command_id,
        "application_id": str(call.bot.id),
        "version": str(call.world.take_id()),
        "default_member_permissions": None,
        "nsfw": False,
        "dm_permission": True,
        "contexts": None,
        "integration_types": [0],
        "options": [],
    }
    return defaults | command | {"id": command_id} | ({"guild_id": str(scope)} if scope else {})


def _checked(path: str, command: Any) -> JsonObject:
    """A command's definition. Raises ApiError."""
    command = mapping(path or "_", command)
    kind = number(_join(path, "type"), command.get("type") or CHAT_INPUT)
    if kind == CHAT_INPUT:
        _named(path, command)
        _options(path, listing(_join(path, "options"), command.get("options")))
    elif not command.get("name"):
        raise required(_join(path, "name"))
    return {"description": "", **command, "type": kind}


def _named(path: str, thing: JsonObject) -> None:
    name, description = str(thing.get("name") or ""), str(thing.get("description") or "")
    if not name:
        raise required(_join(path, "name"))
    if not NAME.fullmatch(name) or name != name.lower():
        raise invalid(_join(path, "name"), "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    if not description:
        raise required(_join(path, "description"))
    if len(description) > 100:
        raise too_long(_join(path, "description"), 100)


def _options(path: str, options: list[Any]) -> None:
    if len(options) > OPTION_LIMIT:
        raise too_long(_join(path, "options"), OPTION_LIMIT)
    optional = False
    for index, option in enumerate(options):
        here = _join(path, f"options.{index}")
        _named(here, mapping(here, option))
        if not 1 <= number(f"{here}.type", option.get("type") or 0) <= 11:
            raise invalid(f"{here}.type", "BASE_TYPE_CHOICES", "Value must be one of 1 to 11.")
        if option.get("required") and optional:
            words = "Required options must be placed before non-required options"
            raise invalid(here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", words)
        optional = optional or (option["type"] > GROUP and not option.get("required"))
        _options(here, listing(f"{here}.options", option.get("options")))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def available(world: World, bot: Bot, channel: Channel) -> list[JsonObject]:
    """The slash commands that a picker offers in a channel."""
    scopes = [0] if channel.type == DM else [channel.guild, 0]
    found = [one for scope in scopes for one in bot.commands.get(scope, []) if one["type"] == CHAT_INPUT]
    return [one for one in found if _fits(one, 1 if channel.type == DM else 0)]


def _fits(command: JsonObject, context: int) -> bool:
    if command["contexts"] is not None:
        return context in command["contexts"]
    return context == 0 or command["dm_permission"] is not False


def chosen(world: World, bot: Bot, channel: Channel, name: str, options: JsonObject) -> JsonObject:
    """The data of an interaction: a command by name, with its options by name. Raises Refused."""
    if channel.type != DM and not can(world, channel, bot.id, SEND_MESSAGES):
        raise Refused(f"{bot.name} is not in this channel")
    head, *rest = name.strip().removeprefix("/").split()
    command = next((one for one in available(world, bot, channel) if one["name"] == head), None)
    if command is None:
        raise Refused(f"no command /{head} here")
    data: JsonObject = {"id": command["id"], "name": head, "type": CHAT_INPUT}
    if "guild_id" in command:
        data["guild_id"] = command["guild_id"]
    resolved: JsonObject = {}
    values = _filled(world, channel, command.get("options") or [], rest, options, resolved)
    data |= {"options": values} if values else {}
    return data | ({"resolved": resolved} if resolved else {})


def _filled(
    world: World, channel: Channel, known: list[JsonObject], rest: list[str], given: JsonObject, resolved: JsonObject
) -> list[JsonObject]:
    if rest:
        inner = next((o for o in known if o["name"] == rest[0] and o["type"] <= GROUP), None)
        if inner is None:
            raise Refused(f"no subcommand {rest[0]}")
        values = _filled(world, channel, inner.get("options") or [], rest[1:], given, resolved)
        return [{"name": inner["name"], "type": inner["type"], "options": values}]
    if any(option["type"] <= GROUP for option in known):
        raise Refused(f"which of {', '.join(option['name'] for option in known)}?")
    strange = set(given) - {option["name"] for option in known}
    if strange:
        raise Refused(f"no option {sorted(strange)[0]}")
    filled = []
    for option in known:
        if given.get(option["name"]) in (None, ""):
            if option.get("required"):
                raise Refused(f"{option['name']} is required")
            continue
        value = _value(world, channel, option, given[option["name"]], resolved)
        filled.append({"name": option["name"], "type": option["type"], "value": value})
    return filled


def _value(world: World, channel: Channel, option: JsonObject, given: Any, resolved: JsonObject) -> Any:
    kind = option["type"]
    try:
        if kind == INTEGER:
            value: Any = int(given)
        elif kind == NUMBER:
            value = float(given)
        elif kind == BOOLEAN:
            value = str(given).lower() in ("true", "1", "yes")
        elif kind in (USER, CHANNEL):
            return _named_thing(world, channel, kind, str(given), resolved)
        else:
            value = str(given)
    except ValueError:
        raise Refused(f"{option['name']} must be a number") from None
    choices = option.get("choices") or []
    if choices and value not in [choice["value"] for choice in choices]:
        raise Refused(f"{option['name']} is one of {', '.join(str(choice['value']) for choice in choices)}")
    return value


def _named_thing(world: World, channel: Channel, kind: int, given: str, resolved: JsonObject) -> str:
    """A person or a channel, by id or name, with the object that goes along as resolved."""
    name = given.lstrip("@#")
    everybody: list[Person | Bot] = [*world.people.values(), *world.bots.values()]
    for person in everybody:
        if kind == USER and name in (str(person.id), person.name):
            resolved.setdefault("users", {})[str(person.id)] = person.profile()
            if channel.guild:
                member = member_object(world.guilds[channel.guild]) | {"permissions": "0"}
                resolved.setdefault("members", {})[str(person.id)] = member
            return str(person.id)
    for one in world.channels.values():
        if kind == CHANNEL and one.type != DM and name in (str(one.id), one.name):
            resolved.setdefault("channels", {})[str(one.id)] = channel_object(world, one) | {"permissions": "0"}
            return str(one.id)
    raise Refused(f"no {'person' if kind == USER else 'channel'} {given!r}")
