"""What commands do and say, and what is said to those who are not answered."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.types import Json
from pipeline.machine import State, Tools

WELCOME = (
    "Hello! Ask me anything about what this workspace knows, and I will answer with my sources.\n\n"
    "/new starts a fresh conversation, /help shows what I can do."
)
HELP = (
    "**What I can do**\n\n- Answer questions from the workspace's documents, and name my sources\n"
    "- Keep the thread: follow-up questions work\n\n**Commands**\n\n- /new starts a fresh conversation\n"
)
HELP_LINKS = (
    "- /link makes one person of you here and where else you talk to me, so that I remember both\n"
    "- /unlink takes that back\n"
)
HELP_END = "- /help shows this text\n\nIn Slack, write `!` in place of `/`."
FRESH = "A fresh start. What would you like to know?"
UNREADABLE = "I can't read {kind} yet. Please write your question as text, and I will gladly help."

CODE = (
    "Your code is `{code}`. Where else you talk to me, send me this within {minutes} minutes:\n\n`/link {code}`\n\n"
    "(In Slack `!link {code}`.) It works once. Give it to nobody: whoever uses it can go on with what you said here."
)
TOO_MANY = "You have asked for many codes. Please wait a few minutes before the next one."
INVALID = (
    "I can't use that code. A code is good once and for ten minutes, and only for bots of the same workspace; after "
    "several wrong ones please wait a few minutes. /link, sent where you are known already, gives a new one."
)
SAME = "That is your own code: here you are that person already. Send it where else you talk to me."
OFFER = (
    "**Is all of this you?**\n\nHere:\n\n{here}\n\nWho made the code:\n\n{there}\n\nIf you link them, I treat them as "
    "one person: each can go on with what was said to the other. Do it only if both are yours. /unlink takes it back."
)
CHANGED = "Something has changed since you were asked, so nothing is linked yet.\n\n"
TYPED = "\n\nPress a button, or write `/link yes` or `/link no` (in Slack `!link yes`, `!link no`)."
LINKED = "Done. You are one person to me now, here and there: I remember both. /unlink takes it back."
NO_OFFER = "There is nothing to agree to: no code was entered here within the last ten minutes."
CANCELLED = "Nothing was linked."
UNLINKED = "Done. What you say here belongs to this chat alone again."
NOT_LINKED = "This chat is not linked to any other."
IN_PRIVATE = "Please write that to me in a private chat: codes are for your eyes only."
NO_PEOPLE = "Linking is not available here."

CHOICES: Sequence[Json] = (
    {"label": "Link them", "text": "/link yes"},
    {"label": "Don't link", "text": "/link no"},
)
LISTED = "This bot is private, and I don't know you yet. Please ask whoever runs it to let you in."
PAIRED = "This bot is private. Ask its operator to let you in with the code `{code}`. The code is good for an hour."

MINUTES = 10
KINDS = {
    "voice": "voice messages",
    "photo": "pictures",
    "video": "videos",
    "sticker": "stickers",
    "location": "places",
}


async def say(state: State, tools: Tools) -> Json:
    """The whole answer to a command, to a kind of message that cannot be read, and to a stranger."""
    first = state.turn.updates[0]
    if first.kind == "unsupported":
        return {"text": UNREADABLE.format(kind=KINDS.get(first.detail, _other(first.detail)))}
    if first.kind == "stranger":
        return {"text": await _stranger(state, tools)}
    if first.command == "link":
        return await _link(state, tools, first.text.strip())
    if first.command == "unlink":
        return {"text": await _unlink(state, tools)}
    known = {"start": WELCOME, "help": help_text(state), "new": FRESH}
    return {
        "text": known.get(first.command, f"I don't know the command /{first.command}.\n\n{help_text(state)}"),
    }


def _other(detail: str) -> str:
    return f"messages of this kind ({detail or 'unknown'})"


def help_text(state: State) -> str:
    return HELP + (HELP_LINKS if state.turn.private else "") + HELP_END


async def _stranger(state: State, tools: Tools) -> str:
    turn, first = state.turn, state.turn.updates[0]
    if first.detail != "paired" or tools.people is None:
        return LISTED
    code = await tools.people.ask_in(turn.workspace_id, turn.account_id, first.sender, turn.conversation_id)
    return PAIRED.format(code=code) if code else LISTED


async def _link(state: State, tools: Tools, argument: str) -> Json:
    turn, people = state.turn, tools.people
    if people is None:
        return {"text": NO_PEOPLE}
    who = (turn.workspace_id, turn.account_id, turn.updates[0].sender.external_id)
    word = argument.lower()
    if not turn.private:
        if argument:
            await people.revoke(turn.workspace_id, argument)  # others have read it
        return {"text": IN_PRIVATE}
    if not argument:
        code = await people.issue(*who)
        return {"text": CODE.format(code=code, minutes=MINUTES) if code else TOO_MANY}
    if word == "no":
        return {"text": CANCELLED if await people.cancel(*who) else NO_OFFER}
    if word == "yes":
        return _heard(await people.confirm(*who, turn.turn_id))
    return _heard(await people.redeem(*who, argument))


def _heard(outcome: Json) -> Json:
    if outcome["outcome"] == "offered":
        sides = {side: "\n".join(map(_face, outcome[side])) for side in ("here", "there")}
        text = (CHANGED if outcome["changed"] else "") + OFFER.format(**sides) + TYPED
        return {"text": text, "choices": list(CHOICES)}
    return {"text": {"invalid": INVALID, "same": SAME, "nothing": NO_OFFER, "linked": LINKED}[outcome["outcome"]]}


def _face(face: Json) -> str:
    """One identity as a line of a list. Names come from outside: they stand as code, so that none is markup."""
    messages = "1 message" if face["messages"] == 1 else f"{face['messages']} messages"
    since = face["created_at"]
    channel = {"rest": "REST"}.get(face["channel"], face["channel"].capitalize())
    return f"- {channel} ({_plain(face['bot'])}): {_plain(face['name'])}, {messages} since {since.day} {since:%B %Y}"


def _plain(name: str) -> str:
    short = " ".join(name.replace("`", "'").split())[:60]
    return f"`{short or '?'}`"


async def _unlink(state: State, tools: Tools) -> str:
    turn = state.turn
    if tools.people is None:
        return NO_PEOPLE
    if not turn.private:
        return IN_PRIVATE
    sender = turn.updates[0].sender.external_id
    return UNLINKED if await tools.people.unlink(turn.workspace_id, turn.account_id, sender) else NOT_LINKED
