"""Nasty markdown for property tests, and what a reader would read of it by the grammar alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
MARKS = [
    "*",
    "**",
    "_",
    "~~",
    "`",
    "``",
    "```",
    "```py\n",
    "~~~\n",
    "\n",
    "\n\n",
    "> ",
    "- ",
    "1. ",
    "0) ",
    "# ",
    "    ",
]
LINKS = [
    "[",
    "](",
    ")",
    "](http://a.b/c?d=e&f)",
    "](/x)",
    "![",
    "[1]",
    "<http://a.b>",
    "[1]: http://a.b\n",
    "<https://a",
]
ADDRESSES = [
    "https://a.b/x_y_z*w(v)",
    "[google.com](http://evil.io)",
    "[x](https://a.b/(c)<d)",
    "mailto:a@b.c",
    "www.a.b",
]
MENTIONS = [
    "<@U123>",
    "<!channel>",
    "@everyone",
    "@here",
    "<@&42>",
    "<#7>",
    "<t:1:R>",
    "</x:1>",
    "<:name:123456789012345678>",
]
TEXTS = [
    "<b>",
    "&amp;",
    "&",
    "<",
    ">",
    '"',
    "word",
    "Ünïcode",
    "表格",
    FAMILY,
    "🇩🇪🇫🇷",
    "e\u0301",
    "\ud800",
    "\0",
    "שלום",
    "\u202e",
]
BLOCKS = [
    "|a|b|\n|-|-|\n",
    "|c|`d\\|e`|\n",
    "---\n",
    "===",
    "\u200b",
    " ",
    ". ",
    "\t",
    "|",
    "\\",
    "||",
    "-# x\n",
    ">>> ",
    "\r\n",
]
PARTS = [*MARKS, *LINKS, *ADDRESSES, *MENTIONS, *TEXTS, *BLOCKS]

scraps = st.lists(st.sampled_from(PARTS) | st.text(max_size=6), max_size=40).map("".join)


def _indented(text: str, first: str, other: str) -> str:
    return first + text.replace("\n", "\n" + other)


_words = st.sampled_from(
    ["word", "Ünïcode", "表格", "שלום", FAMILY, "a_b_c", "2*3", "x" * 60, "R&D", "e\u0301", "10:30", *MENTIONS]
)
_inline = st.recursive(
    _words,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(" ".join),
        st.tuples(st.sampled_from(["*", "**", "_", "~~", "***"]), inner).map(lambda t: t[0] + t[1] + t[0]),
        inner.map(lambda text: f"[{text}](https://a.b/{len(text)})"),
        inner.map(lambda text: f"![{text}](https://a.b/i.png)"),
        st.sampled_from(
            ["`a|b`", "``x ` y``", "`*z*`", "https://a.b/x_y.", "<me@a.b>", "\\*", "[2]", "a  \nb", "a\nb"]
        ),
    ),
    max_leaves=6,
)
_code = st.sampled_from(["x = 1", "if a < b:\n    pass", "```", "# no\n\n- code *x*", "`", "|a|b|"])
_block = st.recursive(
    st.one_of(
        _inline,
        st.tuples(st.integers(1, 6), _inline).map(lambda t: "#" * t[0] + " " + t[1].replace("\n", " ")),
        st.tuples(st.sampled_from(["", "py", "c++ x", '"><b']), _code).map(lambda t: f"````{t[0]}\n{t[1]}\n````"),
        st.lists(st.tuples(_inline, _inline), min_size=1, max_size=4).map(
            lambda rows: "\n".join(
                f"| {a} | {b} |".replace("\n", " ") + ("\n|:-|-:|" if not n else "") for n, (a, b) in enumerate(rows)
            )
        ),
        st.just("---"),
        st.just("word" * 700),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("\n\n".join),
        inner.map(lambda text: _indented(text, "> ", "> ")),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: "\n".join(_indented(x, "- ", "  ") for x in items)),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda items: "\n".join(_indented(x, f"{n}. ", "   ") for n, x in enumerate(items, 9))
        ),
    ),
    max_leaves=5,
)
documents = st.lists(_block, min_size=1, max_size=4).map("\n\n".join)
markdown = scraps | documents
long_markdown = st.lists(st.tuples(markdown, st.integers(1, 200)), min_size=1, max_size=3).map(
    lambda parts: "\n\n".join((part * times)[:9000] for part, times in parts)
)


def words(text: str) -> Counter[str]:
    return Counter(character for character in text if character.isalnum())


def content_of(text: str) -> str:
    """What a reader of the markdown would read, by the grammar alone."""
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 500}).enable(["table", "strikethrough"])
    parser.disable("reference")
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return "".join(map(_content, parser.parse(text + "\n")))  # without it the parser may read past the end


def _content(token: Token) -> str:
    return "".join(map(_content, token.children)) if token.children else token.content


def squeezed(text: str) -> str:
    """Without white space and the invisible breaks that part marks."""
    return "".join(text.replace("\u200b", "").split())
