"""Tables and follow-ups in extractive answers, with the real model: rows, cells, what a follow-up inherits, the other
one of two."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services import lazy_embedder
from kernel.settings import Settings
from kernel.types import Json
from pipeline.answering.citations import supporting_quote
from pipeline.answering.extractive import answer_from_passages
from pipeline.answering.inquiry import read_inquiry
from pipeline.answering.sentences import split
from pipeline.answering.settling import settle
from pipeline.answering.tables import Table, by_span, columns, drawn, labels, named, read_tables
from pipeline.embedding.lazy import LazyEmbedder

ROOMS = """# Rooms

## Prices of rooms

| room | one hour | half day | day | week |
|:---|---:|---|---|---|
| small meeting room | 12 euros | 40 euros | 70 euros | 300 euros |
| large meeting room | 20 euros | 70 euros | 120 euros | 500 euros |
| darkroom | 9 euros | 30 euros | 50 euros | 210 euros |

To hire the darkroom for one hour costs 9 euros. Chemicals are included.

## Deposit for the key

We take a deposit of 25 euros for every key.
"""
SHOPS = """# Our two shops

## Harbour shop

The harbour shop is open from 9:00 to 18:00 on weekdays.

## Station shop

The station shop is open from 7:00 to 21:00 on weekdays.
"""
COVER = """# Guarantee

Printers have a guarantee of three years. Scanners have a guarantee of eighteen months. Ink is never covered.
"""
TICKETS = """# Tickets

- Single ticket, adult: 4 euros
- Single ticket, child: 2 euros
- Season ticket with a photograph: 90 euros

Dogs travel free.
"""


def hit(title: str, text: str, cosine: float = 0.6) -> Json:
    named = {"chunk_id": f"chk_{title}", "document_id": f"doc_{title}", "title": title, "text": text}
    return {**named, "score": 0.9, "dense_score": cosine, "metadata": {}}


HITS = [hit("Rooms", ROOMS), hit("Shops", SHOPS), hit("Guarantee", COVER), hit("Tickets", TICKETS)]


@pytest.fixture(scope="module")
async def embedder(data_dir: Path) -> AsyncIterator[LazyEmbedder]:
    embedder = lazy_embedder(Settings.read({"PARLEY_DATA_DIR": str(data_dir)}))
    yield embedder
    await embedder.close()


async def talk(embedder: LazyEmbedder, *questions: str, hits: list[Json] | None = None) -> str:
    """The answer to the last question, after the others were asked and answered."""
    history: list[Json] = []
    for question in questions:
        answer = await answer_from_passages(embedder, question, history, HITS if hits is None else hits, 0.45)
        history += [{"role": "user", "text": question}, {"role": "assistant", "text": answer["text"]}]
    return str(history[-1]["text"])


def table_of(text: str) -> Table:
    [table] = read_tables(text, split(text))
    return table


def rows_of(answer: str) -> list[str]:
    """The rows of the answer's tables, each as its cells joined by a slash, headers first."""
    lines = [line.removeprefix("> ") for line in answer.splitlines() if line.startswith("> |")]
    return ["/".join(cell.strip() for cell in line.strip("|").split("|")) for line in lines if "---" not in line]


TABLES: list[tuple[str, list[tuple[str, ...]]]] = [
    ("| a | b |\n|---|---|\n| 1 | 2 |", [("a", "b"), ("1", "2")]),
    ("a | b\n--|:-:\n1 | 2\n3 | 4", [("a", "b"), ("1", "2"), ("3", "4")]),
    ("Text.\r\n\r\n| a | b |\r\n|---|---|\r\n| 1 | 2 |\r\n\r\nMore.", [("a", "b"), ("1", "2")]),
    ("| a | b |\n|---|---|\n| 1 |\n| 1 | 2 | 3 |", [("a", "b"), ("1", ""), ("1", "2")]),
    ("| a | b |\n|---|---|\n| x \\| y | `z` |", [("a", "b"), ("x \\| y", "`z`")]),
    ("name | euros | \nink | 3 | \npaper | 4 | ", [("name", "euros"), ("ink", "3"), ("paper", "4")]),
    ("| a | b |\n|---|---|", [("a", "b")]),
    ("| a | b |\n|---|---|\n| 1 | " + "long " * 100 + "|", [("a", "b"), ("1", ("long " * 100).strip())]),
]


@pytest.mark.parametrize(("text", "cells"), TABLES)
def test_a_table_is_read_into_cells(text: str, cells: list[tuple[str, ...]]) -> None:
    table = table_of(text)
    assert [row.cells for row in (table.header, *table.rows)] == cells


@pytest.mark.parametrize(
    "text",
    [
        "| city | 9 euros |\n| town | 12 euros |",  # the rest of a table whose header is elsewhere
        "home | about | contact",
        "| a | b |\n\n| 1 | 2 |",
        "No table. At all.",
    ],
)
def test_what_is_no_table(text: str) -> None:
    assert read_tables(text, split(text)) == []


