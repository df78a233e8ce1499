"""People who write to bots of a workspace, straight into the inbox of a real gateway, and what they are answered."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from channels import accounts
from gateway.runner import Limits
from gateway.services import Ground, Services, open_services
from identity.people import People
from kernel.types import InboundKind, InboundMessage, Json, Sender
from pipeline import conversations
from pipeline.machine import Search, Tools
from pipeline.steps import RedisSteps
from pipeline.turns import Arrival
from tests.gateway_parts import Scripted, no_hits, until

_numbers = itertools.count(1)


@dataclass
class Bots:
    """A workspace's bots on a gateway. `ids` of people are numbers, as Telegram has them."""

    ground: Ground
    services: Services
    answer: Scripted
    workspace_id: str

    async def bot(self, name: str = "bot", **settings: Any) -> Bot:
        number = next(_numbers) + 10_000
        async with self.ground.database.workspace(self.workspace_id) as conn:
            account_id = await accounts.create(
                conn,
                self.ground.ring,
                self.workspace_id,
                kind="telegram",
                name=name,
                mode="webhook",
                credentials={"token": f"{number}:" + "A" * 35, "webhook_secret": "s" * 32},
                settings={"gather_seconds": 0, **settings},
                profile={"id": number, "username": name},
            )
        return Bot(self, account_id)

    async def rows(self, query: str, *args: Any) -> list[Json]:
        async with self.ground.database.workspace(self.workspace_id) as conn:
            return [dict(row) for row in await conn.fetch(query, *args)]

    async def value(self, query: str, *args: Any) -> Any:
        async with self.ground.database.workspace(self.workspace_id) as conn:
            return await conn.fetchval(query, *args)

    async def events(self, kind: str) -> list[Json]:
        """The data of all events of this type, oldest first."""
        rows = await self.rows(
            "SELECT convert_from(body, 'UTF8')::jsonb AS body FROM events WHERE type = $1 ORDER BY event_id", kind
        )
        return [row["body"]["data"] for row in rows]


@dataclass
class Bot:
    bots: Bots
    account_id: str

    def chat(self, person: int, name: str = "", *, group: int = 0) -> Chat:
        return Chat(self, person, name or f"P{person}", group)


@dataclass
class Chat:
    """One person in one place: a private chat, or a group."""

    bot: Bot
    person: int
    name: str
    group: int = 0
    last: Json = field(default_factory=dict)

    @property
    def chat_id(self) -> int:
        return self.group or self.person

    async def send(self, text: str = "", *, kind: InboundKind = "text", **more: Any) -> str:
        """Puts a message into the inbox and returns its update's id."""
        if text.startswith("/") and kind == "text":
            command, _, text = text[1:].partition(" ")
            kind, more = "command", {**more, "command": command}
        number = str(next(_numbers))
        message = InboundMessage(
            number,
            str(self.chat_id),
            kind,
            Sender(str(self.person), self.name, self.name.lower()),
            text,
            {"chat_id": self.chat_id, "thread_id": None, "reply_to": None, "private": not self.group},
            **{"message_ref": number, "private": not self.group, "chat": str(self.chat_id), **more},
        )
        accepted = await self.bot.bots.services.intake.accept(Arrival(self.bot.account_id, b"{}", message))
        assert accepted.update_id
        return accepted.update_id

    async def say(self, text: str = "", **more: Any) -> str:
        """What is answered; '' when nothing is."""
        update_id = await self.send(text, **more)
        return await self.answer_to(update_id)

    async def answer_to(self, update_id: str) -> str:
        async def done() -> bool:
            async with self.bot.bots.ground.database.workspace(self.bot.bots.workspace_id) as conn:
                found = await conversations.progress(conn, update_id)
            if not found.finished:
                return False
            assert found.turn_status == "done", found
            if found.answer:
                self.last = {"turn_id": found.turn_id, **found.answer}
            answered.append(found.answer["text"] if found.answer else "")
            return True

        answered: list[str] = []
        await until(done)
        return answered[0]

    @property
    async def user_id(self) -> str:
        found: str = await self.bot.bots.value(
            "SELECT user_id FROM identities WHERE account_id = $1 AND external_id = $2",
            self.bot.account_id,
            str(self.person),
        )
        return found


@asynccontextmanager
async def talking(ground: Ground, workspace_id: str, *, search: Search = no_hits) -> AsyncIterator[Bots]:
    answer = Scripted()
    people = People(ground.database, ground.ring, ground.limiter)
    tools = Tools(search, answer, RedisSteps(ground.redis, 600), 5, people)
    async with open_services(ground, tools, Limits(lease=2.0)) as services:
        yield Bots(ground, services, answer, workspace_id)
