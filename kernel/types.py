"""Values that the rooms exchange: plain, frozen, and serialisable. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

from kernel.platform import Mode, Pace, Room

Json = dict[str, Any]

InboundKind = Literal[
    "text",
    "command",
    "edit",
    "deletion",
    "feedback",
    "unsupported",
    "stranger",
    "migrated",
    "blocked",
    "unblocked",
]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who wrote on the platform: the platform's own id and what it tells about the person."""

    external_id: str
    name: str = ""
    username: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a message. `ref` is what the channel's `fetch` needs; never an address that holds a token.

    size in bytes as the platform says, 0 when it does not.
    """

    kind: Literal["file", "image", "audio", "video"]
    name: str
    mime: str
    size: int
    ref: Json


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file for a person. `tried`: epoch seconds since when an earlier try may have got through, 0.0 when none may."""

    name: str
    mime: str
    data: bytes = field(repr=False)
    caption: str = ""
    tried: float = 0.0


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """What a user sent us, as a platform's `parse` understood it.

    external_id      unique in the account, the same however often and in whatever form the platform tells it: the
                     dedupe key (an edit has one of its own)
    conversation_key account-wide name of the place (chat, or chat and thread): the unit of ordering
    address          what `send` needs to answer there, for instance {"chat_id": 5, "thread_id": 7}
    message_ref      the platform's id of the message itself; an edit, a deletion and a reaction carry the id of the
                     message that they are about
    command          lower-case name without slash, for kind "command"; text is then its argument
    private          a one-to-one chat, as against a group
    detail           for "unsupported" the kind of content; for "migrated" the new chat id; for "feedback" "up", "down"
                     or "none" (taken back)
    sent_at          epoch seconds, as the platform says
    chat             the platform's id of the chat or channel around the place, which policies name
    thread           the place is a thread or topic of its own
    addressed        meant for the bot beyond doubt: in private, by mention, reply, command or button
    about            for "feedback" by a button the turn it is about
    press            the platform's id of a pressed button, which wants `acknowledge`
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
    chat: str = ""
    thread: bool = False
    addressed: bool = True
    about: str = ""
    press: str = ""
    attachments: Sequence[Attachment] = ()

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InboundMessage:
        files = tuple(Attachment(**file) for file in data.get("attachments", ()))
        return cls(**{**data, "sender": Sender(**data["sender"]), "attachments": files})


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
class Choice:
    """A button. Pressing it says `text` in the person's name."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in markdown with its numbered sources, not yet rendered for any platform.

    `feedback` is the turn that the buttons for praise and blame are about; without it there are none. Buttons stand
    under the last unit; their data is the same on every platform: `fb:up:TURN`, `fb:down:TURN`, `say:TEXT`.
    """

    markdown: str
    citations: Sequence[Citation] = ()
    feedback: str = ""
    choices: Sequence[Choice] = ()


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
class Absent:
    """The platform was asked for a unit whose sending broke off, and it surely has not got it."""


Finding = Sent | Absent | Unknown


class Disconnected(Exception):
    """Why `listen` ended.

    refused   the credentials or rights are not, or no longer, good: a person has to act
    conflict  somebody else holds the bot's only connection
    away      the platform does not answer, or closed the connection: try again
    """

    def __init__(self, kind: Literal["refused", "conflict", "away"], reason: str, retry_after: float | None = None):
        super().__init__(f"{kind}: {reason}")
        self.kind = kind
        self.reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Preview:
    """How a platform shows an answer while it is made.

    show(client, address, state, markdown, key)  shows all of `markdown`, healed, as far as it has come. `state` is what
        the last call returned, {} at first; None means that no preview can be shown here. Raises nothing.
    recover(client, address, key, since)  the state of a preview whose poster died before it could tell, or None
    floor(address)  least seconds between two calls
    lasting   the preview is a message that the final answer replaces by `edit`; otherwise it goes away by itself
    """

    show: Callable[[Any, Json, Json, str, str], Awaitable[Json | None]]
    recover: Callable[[Any, Json, str, float], Awaitable[Json | None]]
    floor: Callable[[Json], float]
    lasting: bool


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe of a bot found. `detail` says what is wrong, or what was looked at."""

    ok: bool
    detail: str


Take = Callable[[Json, bytes], Awaitable[Json | None]]


