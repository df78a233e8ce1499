"""The fault run: its ledger and its relay, and a short run in which nothing is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import re
import sys
import zlib
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bench.chaos.frames import Frames, unpacking
from bench.chaos.ledger import judge, long_text, message_of, messages, words
from bench.chaos.points import EVERYWHERE, ON_SOCKETS, POINTS
from bench.chaos.relay import WHOLE, Exchange, Relay, relaying
from bench.chaos.stand import free_ports
from channels.table import CHANNELS
from kernel.types import Reply

ROOT = Path(__file__).resolve().parent.parent


def test_the_ledger_finds_what_is_lost_doubled_out_of_order_or_astray() -> None:
    sent = {1: ["a", "b", "c"], 2: ["d", "e"], 3: ["f"]}
    good = judge(sent, sent, ())
    assert good.kept and (good.sent, good.answered) == (6, 6)
    assert judge(sent, {**sent, 2: ["d"]}, ()).lost == ["e"]
    assert judge(sent, {**sent, 3: ["f", "f"]}, ()).doubled == ["f"]
    doubtful = judge(sent, {**sent, 3: ["f", "f"]}, {"f"})
    assert doubtful.kept and doubtful.ambiguous == ["f"]
    swapped = judge(sent, {**sent, 1: ["b", "a", "c"]}, ())
    assert not swapped.kept and set(swapped.disordered) == {"a", "b"}
    assert not judge(sent, {}, ()).kept
    assert judge(sent, {**sent, 3: ["f", "a"]}, ()).astray == ["a"]
    assert judge(sent, {**sent, 4: ["a"]}, ()).astray == ["a"]


def test_what_somebody_was_told_had_failed_may_be_answered_once() -> None:
    sent = {1: ["a", "b"]}
    told = judge(sent, {1: ["b"]}, (), excused={"a"})
    assert told.kept and (told.sent, told.answered) == (1, 1)
    assert judge(sent, sent, (), excused={"a"}).kept and judge(sent, {1: ["b", "a"]}, (), excused={"a"}).kept
    assert judge(sent, {1: ["a", "a", "b"]}, (), excused={"a"}).doubled == ["a"]


@pytest.mark.parametrize(
    ("kind", "rows", "longest"), [("telegram", 160, 4096), ("discord", 90, 2000), ("slack", 160, 0)]
)
def test_a_long_text_may_be_written_and_is_answered_in_several_messages(kind: str, rows: int, longest: int) -> None:
    text = long_text("c12m34", rows)
    units = CHANNELS[kind].render(Reply(text), {})
    assert len(units) > 1 and (not longest or len(text) <= longest)
    shown = words(unit.plain for unit in units)
    assert shown == [f"c12m34p{n}" for n in range(rows)]
    assert {message_of(word) for word in shown} == {"c12m34"} and messages(shown) == 1


def test_frames_are_read_however_they_come() -> None:
    masked = bytes([0x81, 0x85, 1, 2, 3, 4]) + bytes(b ^ (n % 4 + 1) for n, b in enumerate(b"hello"))
    long = bytes([0x82, 126]) + (300).to_bytes(2) + b"x" * 300
    longer = bytes([0x82, 127]) + (70_000).to_bytes(8) + b"y" * 70_000
    ping = bytes([0x89, 0])
    stream = masked + ping + long + longer
    whole = Frames().feed(stream)
    assert whole == [b"hello", b"x" * 300, b"y" * 70_000]
    frames, found = Frames(), list[bytes]()
    for byte in stream:
        found += frames.feed(bytes([byte]))
    assert found == whole


def test_a_compression_that_goes_on_over_a_connection_is_taken_off() -> None:
    pack = zlib.compressobj()
    frames = Frames(unpacking("/gateway?v=10&compress=zlib-stream"))
    for text in (b"one", b"two"):
        body = pack.compress(text) + pack.flush(zlib.Z_SYNC_FLUSH)
        assert frames.feed(bytes([0x82, len(body)]) + body) == [text]
    assert unpacking("/link/?ticket=1") is None


class Scissors:
    """Cuts where a path says so."""

    async def asked(self, exchange: Exchange) -> bool:
        return exchange.path != "/never"

    async def answered(self, exchange: Exchange) -> int:
        return {"/unanswered": 0, "/half": len(exchange.answer) // 2}.get(exchange.path, WHOLE)

    async def passing(self, exchange: Exchange, piece: bytes, back: bool) -> int:
        return 0 if b"cut" in piece else WHOLE


async def test_the_relay_hands_everything_on_but_what_is_cut() -> None:
    arrived = list[str]()

    async def answer(request: web.Request) -> web.StreamResponse:
        arrived.append(request.path)
        if request.path == "/socket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(str(message.data))
            return socket
        return web.Response(text=request.path + (await request.read()).decode())

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    dead, port = free_ports(2)
    there = runner.addresses[0][1]
    relay = Relay(Scissors(), lambda head, body: [("gone", dead), ("here", there)], outward=False)
    root = f"http://127.0.0.1:{port}"
    async with relaying(relay, port), aiohttp.ClientSession() as http:
        for _ in range(2):
            async with http.post(f"{root}/kept", data="!") as response:
                assert (response.status, await response.text()) == (200, "/kept!")
        for path in ("/never", "/unanswered", "/half"):
            with pytest.raises(aiohttp.ClientError):
                async with http.post(root + path) as response:
                    await response.read()
        async with http.ws_connect(f"{root}/socket") as socket:
            await socket.send_str("hello")
            assert (await socket.receive()).data == "hello"
            await socket.send_str("cut")
            assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    await runner.cleanup()
    assert "/never" not in arrived and arrived.count("/unanswered") >= 1


async def ran(module: str) -> str:
    """What a short run of a program prints; it has to succeed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "--short",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 400)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_d1_a_short_fault_run_on_every_channel_loses_doubles_and_disorders_nothing() -> None:
    said = await ran("bench.chaos")
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if re.match(r"[a-z-]+( +[\d-]+){5}$", line)}
    assert set(rows) == {channel for channel, _ in EVERYWHERE} and set(ON_SOCKETS) < set(EVERYWHERE), said
    assert sum(int(cell) for row in rows.values() for cell in row if cell != "-") > len(POINTS) / 2, said


async def test_what_is_written_while_no_gateway_is_there_is_answered_once() -> None:
    said = await ran("bench.outage")
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.endswith(" s")}
    for channel in {channel for channel, _ in EVERYWHERE}:
        written, answered, lost, doubled, disordered = rows[channel][:5]
        assert int(written) == int(answered) > 0 and lost == doubled == disordered == "0", said
