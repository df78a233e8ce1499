"""The bench: its arithmetic, its protocol parsing, and each measurement with counts too small to mean anything."""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench import __main__ as runner
from bench import channels, embedding, intake, process, rendering, retrieval, streams, turns
from bench.goals import Outcome, above, below, judge, not_measured, percentile, table
from bench.load import Answers, Cost, answer_length, post
from bench.stores import Stores, stores


@pytest.fixture(scope="module")
async def on() -> AsyncIterator[Stores]:
    async with stores() as made:
        yield made


def test_verdicts_name_the_worst_part() -> None:
    assert [above(x, 0.5, 0.8) for x in (0.4, 0.5, 0.8)] == ["BELOW", "floor met", "ambition"]
    assert [below(x, 10, 3) for x in (10.1, 10, 3)] == ["BELOW", "floor met", "ambition"]
    assert judge("ambition", "floor met") == "floor met"
    assert judge("floor met", "BELOW", "ambition") == "BELOW"
    assert not_measured("G0", "x", "no torch", "", "").verdict == "BELOW"


def test_percentiles_stay_inside() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([1], 0.99) == 1
    assert percentile(list(range(100)), 0.99) == 99


def test_the_table_is_aligned_and_tells_each_note_once() -> None:
    noted = Outcome("G1", "a", "b", "c", "f", "a", "ambition", 1.234, note="why")
    outcomes = [noted, Outcome("G2", "a", "b", "c", "f", "a", "BELOW")]
    lines = table(outcomes * 2).splitlines()
    assert lines[0].index("by CPU") == lines[2].index("1.23")
    assert lines.count("G1: why") == 1


def test_only_known_goals_can_be_asked_for() -> None:
    assert runner.wanted("g5, G8") == {"G5", "G8"}
    with pytest.raises(argparse.ArgumentTypeError, match="G99"):
        runner.wanted("G99")
    assert set(runner.GOALS) == {f"G{n}" for n in (1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 15, 17, 18, 19)}


def test_answers_are_recognised_in_any_pieces() -> None:
    first, second = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"
    assert answer_length(first) == len(first)
    assert answer_length(first[:20]) is None
    seen: list[int] = []
    connection = Answers(lambda status, _: seen.append(status))
    for byte in first:
        connection.data_received(bytes([byte]))
    connection.data_received(first)
    connection.data_received(second)
    assert seen == [200, 200, 503]


