"""Recorded steps: each result is in Redis before the next step starts, so a retry never asks a model twice.

Redis may forget at any time; then the turn starts from step one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson
from redis.exceptions import RedisError

from kernel import keys, log
from kernel.batcher import NaturalBatcher
from kernel.types import Json

_log = log.get("steps")


class Recorder(Protocol):
    """Where the machine keeps its checkpoints."""

    async def load(self, turn_id: str) -> dict[str, Json]: ...

    async def record(self, turn_id: str, step: str, result: Json) -> None: ...


class RedisSteps:
    """Checkpoints in one Redis hash per turn. When Redis is away the turn goes on unrecorded."""

    def __init__(self, redis: Any, ttl: int) -> None:
        self._redis = redis
        self._ttl = ttl
        self._writes: NaturalBatcher[tuple[str, str, bytes], None] = NaturalBatcher(self._write, splits=lambda _: False)

    async def load(self, turn_id: str) -> dict[str, Json]:
        try:
            stored = await self._redis.hgetall(keys.turn_steps(turn_id))
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("steps.load_failed", turn=turn_id, error=str(error))
            return {}
        return {name.decode(): orjson.loads(result) for name, result in stored.items()}

    async def record(self, turn_id: str, step: str, result: Json) -> None:
        try:
            await self._writes.submit((keys.turn_steps(turn_id), step, orjson.dumps(result)))
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("steps.record_failed", turn=turn_id, step=step, error=str(error))

    async def _write(self, items: Sequence[tuple[str, str, bytes]]) -> list[None]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, step, result in items:
                pipe.hset(key, step, result)
                pipe.expire(key, self._ttl)
            await pipe.execute()
        return [None] * len(items)
