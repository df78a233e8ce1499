"""Extractive answers with the real model: what is quoted, what is refused, and what no text may break."""

import dataclasses
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.services import lazy_embedder
from kernel.settings import Settings
from kernel.types import Citation, Json
from pipeline.answering import citations
from pipeline.answering.build import Answering
from pipeline.answering.cleaning import Cleaner
from pipeline.answering.extractive import answer_from_passages
from pipeline.answering.ranking import EMBEDDED
from pipeline.answering.sentences import LONGEST, split
from pipeline.answering.words import words
from pipeline.embedding.batcher import Kind, Vectors
from pipeline.embedding.lazy import LazyEmbedder

THRESHOLD = 0.45

REFUNDS = """# Refunds

Refunds are possible within 14 days of delivery, e.g. by post. They are paid out to the card that was used. \
Amounts over 1.500,00 EUR need approval.

## How to ask for a refund

To ask for a refund, do this:

1. Open **Orders** in your account.
2. Choose the order and press *Return*.
3. Print the label.

Gift cards are never refunded.
"""
SHIPPING = """Shipping

Parcels leave our warehouse in Lyon every weekday at 17:00. Delivery within France takes two days.

| Country | Days |
|---|---|
| Germany | 3 |
| Spain | 4 |

How do I change the delivery address?

Write to support before 15:00, with the number of the order and the new address.

![map](https://tracker.example/map.png) The warehouse stands at the harbour.
"""


def hit(chunk: str, title: str, text: str, **more: Any) -> Json:
    named = {"chunk_id": f"chk_{chunk}", "document_id": f"doc_{chunk}", "external_id": chunk}
    return {**named, "title": title, "text": text, "score": 0.9, "bm25_score": 3.0, "metadata": {}, **more}


HITS = [
    hit("refunds", "Refund policy", REFUNDS, metadata={"url": "https://shop.example/refunds"}),
    hit("shipping", "Shipping | Shop", SHIPPING, score=0.6),
]


@pytest.fixture(scope="module")
async def embedder(data_dir: Path) -> AsyncIterator[LazyEmbedder]:
    embedder = lazy_embedder(Settings.read({"PARLEY_DATA_DIR": str(data_dir)}))
    yield embedder
    await embedder.close()


async def ask(embedder: LazyEmbedder, question: str, hits: list[Json] | None = None, *said: str) -> Json:
    history = [{"role": ("user", "assistant")[n % 2], "text": text} for n, text in enumerate(said)]
    return await answer_from_passages(embedder, question, history, HITS if hits is None else hits, THRESHOLD)


def parts(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in split(text)]


SENTENCES: list[tuple[str, list[str]]] = [
    ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
    (
        "Dr. Who met J. R. Smith at 3.14 p.m. today. He left.",
        ["Dr. Who met J. R. Smith at 3.14 p.m. today.", "He left."],
    ),
    ("Use e.g. v1.2.3 or no. 5. Done.", ["Use e.g. v1.2.3 or no. 5.", "Done."]),
    ("See https://a.example/b.c?d=1. Then go.", ["See https://a.example/b.c?d=1.", "Then go."]),
    ('He said "Stop." Then (really.) it went.', ['He said "Stop."', "Then (really.) it went."]),
    ("A line that was wrapped\nin the middle. Next.", ["A line that was wrapped\nin the middle.", "Next."]),
    ("Home\nAbout us\nContact", ["Home", "About us", "Contact"]),
    ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
    ("Wait... what? Ja, z. B. heute.", ["Wait... what?", "Ja, z. B. heute."]),
    ("", []),
    (" \n\t\r\n ", []),
    ("---\n***\n", []),
]


@pytest.mark.parametrize(("text", "sentences"), SENTENCES)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert [part for _, part in parts(text)] == sentences


def test_layout() -> None:
    assert parts(
        "# Top\n\n- one. More.\n  * two\n3) three\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nx. y\n\nz\n```\nEnd."
    ) == [
        ("heading", "Top"),
        ("item", "one."),
        ("sentence", "More."),
        ("item", "two"),
        ("item", "three"),
        ("row", "| a | b |"),
        ("row", "| 1 | 2 |"),
        ("code", "```\nx. y\n\nz\n```"),
        ("sentence", "End."),
    ]
    assert parts("Before you begin\n\nSign in first.")[0] == ("heading", "Before you begin")
    assert all(len(part) <= LONGEST for _, part in parts("word " * 2_000 + "x" * 3_000))