def test_composed_updates_differ_in_their_id_alone() -> None:
    compose = intake.distinct("http://127.0.0.1:1/hook")
    made = [compose() for _ in range(3 * intake.CHATS)]
    assert len(set(made)) == len(made)
    assert len({len(request) for request in made}) == 1
    head, _, body = made[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert post("http://h:1/p?x=1", b"{}").startswith(b"POST /p HTTP/1.1\r\nHost: h:1\r\n")


def test_ratios_pair_each_round_with_its_neighbour() -> None:
    rounds = intake.Rounds()
    for base, ours in ((1.0, 2.0), (4.0, 4.0), (1.0, 3.0)):
        rounds.add("base", Cost(10, 1.0, base, [0.1]))
        rounds.add("ours", Cost(10, 1.0, ours, [0.2]))
    assert rounds.by_cpu("ours", "base") == pytest.approx(0.5)
    assert rounds.by_rate("ours", "base") == 1.0
    with pytest.raises(RuntimeError, match="1 of 10 requests failed"):
        rounds.add("ours", Cost(10, 1.0, 1.0, [0.1], failures=1))


def test_the_embedding_goal_weighs_speed_against_agreement() -> None:
    verdicts = [embedding.quick_enough(gain, cosine) for gain, cosine in ((5, 0.99), (3, 0.9999), (3, 0.99), (1.9, 1))]
    assert verdicts == ["ambition", "ambition", "floor met", "BELOW"]
    times = {"parley": [[1.0, 1.0]], "torch": [[4.0, 4.0]]}
    starts = {"parley": [{"seconds": 0.5, "mib": 100.0}], "torch": [{"seconds": 9.0, "mib": 800.0}]}
    quick, small = embedding.outcomes(times, starts, 1.0)
    assert (quick.by_rate, quick.verdict, small.verdict) == (4.0, "ambition", "ambition")


def test_a_start_is_judged_by_time_and_size() -> None:
    assert process.outcomes(0.9, 140)[0].verdict == "floor met"
    assert process.outcomes(0.9, 89)[0].verdict == "ambition"


def test_retrieval_scores_are_those_of_trec_eval() -> None:
    qrels = {"a": {"x": 1, "y": 2}, "b": {"z": 1}, "c": {"w": 0}}
    run = {"a": {"x": 0.9, "q": 0.5, "y": 0.5}, "c": {"w": 1.0}}
    found = retrieval.scores(run, qrels)
    # ties by document id, descending: x, y, q
    ideal = 2 + 1 / math.log2(3)
    assert found["nDCG@5"] == pytest.approx((1 + 2 / math.log2(3)) / ideal / 2)
    assert found["Recall@10"] == 0.5


def test_batches_are_bounded_in_number_and_size() -> None:
    sizes = [len(batch) for batch in retrieval.batches({"text": "x"} for _ in range(2_500))]
    assert sizes == [1000, 1000, 500]
    assert [len(batch) for batch in retrieval.batches({"text": "x" * 3_000_000} for _ in range(3))] == [1, 1, 1]


def test_a_run_and_judgements_survive_the_files(tmp_path: Path) -> None:
    retrieval.write_run({"q": {"d": 0.1}}, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "q\td\t0.1\n"
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\nq\te\t0\n")
    assert retrieval.read_qrels(tmp_path / "qrels.tsv") == {"q": {"d": 1, "e": 0}}


async def test_intake_is_measured(on: Stores) -> None:
    found = await intake.measure(on, rounds=1, seconds=0.2)
    assert [outcome.goal for outcome in found] == ["G1", "G2", "G3", "G4"]
    assert all(outcome.by_cpu for outcome in found[:3])


async def test_every_channel_is_measured(on: Stores) -> None:
    found = await channels.measure(on, rounds=1, seconds=0.2)
    assert [outcome.goal for outcome in found] == ["G19"] * 5
    assert all(outcome.by_cpu for outcome in found)
    assert ["signature" in outcome.note for outcome in found] == [False, True, True, False, False]


async def test_turns_are_measured(on: Stores) -> None:
    found = await turns.measure(on, rounds=1, seconds=0.5)
    assert [outcome.goal for outcome in found] == ["G5", "G7", "G8"]


async def test_streams_are_measured(on: Stores) -> None:
    (found,) = await streams.measure(on, streams=20)
    assert found.goal == "G15"


async def test_a_start_is_measured(on: Stores) -> None:
    (found,) = await process.measure(on, rounds=1)
    assert found.goal == "G17"


def test_rendering_is_measured_for_each_platform() -> None:
    assert len(rendering.answer()) == rendering.CHARACTERS
    found = rendering.measure(rounds=1)
    assert [outcome.goal for outcome in found] == ["G18"] * 5
    assert all(outcome.by_cpu for outcome in found)


async def test_the_bot_api_hears_whole_requests_only() -> None:
    async with turns.crowd() as crowd:
        heard = asyncio.Queue[None]()
        crowd.listen(7, lambda: heard.put_nowait(None))
        port = int(crowd.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = post(f"{crowd.url}/bot1:x/sendMessage", b'{"chat_id":7,"text":"hi"}')
        writer.write(request[:-5])
        await writer.drain()
        writer.write(request[-5:] + post(f"{crowd.url}/bot1:x/sendChatAction", b'{"chat_id":7}'))
        assert b'"ok":true' in await asyncio.wait_for(reader.readuntil(b"}}}"), 5)
        await asyncio.wait_for(reader.readuntil(b"}}}"), 5)
        writer.close()
        assert heard.qsize() == 1
