"""Installing the app in further Slack workspaces: the link, the way there, and the code's exchange for a token.

https://docs.slack.dev/authentication/installing-with-oauth. What goes out and comes back is signed and expires: the
link, because whoever installs the app gets answers from this workspace's knowledge; the state, bound to the browser
that set out, so that nobody can be made to finish what another began.
"""

from __future__ import annotations

import hashlib
import hmac

from channels.slack.client import NoAnswer, NotConnected, SlackClient
from channels.slack.install import SCOPES, refusal
from kernel.types import Account, Json, NotSent, Refused

LINK_SECONDS = 7 * 86_400
STATE_SECONDS = 600


def sign(key: bytes, words: tuple[str, ...], expires: int) -> str:
    """A token that says: these words, until `expires` (epoch seconds)."""
    return f"{expires}.{_mark(key, words, expires)}"


def genuine(key: bytes, words: tuple[str, ...], token: str, now: float) -> bool:
    expires, _, mark = token.partition(".")
    if not (expires.isascii() and expires.isdecimal() and len(expires) < 16) or int(expires) < now:
        return False
    return hmac.compare_digest(_mark(key, words, int(expires)).encode(), mark.encode("utf-8", "surrogatepass"))


def _mark(key: bytes, words: tuple[str, ...], expires: int) -> str:
    return hmac.new(key, "|".join((*words, str(expires))).encode(), hashlib.sha256).hexdigest()


def ready(account: Account) -> bool:
    """Whether the account can be installed by OAuth."""
    return account.kind == "slack" and all(account.credentials.get(name) for name in ("client_id", "client_secret"))


def authorize_url(account: Account, page: str, redirect: str, state: str) -> str:
    """Where a person allows the app into their Slack workspace. `page` is Slack's own."""
    from slack_sdk.oauth import AuthorizeUrlGenerator

    generator = AuthorizeUrlGenerator(
        client_id=str(account.credentials["client_id"]),
        redirect_uri=redirect,
        scopes=list(SCOPES),
        authorization_url=page,
    )
    return generator.generate(state)


async def exchange_code(client: SlackClient, code: str, redirect: str) -> tuple[str, Json] | Refused | NotSent:
    """The team in which the app now is, and what is to be kept of it: bot_token, bot_user_id, team_name, scopes.

    Not through slack_sdk, which hands the secret over in a way that aiohttp is about to give up.
    """
    credentials = client.account.credentials
    asked = {
        "client_id": str(credentials["client_id"]),
        "client_secret": str(credentials["client_secret"]),
        "code": code,
        "redirect_uri": redirect,
    }
    try:
        answer = await client.call("", "oauth.v2.access", asked, form=True, token="")
    except (NotConnected, NoAnswer) as error:
        return NotSent(str(error))
    return _kept(answer.data) if answer.ok else refusal(answer)


def _kept(data: Json) -> tuple[str, Json] | Refused:
    team = data.get("team")
    if not isinstance(team, dict) or not team.get("id") or not data.get("access_token"):
        return Refused("no_team", "the app has to be installed in a workspace, not in an organization")
    kept = {
        "bot_token": str(data["access_token"]),
        "bot_user_id": str(data.get("bot_user_id") or ""),
        "team_name": str(team.get("name") or ""),
        "scopes": str(data.get("scope") or ""),
    }
    return str(team["id"]), kept


def with_team(credentials: Json, team: str, kept: Json) -> Json:
    return {**credentials, "teams": {**(credentials.get("teams") or {}), team: kept}}
