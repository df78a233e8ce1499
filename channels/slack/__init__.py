"""Slack: an app's events in, over HTTP or Socket Mode, replies out. https://docs.slack.dev"""

from channels.slack.acknowledge import acknowledge
from channels.slack.assistant import typing
from channels.slack.fetch import fetch
from channels.slack.find import find
from channels.slack.history import history
from channels.slack.install import install, open_bot, probe
from channels.slack.listen import listen
from channels.slack.modes import CALLED, MODES
from channels.slack.parse import parse
from channels.slack.preview import PREVIEW
from channels.slack.render import render
from channels.slack.requests import decode, immediate
from channels.slack.room import room
from channels.slack.send import edit, pace, send
from channels.slack.upload import upload
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
    modes=MODES,
    called=CALLED,
    room=room,
    decode=decode,
    immediate=immediate,
    install=install,
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
