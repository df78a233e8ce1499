"""assistant.threads.*: status, title and suggested prompts of a thread.

https://docs.slack.dev/ai/developing-ai-apps
"""

from simulators.slack.calls import Call
from simulators.slack.errors import SlackError
from simulators.slack.messages import announce_change, bot_profile
from simulators.slack.state import World
from simulators.slack.values import Channel, Installation, JsonObject, Seen, User

MOST_PROMPTS = 4
STATUS_SECONDS = 120


def set_status(call: Call) -> JsonObject:
    """An empty status takes it away; so do the bot's next message in the thread, and two minutes."""
    channel, thread = _thread(call)
    if "status" not in call.params.values:
        raise SlackError("invalid_arguments")
    status = call.params.text("status")
    lines = call.params.names("loading_messages")
    if len(lines) > 10:
        raise SlackError("invalid_arguments")
    thread["status"], thread["loading_messages"] = status, lines if status else []
    thread["status_until"] = call.world.now() + STATUS_SECONDS
    _shown(call, channel, status)
    return {}


def set_title(call: Call) -> JsonObject:
    channel, thread = _thread(call)
    title = call.needed("title")
    thread["title"] = title
    root = channel.messages.get(call.params.text("thread_ts"))
    if root and root.message.get("subtype") == "assistant_app_thread":
        before = dict(root.message)
        inner = root.message["assistant_app_thread"] | {"title": title}
        root.message = root.message | {"text": title, "assistant_app_thread": inner}
        announce_change(call.world, channel, root.message, before)
    _shown(call, channel, title)
    return {}


def set_prompts(call: Call) -> JsonObject:
    channel, thread = _thread(call)
    prompts = call.params.parsed("prompts", "invalid_arguments")
    good = isinstance(prompts, list) and all(
        isinstance(one, dict) and one.get("title") and one.get("message") for one in prompts
    )
    if not good or not 0 < len(prompts) <= MOST_PROMPTS:
        raise SlackError("invalid_arguments")
    thread["prompts"], thread["prompts_title"] = prompts, call.params.text("title")
    _shown(call, channel, call.params.text("title"))
    return {}


def _thread(call: Call) -> tuple[Channel, JsonObject]:
    channel = call.channel("channel_id")
    ts = call.params.text("thread_ts")
    if ts not in channel.messages:
        raise SlackError("invalid_thread_ts")
    return channel, channel.threads.setdefault(ts, {"title": "", "status": "", "loading_messages": [], "prompts": []})


def _shown(call: Call, channel: Channel, text: str) -> None:
    call.record(channel, {"text": text, "thread_ts": call.params.text("thread_ts")})


def open_thread(world: World, install: Installation, user: User, context: Channel | None) -> JsonObject:
    """A person opens the assistant: a root in their direct messages, and assistant_thread_started; channel and ts."""
    channel = world.dialogue(install, user)
    root: JsonObject = {"user": install.bot_user, "type": "message", "subtype": "assistant_app_thread"}
    root |= {"text": "New chat", "ts": world.take_ts(), "team": install.team, "bot_id": install.bot_id}
    root |= {"assistant_app_thread": {"title": "New chat", "title_blocks": [], "artifacts": []}}
    root |= {"bot_profile": bot_profile(world, install)}
    root["thread_ts"] = root["ts"]
    channel.messages[root["ts"]] = Seen(root)
    channel.threads[root["ts"]] = {"title": "", "status": "", "loading_messages": [], "prompts": []}
    told = _tell(world, install, user, channel, root["ts"], context, "assistant_thread_started")
    return {"team": install.team, "channel": channel.id, "ts": root["ts"], "event_id": told}


def move_context(world: World, install: Installation, user: User, ts: str, context: Channel) -> JsonObject:
    """The person looks at another channel while the thread is open."""
    channel = world.dialogue(install, user)
    if ts not in channel.threads:
        raise SlackError("thread_not_found")
    told = _tell(world, install, user, channel, ts, context, "assistant_thread_context_changed")
    return {"team": install.team, "channel": channel.id, "ts": ts, "event_id": told}


def _tell(
    world: World, install: Installation, user: User, channel: Channel, ts: str, context: Channel | None, kind: str
) -> str | None:
    around: JsonObject = {}
    if context is not None:
        around = {"channel_id": context.id, "team_id": context.team, "enterprise_id": None}
    thread = {"user_id": user.id, "context": around, "channel_id": channel.id, "thread_ts": ts}
    event = {"type": kind, "assistant_thread": thread, "event_ts": world.take_ts()}
    world.hub.publish("thread", team=install.team, channel=channel.id, ts=ts)
    return world.emit(install.team, event, channel.id)
