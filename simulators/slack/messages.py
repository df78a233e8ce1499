"""Messages coming into being and changing, whoever wrote them: threads, events to the app, what readers see."""

import re
from typing import Any

from simulators.slack.ids import make_hex
from simulators.slack.scopes import sees_kind
from simulators.slack.state import World
from simulators.slack.values import Channel, Installation, JsonObject, Seen, User

TOKENS = re.compile(r"<([@#!]?)([^<>|]+)(?:\|([^<>]*))?>")
MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")


def put(world: World, channel: Channel, message: JsonObject, metadata: JsonObject | None = None) -> Seen:
    """Store a new message, count it into its thread and send the events of it."""
    seen = Seen(message, metadata=metadata)
    channel.messages[message["ts"]] = seen
    if message.get("thread_ts", message["ts"]) != message["ts"]:
        channel.replies.setdefault(message["thread_ts"], []).append(message["ts"])
    count_thread(channel, message.get("thread_ts"))
    quiet(channel, message)
    announce(world, channel, with_metadata(seen))
    if not message.get("bot_id"):
        mention(world, channel, message, "")
    return seen


def quiet(channel: Channel, message: JsonObject) -> None:
    """A message of the bot in a thread takes the thread's assistant status away."""
    thread = channel.threads.get(str(message.get("thread_ts") or message["ts"]))
    if thread and message.get("bot_id"):
        thread["status"], thread["loading_messages"] = "", []


def change(world: World, channel: Channel, seen: Seen, message: JsonObject, quiet: bool = False) -> None:
    """Put a message in another's place and keep what was there; message_changed unless `quiet`."""
    before = dict(seen.message)
    seen.edits.append({**before, "until": world.now()})
    seen.message = message
    if not quiet:
        announce_change(world, channel, message, before)


def announce_change(world: World, channel: Channel, message: JsonObject, before: JsonObject) -> None:
    event = {
        "type": "message",
        "subtype": "message_changed",
        "hidden": True,
        "message": message,
        "previous_message": before,
        "ts": world.take_ts(),
    }
    announce(world, channel, event)


def remove(world: World, channel: Channel, seen: Seen) -> None:
    """A message goes; message_deleted. A root with replies leaves a tombstone in Slack; here it is just gone."""
    seen.deleted = world.now()
    message = seen.message
    count_thread(channel, message.get("thread_ts"))
    event = {
        "type": "message",
        "subtype": "message_deleted",
        "hidden": True,
        "deleted_ts": message["ts"],
        "previous_message": message,
        "ts": world.take_ts(),
    }
    announce(world, channel, event)


def announce(world: World, channel: Channel, message: JsonObject) -> None:
    """The `message` event, when the app is in the channel and may read its kind."""
    world.changes += 1
    install = world.installed(channel.team)
    if install is None or install.bot_user not in channel.members or not sees_kind(channel.kind, install.scopes):
        return
    place = {"channel": channel.id, "event_ts": message["ts"], "channel_type": channel.kind}
    world.emit(channel.team, message | place, channel.id)


def mention(world: World, channel: Channel, message: JsonObject, before: str) -> None:
    """app_mention: besides the message event, when the text names the bot and the earlier text did not."""
    install = world.installed(channel.team)
    if install is None or channel.kind == "im" or install.bot_user not in channel.members:
        return
    if "app_mentions:read" not in install.scopes or install.bot_user in MENTION.findall(before):
        return
    if install.bot_user in MENTION.findall(message.get("text", "")):
        kept = {k: v for k, v in message.items() if k != "subtype"}
        event = {**kept, "type": "app_mention", "channel": channel.id, "event_ts": message["ts"]}
        world.emit(channel.team, event, channel.id)


