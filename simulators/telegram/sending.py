"""Methods that put something into a chat: sendMessage, sendDocument, sendPhoto, drafts and actions."""

from typing import Any

from simulators.telegram.entities import Entity, format_text
from simulators.telegram.errors import bad_request, forbidden, migrated, too_many_requests
from simulators.telegram.files import describe, sent_file
from simulators.telegram.keyboards import inline_keyboard
from simulators.telegram.params import Params
from simulators.telegram.state import ACTION_SECONDS, DRAFT_SECONDS, Bot, Chat, JsonObject, Seen, World
from simulators.telegram.text import u16len

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
BYTES_LIMIT = 1 << 15
ACTIONS = frozenset({
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
    "choose_sticker", "find_location", "record_video_note", "upload_video_note",
})  # fmt: skip


def send_message(world: World, bot: Bot, params: Params) -> JsonObject:
    text, entities = formatted(world, params, "text", "entities")
    if not text:
        raise bad_request("message text is empty")
    chat = writable_chat(world, bot, params)
    if u16len(text) > TEXT_LIMIT:
        raise bad_request("message is too long")
    content: JsonObject = {"text": text}
    if entities:
        content["entities"] = entities
    return _publish(world, bot, chat, params, content, "sendMessage")


def send_document(world: World, bot: Bot, params: Params) -> JsonObject:
    return _send_file(world, bot, params, "document", "sendDocument")


def send_photo(world: World, bot: Bot, params: Params) -> JsonObject:
    return _send_file(world, bot, params, "photo", "sendPhoto")


def _send_file(world: World, bot: Bot, params: Params, kind: str, method: str) -> JsonObject:
    caption, entities = formatted(world, params, "caption", "caption_entities")
    chat = writable_chat(world, bot, params)
    if u16len(caption) > CAPTION_LIMIT:
        raise bad_request("message caption is too long")
    content: JsonObject = {kind: describe(sent_file(world, params, kind), kind)}
    if caption:
        content["caption"] = caption
    if entities:
        content["caption_entities"] = entities
    return _publish(world, bot, chat, params, content, method)


def _publish(world: World, bot: Bot, chat: Chat, params: Params, content: JsonObject, method: str) -> JsonObject:
    reply = replied_message(chat, params)
    # A reply goes where the message it answers is, unless the bot names a topic itself.
    thread = {k: v for k, v in (reply or {}).items() if k in ("message_thread_id", "is_topic_message")}
    topic = topic_of(chat, params) or thread
    keyboard = inline_keyboard(params)
    obey_flood(world, bot, chat)
    message: JsonObject = {
        "message_id": world.take_message_id(bot, chat),
        "from": bot.profile(),
        "chat": world.show_chat(chat),
        "date": int(world.now()),
    }
    message |= topic | content
    if reply:
        message["reply_to_message"] = reply
    if keyboard:
        message["reply_markup"] = keyboard
    chat.messages[message["message_id"]] = Seen(message)
    chat.action = None
    chat.draft = None
    world.record(bot, method, chat, message, params.values)
    return message


def formatted(world: World, params: Params, name: str, entities_name: str) -> tuple[str, list[Entity]]:
    """The text to show and its entities, with mentioned users filled in. Raises ApiError."""
    raw = params.text(name)
    if len(raw) > BYTES_LIMIT // 4 and len(raw.encode()) > BYTES_LIMIT:
        raise bad_request("message is too long")
    given = params.parsed(entities_name, "entities") if params.has(entities_name) else None
    text, entities = format_text(raw, params.text("parse_mode"), given)
    return text, [entity for entity in (_known(world, e) for e in entities) if entity]


def _known(world: World, entity: Entity) -> Entity | None:
    """A mention of somebody unknown is no entity."""
    if entity["type"] != "text_mention":
        return entity
    user = world.users.get(entity.get("user", {}).get("id", 0))
    return entity | {"user": user.profile()} if user else None


