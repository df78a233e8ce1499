"""`python -m bench.portal [--shots DIR]`: the portal's page in a real Chromium, in a frame of another origin and alone.

Prints a line for each thing that it sees; exit status 1 when one of them is not as it should be.

Needs a Chromium on the PATH (`apt-get install chromium`). The tests do not need it: they hold the routes to their word.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench.browser import Browser, Page, browser, program
from bench.stores import stores
from bench.widget import answer, nothing
from gateway import worker
from gateway.server import listening, open_app
from gateway.services import open_ground, open_services
from kernel import log
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


Check = Callable[[Scene], Awaitable[None]]


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


async def adds(on: Scene) -> None:
    """By keyboard alone: an endpoint for chosen types; its secret once; a signed test and what came of it"""
    page = await opened(on)
    await on.shot(page, "1-empty")
    await press(page, "Add an endpoint")
    await at(page, "Add an endpoint")
    assert await page.evaluate("document.activeElement.id") == "heading"
    await page.press("Tab")
    assert await page.evaluate("document.activeElement.id") == "url"
    await page.type("ftp://nowhere")
    await page.press("Enter")
    await page.until("document.querySelector('#url').getAttribute('aria-invalid') === 'true'")
    assert await page.evaluate("document.activeElement.id") == "url"
    assert "http" in await page.evaluate("document.querySelector('#url-fault').textContent")
    await page.evaluate("document.querySelector('#url').select()")
    await page.type(on.receiver.url)
    await page.press("Tab")
    await page.type("The shop's orders")
    await page.evaluate("document.querySelector('#some').focus()")
    await page.press("Space")
    for value in ("chat.*", "session.escalated"):
        await page.evaluate(f"document.querySelector('input[value=\"{value}\"]').focus()")
        await page.press("Space")
    await page.evaluate("document.querySelector('#patterns').focus()")
    await page.type("*.failed")
    await on.shot(page, "2-form")
    await press(page, "Add")
    await at(page, on.receiver.url)
    secret = await page.evaluate("document.querySelector('.secret code').textContent")
    assert secret.startswith("whsec_")
    made = (await on.call("GET", "/api/v1/webhooks"))["items"][0]
    assert made["events"] == ["chat.*", "session.escalated", "*.failed"], made["events"]
    assert made["description"] == "The shop's orders"
    await on.shot(page, "3-secret")
    await press(page, "I have stored it")
    await page.until("!document.querySelector('.secret')")
    assert secret not in await page.evaluate("document.documentElement.outerHTML")
    await press(page, "Send a test")
    await hears(page, "The receiver answered 200")
    shown = await page.evaluate("document.querySelector('#test-outcome').innerText")
    assert "200" in shown and "x-receiver: shop/1.4" in shown.lower(), shown
    assert await page.evaluate("window.pwned === undefined && !document.querySelector('#test-outcome img')")
    await on.shot(page, "4-test")
    assert page.failures == [], page.failures


async def keeps_the_token(on: Scene) -> None:
    """The link's secret leaves the address at once, the session is in memory only; a reload needs a new link"""
    page = await on.browser.page()
    link = await on.link()
    await page.goto(link)
    await at(page, "Endpoints")
    token = link.partition("#")[2]
    assert token not in await page.evaluate("location.href")
    assert await page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert await page.evaluate("history.length") <= 2
    await page.call("Page.reload")
    await page.until("document.querySelector('main.over')")
    await page.goto(link)
    await page.until("document.querySelector('main.over') && document.body.innerText.includes('opened before')")
    await page.goto(await on.link())
    await at(page, "Endpoints")
    await page.evaluate("location.hash = '#types'")
    await at(page, "Event types")
    await page.goto(await on.link())
    await page.until("location.hash === '#types'")
    await page.goto(await on.link(capabilities=["read"]))
    await at(page, "Endpoints")
    await on.shot(page, "5-used")


