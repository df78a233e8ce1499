"""Socket Mode: connections an app opened, over which envelopes go out and acknowledgements come back.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import json
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from simulators.slack.errors import SlackError
from simulators.slack.ids import make_hex, make_uuid
from simulators.slack.state import World
from simulators.slack.values import Dispatch, JsonObject

MOST_CONNECTIONS = 10
APPROXIMATE_SECONDS = 18060
REASONS = ("warning", "refresh_requested", "link_disabled")


@dataclass(eq=False, slots=True)
class Connection:
    """One WebSocket. `waiting`: envelope ids that were not acknowledged yet. `leaving`: told to disconnect."""

    number: int
    socket: web.WebSocketResponse
    waiting: dict[str, "asyncio.Future[JsonObject | None]"] = field(default_factory=dict)
    leaving: bool = False


class Sockets:
    """The app's connections; envelopes go to one of them in turn."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tickets: set[str] = set()
        self._connections: list[Connection] = []
        self._turn = 0
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._usable())

    def open(self, token: str) -> str:
        """The URL of a new connection, good once. Raises SlackError."""
        if not token:
            raise SlackError("not_authed")
        if token in self._world.installations:
            raise SlackError("not_allowed_token_type")
        if token != self._world.app.app_token:
            raise SlackError("invalid_auth")
        flood = self._world.flood
        if flood and (wait := flood.refuse("apps.connections.open", 1, "", "", self._world.tick())):
            raise SlackError("ratelimited", 429, wait)
        ticket = make_hex(self._world.wire, 32)
        self._tickets.add(ticket)
        base = self._world.url.replace("http", "ws", 1)
        return f"{base}/link/?ticket={ticket}&app_id={make_hex(self._world.wire, 40)}"

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """The handler of /link/."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets or self._world.faults.outage:
            return web.Response(status=408 if self._world.faults.outage else 404)
        self._tickets.discard(ticket)
        ws = web.WebSocketResponse(heartbeat=self._world.pace.ping, autoping=True)
        await ws.prepare(request)
        if len(self._connections) >= MOST_CONNECTIONS:
            await ws.send_str(json.dumps(_disconnect("too_many_websockets")))
            await ws.close()
            return ws
        self._numbers += 1
        connection = Connection(self._numbers, ws)
        self._connections.append(connection)
        self._changed()
        try:
            await ws.send_str(json.dumps(self._hello()))
            await self._listen(connection)
        except ConnectionError:
            pass
        finally:
            self._leave(connection)
        return ws

    def _hello(self) -> JsonObject:
        return {
            "type": "hello",
            "num_connections": len(self),
            "connection_info": {"app_id": self._world.app.id},
            "debug_info": {
                "host": "simulator",
                "build_number": 1,
                "approximate_connection_time": APPROXIMATE_SECONDS,
            },
        }

    async def _listen(self, connection: Connection) -> None:
        async for message in connection.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                answer = json.loads(message.data)
            except ValueError:
                continue
            waiter = connection.waiting.pop(str(answer.get("envelope_id")), None) if isinstance(answer, dict) else None
            if waiter and not waiter.done():
                waiter.set_result(answer.get("payload"))

    def _leave(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        for waiter in connection.waiting.values():
            if not waiter.done():
                waiter.set_exception(ConnectionResetError())
        connection.waiting.clear()
        self._changed()

    def _changed(self) -> None:
        self._world.connections = len(self)
        self._world.hub.publish("connections", count=len(self))

    def _usable(self) -> list[Connection]:
        return [one for one in self._connections if not one.leaving and not one.socket.closed]

    async def send(self, dispatch: Dispatch, reason: str) -> JsonObject | None:
        """One attempt over one connection: what the acknowledgement carried.

        Raises TimeoutError when none came in time, ConnectionError when the connection went away.
        """
        usable = self._usable()
        if not usable:
            raise ConnectionResetError
        self._turn += 1
        connection = usable[self._turn % len(usable)]
        envelope: JsonObject = {
            "envelope_id": make_uuid(self._world.wire),
            "payload": dispatch.payload,
            "type": dispatch.kind,
            "accepts_response_payload": dispatch.kind != "events_api",
        }
        if dispatch.kind == "events_api":
            envelope |= {"retry_attempt": dispatch.attempts - 1, "retry_reason": reason}
        waiter: asyncio.Future[JsonObject | None] = asyncio.get_running_loop().create_future()
        connection.waiting[envelope["envelope_id"]] = waiter
        try:
            async with asyncio.timeout(self._world.pace.ack):
                await connection.socket.send_str(json.dumps(envelope))
                return await waiter
        finally:
            connection.waiting.pop(envelope["envelope_id"], None)
            if waiter.done() and not waiter.cancelled():
                waiter.exception()

    async def cut(self) -> None:
        """Close every connection at once, without a word."""
        for connection in list(self._connections):
            await connection.socket.close(code=1011)

    async def disconnect(self, reason: str) -> int:
        """Tell every connection to go, as Slack does before it closes them; how many there were."""
        told = self._usable()
        for connection in told:
            connection.leaving = reason != "warning"
            await connection.socket.send_str(json.dumps(_disconnect(reason)))
        self._changed()
        return len(told)


def _disconnect(reason: str) -> JsonObject:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "simulator"}}
