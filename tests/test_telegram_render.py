"""Replies as Telegram messages. The checker here is written from the Bot API's rules, not from our renderer."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.markdown import parse
from channels.packing import pack
from channels.pieces import flatten
from channels.split import cut, is_boundary, utf16_length
from channels.telegram import render
from channels.telegram.render import DIALECT, LIMITS, _sized, _unit
from kernel.types import Choice, Citation, Reply, Unit
from simulators.telegram.markup_html import parse_html
from tests.rendering_kit import FAMILY, content_of, long_markdown, markdown, words

ADDRESS = {"chat_id": 7, "thread_id": None, "reply_to": None, "private": True}
TOKEN = re.compile(r"<(/?)([a-z]+)((?: [a-z]+=\"[^\"<>]*\")*)>|([<>])|(&)(amp;|lt;|gt;|quot;|#x27;)?")
ALONE = {"code", "pre"}


def html(source: str) -> str:
    units = render(Reply(source), ADDRESS)
    assert len(units) == 1
    return str(units[0].payload["text"])


def check(unit: Unit) -> str:
    """The visible text of a unit, once it has been shown to keep every rule of Telegram's HTML."""
    assert unit.payload["parse_mode"] == "HTML"
    assert unit.payload["link_preview_options"] == {"is_disabled": True}
    raw = unit.payload["text"]
    assert len(raw.encode()) <= 16 * 1024
    open_tags: list[str] = []
    for found in TOKEN.finditer(raw):
        closing, tag, attributes, stray, ampersand, name = found.groups()
        assert not stray
        assert not ampersand or name
        if not tag:
            continue
        if closing:
            assert open_tags.pop() == tag
            continue
        assert tag in {"b", "i", "s", "a", "code", "pre", "blockquote"}
        in_pre = tag == "code" and open_tags == ["pre"] and attributes.startswith(' class="language-')
        assert in_pre or not ALONE & set(open_tags)
        assert in_pre or tag not in ALONE or set(open_tags) <= {"blockquote"}
        assert tag != "pre" or not open_tags
        assert tag != "blockquote" or not open_tags
        assert (tag == "a") == attributes.startswith(" href=")
        assert tag == "a" or in_pre or not attributes
        assert tag != "a" or re.fullmatch(r' href="(https?|mailto|tg):[^"\s]+"', attributes)
        open_tags.append(tag)
    assert not open_tags
    visible = unescape(TOKEN.sub(lambda found: found.group() if found.group(5) else "", raw))
    assert visible == unit.plain
    assert 0 < utf16_length(visible) <= 4096
    assert visible.strip()
    assert parse_html(raw)[0] == visible
    return visible


def check_all(source: str) -> list[str]:
    shown = [check(unit) for unit in render(Reply(source), ADDRESS)]
    assert not words(content_of(source)) - words("".join(shown))
    return shown


@settings(deadline=None, max_examples=200)
@given(markdown)
def test_any_markdown_is_valid_html_that_loses_nothing(text: str) -> None:
    check_all(text)


