"""How the page behaves where it is embedded, to keyboards and screen readers, and to the eye."""

from __future__ import annotations

import asyncio

from bench.portal.scene import Scene, at, named, opened, press


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
