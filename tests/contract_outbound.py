"""What is asked of `send` and its companions, against a real server that answers as the platform does."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson

from channels.wire import Wire
from kernel.types import (
    Absent,
    Attachment,
    Channel,
    Disconnected,
    Health,
    InboundMessage,
    Json,
    NotSent,
    OutgoingFile,
    Refused,
    Reply,
    Sent,
    Unit,
    Unknown,
)
from tests.contract_case import TURN, Sample, wire_to
from tests.contract_inbound import told
from tests.contract_platform import MEANINGS, WAIT, opened

LONG_AGO = 1_000_000_000.0
ENDINGS = {"unauthorized": "refused", "broken": "away", "garbage": "away", "odd": "away", "unreachable": "away"}


def unit_for(channel: Channel, address: Json) -> Unit:
    (unit,) = channel.render(Reply("Open until **six**.", feedback=TURN), address)
    return unit


async def sends_mean_what_they_should(channel: Channel, sample: Sample) -> None:
    """One table for all platforms: every ending of a send, formatted or plain, in every kind of place."""
    if sample.api is None:
        client = await channel.open(sample.account, None)
        for address in sample.addresses:
            assert isinstance(await channel.send(client, address, unit_for(channel, address), False, "out_1"), Sent)
        return
    for situation, meaning in MEANINGS.items():
        for plain in (False, True):
            async with opened(channel, sample, situation) as (client, _, there):
                address = sample.addresses[len(there.calls) % len(sample.addresses)]
                unit = unit_for(channel, address)
                outcome = await channel.send(client, address, unit, plain, "out_1")
                assert type(outcome) is meaning, (situation, outcome)
                assert bool(there.calls) == (situation != "unreachable")
                _is_whole(outcome, situation, plain=plain)


def _is_whole(outcome: Any, situation: str, *, plain: bool) -> None:
    match outcome:
        case Sent(receipt):
            assert receipt
            assert orjson.loads(orjson.dumps(receipt)) == receipt
        case NotSent(retry_after=retry_after, scope=scope):
            assert scope in ("chat", "bot")
            assert retry_after == (WAIT if situation == "limited" else None)
        case Refused(code, reason, plainer, blocked):
            assert code
            assert reason
            assert not plainer or (situation == "malformed" and not plain)
            assert blocked == (situation == "forbidden") or situation == "gone"
        case Unknown(reason):
            assert reason


async def every_address_can_be_sent_to(channel: Channel, sample: Sample) -> None:
    """What `parse` puts into an address is what `send` needs, as it comes out of the database."""
    if sample.api is None or sample.updates is None:
        return
    async with opened(channel, sample, "accepted") as (client, _, _):
        for name, update in sample.updates.told.items():
            address = orjson.loads(orjson.dumps(told(channel, sample.account, update).address))
            sent = await channel.send(client, address, unit_for(channel, address), False, f"out_{name}")
            assert isinstance(sent, Sent), (name, sent)
            await channel.typing(client, address)


async def edits_may_be_repeated(channel: Channel, sample: Sample) -> None:
    """The same message twice, and every failure as a value, as with `send`."""
    edit = channel.edit
    if edit is None or sample.api is None:
        return
    address = sample.addresses[0]
    unit = unit_for(channel, address)
    async with opened(channel, sample, "accepted") as (client, _, _):
        sent = await channel.send(client, address, unit, False, "out_1")
        assert isinstance(sent, Sent)
        once = await edit(client, address, sent.receipt, unit, False, "out_1")
        assert isinstance(once, Sent)
        assert await edit(client, address, once.receipt, unit, False, "out_1") == once
    for situation, meaning in MEANINGS.items():
        async with opened(channel, sample, situation) as (client, _, _):
            outcome = await edit(client, address, sent.receipt, unit, False, "out_1")
            assert type(outcome) is meaning, (situation, outcome)


async def uploads_end_as_sends_do(channel: Channel, sample: Sample) -> None:
    """A file may take several calls, so that one of the first to fail means that surely nothing was sent."""
    upload = channel.upload
    if upload is None or sample.api is None:
        return
    file = OutgoingFile("a.txt", "text/plain", b"Open until six.", "Here it is")
    for situation, meaning in MEANINGS.items():
        for address in sample.addresses if situation != "accepted" else ():
            async with opened(channel, sample, situation) as (client, _, _):
                outcome = await upload(client, address, file, "out_1")
                assert isinstance(outcome, (meaning, NotSent) if meaning is Unknown else meaning), (situation, outcome)
                _is_whole(outcome, situation, plain=True)


Call = Callable[[Any, Wire], Awaitable[Any]]


def _companions(channel: Channel, sample: Sample) -> dict[str, tuple[Call, tuple[type, ...]]]:
    """Everything else that asks the platform, with what it may return."""
    account, url = sample.account, "https://gateway.example/channels/x/acc_1"
    address = sample.addresses[0]
    unit = unit_for(channel, address)
    calls: dict[str, tuple[Call, tuple[type, ...]]] = {
        "typing": (lambda client, _: channel.typing(client, address), (type(None),)),
    }
    if (find := channel.find) is not None:
        found = (Sent, Absent, Unknown)
        calls["find"] = (lambda client, _: find(client, address, unit, "out_1", LONG_AGO), found)
    if (preview := channel.preview) is not None:
        shown = (dict, type(None))
        calls["show"] = (lambda client, _: preview.show(client, address, {}, "Open until", "turn_1"), shown)
        calls["recover"] = (lambda client, _: preview.recover(client, address, "turn_1", LONG_AGO), shown)
    if (acknowledge := channel.acknowledge) is not None:
        pressed = _pressed(channel, sample)
        calls["acknowledge"] = (lambda client, _: acknowledge(client, pressed, "Thank you"), (type(None),))
    if (fetch := channel.fetch) is not None:
        file = _file(channel, sample)
        calls["fetch"] = (lambda client, _: fetch(client, file, 1 << 20), (bytes, Refused, NotSent))
    if (probe := channel.probe) is not None:
        calls["probe"] = (lambda client, _: probe(client, account, url), (Health,))
    if (install := channel.install) is not None:
        calls["install"] = (lambda _, wire: install(account, wire, url), (dict, Refused, NotSent))
    if (uninstall := channel.uninstall) is not None:
        calls["uninstall"] = (lambda _, wire: uninstall(account, wire), (type(None), Refused, NotSent))
    if (history := channel.history) is not None:

        async def read(client: Any, wire: Wire) -> list[Json] | None:
            try:
                return [update async for update in history(client, account, LONG_AGO, [address])]
            except Disconnected:
                return None

        calls["history"] = (read, (list, type(None)))
    return calls


def _pressed(channel: Channel, sample: Sample) -> InboundMessage:
    assert sample.updates is not None
    assert sample.updates.praise is not None
    return told(channel, sample.account, sample.updates.praise)


def _file(channel: Channel, sample: Sample) -> Attachment:
    assert sample.updates is not None
    assert sample.updates.file is not None
    return told(channel, sample.account, sample.updates.file).attachments[0]


async def nothing_else_raises(channel: Channel, sample: Sample) -> None:
    """Whatever the platform does, `find`, `fetch`, `probe` and the others answer with a value of theirs."""
    if sample.api is None:
        return
    for name, (call, kinds) in _companions(channel, sample).items():
        for situation in MEANINGS:
            if situation == "accepted":
                continue  # the answer is that of `send`: what these make of theirs is tested with the simulators
            if name == "history" and situation in ("limited", "silent"):
                continue  # it may wait as long as it is asked to
            async with opened(channel, sample, situation) as (client, wire, _):
                outcome = await call(client, wire)
                assert isinstance(outcome, kinds), (name, situation, outcome)
                if situation != "gone" and name == "find":
                    assert not isinstance(outcome, Sent), situation
                if name in ("install", "uninstall") and outcome is not None:
                    assert situation == "odd" or not isinstance(outcome, dict), situation


async def listening_ends_with_a_reason(channel: Channel, sample: Sample) -> None:
    """Disconnected and nothing else; `refused` when a person has to act, `away` when trying again may help."""
    listen = channel.listen
    if listen is None:
        return

    async def take(update: Json, raw: bytes) -> Json | None:
        raise AssertionError("nothing was said")

    for situation, kind in ENDINGS.items():
        async with opened(channel, sample, situation) as (client, _, _):
            try:
                async with asyncio.timeout(20):
                    await listen(client, sample.account, take, lambda: None)
                raise AssertionError("listening ended without a reason")
            except Disconnected as ended:
                assert ended.kind == kind, situation
                assert ended.reason


async def clients_leave_nothing_open(channel: Channel, sample: Sample) -> None:
    """A client closes what it opened, and leaves the process's sessions to the process."""
    before = _open_sessions()
    wire = wire_to(sample, "http://127.0.0.1:1")
    client = await channel.open(sample.account, wire)
    if client is not None:
        await client.close()
        await client.close()
    assert not wire.sessions.send.closed
    assert not wire.sessions.poll.closed
    await wire.close()
    assert _open_sessions() - before == set()


