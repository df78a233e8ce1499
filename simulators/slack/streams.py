"""chat.startStream, appendStream, stopStream: a message that grows while it is read.

https://docs.slack.dev/reference/methods/chat.startStream. Undocumented, measured by others: a stream ends about five
minutes after it began, however busy it is; one that was opened with markdown_text takes no chunks and the other way
round; chat.update answers streaming_state_conflict meanwhile.
"""

from typing import Any

from simulators.slack.blocks import check_blocks, with_ids
from simulators.slack.calls import Call
from simulators.slack.chat import MARKDOWN_LIMIT, author
from simulators.slack.errors import Refused, SlackError, invalid_arguments
from simulators.slack.messages import announce_change, put, thread_of, with_metadata
from simulators.slack.state import World
from simulators.slack.values import Channel, JsonObject, Seen

TITLE_LIMIT = 256
STATUSES = ("pending", "in_progress", "complete", "error")


def start(call: Call) -> JsonObject:
    channel = call.channel(posting=True)
    if not call.params.has("thread_ts"):
        raise invalid_arguments("missing required field: thread_ts")
    root = thread_of(channel, call.params.text("thread_ts"))
    if root is None:
        raise SlackError("thread_not_found")
    if channel.kind != "im":
        for name in ("recipient_user_id", "recipient_team_id"):
            if not call.params.has(name):
                raise SlackError(f"missing_{name}")
    chunks = _chunks(call)
    message = author(call) | {"text": "", "ts": call.world.take_ts(), "thread_ts": root}
    message |= {"streaming_state": "in_progress"}
    _append(call, message, chunks)
    seen = put(call.world, channel, message)
    seen.streaming, seen.mode = call.world.tick(), _mode(call)
    call.record(channel, message)
    return {"channel": channel.id, "ts": message["ts"]}


def append(call: Call) -> JsonObject:
    channel, seen = _running(call)
    chunks = _chunks(call)
    if not chunks:
        raise SlackError("no_text")
    seen.message = dict(seen.message)
    _append(call, seen.message, chunks)
    call.record(channel, seen.message)
    return {"channel": channel.id, "ts": seen.message["ts"]}


def stop(call: Call) -> JsonObject:
    channel, seen = _running(call)
    chunks = _chunks(call)
    blocks, metadata = call.blocks_and_metadata()
    checked = with_ids(check_blocks(blocks), call.world.rng) if blocks else []
    before = dict(seen.message)
    message = dict(seen.message)
    _append(call, message, chunks)
    message["streaming_state"] = "completed"
    if checked:
        message["blocks"] = [*message.get("blocks", []), *checked]
    seen.message, seen.streaming = message, None
    seen.metadata = metadata or seen.metadata
    announce_change(call.world, channel, with_metadata(seen), before)
    call.record(channel, with_metadata(seen), metadata=seen.metadata)
    return {"channel": channel.id, "ts": message["ts"], "message": with_metadata(seen)}


def _running(call: Call) -> tuple[Channel, Seen]:
    """The stream that `ts` means, unless it was stopped or is too old. Raises SlackError."""
    channel = call.channel()
    seen = call.seen(channel)
    if seen.message.get("bot_id") != call.install.bot_id:
        raise SlackError("message_not_owned_by_app")
    if seen.streaming is not None and call.world.tick() - seen.streaming > call.world.pace.stream:
        seen.streaming = None
        seen.message = seen.message | {"streaming_state": "completed"}
    if seen.streaming is None:
        stopped = seen.message.get("streaming_state") == "stopped"
        raise SlackError("stopped_by_user" if stopped else "message_not_in_streaming_state")
    if seen.mode and _mode(call) not in ("", seen.mode):
        raise SlackError("streaming_mode_mismatch")
    seen.mode = seen.mode or _mode(call)
    return channel, seen


def _mode(call: Call) -> str:
    return next((name for name in ("markdown_text", "chunks") if call.params.has(name)), "")


def stop_by_user(world: World, channel: Channel, seen: Seen) -> None:
    """A person has read enough: the app's next call answers stopped_by_user. Raises Refused."""
    if seen.streaming is None:
        raise Refused("this message is not being streamed")
    before = dict(seen.message)
    seen.message, seen.streaming = seen.message | {"streaming_state": "stopped"}, None
    announce_change(world, channel, seen.message, before)
    world.hub.publish("edited", team=channel.team, channel=channel.id, ts=seen.message["ts"])


def _chunks(call: Call) -> list[JsonObject]:
    """What a call adds, as chunks. Raises SlackError."""
    given: Any = call.params.parsed("chunks", "invalid_chunks") or []
    if not isinstance(given, list) or not all(isinstance(chunk, dict) for chunk in given):
        raise SlackError("invalid_chunks")
    chunks: list[JsonObject] = given
    if call.params.has("markdown_text"):
        chunks = [{"type": "markdown_text", "text": call.params.text("markdown_text")}, *chunks]
    for chunk in chunks:
        _check(chunk)
    if sum(len(chunk["text"]) for chunk in chunks if chunk["type"] == "markdown_text") > MARKDOWN_LIMIT:
        raise SlackError("msg_too_long")
    return chunks


def _check(chunk: JsonObject) -> None:
    kind = chunk.get("type")
    good = {
        "markdown_text": isinstance(chunk.get("text"), str),
        "task_update": isinstance(chunk.get("id"), str)
        and _short(chunk.get("title"))
        and chunk.get("status") in STATUSES,
        "plan_update": _short(chunk.get("title")),
        "blocks": isinstance(chunk.get("blocks"), list),
    }.get(str(kind), False)
    if not good:
        raise SlackError("invalid_chunks")


def _short(title: object) -> bool:
    return isinstance(title, str) and len(title) <= TITLE_LIMIT


def _append(call: Call, message: JsonObject, chunks: list[JsonObject]) -> None:
    """Text grows at its end; a task with a known id takes the place of what it was."""
    for chunk in chunks:
        if chunk["type"] == "markdown_text":
            message["text"] += chunk["text"]
        elif chunk["type"] == "plan_update":
            message["plan"] = chunk["title"]
        elif chunk["type"] == "task_update":
            others = [one for one in message.get("tasks", []) if one["id"] != chunk["id"]]
            message["tasks"] = [*others, {k: v for k, v in chunk.items() if k != "type"}]
        else:
            added = with_ids(check_blocks(chunk["blocks"]), call.world.rng)
            message["blocks"] = [*message.get("blocks", []), *added]
    rest = [block for block in message.get("blocks", []) if block.get("block_id") != "stream"]
    text = [{"type": "markdown", "block_id": "stream", "text": message["text"]}] if message["text"] else []
    message["blocks"] = [*text, *rest]
