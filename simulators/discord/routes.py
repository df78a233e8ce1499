"""The table of operations, by the names that Discord's reference gives them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from simulators.discord import applications, commands, hooks, reading, threads, writing
from simulators.discord.calls import Call

Handler = Callable[[Call], Any | Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """auth: who may call: a bot with its token, "nobody" in particular, or whoever holds the token in the URL of an
    "interaction" or a "webhook" (which do not count against the bot's global limit)."""

    name: str
    verb: str
    path: str
    handler: Handler
    auth: str = "bot"


C = r"/channels/{channel:\d+}"
M = C + r"/messages/{message:\d+}"
R = M + "/reactions/{emoji}"
G = r"/guilds/{guild:\d+}"
A = r"/applications/{application:\d+}"
W = r"/webhooks/{application:\d+}/{token}"
H = W + r"/messages/{message:@original|\d+}"

ROUTES: tuple[Route, ...] = (
    Route("get_current_user", "GET", "/users/@me", reading.get_user),
    Route("get_user", "GET", r"/users/{user:\d+}", reading.get_other_user),
    Route("get_current_user_guilds", "GET", "/users/@me/guilds", reading.list_guilds),
    Route("create_dm", "POST", "/users/@me/channels", writing.open_dm),
    Route("get_current_application", "GET", "/applications/@me", reading.get_application),
    Route("edit_current_application", "PATCH", "/applications/@me", applications.edit_application),
    Route("get_current_bot_application", "GET", "/oauth2/applications/@me", reading.get_application),
    Route("get_gateway", "GET", "/gateway", reading.get_gateway, "nobody"),
    Route("get_gateway_bot", "GET", "/gateway/bot", reading.get_gateway_bot),
    Route("get_guild", "GET", G, reading.get_guild),
    Route("get_guild_channels", "GET", G + "/channels", reading.list_channels),
    Route("list_active_guild_threads", "GET", G + "/threads/active", reading.list_active_threads),
    Route("list_guild_members", "GET", G + "/members", reading.list_members),
    Route("get_guild_member", "GET", G + r"/members/{user:\d+}", reading.get_member),
    Route("get_channel", "GET", C, reading.get_channel),
    Route("get_messages", "GET", C + "/messages", reading.get_messages),
    Route("get_message", "GET", M, reading.get_message),
    Route("create_message", "POST", C + "/messages", writing.create_message),
    Route("edit_message", "PATCH", M, writing.edit_message),
    Route("delete_message", "DELETE", M, writing.delete_message),
    Route("trigger_typing", "POST", C + "/typing", writing.trigger_typing),
    Route("create_reaction", "PUT", R + "/@me", writing.create_reaction),
    Route("get_reactions", "GET", R, writing.get_reactions),
    Route("delete_reaction", "DELETE", R + r"/{user:@me|\d+}", writing.delete_reaction),
    Route("start_thread_from_message", "POST", M + "/threads", threads.start_from_message),
    Route("start_thread", "POST", C + "/threads", threads.start),
    Route("modify_channel", "PATCH", C, threads.modify),
    Route("join_thread", "PUT", C + "/thread-members/@me", threads.join),
    Route("leave_thread", "DELETE", C + "/thread-members/@me", threads.leave),
    Route("list_public_archived_threads", "GET", C + "/threads/archived/public", threads.list_archived),
    *(
        Route(f"{name}_{scope}_command{many}", verb, A + guild + "/commands" + tail, handler)
        for scope, guild in (("global", ""), ("guild", G))
        for name, many, verb, tail, handler in (
            ("get", "s", "GET", "", commands.list_commands),
            ("bulk_overwrite", "s", "PUT", "", commands.overwrite_commands),
            ("create", "", "POST", "", commands.create_command),
            ("get", "", "GET", r"/{command:\d+}", commands.get_command),
            ("edit", "", "PATCH", r"/{command:\d+}", commands.edit_command),
            ("delete", "", "DELETE", r"/{command:\d+}", commands.delete_command),
        )
    ),
    Route(
        "create_interaction_response",
        "POST",
        r"/interactions/{interaction:\d+}/{token}/callback",
        hooks.create_response,
        "interaction",
    ),
    Route("create_followup", "POST", W, hooks.create_followup, "webhook"),
    Route("get_response", "GET", H, hooks.get_message, "webhook"),
    Route("edit_response", "PATCH", H, hooks.edit_message, "webhook"),
    Route("delete_response", "DELETE", H, hooks.delete_message, "webhook"),
)