@settings(max_examples=30, deadline=None)
@given(long_markdown)
def test_any_long_markdown_is_cut_into_valid_units(text: str) -> None:
    check_all(text)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain words, here.", "plain words, here."),
        ("# Top\ntext", "<b>Top</b>\n\ntext"),
        ("a **b *c* d** ~~e~~", "a <b>b </b><b><i>c</i></b><b> d</b> <s>e</s>"),
        ("use `a < b` & go", "use <code>a &lt; b</code> &amp; go"),
        ("**`x`**", "<code>x</code>"),
        ("[docs](https://a.b/?x=1&y=2)", '<a href="https://a.b/?x=1&amp;y=2">docs</a>'),
        ("[`code`](https://a.b)", '<a href="https://a.b">code</a>'),
        ("<https://a.b> <me@a.b>", "https://a.b me@a.b"),
        ("[a **b**](/rel) [c](ftp://x/y)", "a <b>b</b> (/rel) c (ftp://x/y)"),
        ("[](https://a.b)", "https://a.b"),
        ("![logo](https://a.b/l.png)", '<a href="https://a.b/l.png">logo</a>'),
        ("![](https://a.b/l.png)", "https://a.b/l.png"),
        ("[x](javascript:alert)", "[x](javascript:alert)"),
        ("yes [1][2].\n\n[1]: http://a.b", "yes [1][2].\n\n[1]: http://a.b"),
        ("<b>raw</b>", "&lt;b&gt;raw&lt;/b&gt;"),
        ("a\nb\n\n---\n\nc", "a\nb\n\n————————\n\nc"),
        ("- a\n  more\n  - b\n- c", "• a\n  more\n  ◦ b\n• c"),
        ("3. a\n4. b\n   1. c", "3. a\n4. b\n   1. c"),
        ("- - a", "• ◦ a"),
        ("- a\n\n  ```sh\n  ls\n  ```", '• a\n\n<pre><code class="language-sh">ls</code></pre>'),
        ("> a\n>> b\n\nc", "<blockquote>a\n\nb</blockquote>\n\nc"),
        ("> a\n> ```\n> x\n> ```", "<blockquote>a</blockquote>\n\n<pre>x</pre>"),
        ("```c++ title\na <b>\n```", '<pre><code class="language-c++">a &lt;b&gt;</code></pre>'),
        ('```"><b\nx\n```', '<pre><code class="language-b">x</code></pre>'),
        ("|n|price|\n|-|-:|\n|tea|3|\n|茶|12|", "<pre>n   │ price\n────┼──────\ntea │     3\n茶  │    12</pre>"),
        ("|a|b|\n|-|-|\n|[x](http://y)|1|", '<b>a</b><b>: </b><a href="http://y">x</a>\n<b>b</b><b>: </b>1'),
        ("|a|b|\n|-|-|", "a │ b"),
    ],
)
def test_each_element(source: str, expected: str) -> None:
    assert html(source) == expected
    check_all(source)


def test_a_wide_table_becomes_records() -> None:
    wide = "word " * 12
    assert html(f"|name|note|\n|-|-|\n|a|{wide}|\n|b|{wide}|") == (
        f"<b>name</b><b>: </b>a\n<b>note</b><b>: </b>{wide.strip()}\n\n"
        f"<b>name</b><b>: </b>b\n<b>note</b><b>: </b>{wide.strip()}"
    )


def test_sources_stand_at_the_end_as_their_own_block() -> None:
    citations = [
        Citation(1, "chk_1", "doc_1", "Fares & <rules>", "https://a.b/f"),
        Citation(2, "chk_2", "doc_2", "Hand\nbook"),
        Citation(3, "chk_3", "doc_3", "Wiki", "intranet/wiki"),
    ]
    (unit,) = render(Reply("It is six [1][2].", citations), ADDRESS)
    assert unit.payload["text"] == (
        "It is six [1][2].\n\n<b>Sources</b>\n"
        '[1] <a href="https://a.b/f">Fares &amp; &lt;rules&gt;</a>\n[2] Hand book\n[3] Wiki (intranet/wiki)'
    )
    check(unit)


def test_buttons_stand_under_the_last_unit() -> None:
    choices = [
        Choice("Opening hours", "When are you open?"),
        Choice("y", "y" * 61),
        Choice("Hours", "When are you open?"),
    ]
    units = render(Reply("word " * 1200, feedback="trn_1", choices=choices), ADDRESS)
    assert ["reply_markup" in unit.payload for unit in units] == [False, True]
    assert units[-1].payload["reply_markup"] == {
        "inline_keyboard": [
            [{"text": "Opening hours", "callback_data": "say:When are you open?"}],
            [{"text": "👍", "callback_data": "fb:up:trn_1"}, {"text": "👎", "callback_data": "fb:down:trn_1"}],
        ]
    }


