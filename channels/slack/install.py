"""A bot's client, what connecting it means, and whether it is still whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels.slack.client import SDK_SECONDS, NoAnswer, NotConnected, SlackClient
from kernel.types import Account, Health, Json, NotSent, Refused

if TYPE_CHECKING:
    from channels.slack.client import Answer
    from channels.wire import Wire

# What the bot needs, and what for: docs/channels/slack.md
SCOPES = (
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "mpim:history",
    "mpim:read",
    "reactions:read",
)
NEEDED = ("app_mentions:read", "channels:history", "chat:write", "im:history")  # the others may be left out on purpose
TOKEN_IS_OUT = (
    "invalid_auth",
    "not_authed",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "not_allowed_token_type",
)


async def open_bot(account: Account, wire: Wire) -> SlackClient:
    return SlackClient(account, wire.settings.slack_api_base_url, wire.sessions.send)


async def install(account: Account, wire: Wire, url: str) -> Json | Refused | NotSent:
    """Checks the tokens and returns the bot's profile: id, bot_user_id, bot_id, team, team_name, username, app_id.

    Slack has no call that sets the request URL: a person enters it in the app's settings. An account that is to be
    installed by OAuth has no bot yet, and so an empty profile.
    """
    client = await open_bot(account, wire)
    if account.mode == "socket":
        opened = await _asked(client, "apps.connections.open", client.app_token)
        if isinstance(opened, Refused | NotSent):
            return opened
    if not account.credentials.get("bot_token"):
        return {}
    me = await _asked(client, "auth.test", client.token(""))
    return me if isinstance(me, Refused | NotSent) else _profile(me)


async def _asked(client: SlackClient, method: str, token: str) -> Json | Refused | NotSent:
    try:
        answer = await client.call("", method, {}, float(SDK_SECONDS), form=True, token=token)
    except (NotConnected, NoAnswer) as error:
        return NotSent(str(error), scope="bot")
    return answer.data if answer.ok else refusal(answer)


def refusal(answer: Answer) -> Refused | NotSent:
    if answer.retry_after is not None or answer.status >= 500:
        return NotSent(answer.error, answer.retry_after, "bot")
    return Refused("unauthorized" if answer.error in TOKEN_IS_OUT else "bad_request", answer.error)


def _profile(me: Json) -> Json:
    team, user = str(me.get("team_id") or ""), str(me.get("user_id") or "")
    return {
        "id": f"{team}:{user}",
        "bot_user_id": user,
        "bot_id": str(me.get("bot_id") or ""),
        "team": team,
        "team_name": str(me.get("team") or ""),
        "username": str(me.get("user") or ""),
        "app_id": str(me.get("app_id") or ""),
    }


async def probe(client: SlackClient, account: Account, url: str) -> Health:
    """Whether every token still opens its workspace with the scopes that we need. Slack cannot be asked whether events
    reach us: that shows in when the last one came."""
    faults: list[str] = []
    notes: list[str] = []
    teams = client.tokens
    for team, token in teams.items():
        name = team or "the bot token"
        try:
            answer = await client.call(team, "auth.test", {}, form=True, token=token)
        except (NotConnected, NoAnswer) as error:
            faults.append(f"{name}: Slack does not answer ({error})")
            continue
        if not answer.ok:
            faults.append(f"{name}: {answer.error}")
            continue
        missing = [scope for scope in SCOPES if answer.scopes and scope not in answer.scopes]
        if missing:
            (faults if set(missing) & set(NEEDED) else notes).append(f"{name}: missing scopes {', '.join(missing)}")
    if not teams:
        return Health(False, "the app is not installed in any Slack workspace yet")
    good = f"{len(teams)} workspace{'s' if len(teams) > 1 else ''}: tokens good"
    return Health(not faults, "; ".join(faults or [good, *notes]))
