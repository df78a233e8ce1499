"""Natural batching: together while busy, alone when idle, split when one item is bad."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kernel.batcher import Closed, NaturalBatcher


async def test_items_that_wait_leave_together_and_in_order() -> None:
    batches: list[list[int]] = []

    async def flush(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        await asyncio.sleep(0)
        return [item * 10 for item in items]

    batcher = NaturalBatcher(flush)
    first = asyncio.create_task(batcher.submit(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(batcher.submit(n)) for n in range(1, 6)]
    assert await asyncio.gather(first, *rest) == [0, 10, 20, 30, 40, 50]
    assert batches == [[0], [1, 2, 3, 4, 5]]


async def test_submitting_the_moment_a_batch_returns_is_never_forgotten() -> None:
    async def flush(items: Sequence[int]) -> list[int]:
        return list(items)

    batcher = NaturalBatcher(flush)
    async with asyncio.timeout(5):
        for n in range(1000):
            assert await batcher.submit(n) == n


async def test_one_bad_item_does_not_fail_its_neighbours() -> None:
    async def flush(items: Sequence[int]) -> list[int]:
        await asyncio.sleep(0)
        if 3 in items:
            raise ValueError("three")
        return list(items)

    batcher = NaturalBatcher(flush)
    results = await asyncio.gather(*(batcher.submit(n) for n in range(6)), return_exceptions=True)
    assert [r for r in results if not isinstance(r, Exception)] == [0, 1, 2, 4, 5]
    assert isinstance(results[3], ValueError)


async def test_an_error_that_is_nobodys_fault_reaches_all_after_one_try() -> None:
    tries = 0

    async def flush(items: Sequence[int]) -> list[int]:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        raise OSError("gone")

    batcher = NaturalBatcher(flush, splits=lambda error: not isinstance(error, OSError))
    results = await asyncio.gather(*(batcher.submit(n) for n in range(6)), return_exceptions=True)
    assert all(isinstance(result, OSError) for result in results)
    assert tries == 1


async def test_a_cancelled_item_is_left_out_and_close_waits_for_the_rest() -> None:
    seen: list[int] = []

    async def flush(items: Sequence[int]) -> list[int]:
        seen.extend(items)
        await asyncio.sleep(0.01)
        return list(items)

    batcher = NaturalBatcher(flush, limit=1)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(3)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    await batcher.close()
    assert seen == [0, 1]
    assert [task.result() for task in tasks[:2]] == [0, 1]
    with pytest.raises(Closed):
        await batcher.submit(9)