async def shows_the_log(on: Scene) -> None:
    """Failures with every try, request and response; filters; one sent again, with its result"""
    hook = await on.call("POST", "/api/v1/webhooks", {"url": on.receiver.url + "/log", "events": ["user.*"]})
    on.receiver.status = 500
    event = await on.publish("user.created", {"user_id": "usr_1", "conversation_id": "conv_1"})
    await on.publish("user.erased", {"user_id": "usr_1"})
    page = await opened(on)
    await page.until(named("Deliveries", "nav a"))
    await press(page, "Deliveries")
    await at(page, "Deliveries")
    await page.until("document.querySelectorAll('tbody tr').length >= 2")
    await page.evaluate(f"document.querySelector('#webhook_id').value = {hook['webhook_id']!r}")
    await page.evaluate("document.querySelector('#event_type').value = 'user.created'")
    await press(page, "Filter")
    await page.until("document.querySelectorAll('tbody tr').length === 1")
    assert "webhook_id=" in await page.evaluate("location.hash")
    await page.until(
        "document.querySelector('tbody td').innerText === 'Retrying'"
        " || (document.querySelector('#refresh').click(), false)"
    )
    await on.shot(page, "6-log")
    await press(page, "user.created")
    await at(page, "user.created")
    text = await page.evaluate("document.querySelector('main').innerText")
    await on.shot(page, "7-delivery")
    for part in (event, "500", "webhook-signature", "usr_1", "shop/1.4", "Next try", "no success"):
        assert part.lower() in text.lower(), (part, text)
    await on.shot(page, "7-delivery")
    on.receiver.status = 200
    await press(page, "Send again")
    await hears(page, "There is a new try")
    assert await page.evaluate("document.activeElement.id") == "resend"
    await page.until("document.querySelector('.facts .badge').innerText === 'Delivered'")
    assert await page.evaluate("document.querySelectorAll('.cards > .card').length") >= 2
    assert page.failures == [], page.failures


async def goes_back(on: Scene) -> None:
    """The log page by page, the focus on the first that is new; what others wrote stays text; Back keeps the filter"""
    evil = "<img src=x onerror='window.pwned=1'>"
    asked = {"url": on.receiver.url + "/many", "events": ["quota.warning"], "description": evil}
    hook = await on.call("POST", "/api/v1/webhooks", asked)
    for n in range(30):
        await on.publish("quota.warning", {"quota": f"{evil} {n}"})
    page = await opened(on)
    assert evil in await page.evaluate("document.body.innerText")
    query = f"#deliveries?webhook_id={hook['webhook_id']}"
    await page.evaluate(f"location.hash = {query!r}")
    await page.until("document.querySelectorAll('tbody tr').length === 25")
    await press(page, "Show older")
    await page.until("document.querySelectorAll('tbody tr').length === 30")
    assert await page.evaluate("document.activeElement === document.querySelectorAll('tbody a')[25]")
    assert await page.evaluate(f"!({named('Show older')})")
    await page.press("Enter")
    await at(page, "quota.warning")
    assert evil in await page.evaluate("document.body.innerText")
    assert await page.evaluate("window.pwned === undefined && !document.querySelector('img')")
    await page.evaluate("history.back()")
    await at(page, "Deliveries")
    assert await page.evaluate("document.querySelector('#webhook_id').value") == hook["webhook_id"]
    assert page.failures == [], page.failures


async def rotates(on: Scene) -> None:
    """A new secret beside the old one, shown once; the old one revoked after a question"""
    hook = await on.call("POST", "/api/v1/webhooks", {"url": on.receiver.url + "/rotate", "events": ["user.*"]})
    page = await opened(on)
    await page.evaluate(f"location.hash = '#endpoints/{hook['webhook_id']}'")
    await at(page, hook["url"])
    await press(page, "Make a new secret")
    await page.until("document.querySelector('.secret code')")
    assert await page.evaluate("document.activeElement.id") == "secret"
    assert await page.evaluate("document.querySelector('.secret code').textContent") != hook["secret"]
    await page.until("document.querySelectorAll('[aria-labelledby=secrets-heading] tbody tr').length === 2")
    await on.shot(page, "8-rotated")
    await press(page, "Revoke")
    await page.until("document.querySelector('dialog[open]')")
    assert await page.evaluate("document.activeElement.textContent") == "Cancel"
    await page.press("Escape")
    await page.until("!document.querySelector('dialog')")
    assert len((await on.call("GET", f"/api/v1/webhooks/{hook['webhook_id']}/secrets"))["items"]) == 2
    await press(page, "Revoke")
    await page.press("Tab")
    await page.press("Enter")
    await hears(page, "Revoked")
    await page.until("document.querySelectorAll('[aria-labelledby=secrets-heading] tbody tr').length === 1")
    assert page.failures == [], page.failures


