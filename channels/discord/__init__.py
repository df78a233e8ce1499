"""Discord: messages over the gateway's socket, interactions over it or over HTTP, replies over REST.

https://docs.discord.com/developers
"""

from channels.discord.client import DiscordClient
from channels.discord.edits import PREVIEW, edit
from channels.discord.files import fetch
from channels.discord.find import find
from channels.discord.history import history
from channels.discord.install import install, open_bot, probe, uninstall
from channels.discord.interactions import immediate
from channels.discord.listen import listen
from channels.discord.modes import CALLED, MODES
from channels.discord.parse import parse
from channels.discord.reply import render_reply
from channels.discord.room import room
from channels.discord.send import acknowledge, send, typing
from channels.discord.upload import upload
from channels.discord.verify import verify
from kernel.platform import Pace
from kernel.types import Channel, Json

PACE = Pace(bot=50.0, bot_burst=50, chat=1.0, chat_burst=5)


def pace(address: Json) -> Pace:
    """Five messages in five seconds in a channel, fifty calls a second by a bot."""
    return PACE


CHANNEL = Channel(
    "discord",
    verify,
    parse,
    render_reply,
    send,
    typing,
    open_bot,
    modes=MODES,
    called=CALLED,
    room=room,
    immediate=immediate,
    install=install,
    uninstall=uninstall,
    edit=edit,
    find=find,
    upload=upload,
    preview=PREVIEW,
    acknowledge=acknowledge,
    listen=listen,
    history=history,
    fetch=fetch,
    probe=probe,
    pace=pace,
)

__all__ = ["CHANNEL", "DiscordClient", "parse", "render_reply", "send", "typing", "verify"]
