"""The gateway socket: hello, identify, resume, heartbeats, events. See docs.discord.com/developers/events/gateway."""

import asyncio
import json
from typing import Any

from aiohttp import WSMsgType, web

from simulators.discord import transport
from simulators.discord.faults import SOCKET_KINDS
from simulators.discord.hello import Closing, identified, resumed
from simulators.discord.payloads import guild_members
from simulators.discord.places import root_of
from simulators.discord.sessions import Session
from simulators.discord.state import World
from simulators.discord.wire import dump

PAYLOAD_LIMIT = 4096
DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME = 0, 1, 2, 3, 4, 6
RECONNECT, MEMBERS, INVALID, HELLO, ACK = 7, 8, 9, 10, 11
MISSED_BEATS = 2.0  # in intervals: how long a client may be silent


class Gateway:
    """Serves sockets. `closing` ends them when the server stops."""

    def __init__(self, world: World, closing: asyncio.Event) -> None:
        self._world = world
        self._closing = closing

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self._world.faults.lasts("outage", None):
            return web.Response(status=503)
        socket = web.WebSocketResponse(compress=False, max_msg_size=PAYLOAD_LIMIT, timeout=1.0)
        await socket.prepare(request)
        connection = Connection(self._world, socket, root_of(request, "/gateway"), request.query.get("compress", ""))
        await connection.run(self._closing)
        return socket


