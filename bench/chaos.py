"""Kill things under load and count what was lost: `python -m bench.chaos`.

People write to a bot in the Telegram simulator while gateways and workers are killed (-9) or frozen past their
lease, Postgres is restarted and Redis is emptied, at random. At the end what people saw is compared with what they
wrote, and what a webhook receiver got with the events in the store. Everything runs on loopback and stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import asyncpg
from aiohttp import web

from bench.faults import LEASE, Run, trouble
from bench.fleet import Keeper, program
from bench.ledger import Verdict, judge
from channels import accounts
from gateway.embedded.place import claim
from gateway.embedded.postgres import embedded_postgres
from gateway.embedded.redis import embedded_redis
from kernel.db import Database
from kernel.migrate import migrate
from kernel.secrets import KeyRing, generate_ring
from webhooks import endpoints
from webhooks.signing import SignatureRefused, verify

TOKEN = "4242:" + "c" * 35
SECRET = "chaos-" + "s" * 26
FREE = {"bot": 10_000, "chat": 10_000, "workspace": 10_000}  # the simulator has no limits here
WORD = re.compile(r"c\d+m\d+")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def talk(run: Run, http: aiohttp.ClientSession, user: int, count: int, seconds: float) -> list[str]:
    """One person writes `count` messages, spread over about `seconds`."""
    said = []
    for n in range(count):
        await asyncio.sleep(run.seed.expovariate(count / seconds))
        word = f"c{user}m{n}"
        async with http.post(f"{run.simulator_url}/sim/messages", json={"user_id": user, "text": word}) as response:
            response.raise_for_status()
        said.append(word)
    return said


async def seen(run: Run, http: aiohttp.ClientSession) -> dict[int, list[str]]:
    """What each person saw of the bot, as the words they had written, in order."""
    shown: dict[int, list[str]] = {}
    since = 0
    while True:
        async with http.get(f"{run.simulator_url}/sim/truth", params={"since": since, "limit": 5000}) as response:
            page = await response.json()
        for entry in page["entries"]:
            if entry["method"] == "sendMessage":
                shown.setdefault(entry["chat_id"], []).extend(WORD.findall(entry["text"]))
        if not page["entries"]:
            return shown
        since = page["entries"][-1]["seq"]


async def undeliverable(run: Run, http: aiohttp.ClientSession) -> int:
    """Updates that the platform still tries to deliver."""
    async with http.get(f"{run.simulator_url}/sim/state") as response:
        return sum(bot["webhook"]["pending_update_count"] for bot in (await response.json())["bots"])


async def settle(run: Run, http: aiohttp.ClientSession, seconds: float) -> str:
    """Waits until neither platform nor store owes anything any more. Returns what is left, or an empty string."""
    left = "no answer from the store"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if waiting := await undeliverable(run, http):
            left = f"{waiting} undelivered"
            await asyncio.sleep(0.5)
            continue
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            conn = await asyncpg.connect(run.admin_url, timeout=5)
            row = await conn.fetchrow(
                """
                SELECT (SELECT count(*) FROM inbound_updates WHERE status IN ('pending', 'taken')) AS updates,
                    (SELECT count(*) FROM outbound_messages WHERE state IN ('pending', 'sending')) AS sends,
                    (SELECT count(*) FROM webhook_deliveries WHERE status IN ('pending', 'leased')) AS deliveries
                """
            )
            await conn.close()
            left = ", ".join(f"{count} {name}" for name, count in dict(row or {}).items() if count)
            if not left:
                return ""
        await asyncio.sleep(0.5)
    return left


@asynccontextmanager
async def receiver(run: Run, secret: list[str]) -> AsyncIterator[str]:
    """Takes webhooks, checks their signatures and counts them by event."""

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        if not verified(secret[0], request, body):
            run.bad_signatures += 1
            return web.Response(status=400)
        event = request.headers["webhook-id"]
        run.received[event] = run.received.get(event, 0) + 1
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def verified(secret: str, request: web.Request, body: bytes) -> bool:
    try:
        verify([secret], request.headers, body, time.time())
    except SignatureRefused:
        return False
    return True


async def prepare(run: Run, ring: KeyRing, hook: str, secret: list[str]) -> None:
    """The workspace, its bot (an echo, so that every word comes back) and its webhook."""
    await migrate(run.admin_url, run.app_url)
    database = await Database.connect(run.app_url, size=2)
    async with database.anywhere() as conn:
        workspace = await conn.fetchval("SELECT workspace_id FROM create_workspace('chaos', 'chaos', 'Chaos')")
    async with database.workspace(workspace) as conn:
        account = await accounts.create(
            conn, ring, workspace, kind="telegram", name="chaos", mode="webhook",
            credentials={"token": TOKEN, "webhook_secret": SECRET}, settings={"answer": "echo", "pace": FREE},
            profile={"id": 4242, "username": "chaos_bot"},
        )  # fmt: skip
        _, key = await endpoints.register(
            conn, workspace, hook, ["chat.response.generated"], keyring=ring, allow=[ip_network("127.0.0.0/8")]
        )
    secret.append(key)
    await database.close()
    async with aiohttp.ClientSession() as http:
        call = {"url": f"{run.gateway_url}/channels/telegram/{account}", "secret_token": SECRET}
        async with http.post(f"{run.simulator_url}/bot{TOKEN}/setWebhook", json=call) as response:
            response.raise_for_status()


@asynccontextmanager
async def fleet(folder: Path, seed: random.Random, ring: str) -> AsyncIterator[Run]:
    """Stores, simulator, two gateways on one port and two workers, each kept running until the end."""
    simulator_port, gateway_port = free_port(), free_port()
    with claim(folder / "data") as place:
        postgres, redis = embedded_postgres(place), embedded_redis(place)
        app_url = postgres.url.replace("//postgres@", "//parley:chaos@")
        run = Run(
            seed, postgres.url, app_url, redis.url,
            f"http://127.0.0.1:{simulator_port}", f"http://127.0.0.1:{gateway_port}",
        )  # fmt: skip
        env = {
            "DATABASE_URL": app_url, "REDIS_URL": redis.url, "PARLEY_SECRET_KEYS": ring, "EGRESS_ALLOW": "127.0.0.0/8",
            "PARLEY_DATA_DIR": str(folder), "TELEGRAM_API_BASE_URL": run.simulator_url,
            "TURN_LEASE_SECONDS": str(LEASE), "LOG_LEVEL": "WARNING", "DATABASE_ADMIN_URL": "", "OPENAI_API_KEY": "",
        }  # fmt: skip
        simulator = ["simulators.telegram", "--port", str(simulator_port), "--no-flood", "--bot-token", TOKEN]
        gateway = ["gateway", "serve", "--port", str(gateway_port), "--reuse-port"]
        run.keepers = {
            "postgres": Keeper(postgres.child, (folder / "postgres.log").open("wb")),
            "redis": Keeper(redis.child, (folder / "redis.log").open("wb")),
            "simulator": Keeper(program("simulator", simulator, env, folder), (folder / "simulator.log").open("wb")),
        }
        for n in (1, 2):
            log = (folder / f"gateway-{n}.log").open("wb")
            run.keepers[f"gateway-{n}"] = Keeper(program("gateway", gateway, env, folder), log)
            log = (folder / f"worker-{n}.log").open("wb")
            run.keepers[f"worker-{n}"] = Keeper(program("worker", ["gateway", "work"], env, folder), log)
        try:
            yield run
        finally:
            for keeper in reversed(run.keepers.values()):
                await keeper.stop()


async def answers(url: str) -> None:
    """Waits until a server answers at all."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(url):
                    return
            await asyncio.sleep(0.1)


