"""The simulator's parsers against what the official server makes of the same markup."""

from typing import Any

import pytest

from simulators.telegram.entities import format_text
from simulators.telegram.errors import ApiError
from simulators.telegram.files import image_size
from simulators.telegram.links import checked_url
from simulators.telegram.markup_html import parse_html
from simulators.telegram.markup_markdown import parse_markdown_v2
from simulators.telegram.text import MarkupError

S = "🏟 🏟"  # five UTF-16 units, nine bytes

HTML_ERRORS = {
    "&#57311;": "Text contains invalid Unicode characters after decoding HTML entities, "
    "check for unmatched surrogate code units",
    f"{S}&lt;<abacaba": "Unclosed start tag at byte offset 13",
    f"{S}&lt;<abac aba>": 'Unsupported start tag "abac" at byte offset 13',
    "one<br/>two": 'Unsupported start tag "br/" at byte offset 3',
    f"{S}&lt;<i   =aba>": 'Empty attribute name in the tag "i" at byte offset 13',
    f"{S}&lt;<i    aba>": 'Can\'t find end tag corresponding to start tag "i"',
    f"{S}&lt;<i    aba  =  ": 'Unclosed start tag "i" at byte offset 13',
    f"{S}&lt;<i    aba  =  190azAz-.,": "Unexpected end of name token at byte offset 27",
    f'{S}&lt;<i    aba  =  "&lt;&gt;&quot;>': "Unclosed start tag at byte offset 13",
    f"{S}&lt;</": "Unexpected end tag at byte offset 13",
    f"{S}&lt;<b></b></": "Unexpected end tag at byte offset 20",
    f"{S}&lt;<i>a</i   ": "Unclosed end tag at byte offset 17",
    f"{S}&lt;<i>a</em   >": 'Unmatched end tag at byte offset 17, expected "</i>", found "</em>"',
    "<span class='x'>a</span>": 'Tag "span" must have class "tg-spoiler" at byte offset 0',
    "<tg-emoji emoji-id='0'>a</tg-emoji>": "Invalid custom emoji identifier specified",
}

HTML: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "": ("", []),
    "&ge;&lt;&gt;&amp;&quot;&laquo;&#12345678;&#x41;&#66": ('&ge;<>&"&laquo;&#12345678;AB', []),
    f"{S}<i>🏟 &gt;<b aba   =   caba>&lt🏟</b></i>": (f"{S}🏟 ><🏟", [("bold", 9, 3), ("italic", 5, 7)]),
    f"{S}&lt;<i>a</    >": (f"{S}<a", [("italic", 6, 1)]),
    f"{S}&lt;<b></b>": (f"{S}<", []),
    "<STRONG>a</strong><ins>b</ins><strike>c</strike><tg-spoiler>d</tg-spoiler>": (
        "abcd", [("bold", 0, 1), ("underline", 1, 1), ("strikethrough", 2, 1), ("spoiler", 3, 1)]),
    "<span class = \"tg-spoiler\">a</span>": ("a", [("spoiler", 0, 1)]),
    "<a   href=  'telegram.org?&lt;'   > </a>": (" ", [("text_link", 0, 1, "http://telegram.org/?<")]),
    "<a>telegram.org</a>": ("telegram.org", [("text_link", 0, 12, "http://telegram.org/")]),
    "<a href='nowhere'>x</a>": ("x", []),
    "<a href='tg://user?id=7'>x</a>": ("x", [("text_mention", 0, 1, {"id": 7})]),
    "<blockquote expandable>a&lt;<pre  >b;</></>": (
        "a<b;", [("pre", 2, 2), ("expandable_blockquote", 0, 4)]),
    "<tg-emoji emoji-id=\"54321\">🏟</tg-emoji>": ("🏟", [("custom_emoji", 0, 2, "54321")]),
}  # fmt: skip

