"""`python -m bench.widget [--shots DIR]`: the web widget in a real Chromium, on a strict page of another origin.

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
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from bench.browser import Browser, Page, browser, program
from bench.stores import stores
from channels.web import signature_of
from gateway.server import listening, open_app
from gateway.services import open_ground, open_services
from kernel import log
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


Check = Callable[[Scene], Awaitable[None]]


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
            tools = Tools(nothing, answer, RedisSteps(ground.redis, 60), 5)
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


async def talks(on: Scene) -> None:
    """By keyboard alone; pieces of the answer while it is made; tables, code, links, sources; no style of the host's"""
    page = await opened(on)
    await on.shot(page, "1-empty")
    draft = f"{ROOT}.querySelector('.draft')"
    await page.evaluate(
        f"window.drafts = 0; new MutationObserver(() => {{ if ({draft}.querySelector('p')) window.drafts++ }})"
        f".observe({draft}, {{childList: true, subtree: true}})"
    )
    await said(page, "When are you open?")
    assert await page.evaluate("window.drafts") > 3
    await on.shot(page, "2-answer-light")
    held = f"{ROOT}.querySelector('.log .bot[data-seq]')"
    assert await page.evaluate(f"{held}.querySelectorAll('table tbody tr').length") == 2
    assert await page.evaluate(f"{held}.querySelector('pre code').className") == "language-python"
    assert await page.evaluate(f"{held}.querySelector('.body a').rel") == "noopener nofollow"
    assert await page.evaluate(f"[...{held}.querySelectorAll('.sources li')].length") == 2
    assert await page.evaluate(f"{held}.querySelector('sup a').href") == "https://shop.example/hours"
    assert await page.evaluate(f"getComputedStyle({held}.querySelector('p')).textTransform") == "none"
    assert page.failures == [], page.failures


async def is_operable(on: Scene) -> None:
    """Names and roles, focus kept inside and given back, Escape"""
    page = await opened(on)
    names = await page.names()
    assert ("dialog", "Ask the shop") in names, names
    for wanted in (("button", "Close chat"), ("textbox", "Write a message"), ("log", "Conversation")):
        assert wanted in names, (wanted, names)
    for shift in (False, True):
        for _ in range(12):
            await page.press("Tab", shift=shift)
            assert await page.evaluate(
                f"document.activeElement === {ROOT}.host && {ROOT}.activeElement.closest('.panel') !== null"
            )
    await page.press("Escape")
    assert await page.evaluate(
        f"{ROOT}.querySelector('.panel').hidden && {ROOT}.activeElement.className === 'launcher'"
    )
    assert await page.evaluate(f"{ROOT}.activeElement.getAttribute('aria-expanded')") == "false"


async def resumes(on: Scene) -> None:
    """After a reload: open as before, with all that was said, and the rating given"""
    page = await opened(on)
    await said(page, "remember me")
    await page.evaluate(f"{ROOT}.querySelector('[aria-label=Helpful]').click()")
    await page.until(f"{ROOT}.querySelector('[aria-label=Helpful]').getAttribute('aria-pressed') === 'true'")
    await asyncio.sleep(0.3)
    await page.goto(f"{on.page}/")
    await page.until(f"window.Parley && {TEXTS}.length === 2")
    assert await page.evaluate(TEXTS) == ["remember me", "You said: remember me"]
    assert not await page.evaluate(f"{ROOT}.querySelector('.panel').hidden")
    assert await page.evaluate(f"{ROOT}.querySelector('[aria-label=Helpful]').getAttribute('aria-pressed')") == "true"
    await page.evaluate(f"{ROOT}.querySelector('[aria-label=\"Not helpful\"]').click()")
    await page.until(f"!{ROOT}.querySelector('.why').hidden")
    await on.shot(page, "3-feedback")
    await page.evaluate(f"{ROOT}.querySelector('.why input').focus()")
    await page.type("too short")
    await page.press("Enter")
    await page.until(f"{ROOT}.querySelector('.why [role=status]')")
    await asyncio.sleep(0.5)
    async with on.api.get("/api/v1/feedback?rating=down") as response:
        assert "too short" in [item["comment"] for item in (await response.json())["items"]]


