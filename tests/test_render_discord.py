"""Replies as Discord messages. The reader here is written from how Discord's client reads markdown, not from our
renderer: what it sees has to be the reply's text, whole and with nothing read as markup that is none."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings

from channels.discord.render import render
from kernel.types import Choice, Citation, Reply, Unit
from tests.rendering_kit import FAMILY, content_of, long_markdown, markdown, squeezed, words

# What a client takes first at any place of inline text, in this order.
INLINE = re.compile(
    r"(?P<escape>\\(?P<escaped>[^0-9A-Za-z\s]))"
    r"|(?P<fence>```(?:[a-z0-9_+\-.#]+\n)?\n*(?P<block>[^\n][\s\S]*?)\n*```)"
    r"|(?P<ticks>`+)(?P<code>[\s\S]*?[^`])(?P=ticks)(?!`)"
    r"|(?P<emoji><a?:\w+:\d+>)"
    r"|(?P<mention><(?:@[!&]?|#|t:|/|id:)[^>]*>)"
    r"|<(?P<auto>[^: >]+:/[^ >]+)>"
    r"|\[(?P<label>(?:\[[^\]]*\]|[^\[\]])*)\]\(\s*<?(?P<target>(?:[^\s\\]|\\.)*?)>?\s*\)"
    r"|(?P<url>https?://[^\s<]+[^<.,:;\"')\]\s])"
    r"|\*\*(?P<strong>(?:\\[\s\S]|[^\\])+?)\*\*(?!\*)"
    r"|__(?P<under>(?:\\[\s\S]|[^\\])+?)__(?!_)"
    r"|\*(?=\S)(?P<em>(?:\*\*|\\[\s\S]|\s+(?:\\[\s\S]|[^\s*\\]|\*\*)|[^\s*\\])+?)\*(?!\*)"
    r"|\b_(?P<em2>(?:__|\\[\s\S]|[^\\_])+?)_\b"
    r"|~~(?P<strike>[\s\S]+?)~~(?!_)"
    r"|\|\|(?P<spoiler>[\s\S]+?)\|\|"
    r"|(?P<broadcast>@everyone|@here)"
)


class Seen:
    """What a client shows of a message."""

    def __init__(self, content: str) -> None:
        self.links: list[str] = []
        self.text = self._blocks(content)

    def _blocks(self, content: str, *, quoting: bool = True) -> str:
        shown: list[str] = []
        quoted: list[str] = []
        fenced = False
        lines: list[str] = []
        for line in [*content.split("\n"), None]:
            is_quote = quoting and line is not None and line.startswith("> ") and not fenced
            if quoted and not is_quote:
                lines.append(self._blocks("\n".join(quoted), quoting=False))
                shown.append(self._inline("\n".join(lines[:-1])) + "\n" + lines[-1])
                lines, quoted = [], []
            if line is None:
                break
            assert fenced or not line.startswith(">>>")
            if is_quote:
                quoted.append(line[2:])
                continue
            if line.count("```") % 2:
                fenced = not fenced
            if not fenced:
                assert not line.startswith("-# ")
                line = re.sub(r"^#{1,3} (?=\S)", "", line)
            lines.append(line)
        assert not fenced
        return "\n".join([*shown, self._inline("\n".join(lines))])

    def _inline(self, text: str) -> str:
        shown: list[str] = []
        position = 0
        while found := INLINE.search(text, position):
            shown += (text[position : found.start()], self._leaf(found))
            position = found.end()
        return "".join([*shown, text[position:]])

    def _leaf(self, found: re.Match[str]) -> str:
        got = {name: value for name, value in found.groupdict().items() if value is not None}
        for never in ("mention", "under", "spoiler", "broadcast", "em2"):
            assert never not in got, got
        if "label" in got:
            assert "\\" not in got["label"]
            assert "://" not in got["label"]
            self.links.append(got["target"])
            return self._inline(got["label"])
        if "auto" in got or "url" in got:
            self.links.append(got.get("auto") or got["url"])
        for style in ("strong", "em", "strike"):
            if style in got:
                return self._inline(got[style])
        return next(got[name] for name in ("escaped", "block", "code", "emoji", "auto", "url") if name in got)


def check(unit: Unit) -> Seen:
    assert unit.payload["allowed_mentions"] == {"parse": []}
    assert unit.payload["flags"] == 4
    content = unit.payload["content"]
    assert 0 < len(content) <= 2000
    assert 0 < len(unit.plain) <= 2000
    content.encode()
    seen = Seen(content)
    for link in seen.links:
        assert urlsplit(link).scheme in ("http", "https")
    assert squeezed(seen.text) == squeezed(unit.plain)
    assert squeezed(seen.text)
    return seen


def check_all(text: str) -> list[str]:
    units = render(Reply(text), {})
    for unit in units:
        check(unit)
    assert not words(content_of(text)) - words("".join(unit.plain for unit in units))
    return [unit.payload["content"] for unit in units]


@settings(deadline=None, max_examples=200)
@given(markdown)
def test_any_markdown_shows_its_text_and_nothing_else(text: str) -> None:
    check_all(text)


@settings(deadline=None, max_examples=30)
@given(long_markdown)
def test_any_long_markdown_is_cut_into_valid_units(text: str) -> None:
    check_all(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words, here.", "plain words, here."),
        ("# Top\n#### Low\ntext", "# Top\n\n**Low**\n\ntext"),
        ("a **b *c* d** ~~e~~", "a **b** ***c*** **d** ~~e~~"),
        ("**a***b*", "**a**\u200b*b*"),
        ("a*b*c and 2 * 3 * 4", "a*b*c and 2 \\* 3 \\* 4"),
        ("use `a * b` and ``x ` y``", "use `a * b` and `` x ` y ``"),
        ("snake_case_name", "snake\\_case\\_name"),
        ("see https://a.b/x_y.", "see <https://a.b/x_y>."),
        ("[docs](https://a.b/c_(d))", "[docs](<https://a.b/c_%28d%29>)"),
        ("[a *b*](https://a.b)", "[a *b*](<https://a.b>)"),
        ("[a\\*b](https://a.b)", "a\\*b (<https://a.b>)"),
        ("[google.com](http://evil.io)", "google.com (<http://evil.io>)"),
        ("[x](ftp://a.b) [y](/rel)", "x (ftp://a.b) y (/rel)"),
        ("![logo](https://a.b/l.png)", "[logo](<https://a.b/l.png>)"),
        ("<@42> <#7> <t:1> @everyone", "\\<@42> \\<#7> \\<t:1> @\u200beveryone"),
        ("<:wave:123456789012345678> hi", "<:wave:123456789012345678> hi"),
        ("\\# no\n1\\. no\n\\- no\n\\> no", "\\# no\n1\\. no\n\\- no\n\\> no"),
        ("- a\n  more\n  - b\n- c", "- a\n  more\n  - b\n- c"),
        ("3. a\n4. b\n   - c", "3. a\n4. b\n   - c"),
        ("- a\n\n  ```sh\n  ls\n  ```", "- a\n\n```sh\nls\n```"),
        ("> a\n>> b\n\nc", "> a\n> \n> b\n\nc"),
        ("> a\n> ```py\n> x\n> ```", "> a\n> \n> ```py\n> x\n> ```"),
        ("````\n```\n````", "```\n`\u200b`\u200b`\u200b\n```"),
        ("|n|price|\n|-|-:|\n|tea|3|", "```\nn   │ price\n────┼──────\ntea │     3\n```"),
        ("<b>raw</b> | x", "\\<b>raw\\</b> \\| x"),
    ],
)
def test_each_element(text: str, expected: str) -> None:
    assert check_all(text) == [expected]


def test_sources_are_numbered() -> None:
    citations = [
        Citation(1, "c", "d", "Fares & <rules>", "https://a.b/f"),
        Citation(2, "c", "d", "Guide", "https://a.b/g"),
    ]
    (unit,) = render(Reply("Six [1][2].", citations), {})
    check(unit)
    assert unit.payload["content"] == (
        "Six [1][2].\n\n**Sources**\n[1] Fares & \\<rules> (<https://a.b/f>)\n[2] [Guide](<https://a.b/g>)"
    )


def test_a_long_code_block_goes_on_in_the_next_message_with_its_language() -> None:
    code = "\n".join(f"    line_{number} = {number} & 1" for number in range(300))
    contents = check_all(f"Look:\n\n```python\n{code}\n```\n\nDone.")
    assert len(contents) > 3
    for content in contents:
        assert content.count("```python\n") == 1
    inside = [part for content in contents for part in re.findall(r"```python\n(.*?)\n```", content, re.S)]
    assert "\n".join(inside) == code


@pytest.mark.parametrize("symbol", [FAMILY, "🇩🇪", "e\u0301", "👍🏽", "<:name:123456789012345678>"])
def test_no_cut_inside_what_reads_as_one_character(symbol: str) -> None:
    contents = check_all(symbol * 1100)
    assert len(contents) > 1
    assert "".join(contents) == symbol * 1100
    assert all(len(content) % len(symbol) == 0 for content in contents)


def test_an_address_is_not_cut() -> None:
    address = "https://a.b/" + "c" * 300
    contents = check_all(f"{'word ' * 380}{address} end " * 4)
    assert sum(content.count(f"<{address}>") for content in contents) == 4


def test_buttons_stand_under_the_last_message_in_rows() -> None:
    choices = [Choice(f"Choice {n} " + "x" * 80 * (n == 2), f"text {n}") for n in range(7)]
    units = render(Reply("word " * 600, feedback="trn_1", choices=[*choices, Choice("long", "ü" * 31)]), {})
    assert "components" not in units[0].payload
    rows = units[-1].payload["components"]
    assert [[button["custom_id"] for button in row["components"]] for row in rows] == [
        [f"say:text {n}" for n in range(5)],
        ["say:text 5", "say:text 6"],
        ["fb:up:trn_1", "fb:down:trn_1"],
    ]
    assert all(len(button["label"]) <= 80 for row in rows for button in row["components"])


@pytest.mark.parametrize("text", ["", " \n ", "\u200b", "#"])
def test_an_empty_reply_still_shows_something(text: str) -> None:
    (unit,) = render(Reply(text), {})
    assert check(unit).text == "…"
