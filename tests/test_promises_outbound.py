"""Promises about what goes out: once where the platform lets us know, and ambiguity is recorded, never hidden."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outbound import disposition
from gateway.services import Ground, Services
from kernel.types import Json, NotSent, Refused, SendOutcome, Sent, Unit, Unknown
from pipeline import outbox
from pipeline.outbox import Lane, Outbound
from simulators.telegram import people
from simulators.telegram.server import Simulator
from tests.gateway_parts import Scripted, gateway, simulator, telegram_account, until
from tests.test_promises_turns import arrival

ANN = 7


@dataclass
class Rig:
    ground: Ground
    workspace: str
    account: str
    sim: Simulator
    services: Services

    async def tell(self, number: int, chat: int = ANN) -> None:
        people.add_user(self.sim.world, chat, f"U{chat}")
        self.sim.say(chat, "/start")
        await self.services.intake.accept(arrival(self.account, number, chat=str(chat), text=f"n{number}"))

    def seen(self, chat: int = ANN) -> list[str]:
        return [entry["text"] for entry in self.sim.sends(chat) if entry["method"] == "sendMessage"]

    async def rows(self) -> list[Json]:
        async with self.ground.database.workspace(self.workspace) as conn:
            return [dict(row) for row in await conn.fetch("SELECT * FROM outbound_messages ORDER BY seq")]

    async def settled(self, count: int) -> list[Json]:
        async def done() -> bool:
            rows = await self.rows()
            return len(rows) == count and all(row["state"] in ("sent", "failed", "unknown") for row in rows)

        await until(done)
        return await self.rows()


async def rigged(ground: Ground, workspace_id: str, **settings: str) -> AsyncIterator[Rig]:
    async with simulator() as sim, gateway(ground, Scripted(), telegram_url=sim.url) as services:
        account = await telegram_account(ground, workspace_id, **settings)
        yield Rig(ground, workspace_id, account, sim, services)


@pytest.fixture
async def resending(ground: Ground, workspace_id: str) -> AsyncIterator[Rig]:
    async for rig in rigged(ground, workspace_id):
        yield rig


@pytest.fixture
async def holding(ground: Ground, workspace_id: str) -> AsyncIterator[Rig]:
    async for rig in rigged(ground, workspace_id, unknown_sends="hold"):
        yield rig


async def test_v4_an_ambiguous_send_is_sent_again_and_counted(resending: Rig) -> None:
    resending.sim.fault("drop_after", "sendMessage", count=1)
    await resending.tell(1)
    [row] = await resending.settled(1)
    assert (row["state"], row["ambiguous"], row["attempts"]) == ("sent", 1, 2)
    assert resending.seen() == ["you said: n1"] * 2


async def test_v4_or_held_for_a_person_who_decides(holding: Rig) -> None:
    holding.sim.fault("drop_after", "sendMessage", count=1)
    await holding.tell(1)
    [row] = await holding.settled(1)
    assert (row["state"], row["ambiguous"]) == ("unknown", 1)
    assert holding.seen() == ["you said: n1"]
    async with holding.ground.database.workspace(holding.workspace) as conn:
        assert await conn.fetchval("SELECT count(*) FROM events WHERE type = 'chat.response.failed'") == 1
        lane = await outbox.resend(conn, row["outbound_id"])
    assert lane
    holding.services.sender.wake(lane)
    [row] = await holding.settled(1)
    assert row["state"] == "sent"


async def test_a_request_that_never_arrived_is_no_ambiguity_for_the_user(resending: Rig) -> None:
    resending.sim.fault("status", "sendMessage", count=2, code=429, description="Too Many Requests", retry_after=0)
    await resending.tell(1)
    [row] = await resending.settled(1)
    assert (row["state"], row["ambiguous"]) == ("sent", 0)
    assert resending.seen() == ["you said: n1"]


async def test_v5_a_429_is_obeyed_for_its_chat_and_others_go_on(resending: Rig) -> None:
    resending.sim.fault(
        "status", "sendMessage", count=1, chat=ANN, code=429, description="Too Many Requests", retry_after=1
    )
    await resending.tell(1)

    async def refused() -> bool:
        return any(row["state"] == "pending" and row["attempts"] == 1 for row in await resending.rows())

    await until(refused)
    [row] = await resending.rows()
    assert (row["due_at"] - row["created_at"]).total_seconds() >= 1.0
    await resending.tell(2, chat=8)

    async def other() -> bool:
        return resending.seen(8) == ["you said: n2"]

    await until(other)
    assert resending.seen() == []
    rows = await resending.settled(2)
    assert [r["state"] for r in rows] == ["sent", "sent"]
    sent = next(r for r in rows if r["outbound_id"] == row["outbound_id"])
    assert sent["sent_at"] >= row["due_at"]


async def test_v5_two_chats_slowed_at_once_pause_the_bot(resending: Rig) -> None:
    resending.sim.fault("status", "sendMessage", count=2, code=429, description="Too Many Requests", retry_after=1)
    await asyncio.gather(resending.tell(1), resending.tell(2, chat=8))

    async def both() -> bool:
        rows = await resending.rows()
        return len(rows) == 2 and all(row["attempts"] >= 1 and row["state"] == "pending" for row in rows)

    await until(both)
    calls = dict(resending.sim.world.calls)
    await resending.tell(3, chat=9)
    await asyncio.sleep(0.3)
    assert dict(resending.sim.world.calls) == calls
    rows = await resending.settled(3)
    assert [row["state"] for row in rows] == ["sent"] * 3


async def test_refused_formatting_goes_out_plain_and_a_real_refusal_is_final(resending: Rig) -> None:
    resending.sim.fault("status", "sendMessage", count=1, code=400, description="Bad Request: can't parse entities: x")
    await resending.tell(1)
    [row] = await resending.settled(1)
    assert (row["state"], row["use_plain"]) == ("sent", True)
    resending.sim.fault("status", "sendMessage", count=1, code=400, description="Bad Request: chat not found")
    await resending.tell(2)
    rows = await resending.settled(2)
    assert rows[1]["state"] == "failed"
    assert "chat not found" in rows[1]["cause"]


async def test_a_sender_that_died_leaves_an_unknown_that_is_settled_by_policy(resending: Rig) -> None:
    """Claimed, then killed: nobody knows; the sweep puts it back, counted, and it leaves once more."""
    await resending.services.sender.stop(1)
    await resending.tell(1)

    async def waiting() -> bool:
        return len(await resending.rows()) == 1

    await until(waiting)
    async with resending.ground.database.workspace(resending.workspace) as conn:
        await conn.execute("UPDATE outbound_messages SET state = 'pending', token = ''")
    [row] = await resending.rows()
    lane = Lane(row["workspace_id"], row["conversation_id"])
    async with resending.ground.database.anywhere() as conn:
        [dead] = await outbox.claim_many(conn, [lane], 0.05)
        assert dead
        assert await outbox.claim_many(conn, [lane], 5.0) == [None]
        await asyncio.sleep(0.1)
        assert (lane, "pending") in await outbox.reap(conn, [], [])
        [alive] = await outbox.claim_many(conn, [lane], 5.0)
        assert alive and alive.ambiguous == 1
        late = await outbox.record_many(conn, [(dead, outbox.Disposition("sent", receipt={}))])
        assert late == [None]
        assert await outbox.record_many(conn, [(alive, outbox.Disposition("sent", receipt={"message_id": 1}))]) == [
            False
        ]


async def test_a_claim_that_was_held_up_is_handed_back_and_sent_once(resending: Rig) -> None:
    """As when the process is frozen between the commit that claims a unit and its send: it surely never left."""
    take = resending.services.sender.take
    late = [True]

    def held_up(claimed: Outbound, asked: float) -> None:
        take(claimed, asked - 60 if late and late.pop() else asked)

    resending.services.sender.take = held_up  # type: ignore[method-assign]
    await resending.tell(1)
    [row] = await resending.settled(1)
    assert (row["state"], row["ambiguous"], row["attempts"]) == ("sent", 0, 2)
    assert resending.seen() == ["you said: n1"]


async def test_units_of_a_reply_leave_in_order_even_when_one_must_wait(
    resending: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from channels.table import CHANNELS

    def in_three(reply: object, address: Json) -> list[Unit]:
        return [Unit({"text": part}, part) for part in ("first", "second", "third")]

    monkeypatch.setitem(CHANNELS, "telegram", dataclasses.replace(CHANNELS["telegram"], render=in_three))
    resending.sim.fault("status", "sendMessage", count=1, skip=1, code=429, description="Too Many", retry_after=0.2)
    await resending.tell(1)
    await resending.settled(3)
    assert resending.seen() == ["first", "second", "third"]


OUTCOMES = st.one_of(
    st.builds(Sent, st.just({"message_id": 1})),
    st.builds(NotSent, st.text(), st.none() | st.floats(0, 1e6)),
    st.builds(Refused, st.text(), st.text(), st.booleans(), st.booleans(), st.sampled_from(["", "-100"])),
    st.builds(Unknown, st.text()),
)


@given(OUTCOMES, st.integers(1, 200), st.booleans(), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_every_outcome_has_one_disposition(
    outcome: SendOutcome, attempts: int, plain: bool, hold: bool, rand: float
) -> None:
    sent = Outbound(Lane("w", "c"), "o", "t", "a", "m", Unit({}, ""), plain, attempts, 0, {}, None, 0.0)
    verdict = disposition(outcome, sent, hold=hold, rand=rand)
    assert verdict.state in ("sent", "pending", "failed", "unknown")
    assert verdict.ambiguous == isinstance(outcome, Unknown)
    if isinstance(outcome, NotSent) and outcome.retry_after is not None and verdict.state == "pending":
        assert verdict.delay >= outcome.retry_after
    if isinstance(outcome, Refused) and verdict.state == "pending":
        assert outcome.moved_to or (outcome.plainer and not plain)
    if isinstance(outcome, Unknown) and hold:
        assert verdict.state == "unknown"