async def is_safe(on: Scene) -> None:
    """Hostile answers and hostile messages stay text"""
    page = await opened(on)
    await said(page, "hostile <img src=x onerror='window.pwned=4'>")
    inside = f"{ROOT}.querySelectorAll('.log img, .log script, .log [onclick], .log a[href^=javascript]').length"
    assert await page.evaluate(inside) == 0
    assert await page.evaluate("window.pwned === undefined")
    assert (await page.evaluate(TEXTS))[0] == "hostile <img src=x onerror='window.pwned=4'>"
    # Even if the gateway's HTML were hostile, it would be taken apart: its tags are copied from a short list.
    evil = "<p onclick=x>a<img src=x onerror=window.pwned=5><svg onload=window.pwned=6></svg>"
    evil += "<a href='javascript:x'>b</a></p>"
    await on_history(page, evil)
    await page.goto(f"{on.page}/")
    await page.until(f"window.Parley && {TEXTS}.includes('ab')")
    assert await page.evaluate(inside.replace("img,", "img, .log svg:not(.opinion svg),")) == 0
    assert await page.evaluate("window.pwned === undefined")


async def on_history(page: Page, html: str) -> None:
    """From now on the history that the page gets holds this HTML."""
    import base64
    import json

    async def changed(params: Json) -> None:
        request = params["requestId"]
        if params["request"]["method"] != "GET":
            await page.call("Fetch.continueRequest", requestId=request)
            return
        got = await page.call("Fetch.getResponseBody", requestId=request)
        body = json.loads(base64.b64decode(got["body"]) if got["base64Encoded"] else got["body"])
        for item in body["items"]:
            item["html"] = html
        await page.call(
            "Fetch.fulfillRequest",
            requestId=request,
            responseCode=200,
            responseHeaders=params["responseHeaders"],
            body=base64.b64encode(json.dumps(body).encode()).decode(),
        )

    page.handlers["Fetch.requestPaused"] = changed
    await page.call("Fetch.enable", patterns=[{"urlPattern": "*/messages?*", "requestStage": "Response"}])


async def survives(on: Scene) -> None:
    """An acknowledgement that gets lost: sent again under the same id, and taken once"""
    page = await opened(on)
    await said(page, "first")
    lost = 0

    async def lose(params: Json) -> None:
        nonlocal lost
        if params["request"]["method"] == "POST" and not lost:
            lost += 1
            await page.call("Fetch.failRequest", requestId=params["requestId"], errorReason="ConnectionReset")
        else:
            await page.call("Fetch.continueRequest", requestId=params["requestId"])

    page.handlers["Fetch.requestPaused"] = lose
    await page.call("Fetch.enable", patterns=[{"urlPattern": "*/messages", "requestStage": "Response"}])
    await said(page, "only once")
    await page.until(f"!{ROOT}.querySelector('.outgoing')")
    await asyncio.sleep(1)
    assert lost == 1
    assert await page.evaluate(TEXTS) == ["first", "You said: first", "only once", "You said: only once"]


async def waits(on: Scene) -> None:
    """Offline it says so and sends when it is back; where the gateway refuses, it gives up and sends at a word"""
    page = await opened(on)
    await said(page, "before")
    await page.offline(True)
    await page.type("while offline")
    await page.press("Enter")
    await page.until(f"{ROOT}.querySelector('.notice').textContent.includes('offline')")
    await on.shot(page, "4-offline")
    await page.offline(False)
    await page.until(f"{TEXTS}.length === 4 && {ROOT}.querySelector('.notice').hidden", 40)
    assert (await page.evaluate(TEXTS))[2:] == ["while offline", "You said: while offline"]

    async def refuse(params: Json) -> None:
        await page.call("Fetch.failRequest", requestId=params["requestId"], errorReason="ConnectionRefused")

    page.handlers["Fetch.requestPaused"] = refuse
    await page.call("Fetch.enable", patterns=[{"urlPattern": "*/messages"}])
    await page.type("while away")
    await page.press("Enter")
    await page.until(f"{ROOT}.querySelector('.failed button')", 40)
    await on.shot(page, "4-not-sent")
    await page.call("Fetch.disable")
    await page.evaluate(f"{ROOT}.querySelector('.failed button').click()")
    await page.until(f"{TEXTS}.length === 6")
    assert (await page.evaluate(TEXTS))[4:] == ["while away", "You said: while away"]


async def counts(on: Scene) -> None:
    """Unread messages on the closed chat's button, gone when it is opened"""
    query = f"?data-user-id=ann&data-signature={signature_of(on.secret, 'ann', None)}&data-name=Ann"
    page = await opened(on, query)
    await said(page, "hello")
    await page.press("Escape")
    async with on.api.get("/api/v1/users") as response:
        ann = next(user for user in (await response.json())["items"] if user["display_name"] == "Ann")
    async with on.api.post(
        "/api/v1/notifications", json={"user_id": ann["user_id"], "text": "It is **here**."}
    ) as sent:
        assert sent.status < 300, await sent.text()
    await page.until(f"{ROOT}.querySelector('.badge').textContent === '1' && window.Parley.unread === 1")
    assert "1 unread" in await page.evaluate(f"{ROOT}.querySelector('.launcher').getAttribute('aria-label')")
    await on.shot(page, "5-unread")
    await page.evaluate("Parley.open()")
    assert await page.evaluate(f"{ROOT}.querySelector('.badge').hidden")


