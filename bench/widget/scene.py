"""The stage on which the page is looked at, and what a visitor does there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from bench.browser import Browser, Page, browser
from bench.stores import stores
from gateway.server import listening, open_app
from gateway.services import open_ground, open_services
from identity.people import People
from kernel.settings import Settings
from kernel.types import Json
from pipeline.machine import Emit, Tools
from pipeline.steps import RedisSteps

ROOT = "document.querySelector('[data-parley]').shadowRoot"
TEXTS = f"[...{ROOT}.querySelectorAll('.log .message')].map(m => m.querySelector('.body').innerText.trim())"
TABLE = """We are open **six days a week** [1]; on public holidays we close at noon [2].

| Day | Opens | Closes |
|:----|------:|-------:|
| Monday to Friday | 9:00 | 18:30 |
| Saturday | 10:00 | 16:00 |

To check from a script:

```python
hours = requests.get("https://shop.example/hours.json").json()
```

- Walk in any time
- Or [book a visit](https://shop.example/visit)"""
HOSTILE = """Look: <img src=x onerror="window.pwned=1"> <script>window.pwned=2</script>
[click](javascript:window.pwned=3) ![pixel](https://evil.example/p.png)
<a href="https://evil.example" onclick="x">y</a>"""
SOURCES = [
    {"number": 1, "title": "Opening hours 2026", "url": "https://shop.example/hours", "quote": "We open at nine."},
    {"number": 2, "title": "Staff handbook, chapter 4: public holidays and shortened days", "url": "", "quote": ""},
]


@dataclass
class Scene:
    """A gateway, a page of another origin that embeds its chat, and a browser."""

    gateway: str
    page: str
    account_id: str
    secret: str
    api: aiohttp.ClientSession
    browser: Browser
    shots: Path | None

    async def shot(self, page: Page, name: str) -> None:
        if self.shots:
            await asyncio.sleep(0.25)  # the panel's entrance
            await page.shot(self.shots / f"{name}.png")


async def answer(question: str, history: Sequence[Json], hits: Sequence[Json], emit: Emit) -> Json:
    """Made in pieces, at the speed of a model."""
    text, citations = f"You said: **{question}**", []
    if "open" in question.lower():
        text, citations = TABLE, SOURCES
    elif "hostile" in question:
        text = HOSTILE
    elif "مرحبا" in question:
        text = "أهلاً بك! نحن مفتوحون من **التاسعة** صباحاً حتى السادسة مساءً.\n\n- السبت: من العاشرة\n- الأحد: مغلق"
    for at in range(0, len(text), 12):
        emit(text[at : at + 12])
        await asyncio.sleep(0.02)
    cited = [{"chunk_id": "chk_1", "document_id": "doc_1", **source} for source in citations]
    return {"text": text, "citations": cited, "grounded": True, "score": 1.0, "model": "scripted"}


async def nothing(workspace_id: str, query: str, history: Sequence[Json], k: int, *, public: bool) -> list[Json]:
    return []


@asynccontextmanager
async def host_pages(gateway: str, account_id: str) -> AsyncIterator[str]:
    """Somebody's site. `/?data-…=…` sets the script's attributes."""
    policy = (
        f"default-src 'none'; script-src {gateway}; connect-src {gateway}; style-src 'self'; "
        "require-trusted-types-for 'script'; trusted-types parley"
    )

    async def page(request: web.Request) -> web.Response:
        given = "".join(f' {name}="{value}"' for name, value in request.query.items() if name.startswith("data-"))
        language = request.query.get("lang", "en")
        direction = "rtl" if language == "ar" else "ltr"
        body = (
            f'<!doctype html><html lang="{language}" dir="{direction}"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/host.css"></head><body>'
            '<h1>A shop</h1><p>Words of the page.</p><button id="other">Another control</button>'
            f'<script src="{gateway}/widget.js" data-account="{account_id}"{given} async></script></body></html>'
        )
        return web.Response(text=body, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def style(request: web.Request) -> web.Response:
        text = (
            "body{font:16px Georgia;margin:40px;background:Canvas;color:CanvasText;color-scheme:light dark}"
            "button,p,div,h2{color:crimson !important;text-transform:uppercase;letter-spacing:4px}"  # it shouts
        )
        return web.Response(text=text, content_type="text/css")

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/host.css", style)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def scene(shots: Path | None, executable: str) -> AsyncIterator[Scene]:
    async with stores() as on:
        settings = Settings.read(on.environment(PARLEY_PUBLIC_URL=""))
        async with open_ground(settings, name="parley-widget") as ground:
            people = People(ground.database, ground.ring, ground.limiter)
            tools = Tools(nothing, answer, RedisSteps(ground.redis, 60), 5, people)
            headers = {"X-API-Key": await on.api_key(await on.workspace())}
            async with (
                open_services(ground, tools) as services,
                open_app(services) as app,
                listening(app, "127.0.0.1", 0) as url,
                aiohttp.ClientSession(url, headers=headers) as api,
                browser(executable) as driven,
            ):
                made = await _channel(api)
                async with host_pages(url, made["account_id"]) as page:
                    await api.patch(f"/api/v1/channels/{made['account_id']}", json={"settings": {"origins": [page]}})
                    yield Scene(url, page, made["account_id"], made["identity_secret"], api, driven, shots)


async def _channel(api: aiohttp.ClientSession) -> Json:
    settings = {
        "title": "Ask the shop",
        "greeting": "Hello! I know our opening hours, prices and how returns work.",
        "suggestions": ["When are you open?", "How do I return something?"],
    }
    async with api.post(
        "/api/v1/channels", json={"kind": "web", "mode": "api", "name": "Shop", "settings": settings}
    ) as response:
        made: Json = await response.json()
        return made


# What is looked at.


async def opened(on: Scene, query: str = "", *, width: int = 1100, height: int = 760) -> Page:
    """A new visitor on the host's page, the chat open."""
    page = await on.browser.page()
    await page.size(width, height, mobile=width < 600)
    await page.goto(f"{on.page}/{query}")
    await page.until("window.Parley && window.Parley.version && !document.querySelector('[data-parley]').hidden")
    await page.evaluate(f"{ROOT}.querySelector('.launcher').focus()")
    await page.press("Enter")
    await page.until(f"{ROOT}.activeElement && {ROOT}.activeElement.tagName === 'TEXTAREA'")
    return page


async def said(page: Page, text: str) -> None:
    """Writes a message and waits for the answer to it."""
    before = await page.evaluate(f"{ROOT}.querySelectorAll('.log .bot[data-seq]').length")
    await page.type(text)
    await page.press("Enter")
    await page.until(f"{ROOT}.querySelectorAll('.log .bot[data-seq]').length > {before}")
