"""Chunks and their views, sections of markdown and HTML, and the plan of a search."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.knowledge.chunking import CHUNK_CHARACTERS, WINDOW_CHARACTERS, TextFormat, chunk_document
from pipeline.knowledge.search_plan import WeightedText, combine, plan_search
from pipeline.knowledge.sections import html_to_markdown, markdown_sections, text_sections

PARAGRAPH = "The warranty lasts for twelve months from the day of delivery, and covers the parts and the work. "
GUIDE = f"""Before any heading.

# Guide
{PARAGRAPH * 6}
## Returns
{PARAGRAPH * 8}
### Abroad
{PARAGRAPH * 40}
```sh
# not a heading
```
Setext
------
{PARAGRAPH * 6}"""

MARKS = [
    "a",
    "word",
    " ",
    "\n",
    "\n\n",
    "# ",
    "## ",
    ". ",
    "é",
    "🚀",
    "\r\n",
    "\r",
    "```",
    "\t",
    "\x0b",
    "\u2028",
    "- ",
    "---",
]
BLOCKS = ["# A\n", "## B\n", PARAGRAPH, PARAGRAPH * 12, "x" * 3_000, "\n\n", " ", " " * 2_000]
documents = st.lists(st.sampled_from(MARKS) | st.characters(), max_size=80).map("".join) | st.lists(
    st.sampled_from(BLOCKS), max_size=12
).map("".join)


@given(documents, st.sampled_from(["text", "markdown"]))
def test_chunks_are_slices_that_lose_nothing_but_white_space(document: str, format: TextFormat) -> None:
    chunks = chunk_document(document, title="Title", format=format)
    end = 0
    for chunk in chunks:
        assert chunk.text == document[chunk.start : chunk.end] != ""
        assert len(chunk.text) <= CHUNK_CHARACTERS
        assert document[end : chunk.start].strip() == ""
        end = chunk.end
    assert document[end:].strip() == ""


@given(documents)
def test_markdown_sections_tile_the_document(document: str) -> None:
    sections = markdown_sections(document)
    assert "".join(document[section.start : section.end] for section in sections) == document


def test_markdown_chunks_carry_the_path_of_headings() -> None:
    chunks = chunk_document(GUIDE, title="Shop", format="markdown")
    assert [chunk.heading for chunk in chunks] == [
        "Shop",
        "Shop > Guide",
        "Shop > Guide > Returns",
        "Shop > Guide > Returns > Abroad",
        "Shop > Guide > Returns > Abroad",
        "Shop > Guide",
    ]
    assert chunks[0].text.startswith("Before any heading.\n\n# Guide")
    assert chunks[1].text.startswith("## Returns")
    assert chunks[1].views[0].startswith("Shop > Guide\n## Returns")
    assert chunks[1].views[-1].startswith("Shop > Guide > Returns\n")
    assert chunks[-1].text.startswith("Setext")


def test_windows_cover_the_chunk() -> None:
    (chunk,) = chunk_document(" ".join(f"word{number}." for number in range(200)))
    whole, *windows = chunk.views
    assert whole == chunk.text
    assert len(windows) > 1
    assert all(len(window) <= WINDOW_CHARACTERS for window in windows)
    assert set(re.findall("word[0-9]+", " ".join(windows))) == set(re.findall("word[0-9]+", whole))


def test_a_short_chunk_is_its_only_view() -> None:
    (chunk,) = chunk_document("Opening hours: nine to five.", title="Hours")
    assert chunk.views == ("Hours\nOpening hours: nine to five.",)


def test_small_sections_are_joined() -> None:
    document = "".join(f"## Question {number}\nYes.\n" for number in range(5))
    (chunk,) = chunk_document(document, title="FAQ", format="markdown")
    assert (chunk.heading, chunk.text) == ("FAQ", document.strip())


def test_the_first_line_of_plain_text_is_carried() -> None:
    document = "Refunds\n" + PARAGRAPH * 40
    first, *others = chunk_document(document)
    assert first.heading == ""
    assert first.views[-1].startswith("Refunds\n")
    assert {chunk.heading for chunk in others} == {"Refunds"}
    assert text_sections("one line only")[0].headings == ()


def test_pieces_are_of_even_length() -> None:
    lengths = [len(chunk.text) for chunk in chunk_document(PARAGRAPH * 27)]
    assert len(lengths) == 2
    assert min(lengths) > 1_000


def test_the_title_is_not_repeated() -> None:
    document = f"# Guide\n{PARAGRAPH}"
    (chunk,) = chunk_document(document, title="Guide", format="markdown")
    assert chunk.heading == ""
    assert chunk.views[0] == document.strip()


@pytest.mark.parametrize("document", ["", " \n\t\n ", "\r\n"])
@pytest.mark.parametrize("format", ["text", "markdown"])
def test_nothing_gives_no_chunks(document: str, format: TextFormat) -> None:
    assert chunk_document(document, title="Title", format=format) == []


def test_html_becomes_markdown_with_headings_lists_and_rows() -> None:
    title, text = html_to_markdown(
        """<html><head><title> The
        page </title><style>p {}</style></head><body><nav>Menu</nav><script>alert(1)</script>
        <h1>Shop</h1><p>Open <b>daily</b>,<br>not on holidays.</p>
        <h2>Prices</h2><ul><li>Tea &amp; cake</li><li>Coffee</li></ul>
        <table><tr><th>Item</th><th>Cost</th></tr><tr><td>Tea</td><td>2</td></tr></table>
        <pre>  a\n  b</pre><footer>Imprint</footer></body></html>"""
    )
    assert title == "The page"
    assert text == (
        "# Shop\n\nOpen daily,\nnot on holidays.\n\n## Prices\n\n- Tea & cake\n\n- Coffee\n\n"
        "Item | Cost |\nTea | 2 |\n\n```\n  a\n  b\n```"
    )
    assert [section.headings for section in markdown_sections(text)] == [("Shop",), ("Shop", "Prices")]


def test_hostile_html_is_read_to_the_end() -> None:
    assert html_to_markdown("<div>" * 20_000 + "deep")[1] == "deep"
    assert html_to_markdown("") == ("", "")
    assert html_to_markdown("no <tags closed <p>text")[1] != ""


HISTORY = [
    {"role": "user", "text": "What is Cloudant?"},
    {"role": "assistant", "text": "A database."},
    {"role": "user", "text": "Can it store images?"},
    {"role": "tool", "text": "ignored"},
    {"role": "assistant", "text": "As attachments. " * 100},
]


def test_a_lone_question_is_searched_as_it_is() -> None:
    plan = plan_search("What is Cloudant?")
    assert plan.lexical == plan.dense == (WeightedText("What is Cloudant?", 1.0),)
    assert plan.alpha == 0.5


def test_a_follow_up_leans_on_the_last_question_and_answer() -> None:
    plan = plan_search("Any limit?", HISTORY)
    assert plan.lexical == (WeightedText("Any limit?", 1.0), WeightedText("Can it store images?", 0.3))
    assert plan.dense == (WeightedText("Any limit?", 1.0), WeightedText(("As attachments. " * 100)[:600], 0.5))
    assert plan.alpha == 0.6


def test_without_an_answer_the_last_question_stands_in() -> None:
    plan = plan_search("Any limit?", [*HISTORY[:1], {"role": "assistant", "text": "  "}])
    assert plan.dense == plan.lexical == (WeightedText("Any limit?", 1.0), WeightedText("What is Cloudant?", 0.3))


def test_vectors_are_combined_to_length_one() -> None:
    texts = [WeightedText("a", 1.0), WeightedText("b", 0.5)]
    vectors = np.eye(3, dtype=np.float32)[:2]
    combined = combine(vectors, texts)
    np.testing.assert_allclose(combined, np.array([2, 1, 0]) / 5**0.5, rtol=1e-6)
    opposed = np.array([[0.5, 0], [-1, 0]], dtype=np.float32)
    assert combine(opposed, texts).tolist() == [0.5, 0]
