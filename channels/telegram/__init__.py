"""Telegram: a bot's updates in, replies out. https://core.telegram.org/bots/api"""

from channels.telegram.buttons import acknowledge
from channels.telegram.client import TelegramClient, open_client
from channels.telegram.draft import PREVIEW
from channels.telegram.files import fetch
from channels.telegram.install import install, open_bot, pace, probe, uninstall
from channels.telegram.modes import CALLED, MODES
from channels.telegram.parse import parse
from channels.telegram.poll import PollError, connect, disconnect, get_updates, next_offset
from channels.telegram.render import render
from channels.telegram.room import room
from channels.telegram.send import send, typing
from channels.telegram.upload import upload
from channels.telegram.verify import verify
from channels.wire import Sessions, open_sessions
from kernel.types import Channel

CHANNEL = Channel(
    "telegram",
    verify,
    parse,
    render,
    send,
    typing,
    open_bot,
    modes=MODES,
    called=CALLED,
    room=room,
    install=install,
    uninstall=uninstall,
    upload=upload,
    preview=PREVIEW,
    acknowledge=acknowledge,
    fetch=fetch,
    probe=probe,
    pace=pace,
)

__all__ = [
    "CHANNEL",
    "PollError",
    "Sessions",
    "TelegramClient",
    "connect",
    "disconnect",
    "get_updates",
    "next_offset",
    "open_client",
    "open_sessions",
    "parse",
    "render",
    "send",
    "typing",
    "verify",
]
