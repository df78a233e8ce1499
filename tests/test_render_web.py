"""Replies as HTML. The reader takes the page apart with Python's parser and knows only what may be in it."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings

from channels.web_html import to_html
from tests.rendering_kit import content_of, long_markdown, markdown, words

VOID = {"br", "hr"}
ATTRIBUTES = {
    "a": {"href", "target", "rel"},
    "code": {"class"},
    "ol": {"start"},
    "th": {"scope", "dir", "class"},
    "td": {"dir", "class"},
    **{tag: {"dir"} for tag in ("p", "li", "h3", "h4", "h5", "h6")},
    **{tag: set() for tag in ("pre", "blockquote", "ul", "table", "thead", "tbody", "tr", "em", "strong", "s", *VOID)},
}
BLOCKS = {"p", "pre", "blockquote", "ul", "ol", "li", "table", "h3", "h4", "h5", "h6", "hr"}


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert set(given) <= ATTRIBUTES[tag]
        assert tag not in BLOCKS or not {"p", "a", "em", "strong", "s", "code", "pre"} & set(self.open)
        assert tag != "a" or "a" not in self.open
        if tag == "a":
            assert urlsplit(given["href"] or "").scheme in ("http", "https", "mailto")
            assert given["rel"] == "noopener nofollow"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


def check(text: str) -> str:
    html = to_html(text)
    html.encode()
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    assert not words(content_of(text)) - words(reader.text)
    return html


@settings(deadline=None, max_examples=200)
@given(markdown | long_markdown)
def test_any_markdown_is_safe_html_that_loses_nothing(text: str) -> None:
    check(text)


LINK = '<a href="{0}" target="_blank" rel="noopener nofollow">{1}</a>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb **c *d***", '<p dir="auto">a<br>b <strong>c </strong><strong><em>d</em></strong></p>'),
        ("# Top\n##### Low", '<h3 dir="auto">Top</h3><h6 dir="auto">Low</h6>'),
        ("<script>x</script>", '<p dir="auto">&lt;script&gt;x&lt;/script&gt;</p>'),
        ('[a](https://a.b/?c="d"&e)', f'<p dir="auto">{LINK.format("https://a.b/?c=%22d%22&amp;e", "a")}</p>'),
        ("[a](javascript:x) [b](data:text/html,x)", '<p dir="auto">[a](javascript:x) [b](data:text/html,x)</p>'),
        ("[a](ftp://b.c)", '<p dir="auto">a (ftp://b.c)</p>'),
        ("![i](https://a.b/i.png)", f'<p dir="auto">{LINK.format("https://a.b/i.png", "i")}</p>'),
        (
            "[google.com](http://evil.io)",
            f'<p dir="auto">google.com ({LINK.format("http://evil.io", "http://evil.io")})</p>',
        ),
        ("- a\n- b", '<ul><li dir="auto">a</li><li dir="auto">b</li></ul>'),
        (
            "3. a\n\n4. b",
            '<ol start="3"><li dir="auto"><p dir="auto">a</p></li><li dir="auto"><p dir="auto">b</p></li></ol>',
        ),
        ("> a\n>> b", '<blockquote><p dir="auto">a</p><blockquote><p dir="auto">b</p></blockquote></blockquote>'),
        ('```py"><b\n<i>\n```', '<pre><code class="language-pyb">&lt;i&gt;</code></pre>'),
        (
            "|a|b|\n|-|-:|\n|1|2|",
            '<table><thead><tr><th scope="col" dir="auto">a</th><th scope="col" dir="auto" class="right">b</th></tr>'
            '</thead><tbody><tr><td dir="auto">1</td><td dir="auto" class="right">2</td></tr></tbody></table>',
        ),
        ("", ""),
    ],
)
def test_each_element(text: str, expected: str) -> None:
    assert check(text) == expected
