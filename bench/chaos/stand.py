"""What a fault run runs on: stores, platforms, two gateways behind a balancer, and two workers.

Every call between a platform and a gateway goes through a relay (`bench.chaos.relay`), where the run may cut it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.chaos.fleet import Keeper, program
from bench.chaos.relay import Relay, Watch, relaying
from gateway.embedded.place import claim
from gateway.embedded.postgres import embedded_postgres
from gateway.embedded.redis import embedded_redis

LEASE = 3.0  # seconds that a silent gateway keeps its turns
GATEWAYS, WORKERS = ("gateway-1", "gateway-2"), ("worker-1", "worker-2")
TELEGRAM_TOKEN, TELEGRAM_SECRET = "4242:" + "c" * 35, "chaos-" + "s" * 26
SLACK = {  # Slack delivers either way, for one app; so there are two
    way: {"bot_token": f"xoxb-{way}-bot", "app_token": f"xapp-{way}-app", "signing_secret": f"{way}-" + "5" * 26}
    for way in ("http", "socket")
}
DISCORD_ID, DISCORD_KEY = 1_100_000_000_000_000_001, "11" * 32
DISCORD = {"discord": (DISCORD_ID, DISCORD_KEY), "discord-http": (DISCORD_ID + 1, "22" * 32)}
PLATFORMS = ("telegram", "slack-http", "slack-socket", "discord")
_BEARER = re.compile(rb"(?i)\r\nauthorization: *bearer ([\w-]+)")


def discord_token(bot: str) -> str:
    return f"bot.{DISCORD[bot][0]}.token"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@dataclass
class Run:
    """A run's processes and what it knows about them. `simulators` are URLs by platform, `gateways` ports."""

    seed: random.Random
    folder: Path
    ring: str
    admin_url: str
    app_url: str
    redis_url: str
    gateway_url: str
    simulators: dict[str, str]
    gateways: dict[str, int]
    keepers: dict[str, Keeper] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)

    def note(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1

    async def all_up(self) -> bool:
        """Whether every gateway takes connections."""
        for port in self.gateways.values():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
        return True

    def reached(self, head: bytes) -> str:
        """The platform that a gateway's request goes to."""
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/bot"):
            return "telegram"
        if path.startswith((b"/api/v10/", b"/gateway")):
            return "discord"
        bearer = _BEARER.search(head)
        token = bearer[1].decode() if bearer else ""
        return "slack-http" if token in SLACK["http"].values() else "slack-socket"


def _simulators(ports: dict[str, int]) -> Iterator[tuple[str, list[str]]]:
    yield "telegram", ["simulators.telegram", "--bot-token", TELEGRAM_TOKEN]
    for number, (way, tokens) in enumerate(SLACK.items()):
        given = [part for name, value in tokens.items() for part in (f"--{name.replace('_', '-')}", value)]
        yield f"slack-{way}", ["simulators.slack", "--seed", str(number), *given]
    given = ["--bot-token", discord_token("discord"), "--application-id", str(DISCORD_ID)]
    yield "discord", ["simulators.discord", *given, "--private-key", DISCORD_KEY]


@asynccontextmanager
async def standing(folder: Path, seed: random.Random, ring: str, watch: Watch) -> AsyncIterator[Run]:
    """Everything but gateways and workers runs from the start; those are started with `start_gateways`."""
    front, *ports = free_ports(1 + len(PLATFORMS) + 2 * len(GATEWAYS))
    at = dict(zip(PLATFORMS, ports, strict=False))
    gateways = dict(zip(GATEWAYS, ports[len(PLATFORMS) :], strict=False))
    outward = dict(zip(GATEWAYS, ports[len(PLATFORMS) + len(GATEWAYS) :], strict=True))
    with claim(folder / "data") as place:
        postgres, redis = embedded_postgres(place), embedded_redis(place)
        run = Run(
            seed, folder, ring, postgres.url, postgres.url.replace("//postgres@", "//parley:chaos@"), redis.url,
            f"http://127.0.0.1:{front}", {name: f"http://127.0.0.1:{port}" for name, port in at.items()}, gateways,
        )  # fmt: skip

        def inward(head: bytes, body: bytes) -> Sequence[tuple[str, int]]:
            """To either gateway, and to the other when that one is not there."""
            return seed.sample(list(gateways.items()), len(gateways))

        def keeper(name: str, spec: object) -> None:
            run.keepers[name] = Keeper(spec, (folder / f"{name}.log").open("wb"))  # type: ignore[arg-type]

        keeper("postgres", postgres.child)
        keeper("redis", redis.child)
        for name, arguments in _simulators(at):
            keeper(name, program(name, [*arguments, "--port", str(at[name]), "--no-flood"], {}, folder))
        for name in GATEWAYS:
            serve = ["gateway", "serve", "--port", str(gateways[name])]
            keeper(name, program(name, serve, _environment(run, outward[name]), folder))
        for name in WORKERS:
            keeper(name, program(name, ["gateway", "work"], _environment(run, outward[GATEWAYS[0]]), folder))
        async with AsyncExitStack() as stack:
            for name in GATEWAYS:
                relay = Relay(watch, lambda head, _, name=name: [(name, at[run.reached(head)])], outward=True)  # type: ignore[misc]
                await stack.enter_async_context(relaying(relay, outward[name]))
            await stack.enter_async_context(relaying(Relay(watch, inward, outward=False), front))
            try:
                for name in ("postgres", "redis", *PLATFORMS):
                    await run.keepers[name].start()
                for url in run.simulators.values():
                    await answers(f"{url}/sim/state")
                yield run
            finally:
                for each in reversed(run.keepers.values()):
                    await each.stop()


def _environment(run: Run, outward: int) -> dict[str, str]:
    root = f"http://127.0.0.1:{outward}"
    return {
        "DATABASE_URL": run.app_url, "REDIS_URL": run.redis_url, "PARLEY_SECRET_KEYS": run.ring,
        "EGRESS_ALLOW": "127.0.0.0/8", "PARLEY_DATA_DIR": str(run.folder), "TELEGRAM_API_BASE_URL": root,
        "SLACK_API_BASE_URL": f"{root}/api", "DISCORD_API_BASE_URL": f"{root}/api/v10", "DISCORD_GATEWAY_URL": "",
        "PARLEY_PUBLIC_URL": run.gateway_url, "TURN_LEASE_SECONDS": str(LEASE), "LOG_LEVEL": "WARNING",
        "DATABASE_ADMIN_URL": "", "OPENAI_API_KEY": "",
    }  # fmt: skip


async def start_gateways(run: Run) -> None:
    for name in (*GATEWAYS, *WORKERS):
        await run.keepers[name].start()
    await answers(f"{run.gateway_url}/health/ready")


async def answers(url: str) -> None:
    """Waits until a server answers with a success."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(url) as response:
                    if response.status < 300:
                        return
            await asyncio.sleep(0.1)
