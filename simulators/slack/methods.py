"""The methods a bot token may call."""

from collections.abc import Callable

from simulators.slack import assistant, chat, conversations, directory, reactions, streams, transfers, views
from simulators.slack.calls import Call
from simulators.slack.values import JsonObject

METHODS: dict[str, Callable[[Call], JsonObject]] = {
    "auth.test": directory.auth_test,
    "auth.revoke": directory.auth_revoke,
    "users.info": directory.users_info,
    "users.list": directory.users_list,
    "bots.info": directory.bots_info,
    "team.info": directory.team_info,
    "chat.postMessage": chat.post_message,
    "chat.postEphemeral": chat.post_ephemeral,
    "chat.update": chat.update,
    "chat.delete": chat.delete,
    "chat.startStream": streams.start,
    "chat.appendStream": streams.append,
    "chat.stopStream": streams.stop,
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
    "files.getUploadURLExternal": transfers.upload_url,
    "files.completeUploadExternal": transfers.complete,
    "files.info": transfers.info,
    "views.open": views.open_,
    "views.push": views.push,
    "views.update": views.update,
    "views.publish": views.publish,
    "assistant.threads.setStatus": assistant.set_status,
    "assistant.threads.setTitle": assistant.set_title,
    "assistant.threads.setSuggestedPrompts": assistant.set_prompts,
}
STREAMING = ("chat.startStream", "chat.appendStream", "chat.stopStream")