MARKDOWN_ERRORS = {
    f"{S}_abacaba": "Can't find end of Italic entity at byte offset 9",
    f"{S}_abac * asd _": "Can't find end of Italic entity at byte offset 21",
    f"{S}`": "Can't find end of Code entity at byte offset 9",
    f"{S}```a": "Can't find end of Pre entity at byte offset 9",
    f"{S}```a ": "Can't find end of PreCode entity at byte offset 9",
    f"{S}__🏟 🏟_": "Can't find end of Italic entity at byte offset 20",
    f"{S}__🏟 _🏟___": "Can't find end of Italic entity at byte offset 23",
    f"{S}```🏟 🏟`": "Can't find end of Code entity at byte offset 21",
    "[telegram\\.org](asd\\)": "Can't find end of a URL at byte offset 16",
    f"{S}||test\\|": "Can't find end of Spoiler entity at byte offset 9",
    f"{S}![👍": "Can't find end of CustomEmoji entity at byte offset 9",
    f"{S}![👍]": "Custom emoji entity must contain a tg://emoji URL",
    f"{S}![👍](tg://emoji?id=1234": "Can't find end of a custom emoji URL at byte offset 17",
    f"{S}![👍](t://emoji?id=1234)": "Custom emoji URL must have scheme tg",
    f"{S}![👍](tg:emojis?id=1234)": 'Custom emoji URL must have host "emoji"',
    f"{S}![👍](tg://emoji?test=1#&id=25)": "Custom emoji URL must have an emoji identifier",
    ">*b\n>ld \n>bo\nld*\nasd\ndef": "Can't find end of Bold entity at byte offset 1",
    ">\n*a*>2": "Character '>' is reserved and must be escaped with the preceding '\\'",
    ">asd\n>q||ew\n||asdad": "Can't find end of Spoiler entity at byte offset 7",
    ">asd\n>q||e||w||a\n||asdad": "Can't find end of Spoiler entity at byte offset 13",
}

MARKDOWN: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "\\\\\\a\\➡️\\": ("\\a\\➡️\\", []),
    f"{S}_🏟 __🏟___": (f"{S}🏟 🏟", [("underline", 8, 2), ("italic", 5, 5)]),
    f"{S}`🏟 🏟```": (f"{S}🏟 🏟", [("code", 5, 5)]),
    f"{S}```🏟\r\n🏟```": (f"{S}🏟", [("pre", 5, 2, "🏟")]),
    f"{S}```🏟 \\\\\\`🏟```": (f"{S} \\`🏟", [("pre", 5, 5, "🏟")]),
    f"{S}``````**____": (S, []),
    "[telegram\\.org]a": ("telegram.orga", [("text_link", 0, 12, "http://telegram.org/")]),
    "[x](https://telegram.dog?\\\\\\()": ("x", [("text_link", 0, 1, "https://telegram.dog/?\\(")]),
    "[x](tg:user?id=123456)": ("x", [("text_mention", 0, 1, {"id": 123456})]),
    "![👍](TG://EMoJI/?test=1231&id=25#id=32)a": ("👍a", [("custom_emoji", 0, 2, "25")]),
    "> \\>\n \\> \n>": (" >\n > \n", [("blockquote", 0, 3)]),
    "\r\r>\r\ra\r\n\r": ("\r\r\r\ra\r\n\r", [("blockquote", 2, 5)]),
    ">\n**>2": ("\n2", [("blockquote", 0, 1), ("blockquote", 1, 1)]),
    "*a\n>b\n>c\nd*\ne": ("a\nb\nc\nd\ne", [("blockquote", 2, 4), ("bold", 0, 7)]),
    ">`b\n>ld`\n>asd\ndef": ("b\n>ld\nasd\ndef", [("code", 0, 5), ("blockquote", 0, 10)]),
    ">asd\r\n>q||e||w||\r\nx": (
        "asd\r\nqew\r\nx", [("spoiler", 6, 1), ("expandable_blockquote", 0, 10)]),
    ">||": ("", []),
}  # fmt: skip


