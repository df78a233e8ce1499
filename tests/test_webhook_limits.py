"""How fast endpoints and workspaces are sent to: the buckets, their twin in Redis, and what a claim makes of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from arq.connections import ArqRedis
from hypothesis import given
from hypothesis import strategies as st

from kernel.ids import new_id
from kernel.queue import open_redis
from kernel.ratelimit import Rate
from webhooks.limits import Group, Limits, spread, tokens


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(
    st.integers(1, 2_000), st.integers(1, 3_600), st.lists(st.tuples(st.floats(0, 5), st.integers(1, 400)), max_size=40)
)
async def test_no_stretch_of_time_sees_more_than_the_rate_and_half_a_second(
    count: int, seconds: int, steps: Sequence[tuple[float, int]]
) -> None:
    clock = Clock()
    limits, rate = Limits(clock=clock), spread(count, seconds)
    passed: list[tuple[float, int]] = []
    for wait, wanted in steps:
        clock.now += wait
        (granted,) = await limits.grant([Group(wanted, {"wh": rate})])
        assert 0 <= granted <= wanted
        passed.append((clock.now, granted))
    for start in range(len(passed)):
        total = 0
        for at, granted in passed[start:]:
            total += granted
            assert total <= rate.burst + (at - passed[start][0]) / rate.interval + 1e-3


async def test_rooms_are_what_the_next_claim_may_take() -> None:
    clock = Clock()
    limits, rate = Limits(clock=clock), Rate(10, 1, 5)
    assert limits.rooms() == {}
    assert await limits.grant([Group(3, {"wh": rate})]) == [3]
    assert limits.rooms() == {"wh": 2}
    assert await limits.grant([Group(3, {"wh": rate})]) == [2]
    assert limits.rooms() == {"wh": 0}
    clock.now += 0.1
    assert limits.rooms() == {"wh": 1}
    clock.now += 0.5
    assert limits.rooms() == {}  # full again, and forgotten


async def test_a_delivery_draws_from_its_endpoint_and_its_workspace() -> None:
    limits = Limits(clock=Clock())
    small, shared = Rate(2, 1, 2), Rate(5, 1, 5)
    groups = [Group(9, {"wh_a": small, "ws": shared}), Group(9, {"ws": shared}), Group(9, {})]
    assert await limits.grant(groups) == [2, 3, 9]
    assert limits.rooms() == {"wh_a": 0, "ws": 0}
    assert await limits.grant([Group(1, {"wh_b": small, "ws": shared})]) == [0]
    assert limits.rooms() == {"wh_a": 0, "ws": 0}


@pytest.mark.parametrize(
    ("ahead", "held"), [(-5.0, 5), (0.0, 5), (0.05, 4), (0.1, 4), (0.35, 1), (0.4, 1), (0.4999, 0), (0.5, 0), (3.0, 0)]
)
def test_tokens_of_a_bucket(ahead: float, held: int) -> None:
    assert tokens(ahead, Rate(10, 1, 5)) == held


async def test_all_processes_draw_from_the_same_bucket(redis: ArqRedis) -> None:
    one, two = Limits(redis), Limits(redis)
    subject, rate = new_id("wh"), Rate(10, 3_600, 10)
    assert await one.grant([Group(6, {subject: rate})]) == [6]
    assert await two.grant([Group(6, {subject: rate})]) == [4]
    assert await one.grant([Group(6, {subject: rate})]) == [0]
    assert two.rooms() == one.rooms() == {subject: 0}


async def test_redis_grants_what_the_pure_buckets_grant(redis: ArqRedis) -> None:
    """Rates so low that no token comes back while this runs."""
    dice = random.Random(7)
    for _ in range(60):
        rates = {new_id("wh"): Rate(count, 86_400, burst) for count, burst in ((7, 3), (9, 9), (5, 1))}
        there, here = Limits(redis), Limits(clock=Clock())
        for _ in range(dice.randint(1, 6)):
            groups = [
                Group(dice.randint(0, 6), {name: rates[name] for name in dice.sample(list(rates), dice.randint(0, 3))})
                for _ in range(dice.randint(1, 4))
            ]
            assert await there.grant(groups) == await here.grant(groups)
            assert there.rooms() == here.rooms()


async def test_without_redis_the_limit_is_one_of_this_process(redis: ArqRedis) -> None:
    gone = open_redis("redis://127.0.0.1:1")
    limits, subject, rate = Limits(gone), new_id("wh"), Rate(10, 3_600, 10)
    assert await limits.grant([Group(6, {subject: rate})]) == [6]
    assert await limits.grant([Group(6, {subject: rate})]) == [4]
    assert limits.rooms() == {subject: 0}
    assert await limits.grant([Group(6, {}), Group(1, {subject: rate})]) == [6, 0]
    await gone.aclose()