def any_chat(world: World, bot: Bot, params: Params) -> Chat:
    """The chat of `chat_id`, whether or not the bot may write there. Raises ApiError."""
    if not params.has("chat_id"):
        raise bad_request("chat_id is empty")
    number = params.whole("chat_id")
    chat = world.find(bot, number)
    if chat is None:
        if number in world.users:
            raise forbidden("bot can't initiate conversation with a user")
        raise bad_request("chat not found")
    if chat.migrated_to:
        raise migrated(chat.migrated_to)
    return chat


def writable_chat(world: World, bot: Bot, params: Params) -> Chat:
    """The chat of `chat_id`, when the bot may write there. Raises ApiError."""
    chat = any_chat(world, bot, params)
    if chat.blocked:
        raise forbidden("bot was blocked by the user")
    if bot.id in chat.kicked:
        raise forbidden(f"bot was kicked from the {chat.type} chat")
    if bot.id not in chat.bots:
        raise forbidden(f"bot is not a member of the {chat.type} chat")
    return chat


def topic_of(chat: Chat, params: Params) -> JsonObject:
    """The thread fields of a message for `message_thread_id`. Raises ApiError when there is no such topic."""
    number = params.whole("message_thread_id")
    if not number:
        return {}
    if not chat.forum or number not in chat.topics:
        raise bad_request("message thread not found")
    return {"message_thread_id": number, "is_topic_message": True}


def replied_message(chat: Chat, params: Params) -> JsonObject | None:
    """The message replied to, without its own reply. Raises ApiError when it is gone and must not be."""
    asked = params.parsed("reply_parameters", "reply parameters")
    if asked is None:
        asked = {
            "message_id": params.whole("reply_to_message_id"),
            "allow_sending_without_reply": params.flag("allow_sending_without_reply"),
        }
    if not isinstance(asked, dict):
        raise bad_request("object expected as reply parameters")
    number = Params(asked).whole("message_id")
    if not number:
        return None
    seen = chat.messages.get(number)
    if seen is None or seen.deleted:
        if Params(asked).flag("allow_sending_without_reply"):
            return None
        raise bad_request("message to be replied not found")
    return {k: v for k, v in seen.message.items() if k not in ("reply_to_message", "reply_markup")}


def obey_flood(world: World, bot: Bot, chat: Chat) -> None:
    if world.flood and (wait := world.flood.refuse(bot.id, chat.id, world.tick())):
        raise too_many_requests(wait)


def send_chat_action(world: World, bot: Bot, params: Params) -> bool:
    action = params.text("action")
    if action not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    chat = writable_chat(world, bot, params)
    topic = topic_of(chat, params).get("message_thread_id", 0)
    chat.action = (action, world.now() + ACTION_SECONDS, topic)
    world.hub.publish(
        "action",
        bot_id=bot.id,
        chat_id=chat.id,
        action=action,
        message_thread_id=topic,
        until=chat.action[1],
    )
    return True


def send_message_draft(world: World, bot: Bot, params: Params) -> bool:
    """A preview in a private chat for 30 seconds; an empty text shows that the bot is thinking."""
    text, entities = formatted(world, params, "text", "entities")
    chat = writable_chat(world, bot, params)
    if chat.type != "private":
        raise bad_request("chat not found")
    if not params.whole("draft_id"):
        raise bad_request("RANDOM_ID_INVALID")
    if u16len(text) > TEXT_LIMIT:
        raise bad_request("message is too long")
    until = world.now() + DRAFT_SECONDS
    chat.draft = {
        "draft_id": params.whole("draft_id"),
        "text": text,
        "entities": entities,
        "until": until,
    } | topic_of(chat, params)
    world.hub.publish("draft", bot_id=bot.id, chat_id=chat.id, draft=chat.draft)
    return True


def content_of(message: JsonObject) -> tuple[Any, ...]:
    """What an edit must change for it to be one."""
    return (
        message.get("text"),
        message.get("caption"),
        message.get("entities", message.get("caption_entities")),
        message.get("reply_markup"),
    )
