"""Slack: an app's events in, over HTTP or Socket Mode, replies out. https://docs.slack.dev"""

from channels.slack.assistant import typing
from channels.slack.install import install, open_bot, probe
from channels.slack.listen import listen
from channels.slack.parse import parse
from channels.slack.render import render
from channels.slack.requests import decode, immediate
from channels.slack.send import edit, pace, send
from channels.slack.verify import verify
from kernel.types import Channel

CHANNEL = Channel(
    "slack",
    verify,
    parse,
    render,
    send,
    typing,
    open_bot,
    decode=decode,
    immediate=immediate,
    install=install,
    edit=edit,
    listen=listen,
    probe=probe,
    pace=pace,
)
