"""response_url: answering an interaction without a token, up to five times in half an hour.

https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
"""

from typing import Any

from simulators.slack.blocks import check_blocks, with_ids
from simulators.slack.errors import SlackError
from simulators.slack.ids import make_hex
from simulators.slack.messages import bot_profile, change, put, remove, thread_of, with_metadata
from simulators.slack.state import World
from simulators.slack.values import Channel, Installation, JsonObject, ResponseUrl


def make_response_url(
    world: World, team: str, user: str, channel: str, ts: str = "", thread_ts: str = "", ephemeral: bool = False
) -> ResponseUrl:
    made = ResponseUrl(make_hex(world.rng, 32), team, user, channel, world.tick(), ts, thread_ts, ephemeral)
    world.response_urls[made.key] = made
    return made


def use(world: World, key: str, body: JsonObject) -> None:
    """A POST to a response URL. Raises SlackError: expired_url, used_url, or what is wrong with the message."""
    target = world.response_urls.get(key)
    if target is None or world.tick() - target.made > world.pace.response_url:
        raise SlackError("expired_url", 404)
    if target.left == 0:
        raise SlackError("used_url", 404)
    apply(world, target, body, "response_url")
    target.left -= 1


def apply(world: World, target: ResponseUrl, body: JsonObject, method: str) -> None:
    """Delete or replace the message it came from, or post another one: to the person only, or to the channel."""
    install = world.installed(target.team)
    channel = world.channels.get(target.channel)
    if install is None or channel is None:
        raise SlackError("no_service", 404)
    replacing = _flag(body, "replace_original") or _flag(body, "delete_original")
    if replacing and target.ts and _replace(world, install, channel, target, body, method):
        return
    content = _content(world, body)
    message: JsonObject = {"type": "message", "user": install.bot_user, "bot_id": install.bot_id}
    message |= {"app_id": world.app.id, "team": install.team, "bot_profile": bot_profile(world, install)}
    message |= {"ts": world.take_ts()} | content
    root = thread_of(channel, str(body.get("thread_ts") or target.thread_ts or ""))
    if root:
        message["thread_ts"] = root
    if body.get("response_type") == "in_channel":
        put(world, channel, message)
        world.record(install, method, channel, message, request=body)
        return
    message["is_ephemeral"] = True
    channel.ephemerals.append({"user": target.user, "message": message})
    world.record(install, method, channel, message, request=body, seen_by=[target.user], ephemeral=True)


def _replace(
    world: World, install: Installation, channel: Channel, target: ResponseUrl, body: JsonObject, method: str
) -> bool:
    """Whether there was something to replace or delete."""
    if target.ephemeral:
        return _replace_ephemeral(world, install, channel, target, body, method)
    seen = channel.messages.get(target.ts)
    if seen is None or seen.deleted:
        return False
    if _flag(body, "delete_original"):
        remove(world, channel, seen)
        world.record(install, method, channel, seen.message, request=body, deleted=True)
        return True
    content = _content(world, body)
    kept = {k: v for k, v in seen.message.items() if k not in ("blocks", "attachments")}
    change(world, channel, seen, kept | content | {"edited": {"user": install.bot_user, "ts": world.take_ts()}})
    world.record(install, method, channel, with_metadata(seen), request=body)
    return True


def _replace_ephemeral(
    world: World, install: Installation, channel: Channel, target: ResponseUrl, body: JsonObject, method: str
) -> bool:
    held = next((one for one in channel.ephemerals if one["message"]["ts"] == target.ts), None)
    if held is None:
        return False
    message = held["message"]
    if _flag(body, "delete_original"):
        channel.ephemerals.remove(held)
    else:
        kept = {k: v for k, v in message.items() if k not in ("blocks", "attachments")}
        held["message"] = message = kept | _content(world, body)
    world.record(install, method, channel, message, request=body, seen_by=[target.user], ephemeral=True)
    return True


def _content(world: World, body: JsonObject) -> JsonObject:
    blocks: Any = body.get("blocks")
    text = str(body.get("text") or "")
    if not (text or blocks or body.get("attachments")):
        raise SlackError("no_text", 400)
    content: JsonObject = {"text": text}
    if blocks:
        content["blocks"] = with_ids(check_blocks(blocks), world.rng)
    return content


def _flag(body: JsonObject, name: str) -> bool:
    return str(body.get(name, "")).lower() in ("true", "1")
