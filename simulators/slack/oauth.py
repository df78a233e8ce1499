"""Installing the app in a team: the page where a person allows it, and the code's exchange for a token.

https://docs.slack.dev/authentication/installing-with-oauth
"""

import base64
import binascii
import hmac
from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

from aiohttp import web

from simulators.slack.errors import SlackError
from simulators.slack.founding import install
from simulators.slack.ids import make_hex, make_token
from simulators.slack.params import Params
from simulators.slack.people import find_team, find_user
from simulators.slack.scopes import BOT_SCOPES
from simulators.slack.state import World
from simulators.slack.values import Grant, JsonObject

KNOWN = (
    *BOT_SCOPES,
    "channels:join",
    "channels:manage",
    "chat:write.public",
    "emoji:read",
    "groups:write",
    "links:read",
    "links:write",
    "metadata.message:read",
    "pins:read",
    "pins:write",
    "users.profile:read",
    "users:read.email",
    "users:write",
)


def authorize(world: World, query: Params) -> web.Response:
    """GET /oauth/v2/authorize: the page; with approve=1 (team, user) or deny=1 the way back to the app."""
    redirect = query.text("redirect_uri")
    if query.text("client_id") != world.app.client_id:
        return _page("Invalid client_id parameter", "", 400)
    if urlsplit(redirect).scheme not in ("http", "https"):
        return _page("redirect_uri did not match any configured URIs", "", 400)
    unknown = [scope for scope in query.names("scope") if scope not in KNOWN]
    if unknown or not query.names("scope"):
        return _page(f"Invalid permissions requested: {', '.join(unknown) or 'none'}", "", 400)
    state = {"state": query.text("state")}
    if query.flag("deny"):
        return _back(redirect, {"error": "access_denied"} | state)
    if not query.flag("approve"):
        return _choose(world, query)
    team = find_team(world, query.text("team") or None)
    first = next(iter(world.people(team.id)))
    user = find_user(world, team, query.text("user")) if query.has("user") else first
    code = f"{make_hex(world.rng, 12)}.{make_hex(world.rng, 12)}.{make_hex(world.rng, 64)}"
    scopes, own = tuple(query.names("scope")), tuple(query.names("user_scope"))
    world.grants[code] = Grant(code, team.id, user.id, scopes, own, redirect, world.tick())
    return _back(redirect, {"code": code} | state)


def _back(redirect: str, values: dict[str, str]) -> web.Response:
    parts = urlsplit(redirect)
    query = "&".join(filter(None, (parts.query, urlencode(values))))
    return web.Response(status=302, headers={"Location": urlunsplit(parts._replace(query=query))})


def _choose(world: World, query: Params) -> web.Response:
    """A link for each team, and one to refuse; links, because a form's way back would be barred by its page."""
    name = escape(world.app.name)
    scopes = "".join(f"<li>{escape(scope)}</li>" for scope in query.names("scope"))
    links = []
    for team in world.teams.values():
        target = urlencode(query.values | {"approve": "1", "team": team.id})
        again = " (installed already)" if world.installed(team.id) else ""
        links.append(f'<p><a class="primary" href="?{escape(target)}">Allow in {escape(team.name)}</a>{again}</p>')
    refuse = escape(urlencode(query.values | {"deny": "1"}))
    body = (
        f'<p>{name} asks for permission to:</p><ul>{scopes}</ul>{"".join(links)}<p><a href="?{refuse}">Cancel</a></p>'
    )
    return _page(f"Install {name}", body, 200)


def _page(title: str, body: str, status: int) -> web.Response:
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<link rel="stylesheet" href="../../oauth.css"><main><h1>{escape(title)}</h1>{body}</main></html>'
    )
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'self'", "Referrer-Policy": "no-referrer"}
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def access(world: World, params: Params, authorization: str) -> JsonObject:
    """oauth.v2.access: a code's exchange. Raises SlackError."""
    number, secret = _credentials(params, authorization)
    if number != world.app.client_id:
        raise SlackError("invalid_client_id")
    if not hmac.compare_digest(secret, world.app.client_secret):
        raise SlackError("bad_client_secret")
    grant = world.grants.pop(params.text("code"), None)
    if grant is None or world.tick() - grant.made > world.pace.grant:
        raise SlackError("invalid_code")
    if params.text("redirect_uri") not in ("", grant.redirect_uri):
        raise SlackError("bad_redirect_uri")
    made = install(world, grant.team, grant.scopes, installer=grant.user)
    team = world.teams[grant.team]
    person: JsonObject = {"id": grant.user}
    if grant.user_scopes:
        person |= {"scope": ",".join(grant.user_scopes), "token_type": "user"}
        person["access_token"] = make_token(world.rng, "xoxp")
    return {
        "app_id": world.app.id,
        "authed_user": person,
        "scope": ",".join(made.scopes),
        "token_type": "bot",
        "access_token": made.token,
        "bot_user_id": made.bot_user,
        "team": {"id": team.id, "name": team.name},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def _credentials(params: Params, authorization: str) -> tuple[str, str]:
    """client_id and client_secret, from HTTP Basic or from the arguments."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() != "basic":
        return params.text("client_id"), params.text("client_secret")
    try:
        number, _, secret = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return number, secret
