"""How a Discord bot hears, and what it is known by."""

from kernel.platform import Credential, Mode

_BOT = Credential("bot_token", "Bot token (Developer Portal, Bot)")
_KEY, _APPLICATION = r"^[0-9a-fA-F]{64}$", Credential("application_id", pattern=r"^[0-9]{1,20}$", required=False)

MODES = {
    "socket": Mode((_BOT, Credential("public_key", pattern=_KEY, required=False), _APPLICATION)),
    "webhook": Mode((_BOT, Credential("public_key", "Public key (General Information)", _KEY), _APPLICATION)),
}
CALLED = "Discord delivers an interaction, proven by its signature"