def test_a_label_that_reads_like_another_address_shows_where_it_leads() -> None:
    assert html("[google.com](http://evil.io)") == "google.com (http://evil.io)"
    assert html("[https://a.b/x](https://a.b/x?y=1)") == '<a href="https://a.b/x?y=1">https://a.b/x</a>'
    assert html("[www.a.b](https://a.b/c) [Read on](https://a.b)") == (
        '<a href="https://a.b/c">www.a.b</a> <a href="https://a.b">Read on</a>'
    )


def test_only_the_first_unit_answers_the_message_in_a_group() -> None:
    units = render(Reply("word " * 2000), {**ADDRESS, "reply_to": 31, "private": False})
    assert units[0].payload["reply_parameters"] == {"message_id": 31, "allow_sending_without_reply": True}
    assert len(units) > 1
    assert all("reply_parameters" not in unit.payload for unit in units[1:])


@pytest.mark.parametrize("source", ["", " \n ", "\u200b", "#"])
def test_an_empty_reply_still_shows_something(source: str) -> None:
    (unit,) = render(Reply(source), ADDRESS)
    assert check(unit) == "…"


def test_units_break_between_blocks_and_headings_stay_with_what_follows() -> None:
    shown = check_all("a" * 3000 + "\n\n## Next\n\n" + "b" * 3000)
    assert shown == ["a" * 3000, "Next\n\n" + "b" * 3000]


def test_a_long_paragraph_breaks_after_a_sentence_and_a_long_sentence_after_a_word() -> None:
    first, second = check_all("One two three four. " * 300)
    assert first.endswith("four.")
    assert second.startswith("One")
    parts = check_all("wort " * 2000)
    assert set(" ".join(parts).split(" ")) == {"wort"}


def test_a_long_code_block_goes_on_in_the_next_unit_with_its_language() -> None:
    code = "\n".join(f"    line_{number} = {number} & 1" for number in range(600))
    units = render(Reply(f"Look:\n\n```python\n{code}\n```\n\nDone."), ADDRESS)
    assert len(units) > 2
    for unit in units:
        check(unit)
        assert '<pre><code class="language-python">' in unit.payload["text"]
    assert units[0].plain.startswith("Look:")
    assert "\n".join(unit.plain for unit in units) == f"Look:\n\n{code}\n\nDone."


def test_a_link_that_is_cut_is_a_link_in_both_units() -> None:
    units = render(Reply(f"[{'word ' * 1500}](https://a.b)"), ADDRESS)
    assert len(units) > 1
    for unit in units:
        check(unit)
        assert unit.payload["text"].count('<a href="https://a.b">') == 1


def test_escapes_are_bounded_too() -> None:
    shown = check_all("&" * 20_000)
    assert "".join(shown) == "&" * 20_000


def test_deep_nesting_is_shown_as_written() -> None:
    assert "deep" in check_all(">" * 300 + " deep")[0]
    assert "deep" in check_all("**a " * 3000 + "deep" + " b**" * 3000)[-1] + "deep"


@given(st.lists(st.sampled_from(["a", " ", "\n", ".", FAMILY, "🇩🇪", "e\u0301", "表"])), st.integers(8, 60))
def test_cuts_go_forward_within_the_budget(parts: list[str], budget: int) -> None:
    text = "".join(parts)
    position = 0
    while position < len(text):
        end = cut(text, position, budget)
        assert end > position
        assert utf16_length(text[position:end]) <= budget
        position = end


def test_no_cut_inside_what_reads_as_one_character() -> None:
    for symbol in (FAMILY, "🇩🇪", "e\u0301", "👍🏽", "각", "❤\ufe0f"):
        text = symbol * 3000
        shown = check_all(text)
        assert "".join(shown) == text
        assert all(len(part) % len(symbol) == 0 for part in shown)
    assert is_boundary("ab", 1)
    assert not is_boundary("\r\n", 1)


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9,.?!;()-]*(?: [A-Za-z0-9,.?!;()-]+)*", fullmatch=True))
def test_plain_words_look_the_same_without_a_tree(text: str) -> None:
    [quick] = render(Reply(text), {})
    whole = [_unit(message) for message in pack(flatten(parse(text), DIALECT), _sized, LIMITS)]
    assert whole == [quick]