@given(st.text(alphabet="aB1.!?:;\n\r\t -*#|`>()[]'\"é。 ", max_size=400))
def test_spans_are_ordered_and_lose_no_words(text: str) -> None:
    spans = split(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all((part := text[s.start : s.end]) == part.strip() for s in spans)


def test_words_fold_endings_and_keep_names_whole() -> None:
    assert words("The REFUNDS were refunded; refunding policies") == ["refund", "refund", "refund", "policy"]
    assert words("set user_id to v1.2") == words("Set USER_ID to V1.2")
    assert words("退款") == ["退", "款"]
    assert words("what is it?") == []


async def test_quotes_the_sentence_that_answers(embedder: LazyEmbedder) -> None:
    answer = await ask(embedder, "Within how many days can I return something for a refund?")
    assert "> Refunds are possible within 14 days of delivery, e.g. by post." in answer["text"]
    assert answer["text"].startswith("**Refund policy**\n\n> ")
    first = Citation(**answer["citations"][0])
    assert (first.number, first.chunk_id, first.document_id) == (1, "chk_refunds", "doc_refunds")
    assert (first.title, first.url) == ("Refund policy", "https://shop.example/refunds")
    assert first.quote in REFUNDS
    assert (answer["grounded"], answer["unknown"], answer["fallback_used"]) == (True, False, False)
    assert (answer["model"], answer["score"] > THRESHOLD) == ("extractive", True)


async def test_a_list_comes_whole_with_its_lead_in(embedder: LazyEmbedder) -> None:
    answer = await ask(embedder, "How do I ask for a refund?")
    quote = answer["citations"][0]["quote"]
    assert quote.startswith("To ask for a refund, do this:\n\n1. Open")
    assert "\n3. Print the label." in quote
    assert "> To ask for a refund, do this:\n>\n> 1. Open **Orders** in your account.\n> 2." in answer["text"]


async def test_a_question_in_the_text_brings_its_answer(embedder: LazyEmbedder) -> None:
    answer = await ask(embedder, "How can I change the delivery address of my order?")
    assert "Write to support before 15:00" in answer["text"]
    assert "**Shipping · Shop**" in answer["text"]


async def test_a_pronoun_brings_the_sentence_before(embedder: LazyEmbedder) -> None:
    answer = await ask(embedder, "Which card are refunds paid out to?")
    assert "Refunds are possible within 14 days of delivery, e.g. by post. They are paid out" in answer["text"]


async def test_a_table_row_can_answer(embedder: LazyEmbedder) -> None:
    answer = await ask(embedder, "How many days does delivery to Germany take?")
    assert "> | Germany | 3 |" in answer["text"]


async def test_a_follow_up_leans_on_the_question_before(embedder: LazyEmbedder) -> None:
    follow_up = "And for gift cards?"
    answer = await ask(embedder, follow_up, None, "Can I get a refund?", "Within 14 days.")
    assert "Gift cards are never refunded." in answer["text"]


UNANSWERABLE = [
    "Who won the football world cup in 1998?",
    "What is the melting point of tungsten?",
    "asdf qwer zxcv",
    "Wie wird das Wetter morgen in Hamburg?",
    "?",
]


@pytest.mark.parametrize("question", UNANSWERABLE)
async def test_says_so_when_the_passages_do_not_answer(embedder: LazyEmbedder, question: str) -> None:
    answer = await ask(embedder, question)
    assert answer["text"].startswith("I don't know.")
    assert "*Refund policy* and *Shipping · Shop*" in answer["text"]
    assert (answer["grounded"], answer["unknown"], answer["citations"]) == (False, True, [])


async def test_a_changed_subject_is_not_answered_from_the_old_one(embedder: LazyEmbedder) -> None:
    said = ("How do I get a refund?", "Refunds are possible within 14 days of delivery.")
    hits = [{**HITS[0], "dense_score": 0.5}]  # as a search that weighs the history in would find
    answer = await ask(embedder, "Who won the football world cup in 1998?", hits, *said)
    assert answer["unknown"] is True


async def test_the_passage_and_the_sentence_both_count(embedder: LazyEmbedder) -> None:
    question = "How do I ask for a refund?"
    near, far = ([{**HITS[0], "dense_score": cosine}] for cosine in (0.8, -0.2))
    assert (await ask(embedder, question, near))["grounded"] is True
    assert (await ask(embedder, question, far))["grounded"] is False


async def test_without_hits(embedder: LazyEmbedder) -> None:
    answer = await ask(embedder, "Anything?", [])
    assert answer["text"].startswith("I don't know: I searched")
    assert (answer["score"], answer["citations"]) == (0.0, [])


async def test_pictures_are_not_quoted_and_titles_carry_no_markdown(embedder: LazyEmbedder) -> None:
    title = "![x](https://tracker.example/p) *Shipping*\nnews"
    answer = await ask(embedder, "Where do parcels leave the warehouse?", [hit("shipping", title, SHIPPING)])
    assert "![" not in answer["text"]
    assert "map.png" not in answer["text"]
    assert "**x (https://tracker.example/p) Shipping news**" in answer["text"]


class Counting:
    """The real embedder, with its calls written down."""

    def __init__(self, embedder: LazyEmbedder) -> None:
        self.embedder = embedder
        self.calls: list[int] = []

    async def embed(self, texts: Any, *, kind: Kind) -> Vectors:
        self.calls.append(len(texts))
        return await self.embedder.embed(texts, kind=kind)


async def test_costs_one_small_call_and_emits_the_answer(embedder: LazyEmbedder) -> None:
    counting, pieces = Counting(embedder), list[str]()
    answering = Answering(counting, threshold=THRESHOLD, memory=10)
    hits = [hit(str(n), "Long", (REFUNDS + SHIPPING) * 5) for n in range(10)]
    history = [{"role": "user", "text": "Can I get a refund?"}]
    answer = await answering("And how?", history, hits, pieces.append)
    assert pieces == [answer["text"]]
    assert counting.calls == [EMBEDDED + 2]
    await answering.close()


TEXTS = st.one_of(
    st.text(max_size=300),
    st.lists(
        st.sampled_from(
            [
                "Refunds take 14 days. ",
                "- Refund: ",
                "\n",
                "\n\n",
                "# Refund\n",
                "They do? ",
                "```\nx\n",
                "|a|b|\n",
                "![x](y)",
            ]
        ),
        max_size=30,
    ).map("".join),
)
RAW = st.fixed_dictionaries(
    {"text": st.none() | TEXTS | TEXTS},
    optional={
        "chunk_id": st.text(max_size=5),
        "document_id": st.none() | st.text(max_size=5),
        "title": st.none() | st.text(max_size=30),
        "score": st.none() | st.floats(),
        "dense_score": st.none() | st.floats(),
        "metadata": st.none() | st.dictionaries(st.just("url"), st.text(max_size=20) | st.none()),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(question=st.text(max_size=60) | st.just("refund days"), hits=st.lists(RAW, max_size=4), low=st.booleans())
async def test_any_hits_give_a_well_formed_answer(
    embedder: LazyEmbedder, question: str, hits: list[Json], low: bool
) -> None:
    history: list[Json] = [{"role": "user", "text": None}, {"role": "assistant"}, {}]
    answer = await answer_from_passages(embedder, question, history, hits, -2.0 if low else THRESHOLD)
    assert answer["text"].strip()
    assert len(answer["text"]) < 1_200
    assert answer["grounded"] == bool(answer["citations"])
    assert [c["number"] for c in answer["citations"]] == list(range(1, len(answer["citations"]) + 1))
    for citation in answer["citations"]:
        assert dataclasses.asdict(Citation(**citation)) == citation
        assert citation["quote"].strip()
        assert any(citation["quote"] in (h.get("text") or "") for h in hits)
        assert f"[{citation['number']}]" in answer["text"]


PIECES = st.lists(
    st.sampled_from(
        [
            "[1]",
            "[",
            "]",
            "(",
            ")",
            "!",
            "`",
            "```",
            "\n",
            " ",
            "a",
            "<img src=",
            ">",
            "https://evil.example/",
            "www.",
            "[9]",
            "x.",
            ":",
            "【2】",
        ]
    ),
    max_size=40,
)


@given(PIECES, st.integers(1, 7))
@example(["!", "!", "["], 1)
@example(["!", "<img src=", ">", "["], 2)
def test_cleaning_never_lets_an_address_or_a_picture_through(pieces: list[str], size: int) -> None:
    text = "".join(pieces)
    cleaner = Cleaner({1, 2}, ())
    shown = "".join([cleaner.feed(text[n : n + size]) for n in range(0, len(text), size)] + [cleaner.finish()])
    outside = "".join(shown.split("`")) if "`" not in text else ""
    assert "![" not in outside
    assert "<img" not in outside
    assert "//evil" not in outside
    assert set(cleaner.cited) <= {1, 2}


@pytest.mark.parametrize(
    ("hit", "shown"),
    [
        ({"title": "  Opening  hours "}, "Opening hours"),
        ({"title": "", "heading": "Guide > Battery"}, "Guide"),
        ({"title": "", "heading": "", "text": "# Charging \n\nCharge it."}, "Charging"),
        ({"title": "", "text": "w " * 100}, "w " * 39 + "w…"),
        ({}, ""),
    ],
)
def test_a_source_without_a_title_is_named_by_its_beginning(hit: Json, shown: str) -> None:
    assert citations.name(hit) == shown
