"""Replies as Slack messages. The reader here is written from Slack's reference of blocks, not from our renderer."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from slack_sdk.models.blocks import Block

from channels.slack.mrkdwn import escape
from channels.slack.render import render
from kernel.types import Choice, Citation, Reply, Unit
from tests.rendering_kit import FAMILY, content_of, long_markdown, markdown, squeezed, words

Json = dict[str, Any]
BULLETS = str.maketrans("◦▪", "••")


def inline(elements: list[Json], *, styled: bool = True) -> str:
    assert elements
    shown = ""
    for element in elements:
        allowed = {"type", "text", "style"} | ({"url"} if element["type"] == "link" else set())
        assert element["type"] in ("text", "link")
        assert set(element) <= allowed
        assert isinstance(element["text"], str)
        assert element["text"]
        if "style" in element:
            assert styled
            assert element["style"]
            assert set(element["style"]) <= {"bold", "italic", "strike", "code"}
            assert all(value is True for value in element["style"].values())
        if element["type"] == "link":
            assert urlsplit(element["url"]).scheme in ("http", "https", "mailto")
            assert not any(character.isspace() for character in element["url"])
        shown += element["text"]
    return shown


def shown_by(element: Json) -> str:
    kind = element["type"]
    assert element.get("border", 1) == 1
    if kind == "rich_text_list":
        assert set(element) <= {"type", "style", "indent", "offset", "border", "elements"}
        assert 0 <= element["indent"] <= 8
        assert element.get("offset", 1) > 0
        assert element["style"] in ("bullet", "ordered")
        assert element["elements"]
        lines = []
        for number, item in enumerate(element["elements"], element.get("offset", 0) + 1):
            assert item["type"] == "rich_text_section"
            lines.append(("• " if element["style"] == "bullet" else f"{number}. ") + inline(item["elements"]))
        return "\n".join(lines)
    assert set(element) <= {"type", "elements", "border"}
    assert kind in ("rich_text_section", "rich_text_quote", "rich_text_preformatted")
    return inline(element["elements"], styled=kind != "rich_text_preformatted")


def check(unit: Unit) -> str:
    """What a reader sees of the blocks, once they have been shown to keep the rules."""
    payload = unit.payload
    assert set(payload) == {"text", "blocks", "unfurl_links", "unfurl_media"}
    assert payload["unfurl_links"] is payload["unfurl_media"] is False
    assert 0 < len(payload["text"]) <= 4000
    assert payload["text"] == escape(unit.plain)
    assert len(json.dumps(payload["blocks"], ensure_ascii=False)) <= 12_000
    json.dumps(payload, ensure_ascii=False).encode()
    assert 0 < len(payload["blocks"]) <= 50
    for block in Block.parse_all(payload["blocks"]):
        block.validate_json()
    rich = payload["blocks"][0]
    assert set(rich) == {"type", "elements"}
    assert rich["type"] == "rich_text"
    shown = "\n".join(map(shown_by, rich["elements"]))
    assert squeezed(shown.translate(BULLETS)) == squeezed(unit.plain.translate(BULLETS))
    assert shown.strip()
    return shown


def check_all(text: str) -> list[Unit]:
    units = render(Reply(text), {})
    for unit in units:
        check(unit)
    assert not words(content_of(text)) - words("".join(unit.plain for unit in units))
    return units


def elements(text: str) -> list[Json]:
    (unit,) = check_all(text)
    found: list[Json] = unit.payload["blocks"][0]["elements"]
    return found


def text(text: str, **style: bool) -> Json:
    return {"type": "text", "text": text, **({"style": style} if style else {})}


@settings(deadline=None, max_examples=200)
@given(markdown)
def test_any_markdown_is_valid_blocks_that_lose_nothing(source: str) -> None:
    check_all(source)


@settings(deadline=None, max_examples=30)
@given(long_markdown)
def test_any_long_markdown_is_cut_into_valid_units(source: str) -> None:
    check_all(source)


def test_styles_links_and_mentions() -> None:
    (section,) = elements(
        "a **b *c*** ~~d~~ `e` [f](https://a.b/?x=1&y=2) <!channel> <@U1> & [google.com](http://evil.io)"
    )
    assert section["elements"] == [
        text("a "),
        text("b ", bold=True),
        text("c", bold=True, italic=True),
        text(" "),
        text("d", strike=True),
        text(" "),
        text("e", code=True),
        text(" "),
        {"type": "link", "url": "https://a.b/?x=1&y=2", "text": "f"},
        text(" <!channel> <@U1> & "),
        text("google.com"),
        text(" ("),
        {"type": "link", "url": "http://evil.io", "text": "http://evil.io"},
        text(")"),
    ]


def test_the_text_for_notifications_calls_nobody() -> None:
    (unit,) = check_all("<!channel> <@U1|x> @here & **bold** @hereafter @everyone")
    assert unit.payload["text"] == ("&lt;!channel&gt; &lt;@U1|x&gt; @\u200bhere &amp; bold @hereafter @\u200beveryone")


def test_lists_keep_their_numbers_and_their_depth() -> None:
    found = elements("3. a\n4. b\n   - c\n\n     more\n5. d\n")
    assert [(each["style"], each["indent"], each.get("offset")) for each in found] == [
        ("ordered", 0, 2),
        ("bullet", 1, None),
        ("ordered", 0, 4),
    ]
    assert found[1]["elements"][0]["elements"] == [text("c"), text("\n\n"), text("more")]
    assert elements("0. zero")[0]["type"] == "rich_text_section"


def test_quotes_and_code() -> None:
    found = elements("> a\n>> b\n>\n> - c\n>\n> ```py\n> x\n> ```\n\nd\n\n    y")
    assert [(each["type"], each.get("border")) for each in found] == [
        ("rich_text_quote", None),
        ("rich_text_list", 1),
        ("rich_text_preformatted", 1),
        ("rich_text_section", None),
        ("rich_text_preformatted", None),
    ]
    assert found[2]["elements"] == [text("x")]


def test_headings_are_bold_and_tables_are_drawn() -> None:
    section, table = elements("# Prices *now*\n\n|n|price|\n|-|-:|\n|tea|3|")
    assert section["elements"][:2] == [text("Prices ", bold=True), text("now", bold=True, italic=True)]
    assert table["elements"] == [text("n   │ price\n────┼──────\ntea │     3")]


def test_sources_are_numbered() -> None:
    citations = [Citation(1, "c", "d", "Fares & <rules>", "https://a.b/f"), Citation(2, "c", "d", "Hand\nbook")]
    (unit,) = render(Reply("Six [1][2].", citations), {})
    check(unit)
    assert unit.payload["blocks"][0]["elements"][0]["elements"][2:] == [
        text("Sources", bold=True),
        text("\n"),
        text("[1] "),
        {"type": "link", "url": "https://a.b/f", "text": "Fares & <rules>"},
        text("\n"),
        text("[2] "),
        text("Hand book"),
    ]


def test_a_long_code_block_goes_on_in_the_next_message() -> None:
    code = "\n".join(f"    line_{number} = {number} & 1" for number in range(400))
    units = check_all(f"Look:\n\n```python\n{code}\n```\n\nDone.")
    assert len(units) > 2
    assert "\n".join(unit.plain for unit in units) == f"Look:\n\n{code}\n\nDone."


def test_many_styles_stay_within_the_size_of_blocks() -> None:
    units = check_all("**a** *b* [c](https://a.b/" + "d" * 500 + ") **a** *b* " * 600)
    assert len(units) > 1


@pytest.mark.parametrize("symbol", [FAMILY, "🇩🇪", "👍🏽"])
def test_no_cut_inside_what_reads_as_one_character(symbol: str) -> None:
    units = check_all(symbol * 2500)
    assert len(units) > 1
    assert all(len(unit.plain) % len(symbol) == 0 for unit in units)


def test_buttons_stand_in_a_block_of_the_last_message() -> None:
    choices = [Choice("Opening hours", "When are you open?"), Choice("x" * 90, "x"), Choice("long", "y" * 61)]
    units = render(Reply("word " * 1200, feedback="trn_1", choices=choices), {})
    assert [len(unit.payload["blocks"]) for unit in units] == [1, 2]
    check(units[-1])
    actions = units[-1].payload["blocks"][1]
    assert actions["type"] == "actions"
    assert [(button["action_id"], button["value"]) for button in actions["elements"]] == [
        ("say:0", "say:When are you open?"),
        ("say:1", "say:x"),
        ("fb:2", "fb:up:trn_1"),
        ("fb:3", "fb:down:trn_1"),
    ]
    assert all(0 < len(button["text"]["text"]) <= 75 for button in actions["elements"])


@pytest.mark.parametrize("source", ["", " \n ", "\u200b", "#"])
def test_an_empty_reply_still_shows_something(source: str) -> None:
    (unit,) = render(Reply(source), {})
    assert check(unit) == "…"
