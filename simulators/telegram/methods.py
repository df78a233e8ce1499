"""The Bot API's methods by name, and the few that are about the bot itself."""

import re
from collections.abc import Callable
from typing import Any

import orjson

from simulators.telegram import editing, sending
from simulators.telegram.errors import bad_request
from simulators.telegram.files import file_info
from simulators.telegram.params import Params
from simulators.telegram.state import Bot, JsonObject, World
from simulators.telegram.webhook import webhook_info

COMMAND = re.compile(r"^[a-z0-9_]{1,32}$")
MOST_COMMANDS = 100

Method = Callable[[World, Bot, Params], Any]


def get_me(world: World, bot: Bot, params: Params) -> JsonObject:
    return bot.profile() | {
        "can_join_groups": True,
        "can_read_all_group_messages": bot.reads_all,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


def get_webhook_info(world: World, bot: Bot, params: Params) -> JsonObject:
    return webhook_info(bot)


def get_file(world: World, bot: Bot, params: Params) -> JsonObject:
    return file_info(world, params)


def get_chat(world: World, bot: Bot, params: Params) -> JsonObject:
    """A ChatFullInfo with the fields that are always there."""
    chat = sending.any_chat(world, bot, params)
    return world.show_chat(chat) | {
        "accent_color_id": chat.id % 7,
        "max_reaction_count": 11,
        "accepted_gift_types": {
            "unlimited_gifts": False,
            "limited_gifts": False,
            "unique_gifts": False,
            "premium_subscription": False,
            "gifts_from_channels": False,
        },
        "permissions": {"can_send_messages": True},
    }


def _scope(params: Params) -> str:
    scope = params.parsed("scope", "BotCommandScope") or {"type": "default"}
    if not isinstance(scope, dict):
        raise bad_request("BotCommandScope must be an Object")
    return orjson.dumps([scope, params.text("language_code")], option=orjson.OPT_SORT_KEYS).decode()


def set_my_commands(world: World, bot: Bot, params: Params) -> bool:
    commands = params.parsed("commands", "commands")
    if not isinstance(commands, list):
        raise bad_request("expected an Array of BotCommand")
    if len(commands) > MOST_COMMANDS:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    kept = []
    for command in commands:
        if not isinstance(command, dict):
            raise bad_request("can't parse BotCommand: expected an Object")
        name = str(command.get("command", "")).removeprefix("/")
        description = str(command.get("description", ""))
        if not COMMAND.match(name):
            raise bad_request("BOT_COMMAND_INVALID")
        if not 1 <= len(description) <= 256:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
        kept.append({"command": name, "description": description})
    bot.commands[_scope(params)] = kept
    world.changes += 1
    return True


def get_my_commands(world: World, bot: Bot, params: Params) -> list[JsonObject]:
    return bot.commands.get(_scope(params), [])


def delete_my_commands(world: World, bot: Bot, params: Params) -> bool:
    bot.commands.pop(_scope(params), None)
    world.changes += 1
    return True


# getUpdates, setWebhook and deleteWebhook wait for something; the delivery owns them.
METHODS: dict[str, Method] = {
    "getme": get_me,
    "getwebhookinfo": get_webhook_info,
    "getfile": get_file,
    "getchat": get_chat,
    "setmycommands": set_my_commands,
    "getmycommands": get_my_commands,
    "deletemycommands": delete_my_commands,
    "sendmessage": sending.send_message,
    "senddocument": sending.send_document,
    "sendphoto": sending.send_photo,
    "sendchataction": sending.send_chat_action,
    "sendmessagedraft": sending.send_message_draft,
    "editmessagetext": editing.edit_message_text,
    "editmessagecaption": editing.edit_message_caption,
    "editmessagereplymarkup": editing.edit_message_reply_markup,
    "deletemessage": editing.delete_message,
    "setmessagereaction": editing.set_message_reaction,
    "answercallbackquery": editing.answer_callback_query,
}
