"""chat.postMessage, postEphemeral, update, delete.

https://docs.slack.dev/reference/methods/chat.postMessage
"""

from typing import Any

from simulators.slack.blocks import check_blocks, with_ids
from simulators.slack.calls import Call
from simulators.slack.errors import SlackError
from simulators.slack.messages import bot_profile, change, put, remove, thread_of, with_metadata
from simulators.slack.values import Channel, JsonObject, Seen

TEXT_LIMIT = 40_000
UPDATE_LIMIT = 4_000
MARKDOWN_LIMIT = 12_000


def post_message(call: Call) -> JsonObject:
    channel = call.channel(posting=True)
    content, metadata, warnings = _content(call)
    message = author(call) | {"ts": ""} | content | _place(call, channel)
    message["ts"] = call.world.take_ts()
    seen = put(call.world, channel, message, metadata)
    call.record(channel, with_metadata(seen), metadata=metadata)
    answer: JsonObject = {"channel": channel.id, "ts": message["ts"], "message": with_metadata(seen)}
    if warnings:
        answer |= {"warning": ",".join(warnings), "response_metadata": {"warnings": warnings}}
    return answer


def post_ephemeral(call: Call) -> JsonObject:
    channel = call.channel(posting=True)
    user = call.user(error="user_not_in_channel")
    if user.id not in channel.members:
        raise SlackError("user_not_in_channel")
    content, _, _ = _content(call)
    message = author(call) | {"ts": call.world.take_ts(), "is_ephemeral": True} | content | _place(call, channel)
    channel.ephemerals.append({"user": user.id, "message": message})
    call.record(channel, message, seen_by=[user.id], ephemeral=True)
    return {"message_ts": message["ts"]}


def update(call: Call) -> JsonObject:
    channel = call.channel()
    seen = own(call, channel, "cant_update_message")
    if seen.streaming is not None:
        raise SlackError("streaming_state_conflict")
    blocks, metadata = call.blocks_and_metadata()
    text = _markdown_or_text(call, blocks)
    if not blocks and len(text) > UPDATE_LIMIT and not call.params.has("markdown_text"):
        raise SlackError("msg_too_long")
    if not (text or blocks or call.params.has("attachments")):
        raise SlackError("no_text")
    message = dict(seen.message)
    if text or blocks is not None:
        message["text"] = text[:TEXT_LIMIT]
    if blocks is not None:  # an empty list takes the blocks away; without the argument, text takes their place
        message["blocks"] = with_ids(check_blocks(blocks), call.world.rng)
    elif text:
        message.pop("blocks", None)
    message |= {"edited": {"user": call.install.bot_user, "ts": call.world.take_ts()}}
    if metadata is not None or call.params.values.get("metadata") == {}:
        seen.metadata = metadata
    if message | {"edited": 0} != seen.message | {"edited": 0}:
        change(call.world, channel, seen, message)
    call.record(channel, with_metadata(seen), metadata=seen.metadata)
    return {"channel": channel.id, "ts": message["ts"], "text": message["text"], "message": with_metadata(seen)}


def delete(call: Call) -> JsonObject:
    channel = call.channel()
    seen = own(call, channel, "cant_delete_message")
    if seen.streaming is not None:
        raise SlackError("cant_delete_message")
    remove(call.world, channel, seen)
    call.record(channel, seen.message)
    return {"channel": channel.id, "ts": seen.message["ts"]}


def own(call: Call, channel: Channel, error: str) -> Seen:
    """The message that `ts` means, when it is this bot's. Raises SlackError."""
    seen = call.seen(channel)
    if seen.message.get("bot_id") != call.install.bot_id:
        raise SlackError(error)
    return seen


def author(call: Call) -> JsonObject:
    """Who a bot's message is by; with a name or icon of its own it is a bot_message without a user."""
    shown: JsonObject = {"type": "message", "bot_id": call.install.bot_id, "app_id": call.world.app.id}
    shown |= {"team": call.install.team}
    custom = {k: call.params.text(k) for k in ("username", "icon_url", "icon_emoji") if call.params.has(k)}
    if not custom:
        return {"user": call.install.bot_user} | shown | {"bot_profile": bot_profile(call.world, call.install)}
    if "chat:write.customize" not in call.install.scopes:
        raise SlackError("missing_scope", needed="chat:write.customize", provided=",".join(call.install.scopes))
    icons = {k.removeprefix("icon_").replace("url", "image_48"): v for k, v in custom.items() if k != "username"}
    name = custom.get("username", call.world.app.name)
    return shown | {"subtype": "bot_message", "username": name, "icons": icons}


def _content(call: Call) -> tuple[JsonObject, JsonObject | None, list[str]]:
    """Text and blocks, metadata, warnings. Raises SlackError."""
    blocks, metadata = call.blocks_and_metadata()
    text = _markdown_or_text(call, blocks)
    attachments = call.params.parsed("attachments", "invalid_attachments")
    if not (text.strip() or blocks or attachments):
        raise SlackError("no_text")
    content: JsonObject = {"text": text[:TEXT_LIMIT]}
    if call.params.has("markdown_text"):
        blocks = [{"type": "markdown", "text": text}]
    if blocks:
        content["blocks"] = with_ids(check_blocks(blocks), call.world.rng)
    if attachments:
        content["attachments"] = attachments
    return content, metadata, ["message_truncated"] if len(text) > TEXT_LIMIT else []


def _markdown_or_text(call: Call, blocks: Any) -> str:
    text = call.params.text("text")
    if not call.params.has("markdown_text"):
        return text
    if text or blocks:
        raise SlackError("markdown_text_conflict")
    markdown = call.params.text("markdown_text")
    if len(markdown) > MARKDOWN_LIMIT:
        raise SlackError("msg_too_long")
    return markdown


def _place(call: Call, channel: Channel) -> JsonObject:
    """The thread. A reply's ts stands for its root. Slack takes any ts and hides the message; here that is an error."""
    if not call.params.has("thread_ts"):
        return {}
    root = thread_of(channel, call.params.text("thread_ts"))
    if root is None:
        raise SlackError("thread_not_found")
    place: JsonObject = {"thread_ts": root}
    if (seen := channel.messages.get(root)) and seen.message.get("user"):
        place["parent_user_id"] = seen.message["user"]
    if call.params.flag("reply_broadcast"):
        place["subtype"] = "thread_broadcast"
    return place