async def changes(on: Scene) -> None:
    """An endpoint is changed: a public key beside the secret, headers whose hidden values stay, a limit"""
    secretive = {"X-Api-Key": "k-123456", "X-Shop": "7"}
    hook = await on.call(
        "POST", "/api/v1/webhooks", {"url": on.receiver.url + "/change", "events": ["user.*"], "headers": secretive}
    )
    page = await opened(on)
    await page.evaluate(f"location.hash = '#endpoints/{hook['webhook_id']}/edit'")
    await at(page, "Change the endpoint")
    assert await page.evaluate("document.querySelector('input[value=\"user.*\"]').checked")
    assert await page.evaluate("document.querySelector('input[value=\"user.created\"]').disabled")
    await page.evaluate("document.querySelector('.more').open = true")
    await page.until("document.querySelector('#headers').value.includes('hidden')")
    assert "k-123456" not in await page.evaluate("document.querySelector('#headers').value")
    await page.evaluate("document.querySelector('#headers').value += '\\nX-New: a:b'")
    await page.evaluate("document.querySelector('#headers').value = headers.value.replace(/X-Shop.*/i, '')")
    await page.evaluate("document.querySelector('#signing').value = 'v1+v1a'")
    await page.evaluate("document.querySelector('#rate_limit').value = '0.5'")
    await page.evaluate("document.querySelector('#timeout_seconds').value = '45'")
    await page.evaluate("document.querySelector('.more').open = false")
    await press(page, "Save")
    await page.until("document.activeElement.id === 'timeout_seconds'")
    await page.evaluate("document.querySelector('#timeout_seconds').value = '9.5'")
    await on.shot(page, "14-options")
    await press(page, "Save")
    await at(page, hook["url"])
    assert await page.evaluate("document.querySelector('.secret code').textContent.startsWith('whpk_')")
    now = await on.call("GET", f"/api/v1/webhooks/{hook['webhook_id']}")
    assert {name.lower() for name in now["headers"]} == {"x-api-key", "x-new"}, now["headers"]
    told = (now["signing"], now["rate_limit"], now["timeout_seconds"], now["events"])
    assert told == ("v1+v1a", {"count": 1, "seconds": 2}, 9.5, ["user.*"]), told
    assert page.failures == [], page.failures


async def recovers(on: Scene) -> None:
    """What failed since a time, counted first; then with progress; off and on"""
    hook = await on.call(
        "POST", "/api/v1/webhooks", {"url": on.receiver.url + "/recover", "events": ["document.failed"]}
    )
    on.receiver.status = 500
    for n in range(3):
        await on.publish("document.failed", {"document_id": f"doc_{n}", "reason": "empty"})
    while (await on.call("GET", f"/api/v1/deliveries?webhook_id={hook['webhook_id']}"))["items"][-1]["attempts"] == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    on.receiver.status = 200
    page = await opened(on)
    await page.evaluate(f"location.hash = '#endpoints/{hook['webhook_id']}'")
    await at(page, hook["url"])
    await press(page, "Count")
    await page.until("document.querySelector('#recovery').innerText.includes('to send')")
    await on.shot(page, "9-recover")
    await press(page, "Send")
    await page.until("document.querySelector('#recovery').innerText.includes('Done')", 30)
    await press(page, "Disable")
    await page.press("Tab")
    await page.press("Enter")
    await hears(page, "Disabled")
    await page.until(named("Enable"))
    assert (await on.call("GET", f"/api/v1/webhooks/{hook['webhook_id']}"))["status"] == "disabled"
    await press(page, "Enable")
    await hears(page, "Enabled")
    await press(page, "Remove")
    await page.press("Tab")
    await page.press("Enter")
    await at(page, "Endpoints")
    assert page.failures == [], page.failures


async def is_framed(on: Scene) -> None:
    """In a frame of a named origin it works, tells its height and takes a new link; elsewhere it is not shown"""
    page = await on.browser.page()
    await page.size(1100, 800)
    await page.goto(on.host + "/")
    await page.evaluate(f"portal.src = {await on.link(origins=[on.host])!r}")
    await page.until("told.some(([origin, said]) => said.event === 'ready')")
    await page.until("told.some(([, said]) => said.event === 'height')")
    assert await page.evaluate(f"told.every(([origin]) => origin === {on.gateway!r})")
    again = await on.link(origins=[on.host])
    await page.evaluate(f"portal.contentWindow.postMessage({{link: {again!r}}}, '*')")
    await page.until("told.filter(([, said]) => said.event === 'ready').length === 2")
    await asyncio.sleep(0.5)
    await on.shot(page, "10-framed")
    stranger = await on.browser.page()
    await stranger.goto(on.host.replace("127.0.0.1", "localhost") + "/")
    await stranger.evaluate(f"portal.src = {await on.link(origins=[on.host])!r}")
    async with asyncio.timeout(10):
        while not any("frame-ancestors" in line for line in stranger.console):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert not await stranger.evaluate("told.length")


async def reads_only(on: Scene) -> None:
    """A link to look shows nothing to press"""
    await on.call("POST", "/api/v1/webhooks", {"url": on.receiver.url + "/look", "events": ["user.*"]})
    page = await opened(on, capabilities=["read"])
    assert not await page.evaluate(f"Boolean({named('Add an endpoint')})")
    await press(page, on.receiver.url + "/look")
    await at(page, on.receiver.url + "/look")
    for text in ("Disable", "Remove", "Change", "Send a test", "Make a new secret"):
        assert not await page.evaluate(f"Boolean({named(text)})"), text
    assert page.failures == [], page.failures