def test_two_tables_are_two() -> None:
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n\n| c | d |\n|---|---|\n| 3 | 4 |"
    assert [t.header.cells for t in read_tables(text, split(text))] == [("a", "b"), ("c", "d")]


@given(st.lists(st.sampled_from(["| a | b |", "|---|---|", "|", "x | y", "text", "", "\\|", "# h", "|-"]), max_size=14))
def test_tables_lie_within_their_spans_and_are_drawn_as_they_were(lines: list[str]) -> None:
    text = "\n".join(lines)
    spans = split(text)
    found = read_tables(text, spans)
    assert set(by_span(found)) <= {n for n, span in enumerate(spans) if span.kind == "row"}
    for table in found:
        width = range(len(table.header.cells))
        again = drawn(table, range(len(table.rows)), width)
        assert all(len(row.cells) == len(width) for row in table.rows)
        if len(width) > 1 and any(table.header.cells):
            assert [t.header.cells for t in read_tables(again, split(again))] == [table.header.cells]


def test_words_name_the_fullest_match() -> None:
    table = table_of(ROOMS)

    def meant(names: list[str], said: str) -> list[int]:
        return named(names, read_inquiry(said, []).question.words)

    assert meant(labels(table), "the small room") == [0]
    assert meant(labels(table), "a meeting room") == [0, 1]
    assert meant(labels(table), "the darkroom and the large meeting room") == [1, 2]
    assert meant(labels(table), "the garden") == []
    assert meant(columns(table), "for a day") == [3]
    assert meant(columns(table), "for half a day") == [2]
    assert meant(columns(table), "what room?") == []


FOLLOW_UPS = [
    ("and for a whole week?", 2),
    ("What about the darkroom?", 2),
    ("for a week?", 2),
    ("the large one", 2),
    ("and how much is it for a week?", 2),
    ("And how?", 2),
    ("and the other one?", 2),
    ("What does the other one cost?", 2),
    ("How much is the deposit?", 1),
    ("And when are you open on Sundays?", 1),
    ("At what time do you open?", 1),
    ("Do you ship abroad?", 1),
    ("opening hours", 1),
    ("And I would like to hire a darkroom for a week with chemicals", 1),
]


@pytest.mark.parametrize(("question", "turns"), FOLLOW_UPS)
def test_a_follow_up_leaves_its_subject_out(question: str, turns: int) -> None:
    assert len(read_inquiry(question, [{"role": "user", "text": "What does the small room cost?"}]).turns) == turns


def test_a_chain_goes_back_to_the_question_that_began_it() -> None:
    said = ["Hello!", "How is the weather?", "What does the small room cost?", "thanks!", "and for a day?"]
    history = [{"role": role, "text": text} for text in said for role in ("user", "assistant")]
    inquiry = read_inquiry("and the other one?", history)
    assert [turn.text for turn in inquiry.turns] == ["and the other one?", "and for a day?", said[2]]
    assert inquiry.text == f"{said[2]}\nand for a day?"
    assert [turn.text for turn in inquiry.before] == ["How is the weather?"]
    assert not read_inquiry("and the other one?", []).other


def test_the_latest_turn_settles_rows_and_columns() -> None:
    table = table_of(ROOMS)

    def shown(*said: str) -> tuple[list[str], list[str]]:
        history = [{"role": "user", "text": text} for text in said[:-1]]
        cut = settle(table, read_inquiry(said[-1], history))
        return [labels(table)[n] for n in cut.rows], [table.header.cells[n] for n in cut.columns]

    first = "What does the small meeting room cost for a day?"
    assert shown(first) == (["small meeting room"], ["room", "day"])
    assert shown(first, "and for a week?") == (["small meeting room"], ["room", "week"])
    assert shown(first, "and the darkroom?") == (["darkroom"], ["room", "day"])
    assert shown(first, "and the darkroom?", "and for an hour?") == (["darkroom"], ["room", "one hour"])
    assert shown(first, "and the others?") == (["large meeting room", "darkroom"], ["room", "day"])
    both = "Do you have a large meeting room, and a small meeting room?"
    assert shown(both, first, "and the other one?") == (["large meeting room"], ["room", "day"])
    assert shown(both, first, "and the other one?", "and for a week?") == (["large meeting room"], ["room", "week"])
    assert shown("Which room can I hire for 210 euros?") == (["darkroom"], list(table.header.cells))


def test_nobody_knows_the_other_one_of_many() -> None:
    lines = [f"| size{n} | {n} euros |" for n in range(20)]
    table = table_of("\n".join(["| tyre | price |", "|---|---|", *lines]))
    question = {"role": "user", "text": "What does the tyre size7 cost?"}
    assert settle(table, read_inquiry("and the other one?", [question])).rows == ()


async def test_the_row_and_the_column_that_were_asked_for_are_shown(embedder: LazyEmbedder) -> None:
    answer = await talk(embedder, "What does the large meeting room cost for a week?")
    assert answer == "**Rooms**\n\n> | room | week |\n> |---|---|\n> | large meeting room | 500 euros |\n\n[1]"


