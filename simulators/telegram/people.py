"""What people do: write, edit, press buttons, block, make groups. Each returns what it made, with the update ids."""

from typing import Any

from simulators.telegram.editing import remember
from simulators.telegram.entities import detect, span_text
from simulators.telegram.files import describe
from simulators.telegram.sending import TEXT_LIMIT
from simulators.telegram.state import Bot, Callback, Chat, JsonObject, Seen, User, World
from simulators.telegram.text import u16len
from simulators.telegram.updates import Mailbox

FIRST_BOT_ID = 7_000_000_001
FIRST_USER_ID = 1001
SERVICE = frozenset({"migrate_to_chat_id", "migrate_from_chat_id", "forum_topic_created"})
MEMBER = {"status": "member"}
LEFT = {"status": "left"}
KICKED = {"status": "kicked", "until_date": 0}


class Refused(ValueError):
    """Something a person cannot do, in words for whoever asked."""


def add_bot(world: World, token: str | None, username: str, name: str, reads_all: bool = False) -> Bot:
    """Register a bot; its id is the number before the colon of its token. Raises Refused when it exists."""
    number = max(world.bots, default=FIRST_BOT_ID - 1) + 1
    if token is None:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
        token = f"{number}:{''.join(world.rng.choices(letters, k=35))}"
    head = token.partition(":")[0]
    if head.isdecimal():
        number = int(head)
    if number in world.bots or token in world.by_token:
        raise Refused("there is a bot with this token or id already")
    mailbox = Mailbox(world.rng.randrange(100_000_000, 900_000_000))
    bot = Bot(number, token, username.removeprefix("@"), name, mailbox, reads_all)
    world.bots[bot.id] = bot
    world.by_token[token] = bot
    world.changes += 1
    return bot


def find_bot(world: World, which: int | str | None) -> Bot:
    """A bot by id, username or token; without one, the first. Raises Refused."""
    for bot in world.bots.values():
        if which is None or which in (bot.id, str(bot.id), bot.username, f"@{bot.username}", bot.token):
            return bot
    raise Refused(f"no bot {which!r}")


def add_user(world: World, number: int | None, first_name: str = "", username: str = "", last_name: str = "") -> User:
    """Register a user, or rename one."""
    if number is None:
        number = max(FIRST_USER_ID - 1, max(world.users, default=0)) + 1
    if not 0 < number < 1 << 52:
        raise Refused("a user id is a positive number below 2^52")
    user = User(number, first_name or f"User {number}", last_name, username.removeprefix("@"))
    world.users[number] = user
    world.changes += 1
    world.hub.publish("user", user=user.profile())
    return user


def known_user(world: World, number: int) -> User:
    """The user with this id, registered on first sight."""
    return world.users.get(number) or add_user(world, number)


def find_chat(world: World, bot: Bot, user: User, chat_id: int | None) -> Chat:
    """Where a user writes: the dialogue with the bot, or a group. Raises Refused."""
    if chat_id is None or chat_id == user.id:
        return world.dialogue(bot, user)
    chat = world.groups.get(chat_id)
    if chat is None:
        raise Refused(f"no chat {chat_id}")
    if chat.migrated_to:
        raise Refused(f"the group was upgraded to {chat.migrated_to}")
    chat.users.add(user.id)
    return chat


def write(world: World, chat: Chat, user: User, body: JsonObject, files: JsonObject) -> JsonObject:
    """A message of a user: text, or a file with a caption, a location or a contact. Raises Refused.

    Returns chat_id, message_id, update_ids and the message. Writing to a blocked bot unblocks it first.
    """
    content = _content(body, files)
    if chat.blocked:
        set_blocked(world, chat, user, False)
    first = min(world.members(chat), key=lambda b: b.id, default=None)
    if first is None:
        raise Refused("there is no bot in this chat")
    message: JsonObject = {
        "message_id": world.take_message_id(first, chat),
        "from": user.profile(),
        "chat": world.show_chat(chat),
        "date": int(body.get("date") or world.now()),
    }
    message |= _place(chat, body) | content
    chat.messages[message["message_id"]] = Seen(message)
    update_ids = announce(world, chat, "message", message)
    return {
        "chat_id": chat.id,
        "message_id": message["message_id"],
        "update_ids": update_ids,
        "message": message,
    }


def _content(body: JsonObject, files: JsonObject) -> JsonObject:
    text = str(body.get("text") or body.get("caption") or "")
    if u16len(text) > TEXT_LIMIT:
        raise Refused(f"a message has at most {TEXT_LIMIT} UTF-16 units; Telegram's apps split it")
    special = {k: body[k] for k in ("location", "contact") if isinstance(body.get(k), dict)}
    media = {kind: describe(file, kind) for kind, file in files.items()}
    if not (text.strip() or special or media):
        raise Refused("nothing to send: give text, a file, a location or a contact")
    entities = detect(text)
    names = ("caption", "caption_entities") if media else ("text", "entities")
    content = special | media
    if text:
        content[names[0]] = text
    if entities:
        content[names[1]] = entities
    return content


