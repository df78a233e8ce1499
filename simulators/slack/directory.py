"""auth.test, users.*, bots.info, team.info: who is who."""

from simulators.slack.calls import Call
from simulators.slack.errors import SlackError
from simulators.slack.founding import uninstall
from simulators.slack.state import World
from simulators.slack.values import JsonObject, User


def auth_test(call: Call) -> JsonObject:
    team, install = call.world.teams[call.install.team], call.install
    return {
        "url": f"https://{team.domain}.slack.com/",
        "team": team.name,
        "user": call.world.users[install.bot_user].name,
        "team_id": team.id,
        "user_id": install.bot_user,
        "bot_id": install.bot_id,
        "app_id": call.world.app.id,
        "is_enterprise_install": False,
    }


def auth_revoke(call: Call) -> JsonObject:
    """The token dies, and with it the installation."""
    if call.params.flag("test"):
        return {"revoked": False}
    uninstall(call.world, call.install.team, "token_revoked")
    return {"revoked": True}


def users_info(call: Call) -> JsonObject:
    return {"user": profile(call.world, call.user())}


def users_list(call: Call) -> JsonObject:
    ours = [user for user in call.world.users.values() if user.team == call.install.team]
    page, cursor = call.page(ours)
    shown = [profile(call.world, user) for user in page]
    return {"members": shown, "cache_ts": int(call.world.now()), "response_metadata": {"next_cursor": cursor}}


def bots_info(call: Call) -> JsonObject:
    if call.params.text("bot") != call.install.bot_id:
        raise SlackError("bot_not_found")
    bot = {"id": call.install.bot_id, "deleted": False, "name": call.world.app.name, "updated": 0}
    return {"bot": bot | {"app_id": call.world.app.id, "user_id": call.install.bot_user, "icons": {}}}


def team_info(call: Call) -> JsonObject:
    team = call.world.teams.get(call.params.text("team") or call.install.team)
    if team is None or team.id != call.install.team:
        raise SlackError("team_not_found")
    shown = {"id": team.id, "name": team.name, "url": f"https://{team.domain}.slack.com/", "domain": team.domain}
    return {"team": shown | {"email_domain": "", "icon": {"image_default": True}}}


def profile(world: World, user: User) -> JsonObject:
    """The user object."""
    first, _, last = user.real_name.partition(" ")
    shown = {
        "real_name": user.real_name,
        "real_name_normalized": user.real_name,
        "display_name": user.name,
        "display_name_normalized": user.name,
        "first_name": first,
        "last_name": last,
        "team": user.team,
        "status_text": "",
        "status_emoji": "",
    }
    shown |= {"bot_id": user.bot_id, "api_app_id": world.app.id} if user.bot_id else {"email": _email(world, user)}
    return {
        "id": user.id,
        "team_id": user.team,
        "name": user.name,
        "real_name": user.real_name,
        "deleted": False,
        "tz": "Etc/UTC",
        "tz_label": "Coordinated Universal Time",
        "tz_offset": 0,
        "profile": shown,
        "is_bot": bool(user.bot_id),
        "is_app_user": False,
        "is_admin": False,
        "is_owner": False,
        "is_restricted": False,
        "updated": 0,
    }


def _email(world: World, user: User) -> str:
    return f"{user.name}@{world.teams[user.team].domain}.example"
