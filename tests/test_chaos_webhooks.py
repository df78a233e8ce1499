"""The sender's fault run: its ledger, its relay, its names and its clock, and a short run in which nothing is lost."""

from __future__ import annotations

import asyncio
import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.webhooks.chaos import names
from bench.webhooks.chaos.clock import Clock, offset_of, read_offset
from bench.webhooks.chaos.ledger import Ledger, Verdict, judge
from bench.webhooks.chaos.owing import CONVERSATIONS
from bench.webhooks.chaos.points import POINTS
from bench.webhooks.chaos.wire import Messages, Relay, relaying

ROOT = Path(__file__).resolve().parent.parent
STORED = {"evt_1": b"one", "evt_2": b"two"}


def verdict(*taken: tuple[str, str, bytes], delivered: tuple[tuple[str, str], ...] = (), bound: int = 0) -> Verdict:
    ledger = Ledger({"evt_1"})
    for endpoint, event_id, body in taken:
        ledger.take(endpoint, event_id, body)
    return judge(ledger, STORED, ["a"], delivered, bound)


def test_the_ledger_finds_what_is_lost_invented_changed_or_repeated() -> None:
    both = ("a", "evt_1", b"one"), ("a", "evt_2", b"two")
    good = verdict(*both, delivered=(("a", "evt_1"), ("a", "evt_2")))
    assert good.kept and (good.published, good.owed, good.taken) == (2, 2, 2)
    assert verdict(both[0]).lost == [("a", "evt_2")]
    assert not verdict(both[0]).kept
    assert verdict(*both, ("b", "evt_1", b"one")).invented == [("b", "evt_1")]
    assert verdict(both[0], ("a", "evt_2", b"other")).changed == [("a", "evt_2")]
    assert verdict(*both, ("a", "evt_2", b"other"), bound=1).changed == [("a", "evt_2")]
    assert verdict(both[0], delivered=(("a", "evt_2"),)).false == [("a", "evt_2")]
    again = verdict(*both, both[0], bound=1)
    assert again.kept and again.repeats == 1
    assert not verdict(*both, both[0], both[1], bound=1).kept
    assert judge(Ledger({"evt_9"}), {}, ["a"], (), 0).unstored == ["evt_9"]


@pytest.mark.parametrize(
    ("seen", "kept"),
    [
        ([(1, "a"), (2, "b"), (3, "c")], True),
        ([(1, "a"), (2, "b"), (1, "a"), (3, "c"), (2, "b")], True),
        ([(1, "a"), (3, "c"), (2, "b")], False),
        ([(1, "a"), (3, "c")], False),
        ([(1, "a"), (2, "b"), (2, "c")], False),
        ([(1, "a"), (2, "b"), (3, "a")], False),
    ],
)
def test_the_ledger_finds_what_is_out_of_order(seen: list[tuple[int, str]], kept: bool) -> None:
    ledger = Ledger()
    for number, event_id in seen:
        ledger.take_in_order("conv", number, event_id)
    assert judge(ledger, {}, [], (), 0).kept is kept


def message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!i", len(payload) + 4) + payload


def test_messages_are_read_however_they_come() -> None:
    stream = message(b"", b"startup") + message(b"P", b"s1\0SELECT\0\0\0") + message(b"S", b"")
    kinds = [(kind, payload) for kind, payload, _ in Messages(startup=True).feed(stream)]
    assert kinds == [(b"", b"startup"), (b"P", b"s1\0SELECT\0\0\0"), (b"S", b"")]
    messages, found = Messages(startup=True), list[tuple[bytes, bytes, bytes]]()
    for byte in stream:
        found += messages.feed(bytes([byte]))
    assert b"".join(whole for _, _, whole in found) == stream
    assert [(kind, payload) for kind, payload, _ in found] == kinds


class Watched:
    """Notes what it is asked, and cuts where it is told."""

    def __init__(self, cut: str = "") -> None:
        self.seen: list[str] = []
        self.cut = cut

    async def claimed(self, worker: str, rows: int) -> bool:
        self.seen.append(f"claimed {rows}")
        return self.cut != "claimed"

    async def recording(self, worker: str) -> bool:
        self.seen.append("recording")
        return self.cut != "recording"

    async def recorded(self, worker: str) -> bool:
        self.seen.append("recorded")
        return self.cut != "recorded"


