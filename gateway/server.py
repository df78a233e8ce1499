"""The HTTP server: the app over a gateway's services, and a process that serves it until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from aiohttp import web

from gateway import requests, upkeep
from gateway.auth import Auth
from gateway.load import Load
from gateway.routes.table import ROUTES
from gateway.services import Services, open_ground, open_services, open_tools
from gateway.streams import Streams
from gateway.web import MEBIBYTE, Face, Route, check_table
from kernel import log
from kernel.settings import Settings

_log = log.get("server")

_PATIENCE = 8.0  # seconds that a graceful stop gives to requests in flight; turns get theirs after that
_KEEP_ALIVE = 75.0
_UPLOADS = 4  # at once; each may hold as much memory as its limit allows

Hook = Callable[[Services], AbstractAsyncContextManager[object]]


@asynccontextmanager
async def open_app(services: Services, routes: Sequence[Route] = ROUTES) -> AsyncIterator[web.Application]:
    """The app and the tasks beside it. Raises ConfigError when a route declares no scope."""
    check_table(routes)
    ground = services.ground
    auth = Auth(ground.database, ground.ring, ground.limiter)
    streams = Streams(ground.database, services.hub)
    face = Face(services, auth, streams, Load(ground.settings.max_concurrent_requests), Load(_UPLOADS))
    tasks = [
        asyncio.create_task(streams.run()),
        asyncio.create_task(upkeep.watch_loop()),
        asyncio.create_task(upkeep.forget_old_keys(ground.database)),
    ]
    try:
        yield build_app(face, routes)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await auth.close()


def build_app(face: Face, routes: Sequence[Route]) -> web.Application:
    """No middlewares: each handler is wrapped once, here, so the platforms' path carries nothing it does not need."""
    app = web.Application(client_max_size=MEBIBYTE)
    for route in routes:
        wrap = requests.serve_platform if route.scope == "platform" else requests.serve
        handler = wrap(route, face)
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET" and route.scope == "public":
            app.router.add_route("HEAD", route.path, handler)
    app.router.add_route("*", "/{rest:.*}", requests.no_route)

    async def hang_up(_: web.Application) -> None:
        face.streams.close()

    app.on_shutdown.append(hang_up)
    return app


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, *, sock: socket.socket | None = None, reuse_port: bool = False
) -> AsyncIterator[str]:
    """Serves the app on an address, or on a socket that is bound already. Yields its root URL.

    A handler is not cancelled when its client hangs up: what it began it also finishes. Long waits look for themselves.
    """
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=_PATIENCE, keepalive_timeout=_KEEP_ALIVE, handle_signals=False
    )
    await runner.setup()
    try:
        site: web.BaseSite
        if sock is not None:
            site = web.SockSite(runner, sock, backlog=1024)
        else:
            site = web.TCPSite(runner, host, port, backlog=1024, reuse_port=reuse_port or None)
        await site.start()
        address = runner.addresses[0]
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        yield f"http://{shown}:{address[1]}"
    finally:
        await runner.cleanup()


async def serve(
    settings: Settings,
    host: str,
    port: int,
    *,
    sock: socket.socket | None = None,
    reuse_port: bool = False,
    ready: Callable[[str], object] | None = None,
    hooks: Sequence[Hook] = (),
    warm: bool = False,
) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully: nothing new, finish what runs, close. Raises ConfigError.

    `ready` is called with the root URL once requests are taken. `hooks` run beside the server, over the same services.
    `warm` loads the embedding model in the background instead of at the first question.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        ground = await stack.enter_async_context(open_ground(settings, name="parley-gateway"))
        tools = await stack.enter_async_context(open_tools(ground))
        services = await stack.enter_async_context(open_services(ground, tools))
        app = await stack.enter_async_context(open_app(services))
        for hook in hooks:
            await stack.enter_async_context(hook(services))
        url = await stack.enter_async_context(listening(app, host, port, sock=sock, reuse_port=reuse_port))
        if warm:
            warming = asyncio.create_task(_warm(services))
            stack.callback(warming.cancel)
        gc.collect()
        upkeep.spare_the_collector()
        _log.info("server.ready", url=url)
        if ready:
            ready(url)
        await stop.wait()
        _log.info("server.stopping", in_flight=services.runner.running)


async def _warm(services: Services) -> None:
    try:
        await services.ground.embedder.warm()
    except Exception as error:  # the first question will say what is wrong; a start must not fail over it
        _log.warning("server.warm_failed", error=repr(error))
