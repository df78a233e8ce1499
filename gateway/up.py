"""Everything on one machine: stores, gateway, worker and, for the demo, a simulated Telegram, under one supervisor."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_network
from pathlib import Path

from gateway.commands import demo, logs, ports
from gateway.commands.installation import Owner, key_ring, prepare_database, settle
from gateway.embedded import Place, Store, claim, default_data_dir, embedded_postgres, embedded_redis
from gateway.supervisor import ChildSpec, Supervisor
from kernel.errors import ConfigError
from kernel.settings import Settings, environment

_PORT = 8080
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_LOGIN = "parley"  # the app's role in the embedded Postgres, whose socket only its own user and root can reach

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `parley up` was asked for. `port` None: the usual one, or a neighbour when it is taken."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int | None = None
    demo: bool = False


async def up(wanted: Wanted, settings: Settings, say: Say) -> None:
    """Runs until a signal. Raises ConfigError and StartError, before anything was left running."""
    began = time.monotonic()
    port = _port(wanted, say)
    url = ports.local_url(wanted.host, port)
    with claim(wanted.data_dir) as place:
        used = any((place.path / name).exists() for name in ("postgres/data", "credentials.json"))
        new_ring = not (settings.secret_keys or (place.path / "secret_keys").exists())
        stores = _stores(place, settings)
        settings = _complete(settings, place, stores, url, key_ring(settings, place.path, used=used))
        stage = demo.plan(place.path) if wanted.demo else None
        if stage:
            settings = stage.point(settings)
        async with Supervisor(say) as supervisor:
            await supervisor.start(*(store.child for store in stores.values()))
            await prepare_database(settings, say)
            owner = await settle(settings, place.path, url)
            if new_ring and owner.origin == "renewed":
                say(
                    "this database was set up elsewhere: set PARLEY_SECRET_KEYS to what it was set up with, or the bots"
                )
                say("or the bots and webhooks in it cannot be used from here")
            children = _children(wanted, settings, place, port)
            await supervisor.start(*children, *([stage.child(place)] if stage else []))
            if stage:
                await demo.load(stage, url, owner.api_key, say)
            say(_banner(place.path, url, owner, stage, time.monotonic() - began))
            async with logs.surfaced([child.log for child in children if child.log], say):
                await supervisor.forever()


def _port(wanted: Wanted, say: Say) -> int:
    """Raises ConfigError for a port that was asked for and is taken."""
    if wanted.port is None:
        port = ports.free_port(wanted.host, _PORT)
        if port != _PORT:
            say(f"port {_PORT} is taken by another program: using {port} (--port chooses)")
        return port
    if wanted.port == 0:
        return ports.free_port(wanted.host, _PORT)
    if not ports.is_free(wanted.host, wanted.port):
        raise ConfigError(f"--port: {wanted.port} is taken by another program; stop it or choose another port")
    return wanted.port


def _stores(place: Place, settings: Settings) -> dict[str, Store]:
    """The stores that are not somebody else's business."""
    stores = {}
    if not settings.database_url:
        stores["postgres"] = embedded_postgres(place)
    if not settings.redis_url:
        stores["redis"] = embedded_redis(place)
    return stores


def _complete(settings: Settings, place: Place, stores: dict[str, Store], url: str, ring: str) -> Settings:
    """The settings in force: what was not set is what we run ourselves."""
    if postgres := stores.get("postgres"):
        app_url = postgres.url.replace("//postgres@", f"//{_LOGIN}@")
        settings = replace(settings, database_url=app_url, database_admin_url=postgres.url)
    if redis := stores.get("redis"):
        settings = replace(settings, redis_url=redis.url)
    return replace(
        settings,
        data_dir=place.path,
        secret_keys=ring,
        public_url=settings.public_url or url,
        egress_allow=_LOOPBACK if settings.egress_allow is None else settings.egress_allow,
    )


def _children(wanted: Wanted, settings: Settings, place: Place, port: int) -> list[ChildSpec]:
    """Gateway and worker. Settings reach them through the environment, where other users cannot read them."""
    theirs = replace(settings, database_admin_url="", parley_url="", parley_api_key="")
    env = {**os.environ, **environment(theirs), "PYTHONUNBUFFERED": "1"}
    run = (sys.executable, "-m", "gateway")
    gateway = ChildSpec(
        name="gateway",
        argv=(*run, "serve", "--host", wanted.host, "--port", str(port)),
        env=env,
        log=place.log("gateway"),
        ready=partial(ports.unready, wanted.host, port, "/health/ready"),
    )
    return [gateway, ChildSpec(name="worker", argv=(*run, "work"), env=env, log=place.log("worker"))]


def _banner(folder: Path, url: str, owner: Owner, stage: demo.Stage | None, seconds: float) -> str:
    kept = folder / "credentials.json"
    key = {
        "found": f"in {kept}",
        "first": f"{owner.api_key}\n             shown this once; kept in {kept}",
        "renewed": f"{owner.api_key}\n             a new one, because {kept} held none that works; shown this once",
    }[owner.origin]
    lines = [("gateway", url), ("API docs", f"{url}/docs")]
    if stage:
        lines.append(("demo chat", f"{stage.url}   (Telegram, Slack and Discord, simulated, and a web chat)"))
    lines += [("owner key", key), ("data, logs", f"{folder}, {folder / 'logs'}")]
    text = [f"\nParley is ready after {seconds:.1f} s.\n", *(f"  {name:<10} {value}" for name, value in lines)]
    if stage:
        text += ["", "  Ask the bot in the demo chat, or in another terminal:"]
        text += [f'    {_ask(folder)} "{question}"' for question in demo.QUESTIONS]
    return "\n".join([*text, "", "  Ctrl-C stops everything.\n"])


def _ask(folder: Path) -> str:
    """How to call `parley ask` from the folder we are in, for this data directory."""
    beside, here = Path(sys.executable).with_name("parley"), Path.cwd()
    if shutil.which("parley"):
        command = "parley"
    elif beside.exists():
        command = str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
    else:
        command = f"{sys.executable} -m gateway"
    usual = folder in (default_data_dir(), Path(os.environ.get("PARLEY_DATA_DIR") or os.devnull).resolve())
    return f"{command} ask" if usual else f"{command} ask --data-dir {folder}"