async def knows(on: Scene) -> None:
    """A guest who signs in keeps the conversation; who signs out leaves none behind; a forged word is refused"""
    page = await opened(on)
    await said(page, "as a guest")
    signature = signature_of(on.secret, "ben", None)
    await page.evaluate(f"Parley.identify({{userId: 'ben', signature: '{signature}'}})")
    await page.until(f"{TEXTS}[0] === 'as a guest' && {TEXTS}.length === 2")
    await said(page, "as ben")
    await page.evaluate("Parley.logout()")
    await page.until(f"{ROOT}.querySelectorAll('.log .message[data-seq], .log .user').length === 0")
    await page.until(f"{ROOT}.querySelector('.log .bot')")
    kept = "Object.keys(localStorage).filter(name => name.startsWith('parley:') && name.includes(':user:')).length"
    assert await page.evaluate(kept) == 0
    await page.evaluate(f"Parley.identify({{userId: 'ben', signature: '{'0' * 64}'}})")
    await page.until(f"{ROOT}.querySelector('.notice').textContent.includes('verify')")
    assert await page.evaluate(f"{ROOT}.querySelector('textarea').disabled")
    await on.shot(page, "6-not-verified")
    early = await on.browser.page()
    await early.call("Page.addScriptToEvaluateOnNewDocument", source="window.Parley = [['open']]")
    await early.goto(f"{on.page}/")
    await early.until("window.Parley.isOpen")


async def looks(on: Scene) -> None:
    """Dark, on a phone, from right to left, with less motion, in another colour"""
    page = await opened(on)
    await page.media(prefers_color_scheme="dark")
    await said(page, "When are you open?")
    await on.shot(page, "7-answer-dark")
    phone = await opened(on, width=390, height=844)
    await said(phone, "When are you open?")
    await on.shot(phone, "8-phone")
    assert await phone.evaluate(f"{ROOT}.querySelector('.panel').getBoundingClientRect().width") == 390
    arabic = await opened(on, "?lang=ar&data-position=left&data-accent=%23f2b134")
    await said(arabic, "مرحبا، متى تفتحون؟")
    await on.shot(arabic, "9-right-to-left")
    assert await arabic.evaluate(f"getComputedStyle({ROOT}.querySelector('.launcher')).color") == "rgb(16, 21, 28)"
    calm = await opened(on)
    await calm.media(prefers_reduced_motion="reduce")
    assert await calm.evaluate(f"getComputedStyle({ROOT}.querySelector('.panel')).animationName") == "none"


async def is_kept_out(on: Scene) -> None:
    """On a page that is not among the origins nothing is shown, and the console says why"""
    page = await on.browser.page()
    await page.goto(on.page.replace("127.0.0.1", "localhost"))
    await page.until("window.Parley && window.Parley.version")
    async with asyncio.timeout(10):
        while not any("origins" in line for line in page.console):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await page.evaluate("document.querySelector('[data-parley]').hidden")


async def demonstrates(on: Scene) -> None:
    """The preview page"""
    page = await on.browser.page()
    await page.size(1100, 760)
    await page.goto(f"{on.gateway}/widget/demo/{on.account_id}")
    await page.until("window.Parley && window.Parley.version && !document.querySelector('[data-parley]').hidden")
    await page.evaluate("Parley.open()")
    await said(page, "hello")
    await on.shot(page, "10-demo")


CHECKS: tuple[Check, ...] = (
    *(talks, is_operable, resumes, is_safe, survives, waits, counts, knows, looks, is_kept_out, demonstrates),
)


async def run(only: Sequence[str], shots: Path | None, executable: str) -> int:
    """How many checks failed."""
    failed = 0
    async with scene(shots, executable) as on:
        for check in CHECKS:
            if only and check.__name__ not in only:
                continue
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
        prog="bench.widget", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shots", type=Path, metavar="DIR", help="write screenshots there")
    parser.add_argument("--only", action="append", default=[], choices=[check.__name__ for check in CHECKS])
    options = parser.parse_args(argv)
    executable = program()
    if executable is None:
        print("bench.widget: there is no Chromium on the PATH", file=sys.stderr)
        return 2
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    log.configure("WARNING")
    return min(1, asyncio.run(run(options.only, options.shots, executable)))


if __name__ == "__main__":
    sys.exit(main())
