"""Installing a Slack app in further Slack workspaces by OAuth: a link, the way to Slack, and the way back."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from functools import partial
from html import escape

from pydantic import Field

from channels import accounts
from channels.slack import oauth
from gateway.web import Answer, Call, Route, Shape, View, instant
from kernel.errors import Conflict, InvalidRequest, NotFound, Unavailable
from kernel.types import Account, NotSent, Refused

_COOKIE = "parley_slack_install"
_LINK, _STATE = "slack install link", "slack install state"


class Invitation(Shape):
    key: str = Field("", max_length=200, description="As the link that was made has it")


class InstallLink(View):
    install_url: str = Field(description="For whoever is to add the app to their Slack workspace")
    expires_at: datetime


async def link(call: Call) -> dict[str, object]:
    """Whoever has the link can bring the bot, and with it answers from this workspace's knowledge, into their own Slack
    workspace, until it expires."""
    account_id = call.path["account_id"]
    async with call.database() as conn:
        await accounts.get(conn, account_id)
        account = await accounts.find(conn, call.services.ground.ring, account_id)
    if account is None or not oauth.ready(account):
        raise Conflict("only a Slack account with client_id and client_secret can be installed by OAuth")
    expires = int(time.time()) + oauth.LINK_SECONDS
    token = oauth.sign(call.services.ground.ring.derive(_LINK), (account_id,), expires)
    return {"install_url": f"{_root(call, account_id)}/install?key={token}", "expires_at": instant(expires)}


def _root(call: Call, account_id: str) -> str:
    public = call.services.ground.settings.public_url
    if not public:
        raise Conflict("OAuth needs PARLEY_PUBLIC_URL, to which Slack sends people back")
    return f"{public}/channels/slack/{account_id}"


async def begin(call: Call) -> Answer:
    """Sends the browser to Slack, with a state that only this browser can bring back."""
    asked: Invitation = call.query
    account = await _account(call)
    key = call.services.ground.ring.derive(_LINK)
    if not oauth.genuine(key, (account.account_id,), asked.key, time.time()):
        raise InvalidRequest("this link is not good, or not any more: ask for a new one")
    browser, expires = secrets.token_urlsafe(24), int(time.time()) + oauth.STATE_SECONDS
    state = oauth.sign(call.services.ground.ring.derive(_STATE), (account.account_id, browser), expires)
    page = call.services.ground.settings.slack_oauth_authorize_url
    url = oauth.authorize_url(account, page, f"{_root(call, account.account_id)}/oauth", state)
    return Answer(b"", headers={"Location": url, "Set-Cookie": _cookie(call, account, browser, oauth.STATE_SECONDS)})


def _cookie(call: Call, account: Account, value: str, seconds: int) -> str:
    secure = "; Secure" if call.services.ground.settings.public_url.startswith("https:") else ""
    path = f"/channels/slack/{account.account_id}/oauth"
    return f"{_COOKIE}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


async def _account(call: Call) -> Account:
    account = await call.services.directory.account(call.path["account_id"])
    if account is None or not oauth.ready(account):
        raise NotFound("there is no such app to install")
    return account


async def finish(call: Call) -> Answer:
    """Slack sends the browser back with `code` and `state`, or with `error`: the code becomes a token, which is kept
    with the account's others."""
    asked = call.request.query  # no model, because Slack may add to it
    code, state = asked.get("code", ""), asked.get("state", "")
    account = await _account(call)
    browser = call.request.cookies.get(_COOKIE, "")
    key = call.services.ground.ring.derive(_STATE)
    if not browser or not oauth.genuine(key, (account.account_id, browser), state, time.time()):
        raise InvalidRequest("this was not begun in this browser, or too long ago: open the link again")
    if not code:
        return _page(call, account, "Nothing was installed", "Slack was not allowed to add the app.")
    redirect = f"{_root(call, account.account_id)}/oauth"
    client = await call.services.directory.client(account)
    got = await oauth.exchange_code(client, code, redirect)
    if isinstance(got, Refused):
        raise InvalidRequest(f"Slack refuses: {got.reason}")
    if isinstance(got, NotSent):
        raise Unavailable(f"Slack cannot be reached: {got.reason}", retry_after=5.0)
    team, kept = got
    ground = call.services.ground
    async with ground.database.workspace(account.workspace_id) as conn:
        await accounts.amend(conn, ground.ring, account.account_id, partial(oauth.with_team, team=team, kept=kept))
    call.services.directory.forget(account.account_id)
    words = f"The bot is now in {kept['team_name'] or team}. Mention it in a channel, or write to it directly."
    return _page(call, account, "Installed", words)


def _page(call: Call, account: Account, title: str, words: str) -> Answer:
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<main><h1>{escape(title)}</h1><p>{escape(words)}</p></main></html>"
    )
    return Answer(body.encode(), headers={"Set-Cookie": _cookie(call, account, "", 0)})


ROUTES = [
    Route(
        "GET",
        "/api/v1/channels/{account_id}/install-link",
        link,
        "write",
        "A link by which somebody adds a Slack app to their Slack workspace",
        "channels",
        response=InstallLink,
        errors=(NotFound, Conflict),
    ),
    Route(
        "GET",
        "/channels/slack/{account_id}/install",
        begin,
        "public",
        "The way to Slack, where a person allows the app into their Slack workspace",
        "platforms",
        query=Invitation,
        status=302,
        media="text/html",
        errors=(NotFound, Conflict, InvalidRequest),
    ),
    Route(
        "GET",
        "/channels/slack/{account_id}/oauth",
        finish,
        "public",
        "The way back from Slack",
        "platforms",
        media="text/html",
        errors=(NotFound, Conflict, InvalidRequest, Unavailable),
    ),
]
