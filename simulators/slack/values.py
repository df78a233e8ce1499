"""What the simulated Slack is made of: teams, people, channels, messages, files, views, the app."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]


@dataclass(slots=True)
class Team:
    """A simulated Slack workspace."""

    id: str
    name: str
    domain: str


@dataclass(slots=True)
class User:
    """A person in one team, or the app's bot user there (then with `bot_id`)."""

    id: str
    team: str
    name: str
    real_name: str
    bot_id: str = ""


@dataclass(slots=True)
class Seen:
    """A message as readers saw it: now (in Slack's form), before each edit, and since when it is gone."""

    message: JsonObject
    edits: list[JsonObject] = field(default_factory=list)
    deleted: float | None = None
    metadata: JsonObject | None = None
    streaming: float | None = None  # when a running stream began
    mode: str = ""  # of a stream: markdown_text or chunks, as its first content came


@dataclass(slots=True)
class Channel:
    """kind: channel (public), group (private), mpim or im. `user`: the person of an im with the bot. `replies`: of each
    root, oldest first. `ephemerals`: {user, message}, newest last. `threads`: assistant threads by ts: title, status,
    loading_messages, prompts."""

    id: str
    team: str
    kind: str
    name: str = ""
    user: str = ""
    creator: str = ""
    created: int = 0
    topic: str = ""
    archived: bool = False
    members: set[str] = field(default_factory=set)
    messages: dict[str, Seen] = field(default_factory=dict)
    replies: dict[str, list[str]] = field(default_factory=dict)
    ephemerals: list[JsonObject] = field(default_factory=list)
    threads: dict[str, JsonObject] = field(default_factory=dict)


@dataclass(slots=True)
class Stored:
    """A file: `uploaded` and then `shared` are steps of an upload; `secret` is in its upload URL."""

    id: str
    team: str
    user: str
    name: str
    title: str
    mime: str
    secret: str
    created: int
    data: bytes = b""
    length: int = 0
    shared: bool = False
    channels: list[str] = field(default_factory=list)


@dataclass(slots=True)
class View:
    """A modal or home tab of one user. `previous`: the view below it on the stack."""

    id: str
    team: str
    user: str
    view: JsonObject
    open: bool = True
    previous: str = ""
    root: str = ""


@dataclass(slots=True)
class Trigger:
    """What a trigger_id allows once, for a few seconds: opening a view for this user."""

    id: str
    team: str
    user: str
    made: float
    view: str = ""
    used: bool = False


@dataclass(slots=True)
class ResponseUrl:
    """Where an app may answer an interaction: up to five times in half an hour."""

    key: str
    team: str
    user: str
    channel: str
    made: float
    ts: str = ""
    thread_ts: str = ""
    ephemeral: bool = False
    left: int = 5


@dataclass(slots=True)
class Installation:
    """The app in one team, with the bot token it got there."""

    team: str
    token: str
    bot_user: str
    bot_id: str
    scopes: tuple[str, ...]
    installer: str = ""


@dataclass(slots=True)
class App:
    id: str
    name: str
    client_id: str
    client_secret: str
    signing_secret: str
    verification_token: str
    app_token: str
    request_url: str = ""
    interactivity_url: str = ""
    commands_url: str = ""
    verified: bool = False


@dataclass(slots=True)
class Grant:
    """An OAuth code on its way back to the app."""

    code: str
    team: str
    user: str
    scopes: tuple[str, ...]
    user_scopes: tuple[str, ...]
    redirect_uri: str
    made: float


@dataclass(eq=False, slots=True)
class Dispatch:
    """Something on its way to the app. kind: events_api, interactive or slash_commands. name: the event's type or the
    interaction's. attempts: how many were made. `answered`: for interactions, told {ok, error, status, text, payload}.
    """

    serial: int
    kind: str
    name: str
    team: str
    channel: str
    payload: JsonObject
    created: float
    attempts: int = 0
    answered: Callable[[JsonObject], None] | None = None