def decode_json(headers: Mapping[str, str], body: bytes) -> Json:
    """A JSON object. Raises ValueError."""
    update: Json = orjson.loads(body)
    if type(update) is not dict:
        raise ValueError("an update must be an object")
    return update


@dataclass(frozen=True, slots=True)
class Channel:
    """A platform as a handful of functions. `gateway` composes them; none of them knows the bot around it.

    verify(account, headers, body)     True when the request really comes from the platform; before any parsing
    parse(account, update)             pure; raises ValueError when the update is not the platform's shape
    render(reply, address)             pure; at least one unit, each within the platform's limits
    send(client, address, unit, plain, key)  one platform call; never raises for what a network or platform may do.
                                       `key` names the unit over its repeats
    typing(client, address)            a sign that we are thinking; failures are its own business
    open(account, wire)                a client for one bot with `close()`; `wire` is a `channels.wire.Wire`
    idempotent                         a repeated send of one unit is shown once

    modes                              what operators choose from, the usual one first; none for a channel that needs
                                       no bot
    called                             what the platform delivers at our address and how that is proven; "" when it
                                       never calls

    Optional, None where the platform knows nothing like it:
    decode(headers, body)              the update in a request; raises ValueError
    immediate(account, update)         pure: what the platform wants to hear in the response (a challenge, a deferral)
    install(account, wire, url)        registers the bot for its mode, to be called at `url`, and returns its profile
    uninstall(account, wire)           the reverse; None when done
    edit(client, address, receipt, unit, plain, key)  makes `unit` of the message that `receipt` names: repeatable
    find(client, address, unit, key, since)  settles a send that broke off after `since` (epoch seconds)
    upload(client, address, file, key) sends a file, as `send` a unit. What an earlier try may have sent is looked for
                                       first, where the platform does not know the repeat by `key`
    preview                            showing an answer while it is made
    acknowledge(client, message, text) answers a pressed button; failures are its own business
    listen(client, account, take, alive)  the bot's connection: commits updates with `take`, then confirms them; calls
                                       `alive` at any sign of life. Runs until cancelled, or raises Disconnected
    history(client, account, since, places)  updates since then (epoch seconds), as `parse` takes them, to catch up on;
                                       `places` are addresses of one-to-one conversations; raises Disconnected
    fetch(client, attachment, limit)   a file's bytes, at most `limit`; Refused when larger or gone; NotSent: try again
    probe(client, account, url)        does inbound traffic reach us as far as the platform can tell
    pace(address)                      what the platform allows
    room(profile, chat, thread)        the place with these ids of the platform's, `thread` "" for none; raises NoRoom
    """

    kind: str
    verify: Callable[[Account, Mapping[str, str], bytes], bool]
    parse: Callable[[Account, Json], list[Parsed]]
    render: Callable[[Reply, Json], list[Unit]]
    send: Callable[[Any, Json, Unit, bool, str], Awaitable[SendOutcome]]
    typing: Callable[[Any, Json], Awaitable[None]]
    open: Callable[[Account, Any], Awaitable[Any]]
    idempotent: bool = False
    modes: Mapping[str, Mode] = field(default_factory=dict)
    called: str = ""
    decode: Callable[[Mapping[str, str], bytes], Json] = decode_json
    immediate: Callable[[Account, Json], Json | None] | None = None
    install: Callable[[Account, Any, str], Awaitable[Json | Refused | NotSent]] | None = None
    uninstall: Callable[[Account, Any], Awaitable[Refused | NotSent | None]] | None = None
    edit: Callable[[Any, Json, Json, Unit, bool, str], Awaitable[SendOutcome]] | None = None
    find: Callable[[Any, Json, Unit, str, float], Awaitable[Finding]] | None = None
    upload: Callable[[Any, Json, OutgoingFile, str], Awaitable[SendOutcome]] | None = None
    preview: Preview | None = None
    acknowledge: Callable[[Any, InboundMessage, str], Awaitable[None]] | None = None
    listen: Callable[[Any, Account, Take, Callable[[], None]], Awaitable[None]] | None = None
    history: Callable[[Any, Account, float, Sequence[Json]], AsyncIterator[Json]] | None = None
    fetch: Callable[[Any, Attachment, int], Awaitable[bytes | Refused | NotSent]] | None = None
    probe: Callable[[Any, Account, str], Awaitable[Health]] | None = None
    pace: Callable[[Json], Pace] | None = None
    room: Callable[[Mapping[str, object], str, str], Room] | None = None
