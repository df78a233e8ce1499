"""Every row of the channels' table against the contract that `kernel.types.Channel` writes down."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from channels.table import CHANNELS
from kernel.types import Channel, Ignored, InboundMessage, Parsed, Unit
from tests.contract_case import Sample  # comes first: it has the assertions of the others explained
from tests.contract_discord import SAMPLE as DISCORD
from tests.contract_doors import CHECKS as DOORS
from tests.contract_inbound import CHECKS as INBOUND
from tests.contract_outbound import CHECKS as OUTBOUND
from tests.contract_pulled import REST, WEB
from tests.contract_replies import CHECKS as REPLIES
from tests.contract_slack import SAMPLE as SLACK
from tests.contract_telegram import SAMPLE as TELEGRAM

Check = Callable[[Channel, Sample], Awaitable[None] | None]

SAMPLES: dict[str, Sample] = {
    "telegram": TELEGRAM,
    "slack": SLACK,
    "discord": DISCORD,
    "rest": REST,
    "web": WEB,
}
CHECKS: tuple[Check, ...] = (*INBOUND, *DOORS, *REPLIES, *OUTBOUND)


async def keeps(check: Check, channel: Channel, sample: Sample) -> None:
    outcome: Any = check(channel, sample)
    if outcome is not None:
        await outcome


@pytest.mark.parametrize("channel", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
async def test_the_contract(check: Check, channel: Channel) -> None:
    await keeps(check, channel, SAMPLES[channel.kind])


def _named(parsed: list[Parsed], **more: Any) -> list[Parsed]:
    return [replace(one, **more) if isinstance(one, InboundMessage) else one for one in parsed]


async def _raising(*_: Any) -> Any:
    raise RuntimeError("nobody expected this")


_TELEGRAM, _SLACK = CHANNELS["telegram"], CHANNELS["slack"]


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        ("requests_without_proof_are_not", replace(_SLACK, verify=lambda *_: True)),
        ("genuine_requests_are_let_in", replace(_SLACK, verify=lambda *_: False)),
        (
            "proofs_are_compared_in_constant_time",
            replace(_TELEGRAM, verify=lambda a, h, b: h["X-Telegram-Bot-Api-Secret-Token"] == a.credentials["token"]),
        ),
        (
            "dedupe_keys_are_stable_and_apart",
            replace(_TELEGRAM, parse=lambda a, u: _named(_TELEGRAM.parse(a, u), external_id="1")),
        ),
        (
            "places_are_told_apart",
            replace(_TELEGRAM, parse=lambda a, u: _named(_TELEGRAM.parse(a, u), conversation_key="1")),
        ),
        (
            "nothing_secret_is_kept",
            replace(_TELEGRAM, parse=lambda a, u: _named(_TELEGRAM.parse(a, u), address=a.credentials)),
        ),
        ("parse_is_pure", replace(_TELEGRAM, parse=lambda a, u: [Ignored(str(u.popitem()))])),
        ("parse_is_pure", replace(_TELEGRAM, parse=lambda a, u: [Ignored(str(a.settings.setdefault("seen", u)))])),
        ("anything_is_parsed_or_a_value_error", replace(_TELEGRAM, parse=lambda a, u: [u["message"]])),
        ("every_address_can_be_sent_to", replace(_TELEGRAM, send=_raising)),
        ("any_reply_is_shown", replace(_TELEGRAM, render=lambda r, a: [Unit({"text": r.markdown}, r.markdown)])),
        ("nothing_is_still_shown", replace(_TELEGRAM, render=lambda r, a: [])),
        ("edits_may_be_repeated", replace(_SLACK, edit=_raising)),
        ("nothing_else_raises", replace(_TELEGRAM, probe=_raising)),
        ("listening_ends_with_a_reason", replace(_SLACK, listen=_raising)),
        ("capabilities_fit_together", replace(_SLACK, edit=None)),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_a_channel_that_breaks_it_is_found_out(check: str, broken: Channel) -> None:
    """Otherwise the suite would prove nothing."""
    (found,) = [one for one in CHECKS if one.__name__ == check]
    with pytest.raises(
        (AssertionError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, ExceptionGroup)
    ):
        await keeps(found, broken, SAMPLES[broken.kind])


def test_every_channel_has_samples() -> None:
    assert SAMPLES.keys() == CHANNELS.keys()
    for kind, channel in CHANNELS.items():
        assert channel.kind == kind
        assert SAMPLES[kind].account.kind == kind


def test_the_table_costs_nobody_an_sdk() -> None:
    """A gateway without a Slack or Discord bot starts without their libraries."""
    look = "import channels.table, sys; print([n for n in ('slack_sdk', 'slack_bolt', 'discord') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