def _place(chat: Chat, body: JsonObject) -> JsonObject:
    """Topic and reply. A message written to a topic without a reply answers the message that made the topic."""
    place: JsonObject = {}
    topic = body.get("message_thread_id")
    if topic:
        if topic not in chat.topics:
            raise Refused(f"no topic {topic} in this chat")
        place = {"message_thread_id": topic, "is_topic_message": True}
    number = body.get("reply_to_message_id") or topic
    if number:
        seen = chat.messages.get(number)
        if seen is None or seen.deleted:
            raise Refused(f"no message {number} to reply to")
        place["reply_to_message"] = {k: v for k, v in seen.message.items() if k != "reply_to_message"}
    return place


def announce(world: World, chat: Chat, kind: str, message: JsonObject) -> list[int]:
    """Hand a message to the bots that may see it and to the listeners; the update ids."""
    world.changes += 1
    numbers = [world.post(bot, kind, chat, message) for bot in world.members(chat) if sees(bot, chat, message)]
    world.hub.publish(kind, chat_id=chat.id, bot_id=min(chat.bots, default=None), message=message)
    return [number for number in numbers if number is not None]


def sees(bot: Bot, chat: Chat, message: JsonObject) -> bool:
    """Privacy mode: in groups a bot sees commands, mentions of it, replies to it and service messages only."""
    if chat.type == "private" or bot.reads_all:
        return True
    text = str(message.get("text", message.get("caption", "")))
    replied = message.get("reply_to_message", {}).get("from", {}).get("id")
    if SERVICE & set(message):
        return True
    entities: list[JsonObject] = message.get("entities") or message.get("caption_entities") or []
    return replied == bot.id or any(_calls(bot, text, entity) for entity in entities)


def _calls(bot: Bot, text: str, entity: JsonObject) -> bool:
    piece = span_text(text, entity).lower()
    if entity["type"] == "bot_command":
        _, at, name = piece.partition("@")
        return not at or name == bot.username.lower()
    return entity["type"] == "mention" and piece == f"@{bot.username.lower()}"


def edit(world: World, chat: Chat, user: User, message_id: int, text: str) -> list[int]:
    """A user edits their message; the update ids. Raises Refused."""
    seen = chat.messages.get(message_id)
    if seen is None or seen.deleted or seen.message.get("from", {}).get("id") != user.id:
        raise Refused("no such message of this user")
    if not text.strip() or u16len(text) > TEXT_LIMIT:
        raise Refused(f"text must have 1 to {TEXT_LIMIT} UTF-16 units")
    remember(seen, world.now())
    names = ("text", "entities") if "text" in seen.message else ("caption", "caption_entities")
    kept = {k: v for k, v in seen.message.items() if k not in names}
    entities = {names[1]: found} if (found := detect(text)) else {}
    seen.message = kept | {names[0]: text, "edit_date": int(world.now())} | entities
    return announce(world, chat, "edited_message", seen.message)


def press(world: World, chat: Chat, user: User, message_id: int, data: str) -> tuple[str, int | None]:
    """A user presses an inline button: the callback id and the update id. Raises Refused when there is none."""
    seen = chat.messages.get(message_id)
    if seen is None or seen.deleted:
        raise Refused(f"no message {message_id}")
    rows = seen.message.get("reply_markup", {}).get("inline_keyboard", [])
    if not any(button.get("callback_data") == data for row in rows for button in row):
        raise Refused("this message has no button with this data")
    bot = world.bots[seen.message["from"]["id"]]
    number = str(world.rng.randrange(1 << 60, 1 << 62))
    while number in world.callbacks:
        number = str(world.rng.randrange(1 << 60, 1 << 62))
    world.callbacks[number] = Callback(number, bot.id, user.id, chat.id, message_id, data, world.now())
    query = {
        "id": number,
        "from": user.profile(),
        "message": seen.message,
        "chat_instance": str(hash((bot.id, chat.id)) & 0xFFFFFFFFFFFF),
        "data": data,
    }
    return number, world.post(bot, "callback_query", chat, query)


def membership(world: World, bot: Bot, chat: Chat, by: User, before: JsonObject, after: JsonObject) -> int | None:
    change: dict[str, Any] = {
        "chat": world.show_chat(chat),
        "from": by.profile(),
        "date": int(world.now()),
        "old_chat_member": {"user": bot.profile(), **before},
        "new_chat_member": {"user": bot.profile(), **after},
    }
    world.changes += 1
    world.hub.publish("membership", chat_id=chat.id, bot_id=bot.id, status=after["status"])
    return world.post(bot, "my_chat_member", chat, change)


def set_blocked(world: World, chat: Chat, user: User, blocked: bool) -> list[int]:
    """Block or unblock the bot of a private chat; the update ids (none when nothing changes)."""
    if chat.blocked == blocked:
        return []
    chat.blocked = blocked
    before, after = (MEMBER, KICKED) if blocked else (KICKED, MEMBER)
    numbers = [membership(world, bot, chat, user, before, after) for bot in world.members(chat)]
    return [number for number in numbers if number is not None]
