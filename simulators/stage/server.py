"""Three platforms on one stage: the simulated Telegram, Slack and Discord under one address, side by side on one page.

/telegram/…, /slack/… and /discord/… are the simulators as they are; / is the page on which a person chats as the same
people in all of them. /site/ is a made-up shop's page with a web chat on it, once PUT /stage/site has said which.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from simulators.discord import server as discord_server
from simulators.discord import state as discord_state
from simulators.slack import server as slack_server
from simulators.slack import state as slack_state
from simulators.telegram import people
from simulators.telegram import server as telegram_server
from simulators.telegram import state as telegram_state

HERE = Path(__file__).parent
FILES = {
    "/": ("page.html", "text/html"),
    "/stage.css": ("stage.css", "text/css"),
    "/site.css": ("site.css", "text/css"),
    "/stage.js": ("stage.js", "text/javascript"),
}
PEOPLE = ("Ada", "Ben", "Chloe")
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(slots=True)
class Site:
    """The web chat on the shop's page. root: of the server that the widget comes from; secret: what signs visitors."""

    root: str = ""
    account: str = ""
    secret: str = ""


SITE = web.AppKey("site", Site)


@dataclass(frozen=True, slots=True)
class Config:
    """Each simulator's own configuration."""

    telegram: telegram_state.Config = telegram_state.Config()
    slack: slack_state.Config = slack_state.Config()
    discord: discord_state.Config = discord_state.Config()


@dataclass(frozen=True, slots=True)
class Stage:
    """A running stage: its root, and the roots under which the platforms' APIs are reached."""

    url: str
    app: web.Application

    @property
    def telegram_url(self) -> str:
        return f"{self.url}/telegram"

    @property
    def slack_api_url(self) -> str:
        return f"{self.url}/slack/api/"

    @property
    def discord_api_url(self) -> str:
        return f"{self.url}/discord/api/v10"


def create_app(config: Config | None = None, *, public_url: str = "") -> web.Application:
    """The whole stage. `public_url` is where the platforms' clients reach it."""
    config = config or Config()
    app = web.Application(client_max_size=telegram_server.BODY_LIMIT)
    on_telegram = telegram_server.create_app(config.telegram)
    world = on_telegram[telegram_server.WORLD]
    if not world.users:
        for name in PEOPLE:
            people.add_user(world, None, name, name.lower())
    on_slack = slack_server.create_app(
        replace(config.slack, public_url=f"{public_url}/slack" if public_url else config.slack.public_url)
    )
    app.add_subapp("/telegram", on_telegram)
    app.add_subapp("/slack", on_slack)
    app.add_subapp("/discord", discord_server.create_app(config.discord))
    app[SITE] = Site()
    for route, (name, mime) in FILES.items():
        app.router.add_get(route, partial(_page, HERE / name, mime))
    app.router.add_get("/stage/site", _site)
    app.router.add_put("/stage/site", _name_site)
    app.router.add_get("/site/", _shop)
    return app


async def _page(path: Path, mime: str, _: web.Request) -> web.Response:
    headers = {**HEADERS, "Content-Security-Policy": POLICY}
    return web.Response(body=path.read_bytes(), content_type=mime, charset="utf-8", headers=headers)


async def _site(request: web.Request) -> web.Response:
    """Whether there is a chat to show; its secret stays here."""
    return web.json_response({"url": "site/" if request.app[SITE].root else ""})


async def _name_site(request: web.Request) -> web.Response:
    """Says which chat the shop's page shows: {"root", "account", "secret"}."""
    try:
        named = Site(**{name: str(value) for name, value in (await request.json()).items()})
    except (ValueError, TypeError, AttributeError):
        named = Site()
    if urlsplit(named.root).scheme not in ("http", "https") or not named.account:
        return web.json_response({"error": "give root (an http address), account and secret"}, status=400)
    site = request.app[SITE]
    site.root, site.account, site.secret = named.root, named.account, named.secret
    return await _site(request)


async def _shop(request: web.Request) -> web.Response:
    """The shop's page as one person sees it, signed in. The policy is that of a careful host."""
    site, person = request.app[SITE], request.query.get("person", "ada")
    signature = hmac.new(site.secret.encode(), f"{person}:".encode(), hashlib.sha256).hexdigest()
    shown = {
        "root": site.root, "account": site.account, "person": person, "name": person.capitalize(),
        "signature": signature,
    }  # fmt: skip
    template = (HERE / "site.html").read_text(encoding="utf-8")
    body = re.sub(r"\{\{(\w+)\}\}", lambda found: html.escape(shown[found.group(1)]), template)
    policy = (
        f"default-src 'none'; script-src {site.root}; connect-src {site.root}; style-src 'self'; img-src data:; "
        "base-uri 'none'; frame-ancestors 'self'"
    )
    headers = {**HEADERS, "Content-Security-Policy": policy}
    return web.Response(text=body, content_type="text/html", headers=headers)


@asynccontextmanager
async def run_stage(host: str = "127.0.0.1", port: int = 0, config: Config | None = None) -> AsyncIterator[Stage]:
    """Serve in this event loop; port 0 picks a free one."""
    known = f"http://{host}:{port}" if port else ""
    app = create_app(config, public_url=known)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield Stage(f"http://{host}:{runner.addresses[0][1]}", app)
    finally:
        await runner.cleanup()