def asks(statement: str, sql: str, *values: bytes) -> bytes:
    name = statement.encode() + b"\0"
    parameters = b"".join(struct.pack("!i", len(value)) + value for value in values)
    return (
        message(b"P", name + sql.encode() + b"\0\0\0")
        + message(b"B", b"\0" + name + struct.pack("!hh", 0, len(values)) + parameters + struct.pack("!h", 0))
        + message(b"S", b"")
    )


@pytest.mark.parametrize("cut", ["", "claimed", "recording", "recorded"])
async def test_the_relay_knows_claims_and_records_and_cuts_them(tmp_path: Path, cut: str) -> None:
    reached: list[bytes] = []

    async def postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        messages = Messages(startup=True)
        while data := await reader.read(4_096):
            for kind, payload, _ in messages.feed(data):
                if kind == b"P":
                    reached.append(payload)
                if kind == b"S":
                    writer.write(message(b"D", b"row") * 2 + message(b"Z", b"I"))
        writer.close()

    token = b"0123456789abcdef01234567"
    watch = Watched(cut)
    relay = Relay("w", watch, tmp_path / "pg")
    async with await asyncio.start_unix_server(postgres, tmp_path / "pg"), relaying(relay, tmp_path / "relay"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "relay")
        writer.write(message(b"", b"startup") + asks("s1", "SELECT 1"))
        await reader.readexactly(len(message(b"D", b"row") * 2 + message(b"Z", b"I")))
        for statement, sql in (("s2", "SELECT claim_deliveries($1)"), ("s3", "SELECT record_deliveries($1)")):
            writer.write(asks(statement, sql, token))
            answered = b""
            while not answered.endswith(message(b"Z", b"I")) and (data := await reader.read(4_096)):
                answered += data
        writer.close()
    expected = ["claimed 2", "recording", "recorded"]
    assert watch.seen == (expected[: expected.index(f"{cut} 2" if cut == "claimed" else cut) + 1] if cut else expected)
    assert list(relay.tokens) == [token.decode()]
    assert relay.claiming == 0
    assert any(b"record_deliveries" in payload for payload in reached) is (cut in ("", "recorded"))


async def test_names_flip_and_are_asked_by_our_own_question() -> None:
    async with names.serving() as (server, port):
        ask = names.asking(port)

        async def addresses() -> list[str]:
            return [entry[4][0] for entry in await asyncio.to_thread(ask, "flip.test", 80)]

        assert [await addresses() for _ in range(4)] == [[names.BAD], [names.GOOD]] * 2
        assert (server.asked["flip.test"], server.misled) == (4, 2)
        server.silent = True
        with pytest.raises(OSError, match="no name server"):
            await addresses()
        server.silent, server.honest = False, True
        assert [await addresses() for _ in range(2)] == [[names.GOOD]] * 2
        assert ask("127.0.0.1", 80)[0][4] == ("127.0.0.1", 80)


def test_a_stepped_clock_is_seen_by_other_processes(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    clock.step(3_600)
    clock.step(-5)
    assert read_offset(offset_of(clock.environment["CHAOS_CLOCK"])) == 3_595
    if clock.whole:
        code = "import time; print(time.time(), time.monotonic())"
        environment = {**os.environ, **clock.environment}
        said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        wall, monotonic = map(float, said.stdout.split())
        assert abs(wall - time.time() - 3_595) < 60 and abs(monotonic - time.monotonic()) < 60


async def test_kill_loop_clock_step_dns_flip_and_freeze_lose_nothing_in_a_short_run() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.webhooks.chaos", "--short",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 500)
    finally:
        if process.returncode is None:
            process.kill()
    said = output.decode()
    assert process.returncode == 0, said
    figures = {name.strip(): int(value) for name, value in re.findall(r"^(\D.*?) {2,}(\d+)(?: +\d+)?$", said, re.M)}
    assert figures["deliveries owed"] == figures["deliveries taken"] == 5 * figures["events published"] > 0, said
    assert figures["lost"] == figures["dials of a forbidden address"] == figures["bad signatures"] == 0, said
    assert figures["repeats with another id or other bytes"] == 0, said
    allowed = figures["… allowed: in hand at each fault"] + figures["… and answers lost on the way"]
    assert figures["taken more than once"] <= allowed, said
    assert all(figures[f"kill -9: {point}"] for point in POINTS), said
    assert figures["conversations with numbers in order"] == CONVERSATIONS and not figures["conversations out of order"]
    assert not figures["given up for another reason"], said
    assert figures["names that led to a forbidden address"], said
