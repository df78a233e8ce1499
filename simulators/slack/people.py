"""What people do: write, edit, delete, react, join and leave. Each returns what it made."""

from simulators.slack import reactions
from simulators.slack.errors import Refused, SlackError
from simulators.slack.files import describe
from simulators.slack.ids import make_uuid
from simulators.slack.messages import change, find_name, mention, put, remove, rich_text, thread_of, typed
from simulators.slack.state import World
from simulators.slack.values import Channel, Installation, JsonObject, Seen, Stored, Team, User

TEXT_LIMIT = 40_000


def find_team(world: World, which: str | None) -> Team:
    """A team by id, name or domain; without one, the first where the app is, or just the first. Raises Refused."""
    if not which:
        first = next(iter(world.installations.values()), None)
        return world.teams[first.team] if first else next(iter(world.teams.values()))
    for team in world.teams.values():
        if which in (team.id, team.name, team.domain):
            return team
    raise Refused(f"no team {which!r}")


def find_user(world: World, team: Team, which: str) -> User:
    """A person by id or name. Raises Refused."""
    user = world.users.get(which)
    if user is None or user.bot_id:
        user = find_name(world, team.id, which)
    if user is None or user.bot_id:
        raise Refused(f"nobody called {which!r} in {team.name}")
    return user


def home_of(world: World, team: Team) -> Installation:
    found = world.installed(team.id)
    if found is None:
        raise Refused(f"the app is not installed in {team.name}")
    return found


def find_channel(world: World, team: Team, user: User | None, which: str | None) -> Channel:
    """Where a person writes: by id or name; without one, their direct messages with the bot. Raises Refused."""
    if not which:
        if user is None:
            raise Refused("say which channel")
        return world.dialogue(home_of(world, team), user)
    bare = which.removeprefix("#")
    for channel in world.channels.values():
        if channel.team == team.id and which and (channel.id == which or (channel.name and channel.name == bare)):
            if user and user.id not in channel.members:
                if channel.kind != "channel":
                    raise Refused(f"{user.name} is not in this conversation")
                join(world, channel, user)
            return channel
    raise Refused(f"no channel {which!r}")


def find_seen(channel: Channel, ts: str) -> Seen:
    seen = channel.messages.get(ts)
    if seen is None or seen.deleted:
        raise Refused(f"no message {ts}")
    return seen


def write(
    world: World,
    channel: Channel,
    user: User,
    text: str,
    thread_ts: str = "",
    files: list[Stored] | None = None,
    broadcast: bool = False,
) -> JsonObject:
    """A message of a person; text as typed. Returns team, channel, ts and the message. Raises Refused."""
    if len(text) > TEXT_LIMIT or not (text.strip() or files):
        raise Refused(f"a message has 1 to {TEXT_LIMIT} characters, or a file")
    said = typed(world, channel.team, text)
    message: JsonObject = {"user": user.id, "type": "message", "ts": ""}
    message |= {"client_msg_id": make_uuid(world.rng), "text": said, "team": user.team}
    if said:
        message["blocks"] = rich_text(world, said)
    if thread_ts:
        root = thread_of(channel, thread_ts)
        if root is None:
            raise Refused(f"no message {thread_ts} to reply to")
        message["thread_ts"] = root
        if (seen := channel.messages.get(root)) and seen.message.get("user"):
            message["parent_user_id"] = seen.message["user"]
        if broadcast:
            message["subtype"] = "thread_broadcast"
    if files:
        message |= {"subtype": "file_share", "files": [share(world, file, channel) for file in files], "upload": False}
    message["ts"] = world.take_ts()
    put(world, channel, message)
    world.hub.publish("message", team=channel.team, channel=channel.id, message=message)
    return {"team": channel.team, "channel": channel.id, "ts": message["ts"], "message": message}


def share(world: World, file: Stored, channel: Channel) -> JsonObject:
    file.channels = [*dict.fromkeys([*file.channels, channel.id])]
    return describe(world, file)


def edit(world: World, channel: Channel, user: User, ts: str, text: str) -> JsonObject:
    """A person edits their message. Raises Refused."""
    seen = find_seen(channel, ts)
    if seen.message.get("user") != user.id or not text.strip():
        raise Refused("no such message of this person, or nothing to say")
    said = typed(world, channel.team, text)
    before = str(seen.message.get("text", ""))
    edited = {"user": user.id, "ts": world.take_ts()}
    message = seen.message | {"text": said, "blocks": rich_text(world, said), "edited": edited}
    change(world, channel, seen, message)
    mention(world, channel, message, before)
    world.hub.publish("edited", team=channel.team, channel=channel.id, ts=ts)
    return {"team": channel.team, "channel": channel.id, "ts": ts, "message": message}


def delete(world: World, channel: Channel, user: User, ts: str) -> JsonObject:
    """A person deletes their message. Raises Refused."""
    seen = find_seen(channel, ts)
    if seen.message.get("user") != user.id:
        raise Refused("no such message of this person")
    remove(world, channel, seen)
    world.hub.publish("deleted", team=channel.team, channel=channel.id, ts=ts)
    return {"team": channel.team, "channel": channel.id, "ts": ts}


def react(world: World, channel: Channel, user: User, ts: str, name: str, away: bool = False) -> JsonObject:
    """A person adds a reaction, or takes it away. Raises Refused."""
    seen = find_seen(channel, ts)
    act = reactions.unreact if away else reactions.react
    try:
        act(world, channel, seen, user.id, name.strip(":"))
    except SlackError as error:
        raise Refused(error.error) from None
    return {"team": channel.team, "channel": channel.id, "ts": ts, "reactions": seen.message.get("reactions", [])}


def join(world: World, channel: Channel, user: User) -> None:
    """Somebody, the bot too, comes into a channel: member_joined_channel when the bot is there to see it."""
    if user.id in channel.members:
        return
    channel.members.add(user.id)
    _moved(world, channel, user, "member_joined_channel")


def leave(world: World, channel: Channel, user: User) -> None:
    if user.id not in channel.members:
        raise Refused(f"{user.name} is not in this channel")
    channel.members.discard(user.id)
    _moved(world, channel, user, "member_left_channel")


def _moved(world: World, channel: Channel, user: User, kind: str) -> None:
    world.changes += 1
    found = world.installed(channel.team)
    if found and (found.bot_user in channel.members or user.id == found.bot_user):
        letter = "C" if channel.kind == "channel" else "G"
        event = {"type": kind, "user": user.id, "channel": channel.id, "channel_type": letter, "team": channel.team}
        world.emit(channel.team, event | {"event_ts": world.take_ts()}, channel.id)
    world.hub.publish("channel", team=channel.team, channel=channel.id)


def open_home(world: World, user: User, tab: str) -> str | None:
    """A person opens the app's home or messages tab; the event id. Raises Refused."""
    if tab not in ("home", "messages"):
        raise Refused("tab is home or messages")
    team = world.teams[user.team]
    channel = world.dialogue(home_of(world, team), user)
    event: JsonObject = {"type": "app_home_opened", "user": user.id, "channel": channel.id, "tab": tab}
    event["event_ts"] = world.take_ts()
    view = world.views.get(world.homes.get((team.id, user.id), ""))
    if view and tab == "home":
        event["view"] = view.view
    return world.emit(team.id, event, channel.id)