def count_thread(channel: Channel, thread_ts: Any) -> None:
    """Bring a root's reply_count and its kin up to date."""
    root = channel.messages.get(thread_ts) if thread_ts else None
    if root is None:
        return
    replies = [seen.message for seen in in_thread(channel, thread_ts)[1:]]
    users = list(dict.fromkeys(str(reply.get("user") or reply.get("bot_id")) for reply in replies))
    root.message |= {"thread_ts": thread_ts, "reply_count": len(replies), "reply_users_count": len(users)}
    root.message |= {"reply_users": users[:5], "latest_reply": replies[-1]["ts"] if replies else thread_ts}
    root.message |= {"is_locked": False, "subscribed": True}


def in_thread(channel: Channel, thread_ts: str) -> list[Seen]:
    """The root and its replies, oldest first, without deleted ones."""
    members = [channel.messages.get(ts) for ts in (thread_ts, *channel.replies.get(thread_ts, ()))]
    return [seen for seen in members if seen and not seen.deleted]


def thread_of(channel: Channel, ts: str) -> str | None:
    """The thread a reply to this message belongs to: a root's own ts; None when there is no such message."""
    seen = channel.messages.get(ts)
    return None if seen is None else str(seen.message.get("thread_ts") or ts)


def with_metadata(seen: Seen) -> JsonObject:
    return seen.message | {"metadata": seen.metadata} if seen.metadata else dict(seen.message)


def bot_profile(world: World, install: Installation) -> JsonObject:
    return {
        "id": install.bot_id,
        "app_id": world.app.id,
        "name": world.app.name,
        "deleted": False,
        "updated": 0,
        "team_id": install.team,
        "icons": {},
    }


def rich_text(world: World, text: str) -> list[JsonObject]:
    """The block that Slack's own clients send for what a person typed."""
    pieces: list[JsonObject] = []
    at = 0
    for found in TOKENS.finditer(text):
        if found.start() > at:
            pieces.append({"type": "text", "text": unescape(text[at : found.start()])})
        sign, target, label = found.groups()
        kinds: dict[str, JsonObject] = {
            "@": {"type": "user", "user_id": target},
            "#": {"type": "channel", "channel_id": target},
            "!": {"type": "broadcast", "range": target},
        }
        link = {"type": "link", "url": target} | ({"text": label} if label else {})
        pieces.append(kinds.get(sign, link))
        at = found.end()
    if at < len(text):
        pieces.append({"type": "text", "text": unescape(text[at:])})
    section = {"type": "rich_text_section", "elements": pieces}
    return [{"type": "rich_text", "block_id": make_hex(world.rng, 5), "elements": [section]}]


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def typed(world: World, team: str, text: str) -> str:
    """What a client sends for what a person typed: @name becomes <@U…>, #name <#C…|name>, links <…>, the rest is
    escaped. Tokens already in that form stay."""
    out: list[str] = []
    at = 0
    for found in re.finditer(r"<[@#!][^<>\s]+>|<https?://[^<>\s]+>|https?://[^\s<>]+|[@#][\w.-]*\w", text):
        out += [escape(text[at : found.start()]), _token(world, team, found.group())]
        at = found.end()
    return "".join([*out, escape(text[at:])])


def _token(world: World, team: str, piece: str) -> str:
    if piece.startswith("<"):
        return piece
    if piece.startswith("http"):
        return f"<{escape(piece)}>"
    name = piece[1:].lower()
    if piece in ("@here", "@channel", "@everyone"):
        return f"<!{name}>"
    if piece.startswith("@"):
        user = find_name(world, team, name)
        return f"<@{user.id}>" if user else piece
    ours = (one for one in world.channels.values() if one.team == team and one.name == name)
    channel = next(ours, None)
    return f"<#{channel.id}|{channel.name}>" if channel else piece


def find_name(world: World, team: str, name: str) -> User | None:
    lower = name.lower().removeprefix("@")
    ours = (user for user in world.users.values() if user.team == team)
    return next((user for user in ours if lower in (user.name.lower(), user.id.lower())), None)