def _open_sessions() -> set[int]:
    return {id(one) for one in gc.get_objects() if isinstance(one, aiohttp.ClientSession) and not one.closed}


def capabilities_fit_together(channel: Channel, sample: Sample) -> None:
    assert not (channel.find and channel.idempotent), "what may be repeated need not be looked for"
    if channel.preview is not None:
        assert not channel.preview.lasting or channel.edit, "a lasting preview is replaced by an edit"
        assert all(channel.preview.floor(address) > 0 for address in sample.addresses)
    assert not channel.uninstall or channel.install
    assert not channel.history or channel.listen or channel.install
    assert not channel.immediate or sample.signing
    assert not channel.acknowledge or sample.buttons
    assert bool(sample.api) == (channel.pace is not None), "whoever calls a platform keeps to its pace"
    if channel.pace is not None:
        for address in sample.addresses:
            pace = channel.pace(address)
            assert min(pace.bot, pace.bot_burst, pace.chat, pace.chat_burst) > 0
            assert pace.chat <= pace.bot


CHECKS = (
    sends_mean_what_they_should,
    every_address_can_be_sent_to,
    edits_may_be_repeated,
    uploads_end_as_sends_do,
    nothing_else_raises,
    listening_ends_with_a_reason,
    clients_leave_nothing_open,
    capabilities_fit_together,
)
