"""Where a process is put together: the same parts for the server, the workers and the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from arq.connections import ArqRedis

from channels.table import CHANNELS
from channels.wire import Wire, open_wire
from gateway.attachments import AttachmentFiles
from gateway.budget import Budget
from gateway.courtesy import Courtesy
from gateway.directory import Directory
from gateway.hub import Hub
from gateway.intake import Intake
from gateway.outbound import Sender
from gateway.runner import Limits, TurnRunner
from gateway.sweep import sweep
from gateway.work import Work
from identity.people import People
from kernel import log
from kernel.db import Database
from kernel.errors import ConfigError
from kernel.queue import open_redis
from kernel.ratelimit import RateLimiter
from kernel.secrets import KeyRing
from kernel.settings import Settings
from kernel.types import Account
from pipeline.embedding.batcher import BatchingEmbedder, open_embedder
from pipeline.embedding.lazy import LazyEmbedder
from pipeline.embedding.minilm import Precision
from pipeline.knowledge.retrieval import Retriever
from pipeline.machine import Tools
from pipeline.steps import RedisSteps

_log = log.get("services")

# Seconds that a graceful stop gives to turns and to sends under way; with the server's own it stays below 25.
_TURN_PATIENCE, _SEND_PATIENCE = 10.0, 4.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What every process needs: settings, stores, keys."""

    settings: Settings
    database: Database
    redis: ArqRedis
    ring: KeyRing
    limiter: RateLimiter
    embedder: LazyEmbedder
    retriever: Retriever


@dataclass(frozen=True, slots=True)
class Services:
    """What a gateway holds besides the ground: the journey of a message, hop by hop."""

    ground: Ground
    wire: Wire
    directory: Directory
    hub: Hub
    intake: Intake
    runner: TurnRunner
    sender: Sender

    def inbound_url(self, kind: str, account_id: str) -> str:
        """Where a bot's platform delivers to."""
        return f"{self.ground.settings.public_url}/channels/{kind}/{account_id}"


def check(settings: Settings) -> KeyRing:
    """Refuses to start on missing or weak settings. Raises ConfigError."""
    for name, value in (("DATABASE_URL", settings.database_url), ("REDIS_URL", settings.redis_url)):
        if not value:
            raise ConfigError(f"{name} is not set. `parley up` starts a store of its own.")
    return KeyRing.parse(settings.secret_keys)


@asynccontextmanager
async def open_ground(settings: Settings, *, name: str, pool: int = 10) -> AsyncIterator[Ground]:
    """Connects to the stores. Raises ConfigError. Redis may be away; the database may not."""
    ring = check(settings)
    async with AsyncExitStack() as stack:
        database = await Database.connect(settings.database_url, size=pool, name=name)
        stack.push_async_callback(database.close)
        redis = open_redis(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        embedder = lazy_embedder(settings)
        stack.push_async_callback(embedder.close)
        yield Ground(settings, database, redis, ring, RateLimiter(redis), embedder, Retriever(database, embedder))


@asynccontextmanager
async def open_tools(ground: Ground) -> AsyncIterator[Tools]:
    """What turns work with: retrieval, the model or extraction, and the record of steps."""
    from pipeline.answering.build import build_answer  # brings a model's SDK along: not for every process

    settings = ground.settings
    answer = build_answer(settings, ground.embedder)
    try:
        yield Tools(
            ground.retriever.search,
            answer,
            RedisSteps(ground.redis, settings.cache_ttl_seconds),
            settings.rag_top_k,
            People(ground.database, ground.ring, ground.limiter),
        )
    finally:
        await answer.close()


@asynccontextmanager
async def open_services(ground: Ground, tools: Tools, limits: Limits | None = None) -> AsyncIterator[Services]:
    """Puts a gateway together, sweeps included, and takes it apart gracefully: nothing new, then finish, then close."""
    settings = ground.settings
    wire = open_wire(settings)
    directory = Directory(ground.database, ground.ring, partial(open_client, wire))
    hub = Hub()
    limits = limits or Limits(lease=settings.turn_lease_seconds, memory=settings.rag_memory_messages)
    budget = Budget(ground.redis)
    courtesy = Courtesy(ground.database, directory, CHANNELS, ground.limiter)
    sender = Sender(ground.database, directory, CHANNELS, budget, lease=limits.lease)
    files = AttachmentFiles(ground.database, directory, CHANNELS, ground.embedder)
    tools = replace(tools, files=files)
    work = Work(ground.database, directory, CHANNELS, tools, hub, budget, limits.memory)
    runner = TurnRunner(ground.database, work, hub, sender, courtesy, limits)
    intake = Intake(ground.database, directory, CHANNELS, runner.wake)
    sweeping = asyncio.create_task(sweep(runner, sender, ground.database))
    try:
        yield Services(ground, wire, directory, hub, intake, runner, sender)
    finally:
        sweeping.cancel()
        await intake.close()
        await runner.stop(_TURN_PATIENCE)
        await sender.stop(_SEND_PATIENCE)
        await courtesy.close()
        await budget.close()
        await asyncio.gather(sweeping, return_exceptions=True)
        await directory.close()
        await wire.close()


def lazy_embedder(settings: Settings) -> LazyEmbedder:
    def load() -> BatchingEmbedder:
        return open_embedder(
            settings.rag_embedding_model,
            settings.data_dir / "models",
            batch_size=settings.embedding_batch_size,
            precision=cast("Precision", settings.rag_embedding_precision),
        )

    return LazyEmbedder(settings.rag_embedding_model, load)


async def open_client(wire: Wire, account: Account) -> Any:
    """A client for one bot; None for channels without a platform behind them."""
    return await CHANNELS[account.kind].open(account, wire)
