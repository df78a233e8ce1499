"""The shared ground: ids, back-off, sealing, limits, redaction, settings, migrations."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from pathlib import Path

import asyncpg
import orjson
import pytest
from arq.connections import ArqRedis
from hypothesis import given
from hypothesis import strategies as st

from kernel import keys, log, queue
from kernel.backoff import exponential, scheduled
from kernel.db import Database, encode_json
from kernel.errors import ConfigError
from kernel.ids import new_id
from kernel.migrate import migrate, pending, read_migrations
from kernel.ratelimit import Rate, RateLimiter, gcra
from kernel.secrets import KeyRing, SealBroken, generate_ring, place
from kernel.settings import Settings, environment, table
from tests.conftest import Stores


async def test_ids_sort_by_time_and_sql_makes_the_same_shape(database: Database) -> None:
    async with database.anywhere() as conn:
        made = []
        for _ in range(3):
            made += [new_id("x"), await conn.fetchval("SELECT new_id('x')")]
            await asyncio.sleep(0.003)
    assert made == sorted(made) or sorted(i[:14] for i in made) == [i[:14] for i in made]
    assert {len(i) for i in made} == {34} and len(set(made)) == 6


async def test_ids_of_one_millisecond_sort_by_time_too(database: Database) -> None:
    async with database.anywhere() as conn:
        made = await conn.fetchval(
            "WITH RECURSIVE made (n, id) AS (SELECT 1, new_id('x') UNION ALL "
            "SELECT n + 1, new_id('x') FROM made, pg_sleep(0.0001) WHERE n < 50) "
            "SELECT array_agg(id ORDER BY n) FROM made"
        )
    assert made == sorted(made)


@given(
    st.recursive(
        st.text() | st.none() | st.integers(0, 9), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_for_the_database_holds_everything_but_nul(value: object) -> None:
    encoded = encode_json(value)
    assert "\x00" not in repr(orjson.loads(encoded)).replace("\\x00", "\x00") or "\\x00" in repr(value)
    if "\\x00" not in repr(value):
        assert orjson.loads(encoded) == value


async def test_nul_and_escapes_survive_the_way_into_jsonb(database: Database) -> None:
    async with database.anywhere() as conn:
        assert await conn.fetchval("SELECT $1::jsonb", {"a\x00": ["\x00b", r"\u0000"]}) == {"a": ["b", r"\u0000"]}


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_jitter_only_lengthens_and_back_off_is_bounded(attempt: int, rand: float) -> None:
    delay = exponential(attempt, base=0.5, cap=60, rand=rand)
    assert min(60, 0.5 * 2 ** min(attempt - 1, 20)) <= delay <= 72
    wait = scheduled(attempt, [5, 300], rand)
    assert (wait is None) == (attempt > 2)


@given(st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20))
def test_sealed_values_open_only_in_their_place(secret: bytes, row: str, other: str) -> None:
    ring = KeyRing.parse(generate_ring())
    sealed = ring.seal(secret, place("ws", "t", "c", row))
    assert ring.open(sealed, place("ws", "t", "c", row)) == secret
    assert secret not in sealed or len(secret) < 4
    if other != row:
        with pytest.raises(SealBroken):
            ring.open(sealed, place("ws", "t", "c", other))


@given(st.data())
def test_damaged_seals_never_open_and_never_crash(data: st.DataObject) -> None:
    ring = KeyRing.parse(generate_ring())
    sealed = bytearray(ring.seal(b"secret", b"here"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        ring.open(bytes(sealed[: data.draw(st.integers(0, len(sealed)))]), b"here")


def test_a_newer_key_seals_and_the_older_still_opens() -> None:
    old = generate_ring("k1")
    sealed = KeyRing.parse(old).seal(b"x", b"p")
    both = KeyRing.parse(f"{generate_ring('k2')},{old}")
    assert both.open(sealed, b"p") == b"x"
    assert both.current == "k2" and both.derive("pepper") == KeyRing.parse(old).derive("pepper")
    with pytest.raises(SealBroken, match="not in the ring"):
        KeyRing.parse(generate_ring("k2")).open(sealed, b"p")


@pytest.mark.parametrize(
    "text",
    ["", "k1", "k1:abc", "k1:" + "A" * 43 + "=", f"{generate_ring()},{generate_ring()}"],
    ids=["none", "no key", "no base64", "a key of zeros", "twice"],
)
def test_s4_weak_or_broken_key_rings_stop_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match="PARLEY_SECRET_KEYS"):
        KeyRing.parse(text)


@given(st.lists(st.floats(0, 10), max_size=50), st.integers(1, 10), st.integers(1, 20))
def test_gcra_never_lets_more_through_than_the_rate_and_its_burst(gaps: list[float], burst: int, count: int) -> None:
    rate = Rate(count, 10, burst)
    now, tat, passed = 0.0, 0.0, 0
    for gap in gaps:
        now += gap
        tat, wait = gcra(tat, now, rate, 1)
        passed += wait == 0
        if wait:
            assert gcra(tat, now + wait + 1e-6, rate, 1)[1] == 0
    assert passed <= burst + now / rate.interval + 1


async def test_o2_a_limit_is_exact_under_concurrency(redis: ArqRedis) -> None:
    limiters = [RateLimiter(redis), RateLimiter(redis)]
    rate = Rate(100, 3600, 100)
    name = new_id("subject")
    waits = await asyncio.gather(*(limiters[n % 2].take("test", name, rate) for n in range(1000)))
    assert waits.count(0.0) == 100
    assert all(wait > 0 for wait in waits if wait)


async def test_o2_without_redis_the_limit_holds_in_this_process(tmp_path: Path) -> None:
    gone = queue.open_redis(f"unix://{tmp_path}/nobody.sock")
    limiter = RateLimiter(gone, remembered=2)
    waits = [await limiter.take("test", "a", Rate(3, 3600, 3)) for _ in range(5)]
    assert waits.count(0.0) == 3
    for other in ("b", "c"):
        assert await limiter.take("test", other, Rate(3, 3600, 3)) == 0
    await gone.aclose()


async def test_a_wake_up_that_cannot_be_made_costs_nothing_but_the_wake_up(tmp_path: Path, redis: ArqRedis) -> None:
    gone = queue.open_redis(f"unix://{tmp_path}/nobody.sock")
    await queue.wake(gone, "ingest", "job_1")
    await gone.aclose()
    await queue.wake(redis, "ingest", "job_2")
    await queue.wake(redis, "ingest", "job_2")
    waiting = [job for job in await redis.zrange(keys.QUEUE, 0, -1) if job == b"ingest:job_2"]
    assert len(waiting) == 1
    await redis.zrem(keys.QUEUE, "ingest:job_2")


CANARY = "canary-7f3a9c"
SECRETS = [
    {"token": CANARY},
    {"headers": {"Authorization": f"Bearer {CANARY}"}},
    {"text": CANARY},
    {"body": CANARY},
    {"url": f"postgresql://parley:{CANARY}@host/db"},
    {"error": f"POST https://api.telegram.org/bot12345678:{CANARY}AAAAAAAAAAAAAAAA/sendMessage"},
    {"note": f"whsec_{CANARY.replace('-', '')}"},
    {"rows": [{"api_key": CANARY}]},
]


@pytest.mark.parametrize("event", SECRETS)
def test_s3_logs_hold_no_secrets(event: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    sink = io.StringIO()
    monkeypatch.setattr(sys, "stderr", sink)
    try:
        log.configure("INFO")
        log.get("test").info("something.happened", request_id="req_1", **event)
        logging.getLogger("library").warning("%s", event.get("error", ""))
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
        import structlog

        structlog.reset_defaults()
    lines = sink.getvalue().splitlines()
    assert json.loads(lines[0])["request_id"] == "req_1"
    assert CANARY not in sink.getvalue() and CANARY.replace("-", "") not in sink.getvalue()


def test_settings_name_every_fault_at_once() -> None:
    bad = {"DATABASE_URL": "mysql://x", "RAG_TOP_K": "none", "LOG_LEVEL": "loud", "EGRESS_ALLOW": "10.0.0.0/99"}
    with pytest.raises(ConfigError) as refused:
        Settings.read(bad)
    assert {fault["field"] for fault in refused.value.details} == set(bad)


def test_settings_survive_the_way_to_a_child_process_and_hide_secrets() -> None:
    read = Settings.read({"DATABASE_URL": "postgresql://u:pw@h/d", "RAG_TOP_K": "7", "EGRESS_ALLOW": "127.0.0.0/8,::1"})
    assert Settings.read(environment(read)) == read
    assert "pw" not in json.dumps(table(read))
    assert Settings.read({"EGRESS_ALLOW": ""}).egress_allow == ()
    assert Settings.read({}).egress_allow is None


async def test_migrations_run_once_refuse_changes_and_make_the_app_role(
    stores: Stores, admin: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    await admin.execute("CREATE DATABASE fresh")
    fresh = stores.admin_url.replace("/parley?", "/fresh?")
    app = stores.app_url.replace("/parley?", "/fresh?")
    try:
        assert await migrate(fresh, app) == len(read_migrations())
        assert await migrate(fresh, app) == 0
        database = await Database.connect(app, size=1)
        async with database.anywhere() as conn:
            assert await pending(conn) == 0
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute("CREATE TABLE mine (x integer)")
        await database.close()
        for migration in read_migrations():
            name = f"{migration.number:04}_{migration.name}.sql"
            (tmp_path / name).write_text(migration.sql + ("-- changed" if migration.number == 1 else ""))
        with pytest.raises(ConfigError, match="0001 was changed"):
            await migrate(fresh, app, folder=tmp_path)
    finally:
        await admin.execute("DROP DATABASE fresh WITH (FORCE)")


async def test_a_broken_migration_leaves_nothing_behind(
    stores: Stores, admin: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    await admin.execute("CREATE DATABASE fresh")
    fresh = stores.admin_url.replace("/parley?", "/fresh?")
    (tmp_path / "0001_half.sql").write_text("CREATE TABLE half (x integer); SELECT 1 / 0;")
    try:
        with pytest.raises(ConfigError, match="division by zero"):
            await migrate(fresh, stores.app_url, folder=tmp_path)
        conn = await asyncpg.connect(fresh)
        assert await conn.fetchval("SELECT to_regclass('half')") is None
        await conn.close()
    finally:
        await admin.execute("DROP DATABASE fresh WITH (FORCE)")


async def test_an_unreachable_database_is_named() -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        await Database.connect("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(ConfigError, match="DATABASE_ADMIN_URL"):
        await migrate("postgresql://nobody@127.0.0.1:1/none", "postgresql://x@h/d")
