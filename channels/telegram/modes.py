"""How a Telegram bot hears, and what it is known by."""

from kernel.platform import Credential, Mode

_TOKEN = (Credential("token", "Bot token (from @BotFather)", r"^[0-9]{1,20}:[A-Za-z0-9_-]{5,100}$"),)
MODES = {"webhook": Mode(_TOKEN, made="webhook_secret"), "polling": Mode(_TOKEN)}
CALLED = "Telegram delivers an update, proven by the secret header that setWebhook was given"
