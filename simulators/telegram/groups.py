"""Groups: making them, forum topics, who is in them, and the upgrade of a group to a supergroup."""

from simulators.telegram.people import (
    FIRST_USER_ID,
    KICKED,
    LEFT,
    MEMBER,
    Refused,
    announce,
    known_user,
    membership,
)
from simulators.telegram.state import Bot, Chat, JsonObject, Seen, User, World

SUPERGROUP_BASE = -1_000_000_000_000


def add_chat(
    world: World, kind: str, title: str, forum: bool, users: list[int], bots: list[Bot], maker: int | None
) -> Chat:
    """Make a group or supergroup with these members; its bots learn of it by my_chat_member. Raises Refused."""
    if kind not in ("group", "supergroup"):
        raise Refused("type must be group or supergroup; private chats come with the first message")
    if forum and kind != "supergroup":
        raise Refused("only a supergroup can be a forum")
    number = new_id(world, kind)
    chat = Chat(number, kind, title or "Group", forum, users=set(users) | ({maker} if maker else set()))
    for user in chat.users:
        known_user(world, user)
    world.groups[number] = chat
    world.changes += 1
    for bot in bots:
        join(world, chat, bot, maker or min(chat.users, default=FIRST_USER_ID))
    world.hub.publish("chat", chat=world.show_chat(chat))
    return chat


def join(world: World, chat: Chat, bot: Bot, by: int) -> int | None:
    """Add a bot to a group."""
    before = KICKED if bot.id in chat.kicked else LEFT
    chat.kicked.discard(bot.id)
    chat.bots.add(bot.id)
    return membership(world, bot, chat, known_user(world, by), before, MEMBER)


def kick(world: World, chat: Chat, bot: Bot, by: int) -> int | None:
    """Remove a bot from a group."""
    chat.bots.discard(bot.id)
    chat.kicked.add(bot.id)
    return membership(world, bot, chat, known_user(world, by), MEMBER, KICKED)


def add_topic(world: World, chat: Chat, user: User, name: str) -> int:
    """Make a forum topic; its id is that of the service message that tells of it. Raises Refused."""
    if not chat.forum:
        raise Refused("this chat is not a forum")
    first = world.members(chat)[0]
    number = world.take_message_id(first, chat)
    chat.topics[number] = name
    topic = {"name": name, "icon_color": 7322096}
    service(world, chat, user, number, {"message_thread_id": number, "is_topic_message": True,
                                        "forum_topic_created": topic})  # fmt: skip
    return number


def service(world: World, chat: Chat, user: User, number: int, fields: JsonObject) -> list[int]:
    """A message that the platform writes in the name of a user; the update ids."""
    message = {
        "message_id": number,
        "from": user.profile(),
        "chat": world.show_chat(chat),
        "date": int(world.now()),
    } | fields
    chat.messages[number] = Seen(message)
    return announce(world, chat, "message", message)


def migrate(world: World, chat: Chat, user: User) -> tuple[Chat, list[int]]:
    """Upgrade a group: a new id, and a service message in both chats. Raises Refused."""
    if chat.type != "group" or chat.migrated_to:
        raise Refused("only a group that was not upgraded yet can be upgraded")
    number = new_id(world, "supergroup")
    upgraded = Chat(number, "supergroup", chat.title, bots=set(chat.bots), users=set(chat.users))
    world.groups[number] = upgraded
    first = world.members(chat)[0]
    old = service(world, chat, user, world.take_message_id(first, chat), {"migrate_to_chat_id": number})
    new = service(world, upgraded, user, world.take_message_id(first, upgraded), {"migrate_from_chat_id": chat.id})
    chat.migrated_to = number
    return upgraded, old + new


def new_id(world: World, kind: str) -> int:
    """The next free id: supergroups count down from -100…, groups from a little below zero."""
    base = SUPERGROUP_BASE if kind == "supergroup" else 0
    taken = [g for g in world.groups if (g < SUPERGROUP_BASE) == (kind == "supergroup")]
    return min([*taken, base - 1000]) - 1
