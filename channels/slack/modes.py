"""How a Slack app hears, and what it is known by. It is installed by its bot token, or by OAuth in any number of Slack
workspaces."""

from kernel.platform import Credential, Mode

_SIGNING, _APP = "Signing secret (Basic Information)", "App-level token (xapp-…, with connections:write)"
_BOT = Credential("bot_token", "Bot token (xoxb-…)", required=False)
_OAUTH = (Credential("client_id", required=False), Credential("client_secret", required=False))
_INSTALLED = (("bot_token",), ("client_id", "client_secret"))

MODES = {
    "webhook": Mode(
        (_BOT, Credential("signing_secret", _SIGNING), *_OAUTH, Credential("app_token", required=False)), _INSTALLED
    ),
    "socket": Mode(
        (_BOT, Credential("app_token", _APP), *_OAUTH, Credential("signing_secret", required=False)), _INSTALLED
    ),
}
CALLED = "Slack delivers an event, an interaction or a command, proven by its signature"
