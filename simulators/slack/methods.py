"""The methods a bot token may call."""

from collections.abc import Callable

from simulators.slack import chat, conversations, directory, reactions
from simulators.slack.calls import Call
from simulators.slack.values import JsonObject

METHODS: dict[str, Callable[[Call], JsonObject]] = {
    "auth.test": directory.auth_test,
    "users.info": directory.users_info,
    "users.list": directory.users_list,
    "bots.info": directory.bots_info,
    "team.info": directory.team_info,
    "chat.postMessage": chat.post_message,
    "chat.postEphemeral": chat.post_ephemeral,
    "chat.update": chat.update,
    "chat.delete": chat.delete,
    "conversations.open": conversations.open_,
    "conversations.info": conversations.info,
    "conversations.list": conversations.list_,
    "conversations.history": conversations.history,
    "conversations.replies": conversations.replies,
    "conversations.members": conversations.members,
    "users.conversations": conversations.users_conversations,
    "reactions.add": reactions.add,
    "reactions.remove": reactions.remove,
    "reactions.get": reactions.get,
}
STREAMING = ("chat.startStream", "chat.appendStream", "chat.stopStream")
