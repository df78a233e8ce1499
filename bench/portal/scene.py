"""The stage on which the page is looked at, and what a visitor does there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench.browser import Browser, Page, browser
from bench.stores import stores
from bench.widget.scene import answer, nothing
from gateway import worker
from gateway.server import listening, open_app
from gateway.services import open_ground, open_services
from kernel.events import publish
from kernel.settings import Settings
from kernel.types import Json
from pipeline.machine import Tools
from pipeline.steps import RedisSteps

LINKS = "/api/v1/webhooks/portal-links"


@dataclass
class Receiver:
    """Somebody's program that takes webhooks. `status` is what it answers; `got` the ids that came."""

    url: str
    status: int = 200
    got: list[str] = field(default_factory=list)


@dataclass
class Scene:
    """A gateway with its worker, a receiver, a host's page with the portal in a frame, and a browser."""

    gateway: str
    host: str
    receiver: Receiver
    api: aiohttp.ClientSession
    publish: Callable[[str, Json], Awaitable[str]]
    browser: Browser
    shots: Path | None

    async def shot(self, page: Page, name: str) -> None:
        if self.shots:
            await page.shot(self.shots / f"{name}.png")

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        async with self.api.request(method, path, json=body) as response:
            assert response.status < 400, await response.text()
            return await response.json() if response.status != 204 else None

    async def link(self, **asked: Any) -> str:
        made = await self.call("POST", LINKS, {"theme": {"name": "Acme Shop"}, **asked})
        return str(made["url"])


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    made = Receiver("")

    async def take(request: web.Request) -> web.Response:
        await request.read()
        made.got.append(request.headers["webhook-id"])
        said = {"taken": made.status < 300, "note": "<img src=x onerror='window.pwned=1'> ünïcödé"}
        return web.json_response(said, status=made.status, headers={"X-Receiver": "shop/1.4"})

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    async with served(app) as url:
        made.url = url + "/hooks/parley"
        yield made


def host() -> web.Application:
    """A customer's console on another origin, which holds the portal in a frame and hears what it tells."""

    async def page(request: web.Request) -> web.Response:
        body = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Console</title>'
            '<link rel="stylesheet" href="/host.css"></head><body><h1>Console</h1>'
            '<iframe id="portal" title="Webhooks" allow="clipboard-write"></iframe>'
            '<script src="/host.js"></script></body></html>'
        )
        policy = "default-src 'none'; script-src 'self'; style-src 'self'; frame-src *"
        return web.Response(text=body, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def script(request: web.Request) -> web.Response:
        text = (
            "window.told = []; addEventListener('message', (m) => { told.push([m.origin, m.data]);"
            " if (m.data.event === 'height') portal.style.height = m.data.height + 'px'; });"
        )
        return web.Response(text=text, content_type="text/javascript")

    async def style(request: web.Request) -> web.Response:
        text = "body{font:16px Georgia;margin:0 40px} iframe{width:100%;height:300px;border:1px solid gray}"
        return web.Response(text=text, content_type="text/css")

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/host.js", script)
    app.router.add_get("/host.css", style)
    return app


@asynccontextmanager
async def scene(shots: Path | None, executable: str) -> AsyncIterator[Scene]:
    async with stores() as on:
        settings = Settings.read(on.environment(PARLEY_PUBLIC_URL=""))
        async with open_ground(settings, name="parley-portal") as ground:
            workspace = await on.workspace()
            headers = {"X-API-Key": await on.api_key(workspace)}
            tools = Tools(nothing, answer, RedisSteps(ground.redis, 60), 5)

            async def tell(kind: str, data: Json) -> str:
                async with ground.database.workspace(workspace) as conn:
                    return await publish(conn, workspace, kind, data)

            async with (
                working(ground),
                open_services(ground, tools) as services,
                open_app(services) as app,
                listening(app, "127.0.0.1", 0) as url,
                served(host()) as page,
                receiving() as receiver,
                aiohttp.ClientSession(url, headers=headers) as api,
                browser(executable) as driven,
            ):
                yield Scene(url, page, receiver, api, tell, driven, shots)


@asynccontextmanager
async def working(ground: Any) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(ground, stop))
    try:
        yield
    finally:
        stop.set()
        await task


# What is looked at.

HEADING = "document.querySelector('#heading').textContent"


async def opened(on: Scene, *, width: int = 1100, height: int = 800, **asked: Any) -> Page:
    """The page, opened by a link of its own."""
    page = await on.browser.page()
    await page.size(width, height, mobile=width < 600)
    await page.goto(await on.link(**asked))
    await at(page, "Endpoints")
    return page


async def at(page: Page, heading: str) -> None:
    """Returns when the view with this heading is there."""
    told = f"document.querySelector('#heading') && {HEADING} === {heading!r}"
    await page.until(f"{told} && !document.querySelector('main').hasAttribute('aria-busy')")


def named(text: str, kind: str = "a, button") -> str:
    """The link or button with this text."""
    return f"[...document.querySelectorAll('{kind}')].find((e) => e.textContent.trim() === {text!r} && !e.hidden)"


async def press(page: Page, text: str) -> None:
    """Goes to a link or button and presses it, as a keyboard would."""
    await page.until(named(text))
    await page.evaluate(f"{named(text)}.focus()")
    assert await page.evaluate(f"document.activeElement === {named(text)}"), text
    await page.press("Enter")


async def hears(page: Page, text: str) -> None:
    """Returns when this was said to assistive technology."""
    await page.until(f"document.querySelector('#announcements').textContent.includes({text!r})", 60)