def shape(entity: dict[str, Any]) -> tuple[Any, ...]:
    """Type, offset, length and whatever else the entity carries."""
    rest = [value for key, value in entity.items() if key not in ("type", "offset", "length")]
    return (entity["type"], entity["offset"], entity["length"], *rest)


@pytest.mark.parametrize("source", HTML_ERRORS)
def test_bad_html_is_refused_with_its_offset(source: str) -> None:
    with pytest.raises(MarkupError) as refused:
        parse_html(source)
    assert str(refused.value) == HTML_ERRORS[source]


@pytest.mark.parametrize("source", HTML)
def test_html_becomes_entities(source: str) -> None:
    text, entities = parse_html(source)
    assert (text, [shape(entity) for entity in entities]) == HTML[source]


@pytest.mark.parametrize("source", MARKDOWN_ERRORS)
def test_bad_markdown_is_refused_with_its_offset(source: str) -> None:
    with pytest.raises(MarkupError) as refused:
        parse_markdown_v2(source)
    assert str(refused.value) == MARKDOWN_ERRORS[source]


@pytest.mark.parametrize("source", MARKDOWN)
def test_markdown_becomes_entities(source: str) -> None:
    text, entities = parse_markdown_v2(source)
    assert (text, [shape(entity) for entity in entities]) == MARKDOWN[source]


def test_every_reserved_character_must_be_escaped() -> None:
    for code in range(1, 126):
        char = chr(code)
        if char in "]()#+-=|{}.!":
            with pytest.raises(MarkupError, match="is reserved and must be escaped"):
                parse_markdown_v2(char)
        elif char not in "_*[~`>":
            assert parse_markdown_v2(char) == (char, [])
        assert parse_markdown_v2(f"\\{char}") == (char, [])


def test_what_is_shown_is_tidy() -> None:
    shown = format_text(" \n <b>a</b><b>b <code>c</code> d</b> /go@my_bot mail@x.org ", "HTML", None)
    assert shown[0] == "ab c d /go@my_bot mail@x.org"
    assert [shape(e) for e in shown[1]] == [
        ("bold", 0, 3), ("code", 3, 1), ("bold", 4, 2), ("bot_command", 7, 10), ("email", 18, 10),
    ]  # fmt: skip
    code = format_text('<pre><code class="language-py">#x</code></pre>', "html", None)
    assert code == ("#x", [{"type": "pre", "offset": 0, "length": 2, "language": "py"}])
    given = [{"type": "bold", "offset": 1, "length": 9}, {"type": "url", "offset": 0, "length": 1}]
    assert format_text("😀b", "", given) == ("😀b", [{"type": "bold", "offset": 1, "length": 2}])
    found = format_text("see https://a.example/x. and #tag, @someone or 1.5/2", "", None)[1]
    assert [shape(e) for e in found] == [("url", 4, 19), ("hashtag", 29, 4), ("mention", 35, 8)]
    for wrong in ({"type": "bold"}, "x"):
        with pytest.raises(ApiError, match="can't parse MessageEntity"):
            format_text("a", "", [wrong])


def test_links_and_pictures() -> None:
    assert checked_url("HTTPS://Example.COM:8080?a#b") == "https://example.com:8080/?a#b"
    for wrong in ("", "localhost", "http://localhost/", "javascript:alert(1)", "a b.com", "http://x.y:port/"):
        assert checked_url(wrong) is None
    assert image_size(b"GIF89a" + bytes([5, 0, 4, 0])) == (5, 4)
    assert image_size(bytes.fromhex("ffd8ffe00004aabbffc0000b080007000901")) == (9, 7)
    webp = b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + bytes([1, 0, 0, 2, 0, 0])
    assert image_size(webp) == (2, 3)
    assert image_size(b"text") is None
