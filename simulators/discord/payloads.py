"""Objects as the API gives them: channels, guilds, members, messages."""

import hashlib
import hmac
from typing import Any

from simulators.discord.permissions import EVERYONE, VIEW_CHANNEL
from simulators.discord.snowflakes import when
from simulators.discord.state import DM, FORUM, THREADS, Bot, Channel, Guild, JsonObject, Seen, World
from simulators.discord.wire import stamp


def member_object(guild: Guild) -> JsonObject:
    """A guild member without its user, as events carry it beside an author."""
    return {
        "roles": [],
        "nick": None,
        "avatar": None,
        "joined_at": stamp(when(guild.id)),
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": None,
    }


def channel_object(world: World, channel: Channel) -> JsonObject:
    if channel.type == DM:
        people = [world.people[number].profile() for number in sorted(channel.members) if number in world.people]
        return {
            "id": str(channel.id),
            "type": DM,
            "last_message_id": _id(channel.last_message),
            "flags": 0,
            "recipients": people,
        }
    shown: JsonObject = {
        "id": str(channel.id),
        "type": channel.type,
        "guild_id": str(channel.guild),
        "name": channel.name,
        "parent_id": _id(channel.parent),
        "last_message_id": _id(channel.last_message),
        "rate_limit_per_user": 0,
        "flags": 0,
    }
    if channel.type in THREADS:
        return shown | _thread(channel)
    shown |= {
        "topic": channel.topic or None,
        "position": channel.position,
        "nsfw": False,
        "permission_overwrites": _overwrites(channel),
    }
    if channel.type == FORUM:
        shown |= {"available_tags": [], "default_reaction_emoji": None, "default_sort_order": None}
        shown |= {"default_forum_layout": 0, "default_auto_archive_duration": 4320}
    return shown


def _thread(channel: Channel) -> JsonObject:
    made = stamp(when(channel.id))
    return {
        "owner_id": str(channel.owner),
        "message_count": sum(1 for seen in channel.messages.values() if not seen.deleted),
        "total_message_sent": len(channel.messages),
        "member_count": len(channel.members),
        "applied_tags": channel.tags,
        "thread_metadata": {
            "archived": channel.archived,
            "archive_timestamp": made,
            "auto_archive_duration": channel.archive_minutes,
            "locked": channel.locked,
            "create_timestamp": made,
        },
    }


def _overwrites(channel: Channel) -> list[JsonObject]:
    """type 0 is a role, type 1 a member; the role of everyone has the guild's id."""
    everyone = channel.denied.get(0, 0) | (VIEW_CHANNEL if channel.private else 0)
    found = [{"id": str(channel.guild), "type": 0, "allow": "0", "deny": str(everyone)}] if everyone else []
    for number in sorted(channel.members if channel.private else set(channel.denied) - {0}):
        allow = VIEW_CHANNEL if channel.private else 0
        denied = channel.denied.get(number, 0)
        found.append({"id": str(number), "type": 1, "allow": str(allow), "deny": str(denied)})
    return found


def guild_object(world: World, guild: Guild) -> JsonObject:
    """A guild as REST gives it."""
    return {
        "id": str(guild.id),
        "name": guild.name,
        "icon": None,
        "splash": None,
        "discovery_splash": None,
        "owner_id": str(guild.owner),
        "afk_channel_id": None,
        "afk_timeout": 300,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "roles": [_everyone(guild)],
        "emojis": [],
        "stickers": [],
        "features": [],
        "mfa_level": 0,
        "application_id": None,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "vanity_url_code": None,
        "description": None,
        "banner": None,
        "premium_tier": 0,
        "preferred_locale": "en-US",
        "public_updates_channel_id": None,
        "safety_alerts_channel_id": None,
        "nsfw_level": 0,
        "premium_progress_bar_enabled": False,
    }


def _everyone(guild: Guild) -> JsonObject:
    return {
        "id": str(guild.id),
        "name": "@everyone",
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "icon": None,
        "unicode_emoji": None,
        "position": 0,
        "permissions": str(EVERYONE),
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }


def guild_members(world: World, guild: Guild) -> list[JsonObject]:
    return [{"user": world.profile(n), **member_object(guild)} for n in sorted(guild.members)]


def application_object(world: World, bot: Bot, verify_key: str) -> JsonObject:
    owner = next(iter(world.people.values())).profile() if world.people else bot.profile()
    return {
        "id": str(bot.id),
        "name": bot.name,
        "icon": None,
        "description": "",
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": verify_key,
        "owner": owner,
        "flags": application_flags(world),
        "team": None,
        "bot": bot.profile(),
        "interactions_endpoint_url": bot.interactions_url or None,
        "approximate_guild_count": len(world.guilds),
    }


def application_flags(world: World) -> int:
    """The privileged intents as flags, each "limited" as for applications in fewer than 100 guilds."""
    config = world.config
    return config.presences << 13 | config.guild_members << 15 | config.message_content << 19


def message_object(channel: Channel, seen: Seen, viewer: int, root: str, secret: str, full: bool) -> JsonObject:
    """A message as one application sees it. full False: what its intents keep from it is blank.

    root: where this simulator is, for the URLs of attachments, which are signed with `secret`.
    """
    message = with_urls(channel.id, seen.message, root, secret)
    if seen.reactions:
        message["reactions"] = [
            {
                "emoji": {"id": None, "name": emoji},
                "count": len(users),
                "count_details": {"burst": 0, "normal": len(users)},
                "burst_colors": [],
                "me": viewer in users,
                "me_burst": False,
                "burst_me": False,
            }
            for emoji, users in seen.reactions.items()
        ]
    if full or readable(channel, message, viewer):
        quoted = message.get("referenced_message")
        if quoted and not full and not readable(channel, quoted, viewer):
            message["referenced_message"] = blank(quoted)
        return message
    return blank(message)


def readable(channel: Channel, message: JsonObject, bot: int) -> bool:
    """Whether a bot without the message content intent may read a message all the same."""
    return (
        channel.type == DM
        or message["author"]["id"] == str(bot)
        or any(user["id"] == str(bot) for user in message["mentions"])
    )


def blank(message: JsonObject) -> JsonObject:
    return message | {"content": "", "embeds": [], "attachments": [], "components": []}


def with_urls(channel: int, message: JsonObject, root: str, secret: str) -> JsonObject:
    """A copy whose attachments, and those of the message it answers, can be fetched."""
    shown = dict(message)
    if shown["attachments"]:
        shown["attachments"] = [_attachment(channel, one, root, secret) for one in shown["attachments"]]
    if quoted := shown.get("referenced_message"):
        shown["referenced_message"] = with_urls(int(quoted["channel_id"]), quoted, root, secret)
    return shown


def _attachment(channel: int, one: JsonObject, root: str, secret: str) -> JsonObject:
    path = f"/attachments/{channel}/{one['id']}/{one['filename']}"
    url = f"{root}{path}?{_signature(path, one['expires'], secret)}"
    return {k: v for k, v in one.items() if k != "expires"} | {"url": url, "proxy_url": url}


def _signature(path: str, expires: int, secret: str) -> str:
    return f"ex={expires:x}&is={expires:x}&hm={path_hash(path, expires, secret)}"


def path_hash(path: str, expires: int, secret: str) -> str:
    return hmac.new(secret.encode(), f"{path}:{expires:x}".encode(), hashlib.sha256).hexdigest()


def _id(number: int) -> Any:
    return str(number) if number else None
