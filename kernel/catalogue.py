"""Every type of event: when it is sent, the JSON Schema of its `data`, an example, and the version of that shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kernel.members import (
    Member,
    Schema,
    anything,
    example_of,
    identifier,
    like,
    moment,
    nullable,
    number,
    one_of,
    optional,
    record,
    schema_of,
    several,
    text,
)


@dataclass(frozen=True, slots=True)
class EventType:
    """When it is sent, in one line; JSON Schema 2020-12 of `data`; an example of it.

    `version` is raised when a member goes or changes its meaning. New members do not raise it. What is not `sent` may
    be subscribed to, and does not happen yet.
    """

    description: str
    schema: Schema
    example: Mapping[str, Any]
    version: int = 1
    sent: bool = True


def _type(description: str, members: Mapping[str, Member]) -> EventType:
    return EventType(description, schema_of(description, members), example_of(members))


def _to_come(description: str, members: Mapping[str, Member]) -> EventType:
    return replace(_type(description, members), sent=False)


_CHANNEL_KIND = text("The channel: telegram, slack, discord, web or rest", "telegram")
_ACCOUNT = identifier("acc", "The bot")
_USER = identifier("usr", "The person")
# Left out when the bot is gone.
_WHERE = {"account_id": optional(_ACCOUNT), "channel": optional(_CHANNEL_KIND)}

_MESSAGE = identifier("msg", "The message")
_CONVERSATION = identifier("conv", "The conversation")
_SESSION = identifier("ses", "The conversation's episode")
_TURN = identifier("turn", "The turn that answers")
_UNASKED = "; null for what nobody asked for, a notification"
_TURN_OR_NULL = nullable(identifier("turn", "The turn that answered" + _UNASKED))
_SESSION_OR_NULL = nullable(identifier("ses", "The conversation's episode, null outside of any"))
_USER_OR_NULL = nullable(identifier("usr", "The person; null where nobody has written yet"))
_CITATION = record(
    "What a sentence stands on",
    {
        "number": number("The [n] in the text", 1, minimum=1),
        "chunk_id": identifier("chk", "The passage"),
        "document_id": identifier("doc", "Its document"),
        "title": text("The document's title", "Opening hours"),
        "url": text("Where the document is to be read, or empty", "https://example.com/hours"),
        "quote": text("Words of the passage, or empty", "We open at nine."),
    },
)
_FILE = record(
    "A file that is sent with the message",
    {
        "attachment_id": identifier("att", "The file"),
        "name": text("Its name", "invoice.pdf"),
        "mime": text("Its media type", "application/pdf"),
        "caption": optional(text("Shown with it", "Your invoice")),
    },
)
_ANSWER = {
    "message_id": _MESSAGE,
    "conversation_id": _CONVERSATION,
    "session_id": _SESSION_OR_NULL,
    "turn_id": _TURN_OR_NULL,
    "user_id": _USER_OR_NULL,
    **_WHERE,
}
_SENT = {
    "message_id": _MESSAGE,
    "conversation_id": _CONVERSATION,
    "outbound_id": identifier("out", "The platform message, one of those that the answer was cut into"),
    **_WHERE,
    "receipt": nullable(anything("The platform's own ids of it", {"chat_id": 5, "message_id": 17})),
}
_IN_SESSION = {"session_id": _SESSION, "conversation_id": _CONVERSATION, "user_id": _USER, **_WHERE}
_ESCALATION = {"escalation_id": identifier("esc", "The call for a person"), **_IN_SESSION}
_IDENTITY = {
    "identity_id": identifier("idn", "Somebody on one channel"),
    "account_id": _ACCOUNT,
    "channel": _CHANNEL_KIND,
    "user_id": identifier("usr", "The person from now on"),
    "previous_user_id": like(identifier("usr", "The person before"), "usr_01a1b2c3d4e5f60718293a4b5c6d7e90"),
}
_DOCUMENT = {
    "document_id": identifier("doc", "The document"),
    "source_id": identifier("src", "Where it came from"),
    "collection_id": identifier("col", "What it is part of"),
    "external_id": text("Its name in the system that it came from", "faq/hours"),
    "title": text("Its title", "Opening hours"),
}
_BOT = {
    "account_id": _ACCOUNT,
    "channel": optional(_CHANNEL_KIND),
    "kind": _CHANNEL_KIND,
    "name": text("The bot's name here", "Support bot"),
}
_QUOTA = {
    "name": text("What is limited", "messages"),
    "used": number("So much in this period", 900),
    "limit": number("So much is allowed", 1000),
    "period": text("The month", "2026-11", pattern="^[0-9]{4}-[0-9]{2}$"),
}
_ENDPOINT = {
    "webhook_id": identifier("wh", "The endpoint"),
    "url": text("Its address", "https://example.com/hook"),
}
_DELIVERY = {
    **_ENDPOINT,
    "delivery_id": identifier("dlv", "The delivery"),
    "event_id": identifier("evt", "The event that is owed"),
    "event_type": text("Its type", "chat.message.received"),
    "attempts": number("Tries so far", 4, minimum=1),
    "status_code": nullable(number("What the endpoint answered last, null when it did not", 500, minimum=100)),
    "error_code": text("What went wrong with the last try", "status_500"),
}
_SINCE = moment("Of the first failure that no success followed")

EVENT_TYPES: Mapping[str, EventType] = {
    "chat.message.received": _type(
        "A user's message was accepted",
        {
            "message_id": _MESSAGE,
            "conversation_id": _CONVERSATION,
            "session_id": _SESSION,
            "turn_id": _TURN,
            "user_id": _USER,
            **_WHERE,
            "text": text("What was said", "When do you open?"),
        },
    ),
    "chat.response.generated": _type(
        "An answer was written",
        {
            **_ANSWER,
            "text": text("The answer, in markdown", "At nine [1]."),
            "citations": several(_CITATION, "What it stands on"),
            "files": optional(several(_FILE, "Files that go with it; left out when there are none")),
        },
    ),
    "chat.response.delivered": _type("The platform accepted every part of an answer", _SENT),
    "chat.response.failed": _type(
        "An answer could not be given or not be delivered",
        {
            **{name: optional(member) for name, member in {**_ANSWER, **_SENT}.items()},
            "message_id": _MESSAGE,
            "conversation_id": _CONVERSATION,
            "text": optional(text("What the person was told instead", "Something went wrong.")),
            "citations": optional(several(_CITATION, "What it stands on", [])),
            "reason": text("Why", "blocked"),
            "state": optional(one_of("Of the platform message: surely not sent, or nobody knows", "failed", "unknown")),
        },
    ),
    "chat.feedback.received": _type(
        "A user rated an answer: 1, -1, or 0 when the rating is taken back",
        {
            **_ANSWER,
            "user_id": _USER,
            "rating": one_of("Praise, blame, or taken back", 1, -1, 0),
            "comment": text("In the person's words, or empty", "the price is wrong"),
            "source": one_of("How it was given", "button", "reaction", "api"),
        },
    ),
    "session.started": _type("A conversation began a new episode", _IN_SESSION),
    "session.resolved": _type("A session ended with its question answered", _IN_SESSION),
    "session.escalated": _to_come("A session was handed to a person", _ESCALATION),
    "session.abandoned": _to_come("A session ended in silence", _IN_SESSION),
    "session.summarized": _to_come(
        "A summary of a session was written", {**_IN_SESSION, "summary": text("The summary", "Asked for hours.")}
    ),
    "escalation.opened": _to_come(
        "Somebody should take over a conversation", {**_ESCALATION, "reason": text("Why", "asked for a person")}
    ),
    "escalation.claimed": _to_come(
        "A person took an escalation", {**_ESCALATION, "claimed_by": identifier("usr", "Who took it")}
    ),
    "escalation.resolved": _to_come(
        "An escalation was closed", {**_ESCALATION, "resolution": text("What came of it", "refunded")}
    ),
    "user.created": _type("A person wrote for the first time", {"user_id": _USER, **_WHERE}),
    "user.erased": _to_come("A person's data was erased", {"user_id": _USER}),
    "identity.linked": _type("An identity became another person, to whom it was linked", _IDENTITY),
    "identity.unlinked": _type("An identity was parted from its person and is one of its own", _IDENTITY),
    "document.indexed": _type(
        "A document can be found", {**_DOCUMENT, "chunks": number("Passages that it was cut into", 4)}
    ),
    "document.failed": _type(
        "A document could not be read",
        {
            "external_id": _DOCUMENT["external_id"],
            "collection_id": _DOCUMENT["collection_id"],
            "job_id": identifier("job", "The job that read it"),
            "reason": text("Why", "no text found"),
        },
    ),
    "document.deleted": _type("A document was removed", _DOCUMENT),
    "channel.connected": _type("A bot was connected", _BOT),
    "channel.failed": _type("A bot stopped working", {**_BOT, "reason": text("Why", "the token was revoked")}),
    "webhook.failing": _type(
        "The fourth try of a delivery failed",
        {**_DELIVERY, "next_attempt_at": nullable(moment("Of the next try; null when there is none"))},
    ),
    "webhook.warned": _type(
        "An endpoint has taken nothing for 24 or for 72 hours",
        {
            **_ENDPOINT,
            "failing_since": _SINCE,
            "hours": one_of("For so long", 24, 72),
            "disable_at": moment("When it will be put out of use, if nothing changes"),
        },
    ),
    "webhook.recovered": _type(
        "An endpoint that was failing takes deliveries again", {**_ENDPOINT, "failing_since": _SINCE}
    ),
    "webhook.disabled": _type(
        "An endpoint was put out of use", {**_ENDPOINT, "reason": text("Why", "nothing was taken for 5 days")}
    ),
    "webhook.enabled": _type(
        "An endpoint is in use again", {**_ENDPOINT, "reason": text("Why", "it answered a probe")}
    ),
    "webhook.secret_rotated": _type(
        "An endpoint has a new secret",
        {
            **_ENDPOINT,
            "secret_id": identifier("whs", "The new secret's name"),
            "kind": one_of("What it signs", "v1", "v1a"),
            "previous_expires_at": nullable(moment("Until when the one before signs, too; null when there is none")),
        },
    ),
    "delivery.exhausted": _type(
        "The last try of a delivery failed", {**_DELIVERY, "attempts": like(_DELIVERY["attempts"], 10)}
    ),
    "quota.warning": _to_come("Most of a quota is used", _QUOTA),
    "quota.exceeded": _to_come("A quota is used up", {**_QUOTA, "used": like(_QUOTA["used"], 1000)}),
    "ping": _type("A test, sent on request to one endpoint", {"webhook_id": _ENDPOINT["webhook_id"]}),
}
