"""What is looked at on the page."""

from __future__ import annotations

import asyncio
import re

from bench.browser import Page
from bench.pages import Check
from bench.widget.scene import ROOT, TEXTS, Scene, opened, said
from channels.web import signature_of
from kernel.types import Json


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


async def chooses(on: Scene) -> None:
    """What an answer lets one choose from has buttons; they go when one is pressed, and come again after a reload"""
    other, page = await opened(on), await opened(on)
    await said(other, "/link")
    told = await other.evaluate(f"{TEXTS}[1]")
    found = re.search(r"/link ([A-Z0-9]{4}-[A-Z0-9]{4})", told)
    assert found, told
    await said(page, f"/link {found[1]}")
    choices = f"[...{ROOT}.querySelectorAll('.suggestions:not([hidden]) button')].map(b => b.textContent)"
    await page.until(f"{choices}.length === 2")
    await page.goto(f"{on.page}/")
    await page.until(f"window.Parley && {TEXTS}.length === 2")
    assert await page.evaluate(choices) == ["Link them", "Don't link"]
    await on.shot(page, "3b-choices")
    await page.evaluate(f"{ROOT}.querySelector('.suggestions button').click()")
    await page.until(f"{TEXTS}.length === 4")
    assert (await page.evaluate(f"{TEXTS}[3]")).startswith("Done.")
    assert await page.evaluate(choices) == []


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


CHECKS: tuple[Check[Scene], ...] = (
    talks, is_operable, resumes, chooses, is_safe, survives, waits, counts, knows, looks, is_kept_out, demonstrates,
)  # fmt: skip