async def test_a_narrow_table_keeps_its_columns_and_the_quote_is_the_documents(embedder: LazyEmbedder) -> None:
    text = "# Post\n\n| country | days | price |\n|---|---|---|\n| Spain | 4 | 9 euros |\n| Norway | 6 | 14 euros |\n"
    answer = await answer_from_passages(
        embedder, "How many days does a parcel to Norway take?", [], [hit("Post", text)], 0.4
    )
    assert rows_of(answer["text"]) == ["country/days/price", "Norway/6/14 euros"]
    assert answer["citations"][0]["quote"] == "| Norway | 6 | 14 euros |"


async def test_a_question_for_all_gets_all_up_to_six(embedder: LazyEmbedder) -> None:
    answer = await talk(embedder, "What do your rooms cost for a week?")
    assert rows_of(answer) == [
        "room/week", "small meeting room/300 euros", "large meeting room/500 euros", "darkroom/210 euros",
    ]  # fmt: skip
    lines = [f"| Oak board number {n} | {n + 10} euros |" for n in range(30)]
    many = "\n".join(["# Boards", "", "| board | price |", "|---|---|", *lines])
    answer = await talk(embedder, "What is the price of the oak boards?", hits=[hit("Boards", many)])
    assert rows_of(answer)[0] == "board/price"
    assert 2 <= len(rows_of(answer)) <= 7


async def test_a_sentence_about_another_cell_does_not_answer(embedder: LazyEmbedder) -> None:
    answer = await talk(embedder, "What does it cost to hire the darkroom for a week?")
    assert rows_of(answer) == ["room/week", "darkroom/210 euros"]
    assert "one hour" not in answer
    answer = await talk(embedder, "What does it cost to hire the darkroom for one hour?")
    assert "costs 9 euros" in answer or "darkroom/9 euros" in rows_of(answer)
    assert "deposit of 25 euros" in await talk(embedder, "What deposit do you take for the key of the darkroom?")


async def test_headers_and_bars_are_never_quoted_alone(embedder: LazyEmbedder) -> None:
    loose = "The list of rooms goes on:\n\n| tall studio | 80 euros a day |\n| low studio | 60 euros a day |\n"
    answer = await talk(embedder, "What does the tall studio cost a day?", hits=[hit("Studios", loose)])
    assert "> tall studio · 80 euros a day" in answer
    assert "|" not in answer
    bare = "# Studios\n\n| tall studio | price a day |\n|---|---|\n"
    answer = await talk(embedder, "What is the price of the tall studio a day?", hits=[hit("Studios", bare)])
    assert answer.startswith("I don't know.")
    said = "A week in the small meeting room costs 300 euros [1]."
    assert supporting_quote(said, 1, ROOMS).startswith("| small meeting room |")


async def test_pictures_in_cells_are_not_shown(embedder: LazyEmbedder) -> None:
    text = ROOMS.replace("| darkroom |", "| darkroom ![x](https://tracker.example/p) |")
    assert "tracker" not in await talk(embedder, "What does the darkroom cost for a week?", hits=[hit("Rooms", text)])


SCENES: list[tuple[list[str], str, str]] = [
    (["What does the small meeting room cost for a day?", "and for a whole week?"], "| 300 euros |", "70 euros"),
    (["What does the small meeting room cost for a day?", "and the darkroom?"], "| 50 euros |", "70 euros"),
    (["What does the small meeting room cost for a day?", "and the darkroom?", "for a week?"], "| 210 euros |", "50"),
    (["When is the harbour shop open on weekdays?", "and the other one?"], "7:00 to 21:00", "9:00"),
    (["When is the station shop open on weekdays?", "and the other one?"], "9:00 to 18:00", "7:00"),
    (["How long is the guarantee on printers?", "and for the other one?"], "eighteen months", "three years"),
    (["How long is the guarantee on scanners?", "and on printers?"], "three years", "**Rooms**"),
    (["How much is a single ticket for an adult?", "and the other one?"], "child: 2 euros", "4 euros"),
]


@pytest.mark.parametrize(("questions", "holds", "lacks"), SCENES)
async def test_a_follow_up_keeps_the_topic(
    embedder: LazyEmbedder, questions: list[str], holds: str, lacks: str
) -> None:
    answer = await talk(embedder, *questions)
    assert holds in answer
    assert lacks not in answer


STRANGE = [
    ["What does the small meeting room cost for a day?", "and the ballroom?"],
    ["What does the small meeting room cost for a day?", "and for a month?"],
    ["How long is the guarantee on printers?", "and on telephones?"],
    ["How long is the guarantee on printers?", "What about the weather in Hamburg?"],
    ["What does the small meeting room cost for a day?", "Who won the football world cup in 1998?"],
    ["Who won the football world cup in 1998?", "and the other one?"],
    ["and the other one?"],
]


@pytest.mark.parametrize("questions", STRANGE)
async def test_a_follow_up_does_not_make_an_answer_of_the_old_one(embedder: LazyEmbedder, questions: list[str]) -> None:
    far = [{**found, "dense_score": 0.5} for found in HITS]
    assert (await talk(embedder, *questions, hits=far)).startswith("I don't know.")
