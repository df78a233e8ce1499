"""What the contract suite has to be told of a channel: requests and updates as its platform documents them.

`tests/test_channel_contract.py` holds every row of `channels/table.py` to the contract with the Sample of its kind;
`tests/test_adding_a_channel.py` does the same with the channel that docs/channels/adding.md builds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from channels.wire import Sessions, Wire, open_sessions
from kernel.settings import Settings
from kernel.types import Account, Json, Unit

pytest.register_assert_rewrite(
    *(f"tests.contract_{part}" for part in ("inbound", "doors", "replies", "platform", "outbound"))
)

QUESTION = "How late is it?"  # what people ask in every sample
TURN = "turn_1"  # what pressed buttons are about


@dataclass(frozen=True)
class Updates:
    """Updates for `parse`. Every question says QUESTION when mentions are cut, and all are of one person.

    private, mention, elsewhere  questions: one-to-one, in a group, in another group
    again      another message in the place of `private`
    chatter    talk in the group that is not meant for the bot
    retold     one message in all the ways in which the platform may tell it
    own, other_bot  what the bot itself wrote, and another bot
    ignored    updates that need no turn, with their reasons
    reasons    all reasons that `parse` may give
    malformed  what is not the platform's shape
    secrets    what may never be found in a message: tokens, addresses of files

    None where the platform tells nothing like it:
    thread     a question in a thread of the group
    command    `/help` or what stands for it
    edit, deletion  of `private`
    praise, blame, choice, chosen_command  presses of `fb:up:TURN`, `fb:down:TURN`, `say:` QUESTION, `say:/new`
    file       a document with the words QUESTION
    unsupported  content that nobody can read, without words
    """

    private: Json
    mention: Json
    elsewhere: Json
    again: Json
    chatter: Json
    retold: Sequence[Json]
    own: Json
    other_bot: Json
    ignored: Mapping[str, Json]
    reasons: frozenset[str]
    malformed: Sequence[Any]
    secrets: Sequence[str]
    thread: Json | None = None
    command: Json | None = None
    edit: Json | None = None
    deletion: Json | None = None
    praise: Json | None = None
    blame: Json | None = None
    choice: Json | None = None
    chosen_command: Json | None = None
    file: Json | None = None
    unsupported: Json | None = None

    @property
    def told(self) -> dict[str, Json]:
        """Updates that bring a message, by their names here."""
        names = (
            *("private", "mention", "thread", "elsewhere", "again", "command", "edit", "deletion"),
            *("praise", "blame", "choice", "chosen_command", "file", "unsupported"),
        )
        return {name: update for name in names if (update := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Signing:
    """How the platform proves its calls.

    sign(account, body, at)  the headers of a genuine request made at that time (epoch seconds)
    proofs     the headers without which nobody is believed
    body       an update as the platform writes it; `other` is another one
    strangers  accounts whose secret is another one, or that have none
    covers_body  the proof is about this body and no other
    window     seconds for which a request is good, None without bound
    """

    sign: Callable[[Account, bytes, float], Mapping[str, str]]
    proofs: Sequence[str]
    body: bytes
    other: bytes
    strangers: Sequence[Account]
    covers_body: bool = True
    window: float | None = None


@dataclass(frozen=True)
class Said:
    """What the platform's API answers: a status with a body, JSON when it is not bytes."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Api:
    """The platform's side of `send`.

    settings(root)  what leads the channel to an API there
    answers    by situation, see `tests.contract_platform.MEANINGS`: accepted, malformed, unauthorized, forbidden, gone,
               limited (come back in 7 seconds), broken
    """

    settings: Callable[[str], Settings]
    answers: Mapping[str, Said]


@dataclass(frozen=True)
class Sample:
    """A channel's samples.

    account    one that is installed, which knows its bot
    updates, signing  None where nobody calls in
    api        None where nothing is delivered: the reader fetches
    addresses  where `render` and `send` are tried; a one-to-one place first
    check      asserts that a unit keeps the platform's rules
    buttons    the data of a unit's buttons, in order; None where units have none
    formatted  `payload` has marks of the platform's own, of which `plain` is free
    """

    account: Account
    updates: Updates | None
    signing: Signing | None
    api: Api | None
    addresses: Sequence[Json]
    check: Callable[[Unit], object]
    buttons: Callable[[Unit], list[str]] | None
    formatted: bool = True


def wire_to(sample: Sample, root: str, sessions: Sessions | None = None) -> Wire:
    """The way to an API at `root`. To be called on a running loop."""
    settings = sample.api.settings(root) if sample.api else Settings.read({})
    return Wire(settings, sessions or open_sessions())