class Connection:
    """One socket, and the session it speaks for once it has identified or resumed."""

    def __init__(self, world: World, socket: web.WebSocketResponse, root: str, compress: str) -> None:
        self._world = world
        self._socket = socket
        self._root = root
        self._streams = compress in ("zlib-stream", "zstd-stream")
        self._pack = transport.packer(compress)
        self._lock = asyncio.Lock()
        self._session: Session | None = None
        self._reader: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._end: tuple[int, str] = (1000, "")
        self._farewell = 0  # the code with which the client closed

    async def run(self, closing: asyncio.Event) -> None:
        """Until either side closes."""
        shutdown = asyncio.ensure_future(closing.wait())
        reader = self._reader = asyncio.create_task(self._read())
        try:
            await self._send(HELLO, {"heartbeat_interval": self._world.config.heartbeat_ms, "_trace": ["simulator"]})
            await asyncio.wait({shutdown, reader}, return_when=asyncio.FIRST_COMPLETED)
        except ConnectionError:
            pass
        finally:
            ended = reader.done()
            for task in (shutdown, reader, self._writer):
                if task:
                    task.cancel()
            await asyncio.gather(*(t for t in (reader, self._writer) if t), return_exceptions=True)
            self._leave()
            await self._close(*(self._end if ended else (1001, "Server restart")))

    def _leave(self) -> None:
        """Give up the session: a client that closes with 1000 or 1001 ends it, otherwise it may be resumed."""
        session = self._session
        if session is None:
            return
        session.cut_off = None
        session.detached = self._world.tick()
        if self._farewell in (1000, 1001):
            self._world.sessions.pop(session.id, None)

    def _cut_off(self) -> None:
        """Another socket speaks for the session from now on."""
        self._session = None
        self._end = (4000, "Session resumed elsewhere.")
        for task in (self._writer, self._reader):
            if task:
                task.cancel()

    async def _close(self, code: int, reason: str) -> None:
        if not self._socket.closed:
            await self._socket.close(code=code, message=reason.encode())

    async def _read(self) -> None:
        """Take payloads until the socket closes, or break off with a close code."""
        silence = self._world.config.heartbeat_ms / 1000 * MISSED_BEATS
        beat = self._world.tick()
        try:
            while True:
                left = beat + silence - self._world.tick()
                async with asyncio.timeout(max(left, 0.001)):
                    message = await self._socket.receive()
                if message.type is WSMsgType.CLOSE:
                    self._farewell = message.data or 1000
                if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                    return
                payload = _payload(message.data)
                if payload["op"] == HEARTBEAT:
                    beat = self._world.tick()
                await self._take(payload["op"], payload.get("d"))
        except TimeoutError:
            self._end = (4009, "Session timed out.")
        except Closing as closing:
            self._end = (closing.code, closing.reason)
        except ConnectionError:
            return

    async def _take(self, op: int, data: Any) -> None:
        self._count()
        if op == HEARTBEAT:
            await self._send(ACK, None)
        elif op == IDENTIFY:
            if self._session:
                raise Closing(4005, "Already authenticated.")
            await self._begin(identified(self._world, data, self._root), op)
        elif op == RESUME:
            if self._session:
                raise Closing(4005, "Already authenticated.")
            await self._begin(resumed(self._world, data), op)
        elif op not in (PRESENCE, VOICE, MEMBERS):
            raise Closing(4001, "Unknown opcode.")
        elif self._session is None:
            raise Closing(4003, "Not authenticated.")
        elif op == MEMBERS:
            self._members(data or {})
        if op == IDENTIFY and isinstance(data, dict) and data.get("compress") and not self._streams:
            self._pack = transport.packer("payload")

    def _count(self) -> None:
        """120 payloads a minute, heartbeats included."""
        config = self._world.config
        if config.flood:
            key = f"socket:{id(self)}"
            if self._world.counters.take(key, config.limits.socket, self._world.tick()).retry_after:
                raise Closing(4008, "Rate limited.")

    async def _begin(self, session: Session | None, op: int) -> None:
        """Attach to a session, or say op 9: it is not to be had."""
        fault = None
        if session:
            name = "identify" if op == IDENTIFY else "resume"
            fault = self._world.faults.strike(SOCKET_KINDS, name, session.bot)
        if session is None or (fault and fault.kind == "invalid_session"):
            if session and not (fault and fault.resumable):
                self._world.sessions.pop(session.id, None)
            await self._send(INVALID, bool(fault and fault.resumable))
            return
        if session.cut_off:
            session.cut_off()
        session.cut_off = self._cut_off
        session.detached = None
        session.root = self._root
        self._session = session
        self._writer = asyncio.create_task(self._write(session))
        session.wake.set()
        if fault:
            session.order(fault.kind, fault.code)

    async def _write(self, session: Session) -> None:
        """Send events as they come, and do what faults order."""
        while True:
            await session.wake.wait()
            session.wake.clear()
            while session.orders:
                await self._obey(*session.orders.popleft())
            for event in session.unsent():
                session.sent = event.seq
                if not self._world.faults.lasts("deaf", session.bot):
                    async with self._lock:
                        await transport.send(self._socket, self._pack, event.body)
                if session.orders:
                    session.wake.set()
                    break

    async def _obey(self, kind: str, code: int) -> None:
        if kind == "reconnect":
            await self._send(RECONNECT, None)
        elif kind == "invalid_session":
            if not code and self._session:
                self._world.sessions.pop(self._session.id, None)
            await self._send(INVALID, bool(code))
        else:
            await self._close(code or 4000, "Unknown error.")

    def _members(self, data: dict[str, Any]) -> None:
        """Request Guild Members: one chunk with everybody."""
        guild = self._world.guilds.get(int(data.get("guild_id") or 0))
        if guild is None or self._session is None:
            return
        wanted = data.get("user_ids")
        ids = {str(w) for w in (wanted if isinstance(wanted, list) else [wanted])} if wanted else None
        query = str(data.get("query") or "").lower()
        found = [
            member
            for member in guild_members(self._world, guild)
            if (member["user"]["id"] in ids if ids is not None else member["user"]["username"].startswith(query))
        ]
        chunk = {"guild_id": str(guild.id), "members": found, "chunk_index": 0, "chunk_count": 1}
        if data.get("nonce"):
            chunk["nonce"] = data["nonce"]
        self._session.push("GUILD_MEMBERS_CHUNK", dump(chunk), self._world.config.replay_limit)

    async def _send(self, op: int, data: Any) -> None:
        body = dump({"t": None, "s": None, "op": op, "d": data})
        async with self._lock:
            await transport.send(self._socket, self._pack, body)


def _payload(text: Any) -> dict[str, Any]:
    """A client's payload. Raises Closing for what cannot be read."""
    try:
        payload = json.loads(text)
    except (ValueError, TypeError):
        raise Closing(4002, "Error while decoding payload.") from None
    if not isinstance(payload, dict) or not isinstance(payload.get("op"), int):
        raise Closing(4002, "Error while decoding payload.")
    return payload
