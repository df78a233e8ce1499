"""Thumbs under the bot's messages: praise and blame, and taking them back.

Source: https://docs.discord.com/developers/events/gateway-events#message-reaction-add
"""

from __future__ import annotations

from channels.discord.shapes import an_object, sender, snowflake, word
from kernel.types import Account, Ignored, InboundMessage, Json, Parsed, Sender

_MEANINGS = {"👍": "up", "👎": "down"}
_MODIFIERS = dict.fromkeys([0xFE0F, *range(0x1F3FB, 0x1F400)])  # emoji presentation, and skin tones


def reaction(account: Account, update: Json, place: Json) -> Parsed:
    """Feedback on `message_ref`, or the reason to ignore it. `place` holds the fields that say where."""
    event = an_object(update, "d")
    us, who = str(account.profile.get("id")), snowflake(event, "user_id")
    meaning = _MEANINGS.get(word(an_object(event, "emoji"), "name").translate(_MODIFIERS))
    if meaning is None:
        return Ignored("other_reaction")
    if who == us:
        return Ignored("own_reaction")
    # Who wrote the message is told of what is added, not of what is taken away; our records know.
    if event.get("message_author_id") not in (None, us):
        return Ignored("reaction_to_others")
    member = event.get("member")
    user = member.get("user") if isinstance(member, dict) else None
    if isinstance(user, dict) and user.get("bot") is True:
        return Ignored("from_bot")
    added = update["t"] == "MESSAGE_REACTION_ADD"
    about = snowflake(event, "message_id")
    return InboundMessage(
        external_id=f"{about}:{who}:{meaning}:{'add' if added else 'remove'}:{_occasion(update)}",
        kind="feedback",
        sender=sender(user, member) if isinstance(user, dict) else Sender(who),
        text="",
        message_ref=about,
        detail=meaning if added else "none",
        **place,
    )


def _occasion(update: Json) -> str:
    """A reaction has no id and may come and go, so the event's number in its session tells one time from another."""
    return str(update.get("event") or "")