async def is_operable(on: Scene) -> None:
    """Names and roles of everything; the current place; skip link; enough contrast in both themes"""
    page = await opened(on)
    for place, heading in (
        ("#deliveries", "Deliveries"),
        ("#types", "Event types"),
        ("#endpoints/new", "Add an endpoint"),
    ):
        await page.evaluate(f"location.hash = {place!r}")
        await at(page, heading)
        names = await page.names()
        assert ("navigation", "Webhooks") in names
        assert ("main", "") in names
        bare = [
            role
            for role, name in names
            if role in ("button", "link", "textbox", "combobox", "checkbox", "radio", "dialog") and not name
        ]
        assert bare == [], (place, bare)
        for mode in ("light", "dark"):
            await page.evaluate(f"document.documentElement.dataset.mode = {mode!r}")
            poor = await page.evaluate(CONTRAST)
            assert poor == [], (place, mode, poor)
        await page.evaluate("delete document.documentElement.dataset.mode")
    assert await page.evaluate("document.querySelector('nav [aria-current=page]').textContent") == "Endpoints"
    page = await opened(on)
    await page.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"


# Every element with text of its own whose colour does not stand out from what is behind it by 4.5 (WCAG 2.2, 1.4.3).
CONTRAST = """(() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const says = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const seen = (e) => e.checkVisibility() && e.getClientRects().length && !e.closest('.hidden, .skip, option');
  return [...document.querySelectorAll('body *')].filter((e) => seen(e) && says(e)).map((e) => {
    const pair = [luminance(parse(getComputedStyle(e).color)), luminance(behind(e))].sort((x, y) => y - x);
    return [e.textContent.trim().slice(0, 40), e.className, (pair[0] + 0.05) / (pair[1] + 0.05)];
  }).filter(([, , ratio]) => ratio < 4.5);
})()"""


async def looks(on: Scene) -> None:
    """Dark, in the link's colour, on a phone without sideways scrolling"""
    page = await opened(on, theme={"name": "Blumenladen Krüger", "accent": "#f2b134", "mode": "dark"})
    await page.until("document.documentElement.dataset.mode === 'dark'")
    assert await page.evaluate("document.querySelector('h1').textContent") == "Blumenladen Krüger"
    primary = f"getComputedStyle({named('Add an endpoint')})"
    assert await page.evaluate(f"{primary}.backgroundColor") == "rgb(242, 177, 52)"
    assert await page.evaluate(f"{primary}.color") == "rgb(16, 21, 28)"
    await on.shot(page, "11-dark")
    await page.evaluate("location.hash = '#types'")
    await at(page, "Event types")
    await page.evaluate("document.querySelector('details').open = true")
    await on.shot(page, "12-types")
    phone = await opened(on, width=390, height=844)
    for place, heading in (
        ("#endpoints", "Endpoints"),
        ("#deliveries", "Deliveries"),
        ("#endpoints/new", "Add an endpoint"),
    ):
        await phone.evaluate(f"location.hash = {place!r}")
        await at(phone, heading)
        assert await phone.evaluate("document.documentElement.scrollWidth") <= 390, place
    await on.shot(phone, "13-phone")


CHECKS: tuple[Check, ...] = (
    *(
        adds,
        keeps_the_token,
        shows_the_log,
        goes_back,
        rotates,
        changes,
        recovers,
        is_framed,
        reads_only,
        is_operable,
        looks,
    ),
)


async def run(only: Sequence[str], shots: Path | None, executable: str) -> int:
    """How many checks failed."""
    failed = 0
    async with scene(shots, executable) as on:
        for check in CHECKS:
            if only and check.__name__ not in only:
                continue
            on.receiver.status = 200
            try:
                async with asyncio.timeout(120):
                    await check(on)
            except (AssertionError, TimeoutError, RuntimeError) as error:
                failed += 1
                where = traceback.extract_tb(error.__traceback__)
                line = next(frame for frame in reversed(where) if frame.filename == __file__)
                print(f"FAILED {check.__name__}: {check.__doc__}\n  {line.lineno}: {line.line}\n  {str(error)[:2000]}")
            else:
                print(f"ok     {check.__name__}: {check.__doc__}")
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="bench.portal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shots", type=Path, metavar="DIR", help="write screenshots there")
    parser.add_argument("--only", action="append", default=[], choices=[check.__name__ for check in CHECKS])
    options = parser.parse_args(argv)
    executable = program()
    if executable is None:
        print("bench.portal: there is no Chromium on the PATH", file=sys.stderr)
        return 2
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    log.configure("WARNING")
    return min(1, asyncio.run(run(options.only, options.shots, executable)))


if __name__ == "__main__":
    sys.exit(main())
