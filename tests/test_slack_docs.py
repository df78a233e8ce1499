"""What docs/channels/slack.md tells operators to enter is what the bot needs."""

from __future__ import annotations

import re
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from channels.slack.commands import KNOWN
from channels.slack.install import SCOPES
from channels.slack.parse import parse
from kernel.types import Ignored
from tests.slack_parts import account, envelope

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "channels" / "slack.md").read_text(encoding="utf-8")
MANIFEST = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])


def test_the_manifest_asks_for_what_is_needed_and_each_scope_is_explained() -> None:
    assert tuple(MANIFEST["oauth_config"]["scopes"]["bot"]) == SCOPES
    table = PAGE.split("| scope | what for |")[1].split("\n\n")[0]
    assert sorted(
        re.findall(r"`([\w:]+)`", "".join(line.split("|")[1] for line in table.splitlines()[1:] if line))
    ) == sorted(SCOPES)


def test_every_event_of_the_manifest_is_understood_and_explained() -> None:
    events = MANIFEST["settings"]["event_subscriptions"]["bot_events"]
    assert len(events) == len(set(events)) == 8
    table = PAGE.split("| event | what for |")[1].split("\n\n")[0]
    for event in events:
        assert f"`{event}`" in table
        try:
            [found] = parse(account(), envelope({"type": event.partition(".")[0]}))
        except ValueError:
            continue  # understood, and found to lack its fields
        assert found != Ignored("unknown_event"), event


def test_the_commands_of_the_page_exist() -> None:
    for command in re.findall(r"`/parley (\w+)(?: CODE)?`", PAGE) + re.findall(r"`!(\w+)(?: CODE)?`", PAGE):
        assert command in KNOWN or command in ("question", "important"), command
