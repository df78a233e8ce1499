"""Methods about messages that exist: edits, deletions, reactions, answers to button presses."""

from simulators.telegram.errors import bad_request
from simulators.telegram.keyboards import inline_keyboard
from simulators.telegram.params import Params
from simulators.telegram.sending import (
    CAPTION_LIMIT,
    TEXT_LIMIT,
    any_chat,
    content_of,
    formatted,
    obey_flood,
    writable_chat,
)
from simulators.telegram.state import Bot, Chat, JsonObject, Seen, World
from simulators.telegram.text import u16len

DELETABLE_SECONDS = 48 * 3600
ALERT_LIMIT = 200
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current "
    "content and reply markup of the message"
)
FREE_EMOJI = (
    "❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤‍🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 "
    "🍓 🍾 💋 🖕 😈 😴 😭 🤓 👻 👨‍💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 "
    "🤷‍♂ 🤷 🤷‍♀ 😡"
)
REACTIONS = frozenset(FREE_EMOJI.split())


def edit_message_text(world: World, bot: Bot, params: Params) -> JsonObject:
    text, entities = formatted(world, params, "text", "entities")
    if not text:
        raise bad_request("message text is empty")
    chat = writable_chat(world, bot, params)
    seen = _own(chat, bot, params)
    if "text" not in seen.message:
        raise bad_request("there is no text in the message to edit")
    if u16len(text) > TEXT_LIMIT:
        raise bad_request("MESSAGE_TOO_LONG")
    changed = {"text": text, "entities": entities}
    return _change(world, bot, chat, seen, params, changed, "editMessageText")


def edit_message_caption(world: World, bot: Bot, params: Params) -> JsonObject:
    caption, entities = formatted(world, params, "caption", "caption_entities")
    chat = writable_chat(world, bot, params)
    seen = _own(chat, bot, params)
    if "text" in seen.message:
        raise bad_request("there is no caption in the message to edit")
    if u16len(caption) > CAPTION_LIMIT:
        raise bad_request("MEDIA_CAPTION_TOO_LONG")
    changed = {"caption": caption, "caption_entities": entities}
    return _change(world, bot, chat, seen, params, changed, "editMessageCaption")


def edit_message_reply_markup(world: World, bot: Bot, params: Params) -> JsonObject:
    chat = writable_chat(world, bot, params)
    seen = _own(chat, bot, params)
    return _change(world, bot, chat, seen, params, {}, "editMessageReplyMarkup")


def _change(
    world: World,
    bot: Bot,
    chat: Chat,
    seen: Seen,
    params: Params,
    changed: JsonObject,
    method: str,
) -> JsonObject:
    """Replace content and keyboard (no keyboard given: the old one goes) and keep what readers saw before."""
    after = {k: v for k, v in seen.message.items() if k != "reply_markup"} | changed
    if keyboard := inline_keyboard(params):
        after["reply_markup"] = keyboard
    after = {k: v for k, v in after.items() if v not in ([], "")}
    if content_of(after) == content_of(seen.message):
        raise bad_request(NOT_MODIFIED)
    obey_flood(world, bot, chat)
    remember(seen, world.now())
    seen.message = after | {"edit_date": int(world.now())}
    world.record(bot, method, chat, seen.message, params.values)
    return seen.message


def remember(seen: Seen, until: float) -> None:
    """Keep the present content among the earlier ones."""
    kept = ("text", "caption", "entities", "caption_entities", "reply_markup")
    seen.edits.append({k: v for k, v in seen.message.items() if k in kept} | {"until": until})


def _own(chat: Chat, bot: Bot, params: Params) -> Seen:
    if not params.has("message_id"):
        raise bad_request("message identifier is not specified")
    seen = chat.messages.get(params.whole("message_id"))
    if seen is None or seen.deleted:
        raise bad_request("message to edit not found")
    if seen.message.get("from", {}).get("id") != bot.id:
        raise bad_request("message can't be edited")
    return seen


def delete_message(world: World, bot: Bot, params: Params) -> bool:
    chat = any_chat(world, bot, params)
    seen = chat.messages.get(params.whole("message_id"))
    if seen is None or seen.deleted:
        raise bad_request("message to delete not found")
    mine = seen.message.get("from", {}).get("id") == bot.id
    if world.now() - seen.message["date"] > DELETABLE_SECONDS or not (mine or chat.type == "private"):
        raise bad_request("message can't be deleted for everyone")
    seen.deleted = world.now()
    world.record(bot, "deleteMessage", chat, seen.message, params.values)
    return True


def set_message_reaction(world: World, bot: Bot, params: Params) -> bool:
    chat = writable_chat(world, bot, params)
    seen = chat.messages.get(params.whole("message_id"))
    if seen is None or seen.deleted:
        raise bad_request("message to react not found")
    wanted = params.parsed("reaction", "reaction types") or []
    if not isinstance(wanted, list) or not all(isinstance(r, dict) for r in wanted):
        raise bad_request("expected an Array of ReactionType")
    if len(wanted) > 1:
        raise bad_request("REACTIONS_TOO_MANY")
    emoji = [str(r.get("emoji", "")) for r in wanted]
    if not REACTIONS.issuperset(emoji):
        raise bad_request("REACTION_INVALID")
    if emoji:
        seen.reactions[str(bot.id)] = emoji
    else:
        seen.reactions.pop(str(bot.id), None)
    world.record(bot, "setMessageReaction", chat, seen.message, params.values)
    return True


def answer_callback_query(world: World, bot: Bot, params: Params) -> bool:
    callback = world.callbacks.get(params.text("callback_query_id"))
    late = callback and world.now() - callback.asked > world.config.callback_ttl
    if callback is None or callback.bot != bot.id or late:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    if u16len(params.text("text")) > ALERT_LIMIT:
        raise bad_request("MESSAGE_TOO_LONG")
    callback.answer = {
        "text": params.text("text"),
        "show_alert": params.flag("show_alert"),
        "url": params.text("url"),
    }
    world.changes += 1
    world.hub.publish(
        "callback_answer",
        bot_id=bot.id,
        id=callback.id,
        user_id=callback.user,
        chat_id=callback.chat,
        **callback.answer,
    )
    return True
