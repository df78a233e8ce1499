"""Chats, people and messages as the control API shows them."""

from simulators.telegram.state import Chat, JsonObject, Seen, User, World


def person_view(user: User) -> JsonObject:
    return user.profile()


def chat_view(world: World, chat: Chat) -> JsonObject:
    """A chat with its members, topics and what is going on in it now."""
    now = world.now()
    action = chat.action if chat.action and chat.action[1] > now else None
    draft = chat.draft if chat.draft and chat.draft["until"] > now else None
    return world.show_chat(chat) | {
        "bots": sorted(chat.bots),
        "users": sorted(chat.users),
        "blocked": chat.blocked,
        "migrated_to": chat.migrated_to,
        "topics": [{"id": number, "name": name} for number, name in chat.topics.items()],
        "action": {"action": action[0], "until": action[1], "message_thread_id": action[2]} if action else None,
        "draft": draft,
    }


def seen_view(seen: Seen) -> JsonObject:
    """A message now, what it said before each edit, when it was deleted, and the reactions to it."""
    return {
        "message": seen.message,
        "edits": seen.edits,
        "deleted": seen.deleted,
        "reactions": seen.reactions,
    }
