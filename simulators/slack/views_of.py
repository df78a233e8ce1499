"""Teams, people, channels and messages as the control API shows them."""

from simulators.slack.state import World
from simulators.slack.values import Channel, JsonObject, Seen, Team, User


def team_view(world: World, team: Team) -> JsonObject:
    found = world.installed(team.id)
    shown: JsonObject = {"id": team.id, "name": team.name, "domain": team.domain, "installed": found is not None}
    if found:
        shown |= {"bot_user": found.bot_user, "bot_id": found.bot_id, "bot_token": found.token}
        shown["scopes"] = list(found.scopes)
    return shown


def user_view(user: User) -> JsonObject:
    shown = {"id": user.id, "team": user.team, "name": user.name, "real_name": user.real_name}
    return shown | {"is_bot": bool(user.bot_id)}


def channel_view(world: World, channel: Channel) -> JsonObject:
    """A channel with its members and assistant threads."""
    return {
        "id": channel.id,
        "team": channel.team,
        "kind": channel.kind,
        "name": channel.name,
        "user": channel.user,
        "members": sorted(channel.members),
        "threads": {ts: _thread_view(world, thread) for ts, thread in channel.threads.items()},
        "messages": len(channel.messages),
    }


def _thread_view(world: World, thread: JsonObject) -> JsonObject:
    """A thread with its status as long as it is shown."""
    over = thread.get("status_until", 0) <= world.now()
    return thread | {"status": "", "loading_messages": []} if over else thread


def seen_view(seen: Seen) -> JsonObject:
    """A message now, what it said before each edit, when it was deleted, whether it is being streamed."""
    return {
        "message": seen.message,
        "metadata": seen.metadata,
        "edits": seen.edits,
        "deleted": seen.deleted,
        "streaming": seen.streaming is not None,
    }


def delivery_view(world: World) -> JsonObject:
    """pending_event_count: events and interactions that are still undelivered. lost: given up or swallowed."""
    return {
        "pending_event_count": len(world.pending),
        "delivered_event_count": world.delivered,
        "lost_event_count": world.lost,
        "connections": world.connections,
        "pending": [
            {"kind": one.kind, "name": one.name, "team": one.team, "channel": one.channel, "attempts": one.attempts}
            for one in world.pending.values()
        ],
    }
