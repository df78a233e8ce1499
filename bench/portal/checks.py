"""What is looked at on the page."""

from __future__ import annotations

import asyncio
import functools

from bench.pages import Check
from bench.portal.manners import is_framed, is_operable, looks, reads_only
from bench.portal.scene import Scene, at, hears, named, opened, press


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


def _well(check: Check[Scene]) -> Check[Scene]:
    """The check, with a receiver that takes everything until it is told otherwise."""

    @functools.wraps(check)
    async def checked(on: Scene) -> None:
        on.receiver.status = 200
        await check(on)

    return checked


CHECKS: tuple[Check[Scene], ...] = tuple(
    _well(check)
    for check in (
        adds, keeps_the_token, shows_the_log, goes_back, rotates, changes, recovers, is_framed, reads_only, is_operable,
        looks,
    )
)  # fmt: skip
