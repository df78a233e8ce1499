"""Redis 6.2 as a supervised child: a socket in a private folder, no TCP, every write in the append-only file."""

import asyncio
import signal
from functools import partial
from pathlib import Path

from gateway.embedded.orphans import evict
from gateway.embedded.place import Place, Store
from gateway.embedded.programs import redis_server
from gateway.supervisor import ChildSpec

_STOPS = ((signal.SIGTERM, 10.0),)
_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "logfile": "",
}


def embedded_redis(place: Place) -> Store:
    """Redis on DIR/redis. Its URL has the scheme `unix`, which redis-py and arq both read. Raises StoreError."""
    program = redis_server(place)
    data = place.folder("redis")
    socket = place.sockets / "redis.sock"
    settings = {**_SETTINGS, "dir": str(data), "unixsocket": str(socket)}
    child = ChildSpec(
        name="redis",
        argv=(str(program), *(word for name, value in settings.items() for word in (f"--{name}", value))),
        env={"PATH": "/usr/bin:/bin"},
        cwd=data,
        account=place.account,
        log=place.log("redis"),
        prepare=partial(evict, data, "redis-server", (*_STOPS, (signal.SIGKILL, 5.0))),
        ready=partial(_missing, socket),
        stops=_STOPS,
        orphan_signal=signal.SIGTERM,
    )
    return Store(f"unix://{socket}?db=0", child)


async def _missing(socket: Path) -> str | None:
    """Ready once it answers a PING; while it reads its file back it says LOADING."""
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                answer = (await reader.readline()).decode(errors="replace").strip()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return str(error) or type(error).__name__
    return None if answer == "+PONG" else answer or "it hung up"
