"""Telegram: a bot's updates in, replies out. https://core.telegram.org/bots/api"""

from channels.telegram.client import Sessions, TelegramClient, open_client, open_sessions
from channels.telegram.install import install, open_bot, uninstall
from channels.telegram.parse import parse
from channels.telegram.poll import PollError, connect, disconnect, get_updates, next_offset
from channels.telegram.render import render
from channels.telegram.send import send, typing
from channels.telegram.verify import verify
from kernel.types import Channel

CHANNEL = Channel("telegram", verify, parse, render, send, typing, open_bot, install=install, uninstall=uninstall)

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
