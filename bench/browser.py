"""A headless Chromium, driven by its own DevTools protocol over a websocket: https://chromedevtools.github.io/devtools-protocol/"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

Json = dict[str, Any]
_NAMES = ("chromium", "chromium-browser", "chrome-headless-shell", "google-chrome")
_KEYS = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "Tab": (9, ""),
    "Space": (32, " "),
}


def program() -> str | None:
    """Where a Chromium is on this machine."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Page:
    """One tab. `console` gathers what the page writes there, `failures` its uncaught exceptions."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.console: list[str] = []
        self.failures: list[str] = []
        self.handlers: dict[str, Callable[[Json], Any]] = {}

    async def call(self, method: str, **params: Any) -> Json:
        return await self._browser.call(method, params, self._session)

    def heard(self, method: str, params: Json) -> None:
        if method == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))
        elif method == "Runtime.exceptionThrown":
            detail = params["exceptionDetails"]
            self.failures.append(str(detail.get("exception", {}).get("description") or detail["text"]))
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        if handler := self.handlers.get(method):
            self._browser.start(handler(params))

    async def goto(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page, awaited. Raises RuntimeError for what it throws."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    async def until(self, expression: str, seconds: float = 15.0) -> None:
        """Returns when the expression is true. Raises TimeoutError naming it."""
        try:
            async with asyncio.timeout(seconds):
                while not await self.evaluate(f"Boolean({expression})"):  # noqa: ASYNC110
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise TimeoutError(f"never true: {expression}; console: {self.console[-5:]} {self.failures[-3:]}") from None

    async def press(self, key: str, *, shift: bool = False) -> None:
        code, text = _KEYS[key]
        common = {
            "key": text if key == "Space" else key,
            "code": key,
            "windowsVirtualKeyCode": code,
            "modifiers": 8 if shift else 0,
        }
        await self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=mobile
        )

    async def media(self, **features: str) -> None:
        """For instance media(prefers_color_scheme="dark")."""
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=wanted)

    async def offline(self, away: bool) -> None:
        await self.call(
            "Network.emulateNetworkConditions", offline=away, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    async def shot(self, path: Path) -> None:
        found = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    async def names(self) -> list[tuple[str, str]]:
        """(role, name) of everything that assistive technology sees, in order."""
        tree = (await self.call("Accessibility.getFullAXTree"))["nodes"]
        seen = [node for node in tree if not node["ignored"]]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in seen]


class Browser:
    """A running Chromium. Make it with `browser`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Json]] = {}
        self._pages: dict[str, Page] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.start(self._listen())

    def start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def call(self, method: str, params: Json, session: str = "") -> Json:
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(
            {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        )
        return await self._asked[number]

    async def page(self) -> Page:
        """A new tab in a profile of its own, as if in another person's browser."""
        context = (await self.call("Target.createBrowserContext", {}))["browserContextId"]
        target = (await self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context}))[
            "targetId"
        ]
        session = (await self.call("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            await page.call(f"{domain}.enable")
        return page

    async def _listen(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                asked = self._asked.pop(told["id"])
                if asked.done():
                    continue  # nobody waits any more
                if "error" in told:
                    asked.set_exception(RuntimeError(str(told["error"])))
                else:
                    asked.set_result(told["result"])
            elif page := self._pages.get(told.get("sessionId", "")):
                page.heard(told["method"], told["params"])

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def browser(executable: str) -> AsyncIterator[Browser]:
    """Runs a Chromium with an empty profile for as long as the block."""
    profile = Path(tempfile.mkdtemp(prefix="parley-browser-"))
    flags = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", "--no-first-run"]
    flags += ["--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-background-networking"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium refuses to start as root otherwise
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(executable, *flags, "about:blank", stdout=quiet, stderr=quiet)
    try:
        port, path = await _address(profile)
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=64 << 20) as socket,
        ):
            driven = Browser(socket)
            try:
                yield driven
            finally:
                await driven.close()
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _address(profile: Path) -> tuple[str, str]:
    written = profile / "DevToolsActivePort"
    async with asyncio.timeout(30):
        while not written.exists() or "\n" not in written.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    port, path = written.read_text().split("\n")[:2]
    return port, path
