"""conversations.* and users.conversations.

https://docs.slack.dev/reference/methods/conversations.history
"""

from collections.abc import Callable

from simulators.slack.calls import Call, bounds
from simulators.slack.errors import SlackError
from simulators.slack.ids import micros
from simulators.slack.messages import in_thread, with_metadata
from simulators.slack.values import Channel, JsonObject, Seen

KINDS = {"public_channel": "channel", "private_channel": "group", "im": "im", "mpim": "mpim"}


def open_(call: Call) -> JsonObject:
    """The DM with one user, a group DM with several, or one reopened by its id."""
    if call.params.has("channel"):
        channel = call.channel()
    else:
        users = [call.world.users.get(name) for name in call.params.names("users")]
        if not users:
            raise SlackError("users_list_not_supplied")
        people = [user for user in users if user and user.team == call.install.team and not user.bot_id]
        if len(people) != len(users):
            raise SlackError("user_not_found")
        if len(people) == 1:
            before = len(call.world.channels)
            channel = call.world.dialogue(call.install, people[0])
            known = {"no_op": True, "already_open": True} if len(call.world.channels) == before else {}
            shown = describe(call, channel) if call.params.flag("return_im") else {"id": channel.id}
            return {"channel": shown, **known}
        channel = _group_dm(call, {user.id for user in people})
    shown = describe(call, channel) if call.params.flag("return_im") else {"id": channel.id}
    return {"channel": shown}


def _group_dm(call: Call, people: set[str]) -> Channel:
    members = people | {call.install.bot_user}
    for channel in call.world.channels.values():
        if channel.kind == "mpim" and channel.members == members:
            return channel
    names = sorted(call.world.users[one].name for one in members)
    return call.world.add_channel(call.install.team, "mpim", f"mpdm-{'--'.join(names)}-1", members)


def info(call: Call) -> JsonObject:
    shown = describe(call, channel := call.channel())
    if call.params.flag("include_num_members"):
        shown["num_members"] = len(channel.members)
    return {"channel": shown}


def list_(call: Call) -> JsonObject:
    """Public channels, and what the bot is in."""
    return _listing(call, lambda channel: channel.kind == "channel" or call.install.bot_user in channel.members)


def users_conversations(call: Call) -> JsonObject:
    """What a user, by default the bot itself, is in; of others only what the bot may see."""
    bot = call.install.bot_user
    user = call.user().id if call.params.has("user") else bot
    return _listing(call, lambda one: user in one.members and (one.kind == "channel" or bot in one.members))


def _listing(call: Call, wanted: Callable[[Channel], bool]) -> JsonObject:
    names = call.params.names("types") or ["public_channel"]
    if any(name not in KINDS for name in names):
        raise SlackError("invalid_types")
    kinds = {KINDS[name] for name in names}
    ours = [one for one in call.world.channels.values() if one.team == call.install.team and one.kind in kinds]
    if call.params.flag("exclude_archived"):
        ours = [one for one in ours if not one.archived]
    page, cursor = call.page([one for one in ours if wanted(one)])
    shown = [describe(call, one) for one in page]
    return {"channels": shown, "response_metadata": {"next_cursor": cursor}}


def members(call: Call) -> JsonObject:
    page, cursor = call.page(sorted(call.channel().members))
    return {"members": page, "response_metadata": {"next_cursor": cursor}}


def history(call: Call) -> JsonObject:
    """Newest first; replies only when they were broadcast."""
    channel = _readable(call)
    found = [seen for seen in channel.messages.values() if not seen.deleted and in_channel(seen.message)]
    oldest, latest = bounds(call.params)
    ranged = [seen for seen in found if oldest < micros(seen.message["ts"]) < latest]
    ranged.sort(key=lambda seen: micros(seen.message["ts"]), reverse=True)
    return _messages(call, ranged) | {"pin_count": 0}


def replies(call: Call) -> JsonObject:
    """The root, always, then replies oldest first."""
    channel = _readable(call)
    thread = in_thread(channel, call.needed("ts"))
    if not thread:
        raise SlackError("thread_not_found")
    oldest, latest = bounds(call.params)
    root, rest = thread[:1], thread[1:]
    return _messages(call, root + [seen for seen in rest if oldest < micros(seen.message["ts"]) < latest])


def in_channel(message: JsonObject) -> bool:
    """Whether a message is shown in the channel itself, and not only in its thread."""
    return message.get("thread_ts", message["ts"]) == message["ts"] or message.get("subtype") == "thread_broadcast"


def _messages(call: Call, found: list[Seen]) -> JsonObject:
    page, cursor = call.page(found)
    full = call.params.flag("include_all_metadata")
    shown = [with_metadata(seen) if full else dict(seen.message) for seen in page]
    answer: JsonObject = {"messages": shown, "has_more": bool(cursor)}
    if cursor:
        answer["response_metadata"] = {"next_cursor": cursor}
    return answer


def _readable(call: Call) -> Channel:
    """A channel whose messages the bot may read."""
    channel = call.channel()
    if call.install.bot_user not in channel.members:
        raise SlackError("not_in_channel")
    return channel


def describe(call: Call, channel: Channel) -> JsonObject:
    """The conversation object."""
    shown: JsonObject = {"id": channel.id, "created": channel.created, "is_archived": channel.archived}
    shown |= {"context_team_id": channel.team, "updated": channel.created * 1000}
    if channel.kind == "im":
        return shown | {"is_im": True, "user": channel.user, "is_org_shared": False, "is_user_deleted": False}
    flags = {
        "is_channel": channel.kind == "channel",
        "is_group": channel.kind == "group",
        "is_im": False,
        "is_mpim": channel.kind == "mpim",
        "is_private": channel.kind != "channel",
        "is_general": channel.name == "general",
        "is_shared": False,
        "is_ext_shared": False,
        "is_org_shared": False,
        "is_member": call.install.bot_user in channel.members,
    }
    empty = {"value": "", "creator": "", "last_set": 0}
    return shown | flags | {
        "name": channel.name,
        "name_normalized": channel.name,
        "creator": channel.creator,
        "topic": empty | {"value": channel.topic},
        "purpose": empty,
        "num_members": len(channel.members),
    }  # fmt: skip
