"""Half-written answers: balanced at every moment, and what is shown grows."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from channels.discord.render import render as to_discord
from channels.heal import heal
from channels.markdown import Code, parse
from channels.pieces import Dialect, flatten, plain_text
from channels.slack.render import render as to_slack
from channels.telegram.render import render as to_telegram
from kernel.types import Reply
from tests import test_render_discord, test_render_slack, test_render_web, test_telegram_render
from tests.rendering_kit import documents, markdown

PLATFORMS = [
    (to_telegram, test_telegram_render.check),
    (to_slack, test_render_slack.check),
    (to_discord, test_render_discord.check),
]


@pytest.mark.parametrize(
    ("half", "shown"),
    [
        ("", ""),
        ("done.", "done."),
        ("a **b", "a **b**"),
        ("a **b*", "a **b**"),
        ("a **", "a "),
        ("a ***b", "a ***b***"),
        ("a *b **c", "a *b **c***"),
        ("**a** *b", "**a** *b*"),
        ("~~x~", "~~x~~"),
        ("2 * 3 and 2*3 and snake_case", "2 * 3 and 2*3 and snake_case"),
        ('**"quoted', '**"quoted**'),
        ("\\*a and \\", "\\*a and "),
        ("`co", "`co`"),
        ("``co`", "``co``"),
        ("**a `b", "**a `b`**"),
        ("x `", "x "),
        ("`*a` **b", "`*a` **b**"),
        ("see [the gui", "see the gui"),
        ("see [the guide](https://a.b/q", "see the guide"),
        ('see [the guide](https://a.b/q "ti', "see the guide"),
        ("**[the guide](", "**the guide**"),
        ("![alt](http://x", "alt"),
        ("[![alt](http://x", "alt"),
        ("[a](https://a.b) and [1], [x", "[a](https://a.b) and [1], x"),
        ("[a](not a target", "[a](not a target"),
        ("<https://a.b/c", "https://a.b/c"),
        ("- a\n- **b", "- a\n- **b**"),
        ("- a\n-", "- a\n"),
        ("text\n-", "text\n"),
        ("text\n##", "text\n"),
        ("> a *b\n> ", "> a *b*\n"),
        ("# **a", "# **a**"),
        ("# **a\n", "# **a\n"),
        ("a **b\n", "a **b**\n"),
        ("a **b\n\n", "a **b\n\n"),
        ("```py\nx", "```py\nx\n```"),
        ("```py\nx\n``", "```py\nx\n```"),
        ("```py\nx\n```", "```py\nx\n```"),
        ("```py\nx\n```\n", "```py\nx\n```\n"),
        ("````\n```\n", "````\n```\n````"),
        ("> - ```\n>   **x\n>   `", "> - ```\n>   **x\n>   ```"),
        ("> ```\n> x\n\n", "> ```\n> x\n\n"),
        ("    code **", "    code **"),
        ("| a | **b", "| a | **b**\n|-|-|"),
        ("| a | b |\n", "| a | b |\n|-|-|"),
        ("| a | b |\n|--", "| a | b |\n|-|-|"),
        ("> | a \\| b |\n> |", "> | a \\| b |\n> |-|"),
        ("| a | b |\n|-|-|\n| *x", "| a | b |\n|-|-|\n| *x*"),
        ("|", ""),
    ],
)
def test_each_half(half: str, shown: str) -> None:
    assert heal(half) == shown


@settings(deadline=None, max_examples=60)
@given(markdown, st.floats(0, 1))
def test_every_prefix_is_balanced_on_every_platform(text: str, share: float) -> None:
    half = heal(text[: int(share * len(text))])
    for render, check in PLATFORMS:
        for unit in render(Reply(half), {}):
            check(unit)
    test_render_web.check(half)


@settings(deadline=None, max_examples=100)
@given(markdown)
def test_only_the_last_block_is_touched(text: str) -> None:
    text = text.replace("\r", "")
    before = text[: text.rfind("\n\n") + 2] if "\n\n" in text else ""
    assert heal(text).startswith(before)


@settings(deadline=None, max_examples=100)
@given(documents)
def test_finished_text_stays_as_it_is(text: str) -> None:
    ended = text + "\n\nThe end.\n\n"
    assume(not isinstance(parse(ended)[-1], Code))  # a fence that was never closed
    assert heal(ended) == ended


@settings(deadline=None, max_examples=25)
@given(documents.filter(lambda text: len(text) < 300 and "a|b" not in text))  # a pipe there breaks the row
def test_what_is_shown_grows(text: str) -> None:
    """Letters that vanish again are a link's target told in the text; seldom."""
    shown = [letters(heal(text[:n])) for n in range(len(text) + 1)]
    lost = [sum((before - after).values()) for before, after in pairwise(shown)]
    assert max(lost, default=0) <= 20
    assert sum(map(bool, lost)) <= 1 + len(text) // 50


def letters(text: str) -> Counter[str]:
    return Counter(character for character in plain_text(flatten(parse(text), Dialect())) if character.isalpha())


def test_a_target_is_never_shown_half() -> None:
    answer = "Read [the guide](https://example.org/guide) and **[the rules](https://example.org/rules)**."
    for n in range(len(answer)):
        (unit,) = to_telegram(Reply(heal(answer[:n]) or "x"), {})
        targets = set(re.findall(r'href="([^"]*)"', unit.payload["text"]))
        assert targets <= {"https://example.org/guide", "https://example.org/rules"}
        assert "example" not in unit.plain


def test_a_table_that_ends_in_an_empty_line_of_its_quote_is_read() -> None:
    assert len(parse("> |a|\n> |-|\n> ")) == 1