async def chaos(options: argparse.Namespace, folder: Path) -> bool:
    """Runs everything and prints the ledger. True when every promise was kept."""
    seed = random.Random(options.seed)
    ring, secret = generate_ring(), list[str]()
    users = range(1, options.conversations + 1)
    each = -(-options.messages // options.conversations)
    async with AsyncExitStack() as stack:
        run = await stack.enter_async_context(fleet(folder, seed, ring))
        for name in ("postgres", "redis", "simulator"):
            await run.keepers[name].start()
        await answers(run.simulator_url)
        hook = await stack.enter_async_context(receiver(run, secret))
        await prepare(run, KeyRing.parse(ring), hook, secret)
        for name in ("gateway-1", "gateway-2", "worker-1", "worker-2"):
            await run.keepers[name].start()
        await answers(f"{run.gateway_url}/health/ready")
        http = await stack.enter_async_context(aiohttp.ClientSession())
        print(
            f"{options.messages} messages over {options.conversations} conversations in {options.seconds:g} s",
            flush=True,
        )
        written = asyncio.Event()
        troubles = asyncio.create_task(trouble(run, written, options.pause))
        said = await asyncio.gather(*(talk(run, http, user, each, options.seconds) for user in users))
        written.set()
        await troubles
        started = time.monotonic()
        left = await settle(run, http, 240)
        print(f"settled {time.monotonic() - started:.1f} s after the last message" if not left else f"LEFT: {left}")
        verdict = judge(dict(zip(users, said, strict=True)), await seen(run, http), await doubtful(run))
        missing = await undelivered(run)
        for owed in await leftovers(run) if left else ():
            print(owed)
        report(run, verdict, missing)
        return verdict.kept and not left and not missing and not run.bad_signatures


async def doubtful(run: Run) -> set[str]:
    """Words whose send the store has marked as ambiguous."""
    conn = await asyncpg.connect(run.admin_url)
    rows = await conn.fetch("SELECT plain FROM outbound_messages WHERE ambiguous > 0")
    await conn.close()
    return {word for row in rows for word in WORD.findall(row["plain"])}


async def leftovers(run: Run) -> list[str]:
    """What the store still owes, in words that help to find out why."""
    conn = await asyncpg.connect(run.admin_url)
    rows = await conn.fetch(
        """
        SELECT u.status, u.external_id, u.conversation_key, now() - u.received_at AS age, t.status AS turn, t.attempt,
            t.lease_until - now() AS lease
        FROM inbound_updates u LEFT JOIN turns t USING (workspace_id, turn_id)
        WHERE u.status IN ('pending', 'taken') LIMIT 20
        """
    )
    await conn.close()
    return [" ".join(f"{name}={value}" for name, value in row.items()) for row in rows]


async def undelivered(run: Run) -> set[str]:
    """Events that the receiver should have got and has not."""
    conn = await asyncpg.connect(run.admin_url)
    rows = await conn.fetch("SELECT event_id FROM events WHERE type = 'chat.response.generated'")
    await conn.close()
    return {row["event_id"] for row in rows} - run.received.keys()


def report(run: Run, verdict: Verdict, missing: set[str]) -> None:
    for fault, count in sorted(run.faults.items()):
        print(f"  {count:4} x {fault}")
    repeats = sum(count - 1 for count in run.received.values())
    for name, value in (
        ("sent", verdict.sent),
        ("answered", verdict.answered),
        ("lost", len(verdict.lost)),
        ("doubled", len(verdict.doubled)),
        ("doubled, ambiguous sends", len(verdict.ambiguous)),
        ("out of order", len(verdict.disordered)),
        ("webhook events", len(run.received) + len(missing)),
        ("webhook events lost", len(missing)),
        ("webhook repeats, same id", repeats),
        ("webhook bad signatures", run.bad_signatures),
    ):
        print(f"{name:28}{value:8}")
    for name, words in (("lost", verdict.lost), ("doubled", verdict.doubled), ("out of order", verdict.disordered)):
        if words:
            print(f"{name}: {' '.join(words[:20])}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0, help="over which people write")
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between two faults")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the logs where they are")
    parser.add_argument("--short", action="store_true", help="300 messages over 30 conversations in 15 s")
    options = parser.parse_args()
    if options.short:
        options.messages, options.conversations, options.seconds = 300, 30, 15.0
    print(f"seed {options.seed}")
    folder = Path(tempfile.mkdtemp(prefix="parley-chaos-"))
    folder.chmod(0o711)
    try:
        return 0 if asyncio.run(chaos(options, folder)) else 1
    finally:
        if options.keep:
            print(f"logs in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
