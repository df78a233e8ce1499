"""Postgres 18 with pgvector as a supervised child: a socket in a private folder, no TCP, fsync on."""

import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path
from urllib.parse import quote

import asyncpg

from gateway.embedded.orphans import evict
from gateway.embedded.place import Place, Store
from gateway.embedded.programs import postgres_bin
from gateway.embedded.sysuser import StoreError
from gateway.supervisor import ChildSpec, launch_argv

_VERSION = "18"
_PORT = 5432  # only names the socket
_DATABASE = "parley"
_EVICT = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
# none of ours: neither its secrets nor a PG… variable that would bend a client's or the server's defaults
_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
# The character type stays the system's C.UTF-8: full-text search splits words by it, and under plain C every non-ASCII
# character, dashes and curly quotes included, counts as a letter.
_INITDB = (
    "--username=postgres", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
    "--lc-ctype=C.UTF-8", "--auth-local=trust", "--auth-host=reject", "--no-instructions",
)  # fmt: skip
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
}


def embedded_postgres(place: Place) -> Store:
    """Postgres on DIR/postgres; its URL is the superuser's, on the database `parley`.

    May copy the programs (blocking, once). The cluster is made before the first start. Raises StoreError.
    """
    programs = postgres_bin(place)
    data = place.folder("postgres") / "data"
    settings = {**_SETTINGS, "unix_socket_directories": str(place.sockets), "port": str(_PORT)}
    options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
    child = ChildSpec(
        name="postgres",
        argv=(str(programs / "postgres"), "-D", str(data), *options),
        env=_ENV,
        cwd=data.parent,
        account=place.account,
        log=place.log("postgres"),
        prepare=partial(_prepare, place, programs, data),
        ready=partial(_missing, place.sockets),
        ready_timeout=180.0,  # a crash recovery reads back at most max_wal_size
        stops=((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0)),  # fast, then immediate
        orphan_signal=signal.SIGINT,
    )
    return Store(_url(place.sockets, _DATABASE), child)


def _url(sockets: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(sockets))}&port={_PORT}"


def _prepare(place: Place, programs: Path, data: Path) -> None:
    """A whole cluster that nobody else runs, before every start."""
    evict(data, "postgres", _EVICT)
    if not data.exists():
        _initdb(place, programs, data)
    version = data / "PG_VERSION"
    if not version.exists():
        raise StoreError(f"{data} is not a Postgres cluster: move it away, or choose another --data-dir")
    if (found := version.read_text().strip()) != _VERSION:
        raise StoreError(f"{data} was written by Postgres {found}, this is {_VERSION}: dump it with that one first")
    # what a crash left behind names a process that is gone, a zombie or a stranger by now; Postgres would believe it
    socket = place.sockets / f".s.PGSQL.{_PORT}"
    for stale in (data / "postmaster.pid", socket, socket.with_name(f"{socket.name}.lock")):
        stale.unlink(missing_ok=True)


def _initdb(place: Place, programs: Path, data: Path) -> None:
    """Make the cluster beside its place and move it there whole, so that a crash leaves none or all of it."""
    fresh = data.with_name("data.new")
    evict(data.parent, "initdb", _EVICT[-1:])
    evict(fresh, "postgres", _EVICT[-1:])
    shutil.rmtree(fresh, ignore_errors=True)
    argv = (str(programs / "initdb"), f"--pgdata={fresh}", *_INITDB)
    with place.log("initdb").open("wb") as log:
        done = subprocess.run(
            launch_argv(argv, place.account, signal.SIGKILL),
            env=_ENV, cwd=data.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        lines = place.log("initdb").read_text(errors="replace").strip().splitlines()
        why = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no output")
        raise StoreError(f"initdb could not make a cluster in {data.parent} ({why}); all of it: {place.log('initdb')}")
    fresh.rename(data)
    folder = os.open(data.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


async def _missing(sockets: Path) -> str | None:
    """Ready once it answers and holds our database, which the first answer makes."""
    try:
        connection = await asyncpg.connect(_url(sockets, "postgres"), timeout=5.0)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return str(error) or type(error).__name__
    try:
        known = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", _DATABASE)
        if known is None:
            await connection.execute(f"CREATE DATABASE {_DATABASE}")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return str(error)
    finally:
        connection.terminate()
    return None
