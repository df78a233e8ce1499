"""Values that the rooms exchange: plain, frozen, and serialisable. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Json = dict[str, Any]

InboundKind = Literal["text", "command", "edit", "unsupported", "migrated", "blocked", "unblocked"]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who wrote on the platform: the platform's own id and what it tells about the person."""

    external_id: str
    name: str = ""
    username: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """What a user sent us, as a platform's `parse` understood it.

    external_id      the platform's delivery id, unique in the account: the dedupe key
    conversation_key account-wide name of the place (chat, or chat and thread): the unit of ordering
    address          what `send` needs to answer there, for instance {"chat_id": 5, "thread_id": 7}
    message_ref      the platform's id of the message itself; an edit carries the id of the edited message
    command          lower-case name without slash, for kind "command"; text is then its argument
    private          a one-to-one chat, as against a group
    detail           for "unsupported" the kind of content; for "migrated" the new chat id
    sent_at          epoch seconds, as the platform says
    """

    external_id: str
    conversation_key: str
    kind: InboundKind
    sender: Sender
    text: str
    address: Json
    message_ref: str = ""
    command: str = ""
    private: bool = True
    detail: str = ""
    sent_at: float = 0.0

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InboundMessage:
        return cls(**{**data, "sender": Sender(**data["sender"])})


@dataclass(frozen=True, slots=True)
class Ignored:
    """An update that needs no turn (another bot, a group message not meant for us). Counted by `reason`."""

    reason: str


Parsed = InboundMessage | Ignored


@dataclass(frozen=True, slots=True)
class Account:
    """One bot installed on one channel for one workspace. `credentials` are unsealed, held in memory only."""

    workspace_id: str
    account_id: str
    kind: str
    mode: str
    credentials: Json = field(repr=False)
    settings: Json
    profile: Json  # what the platform says of the bot itself: {"id": 1, "username": "…"}


@dataclass(frozen=True, slots=True)
class Citation:
    """The chunk that a sentence stands on. `number` is the [n] shown to the reader."""

    number: int
    chunk_id: str
    document_id: str
    title: str
    url: str = ""
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in markdown with its numbered sources, not yet rendered for any platform."""

    markdown: str
    citations: Sequence[Citation] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """One platform message: `payload` as the platform wants it, `plain` for when it refuses the formatting."""

    payload: Json
    plain: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The platform accepted; `receipt` holds its ids."""

    receipt: Json


@dataclass(frozen=True, slots=True)
class NotSent:
    """Surely not delivered and worth another try: a refused connection, a 429.

    `scope` says how far the wait reaches: the chat, or the whole bot.
    """

    reason: str
    retry_after: float | None = None
    scope: Literal["chat", "bot"] = "chat"


@dataclass(frozen=True, slots=True)
class Refused:
    """Surely not delivered, and the same request would be refused again.

    `plainer` tells that the formatting was at fault; `moved_to` is the chat's new id; `blocked` that the user
    or group put us out.
    """

    code: str
    reason: str
    plainer: bool = False
    blocked: bool = False
    moved_to: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request left and no answer came: the message may or may not have been delivered."""

    reason: str


SendOutcome = Sent | NotSent | Refused | Unknown


@dataclass(frozen=True, slots=True)
class Channel:
    """A platform as a handful of functions. `gateway` composes them; none of them knows the bot around it.

    verify(account, headers, body)     True when the request really comes from the platform; before any parsing
    parse(account, update)             pure; raises ValueError when the update is not the platform's shape
    render(reply, address)             pure; at least one unit, each within the platform's limits
    send(client, address, unit, plain) one platform call; never raises for what a network or platform may do
    typing(client, address)            a sign that we are thinking; failures are its own business
    idempotent                         a repeated send of one unit is shown once
    """

    kind: str
    verify: Callable[[Account, Mapping[str, str], bytes], bool]
    parse: Callable[[Account, Json], list[Parsed]]
    render: Callable[[Reply, Json], list[Unit]]
    send: Callable[[Any, Json, Unit, bool], Awaitable[SendOutcome]]
    typing: Callable[[Any, Json], Awaitable[None]]
    idempotent: bool = False
