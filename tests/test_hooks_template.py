"""Templates of hooks: their syntax, what they refuse when they are saved, and what no payload can do to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from channels.markdown import Block, Heading, List, Paragraph, Quote, Span, Table, parse
from channels.table import CHANNELS
from kernel.types import Reply
from webhooks.hooks import markup
from webhooks.hooks.conditions import compile_condition
from webhooks.hooks.filters import FILTERS, text_of
from webhooks.hooks.markup import JOINER, clean, escape, one_line
from webhooks.hooks.paths import Fault, Scope, find, one, parse_path
from webhooks.hooks.template import compile_template, render

LIMIT = 8_000
BIKE: dict[str, Any] = {
    "name": "Elbe",
    "price": 59,
    "rented": False,
    "nothing": None,
    "tags": ["city", "e-bike"],
    "rides": [{"id": "a1b2c3d4e5", "km": 3.5}, {"id": "b2", "km": 12}, {"id": "c3", "km": 7}],
    "labels": {"app.kubernetes.io/name": "bikes", "zone": "eu"},
    "since": 1_795_512_612,
    "page": "https://bikes.example/elbe_(1)?x=*",
}


def shown(source: str, payload: Any = BIKE, *, markdown: bool = True, limit: int = LIMIT) -> str:
    return render(compile_template(source, markdown=markdown), Scope(payload, {}), limit)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ name }} costs {{price}}.", "Elbe costs 59."),
        ("{{ rented }} {{ nothing }}|{{ missing.deeper.0 }}|", "false ||"),
        ("{{ rides.1.km }} {{ rides.0.km }} {{ rides.9.km }}", "12 3.5"),
        ('{{ labels."app.kubernetes.io/name" | upper }}', "BIKES"),
        ('{{ tags | join }} {{ rides.*.id | join: "/" }}', "city, e-bike a1b2c3d4e5/b2/c3"),
        ('{{ missing | default: "none" }} {{ nothing | default: name | lower }}', "none elbe"),
        ('{{ since | date }} {{ since | date: "%d %b" }}', "2026-11-24 09:30 UTC 24 Nov"),
        ("{{ rides.0.id | start: 4 }} {{ rides.0.id | truncate: 4 }}", "a1b2 a1b…"),
        ("{{ rides | count }} {{ tags | count }} {{ missing | count }}", "3 2 0"),
        ('{{ price | money: "jpy" }} {{ price | money: "eur" }}', "59 JPY 0.59 EUR"),
        ('{{ price | money: "kwd" }}; {{ name | money: name }}', "0.059 KWD; Elbe"),
        ('{{ name | without: "El" }}{{ name | without: "x" }}', "beElbe"),
        ('{{ "{{" }} {{ "a | b" | upper }}', r"{{ A \| B"),
        ("{{ tags }} {{ labels.zone | escape }}", r"""\["city","e-bike"\] eu"""),
        ("{{! nobody } sees \" this }}a{{!}}b", "ab"),
        ("{{#if rented}}gone{{else}}free{{/if}} {{#if name}}named{{/if}}", "free named"),
        ('{{#if price $gte 59}}dear{{/if}} {{#if tags $in ["city"]}}city{{/if}}', "dear city"),
        ('{{#if name $eq "x"}}x{{/if}}{{#if name $exists true}}y{{/if}}', "y"),
        ("{{#each tags as tag}}{{ $index }}. {{ tag }}\n{{/each}}end", "1. city\n2. e-bike\nend"),
        ("a\n{{#each rides as ride limit=2}}\n- {{ ride.id }}\n{{more}}\n- {{ $more }} more\n{{/each}}\nb",
         "a\n- a1b2c3d4e5\n- b2\n- 1 more\nb"),
        ("{{#each missing as one}}{{ one }}{{more}}more{{else}}none{{/each}}", "none"),
        ("{{#each labels as l}}{{ l.key }}={{ l.value }};{{/each}}", "app.kubernetes.io/name=bikes;zone=eu;"),
        ("{{#each tags as t}}{{#each rides as r limit=1}}{{ t }}:{{ r.km }} {{/each}}{{/each}}", "city:3.5 e-bike:3.5"),
        ("[x]({{ page }}) [y](https://h.example/{{ name }}/{{ page }}?q)",
         "[x](https://bikes.example/elbe%5F%281%29?x=%2A)"
         " [y](https://h.example/Elbe/https%3A//bikes.example/elbe%5F%281%29%3Fx%3D%2A?q)"),
        ("{{ page | code }} {{ name | code }} {{ missing | code }}.", "`https://bikes.example/elbe_(1)?x=*` `Elbe` ."),
        ("{{ labels | block }}", '```\n{\n  "app.kubernetes.io/name": "bikes",\n  "zone": "eu"\n}\n```'),
        ("| a |\n|---|\n| {{ page | code }} |", "| a |\n|---|\n| `https://bikes.example/elbe_(1)?x=*` |"),
        ("\\{{ tags }}", r"""\\\["city","e-bike"\]"""),
        ("@{{ name }} {{ . | count }}", f"@{JOINER}Elbe 9"),
        ("{{ $header.x-kind }}", "push"),
    ],
)  # fmt: skip
def test_what_templates_make(source: str, text: str) -> None:
    template = compile_template(source)
    assert render(template, Scope(BIKE, {"$header": {"x-kind": "push"}}), LIMIT) == text


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("a\n{{ name", "line 2: a {{ that is not closed"),
        ("{{ name }} {{", "line 1: a {{ that is not closed"),
        ("{{}}", "a value is missing"),
        ("{{ a b }}", "a | was expected before 'b'"),
        ("{{ a | shout }}", "no filter 'shout'"),
        ("{{ a | }}", "no filter ''"),
        ("{{ a | upper: 1 }}", "the filter upper takes no arguments"),
        ("{{ a | start }}", "the filter start takes one argument"),
        ("{{ a | truncate: 0 }}", "a number from 1 to"),
        ("{{ a | truncate: b }}", "a value that stands in the template"),
        ('{{ a | date: "%9d" }}', "no %9"),
        ("{{ a | join: 3 }}", "a text in quotes"),
        ("{{ a | code | upper }}", "nothing may follow"),
        ("{{ 3 }}", "a path or a text in quotes"),
        ("{{ a..b }}", "is no path"),
        ("{{ a-b! }}", "is no path"),
        ("{{#if}}x{{/if}}", "a condition is"),
        ("{{#if a}}x", "{{/if}} is missing"),
        ("{{#if a $is 3}}x{{/if}}", "no operator '$is'"),
        ("{{#if a $eq b}}x{{/if}}", "no JSON value"),
        ("{{#if a $gt true}}x{{/if}}", "compares numbers or texts"),
        ("\n\n{{#each a}}x{{/each}}", "line 3: a list is gone through by"),
        ("{{#each a as b limit=51}}x{{/each}}", "limit is from 1 to 50"),
        ("{{/each}}", "{{/each}} has no place here"),
        ("{{#if a}}{{more}}{{/if}}", "{{more}} has no place here"),
        ("{{#with a}}{{/with}}", "{{#with a}} has no place here"),
        ("{{#if a}}" * 5 + "{{/if}}" * 5, "at most 4 deep"),
        ("`{{ a }}`", "between backticks"),
        ("```\n{{ a }}\n```", "within a code block"),
        ("x {{ a | block }}", "on a line of its own"),
        ("[x]({{ a | code }})", "no code in the target of a link"),
        ("x" * 20_000, "at most 16384 characters"),
        ("{{ " + "a" * 2_001 + " }}", "at most 2000 characters"),
        ("{{ a }}" * 401, "at most 400 tags"),
        ("{{ a" + " | upper" * 9 + " }}", "at most 8 filters"),
        ("{{ a" + ".a" * 20 + " }}", "at most 16 parts"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_when_it_is_saved(source: str, fault: str) -> None:
    with pytest.raises(Fault) as refused:
        compile_template(source)
    assert fault in refused.value.message


def test_a_plain_template_puts_values_in_as_they_are() -> None:
    assert shown("x-{{ name }}-{{ page }}", markdown=False) == "x-Elbe-https://bikes.example/elbe_(1)?x=*"
    assert shown("`{{ a }}`", {"a": "*\n\x00b"}, markdown=False) == "`* b`"


def test_values_of_any_kind_have_a_text() -> None:
    for value, text in (
        (None, ""), (True, "true"), (3, "3"), (3.0, "3"), (3.25, "3.25"), (1e300, "1e+300"), ([], "[]"), ({}, "{}"),
    ):  # fmt: skip
        assert text_of(value) == text
    deep: Any = "x"
    for _ in range(60):
        deep = [deep, deep]
    assert len(text_of(deep)) < 2_000
    assert len(text_of({str(n): "x" * 9_999 for n in range(9_999)})) <= 20_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2018-08-03T09:52:26.739266876+02:00", "2018-08-03 07:52 UTC"),
        ("2026-11-24T05:21:15Z", "2026-11-24 05:21 UTC"),
        (1_795_512_612_000, "2026-11-24 09:30 UTC"),
        ("soon", "soon"),
        (1e40, "1e+40"),
        (True, "true"),
    ],
)
def test_times_as_systems_write_them(value: Any, text: str) -> None:
    assert shown("{{ t | date }}", {"t": value}) == text


def test_output_and_work_are_bounded() -> None:
    many = {"a": [{"b": ["x" * 30_000] * 50}] * 50}
    four = "{{#each a as b limit=50}}" * 4 + "{{ b.b.0 | upper | lower | truncate: 1 }}" + "{{/each}}" * 4
    for run in (" ", " \n", "*", "`", "@a", "_", "\\", "](", "https://a "):
        for source in ("{{ a }}", "{{ a | lines }}", "{{ a | code }}", "{{ a | block }}", "{{ a | url }}"):
            assert len(shown(source, {"a": run * 20_000})) <= LIMIT
    unclosed = ("{{" * 8_000, "{{!" * 5_000, '{{"' * 5_000)
    for broken in (*unclosed, "{{#each a" + " " * 1_900 + "}}", "{{ a" + " |" * 900 + "}}"):
        with pytest.raises(Fault):
            compile_template(broken)
    for source in (four, "{{#each a as i limit=50}}{{ i }}{{/each}}", "{{ a.*.b | join }}", "{{ a | block }}"):
        assert 0 < len(shown(source, many)) <= LIMIT
    assert shown("{{ a }}", {"a": "*" * 9_999}, limit=100) == r"\*" * 47 + "…"
    assert shown("abcdef", limit=4) == "abc…"
    assert shown("ab{{ a | code }}", {"a": "xyz"}, limit=4) == "ab…"


def test_operators_of_conditions() -> None:
    scope = Scope(BIKE, {"$header": {"x-kind": "push"}})
    for condition, holds in (
        ({"name": "Elbe"}, True), ({"name": {"$eq": "elbe"}}, False), ({"name": {"$ne": "elbe"}}, True),
        ({"missing": {"$ne": 1}}, True), ({"missing": {"$exists": False}}, True),
        ({"missing": {"$nin": [1]}}, True), ({"nothing": {"$exists": True}}, True),
        ({"nothing": None}, True), ({"rented": False}, True), ({"rented": 0}, False), ({"price": True}, False),
        ({"price": {"$gt": 58, "$lt": 60}}, True), ({"price": {"$gte": 60}}, False), ({"price": {"$lte": "60"}}, False),
        ({"name": {"$gt": "A"}}, True), ({"tags": "city"}, True), ({"tags": {"$nin": ["city"]}}, False),
        ({"rides.km": {"$gt": 10}}, True), ({"rides.*.km": {"$gt": 13}}, False), ({"rides.0.km": 3.5}, True),
        ({"$or": [{"name": "x"}, {"price": 59}]}, True), ({"$and": [{"name": "x"}, {"price": 59}]}, False),
        ({"$not": {"name": "x"}}, True), ({"$header.x-kind": "push"}, True), ({"labels": {"$exists": True}}, True),
        ({"price": 59.0}, True), ({"name": "Elbe", "price": 1}, False),
    ):  # fmt: skip
        assert compile_condition(condition)(scope) is holds, condition
    wrongs: list[Any] = [
        {}, [], None, {"a": {}}, {"a": {"$foo": 1}}, {"a": {"$in": 1}}, {"a": [1]}, {"$or": []}, {"$not": 1},
        {"a": {"$exists": 1}}, {"a b": 1}, {"$or": [{str(n): n} for n in range(70)]},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(Fault):
            compile_condition(wrong)


def test_paths() -> None:
    scope = Scope({"a": [{"b": 1}, {"b": 2}, 3], "*": 4, "x": {"0": 5}}, {"$now": 6})
    assert find(scope, parse_path("a.*.b")) == [1, 2]
    assert one(scope, parse_path('"*"')) == 4
    assert one(scope, parse_path("x.0")) == 5
    assert one(scope, parse_path("$now")) == 6
    assert one(scope, parse_path(".")) is scope.payload
    assert find(scope, parse_path("a.b")) == []


# ---- whatever comes ------------------------------------------------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc") | st.text(), inner, max_size=4),
    max_leaves=20,
)
PIECES = st.sampled_from(
    [
        *("{{", "}}", "{{ a }}", "{{a.b}}", "{{#each a as x}}", "{{/each}}", "{{#if a}}", '{{#if a $eq "x"}}'),
        *("{{/if}}", "{{else}}", "{{more}}", "{{ x | code }}", "{{ x.b | truncate: 3 }}", "{{!", "1.", "- "),
        *("`", "```", "\n", "[", "](", ")", "@", "|", '"', "text", "\\"),
        *(f"{{{{ a | {name} }}}}" for name in FILTERS),
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join), ANY_JSON, st.integers(1, 200), st.booleans())
def test_anything_is_refused_or_renders(source: str, payload: Any, limit: int, markdown: bool) -> None:
    try:
        template = compile_template(source, markdown=markdown)
    except Fault:
        return
    text = render(template, Scope({"a": payload}, {}), limit)
    assert len(text) <= limit
    assert "\0" not in text
    text.encode()


@given(st.sampled_from([*FILTERS]), ANY_JSON, ANY_JSON)
def test_no_filter_raises(name: str, value: Any, given: Any) -> None:
    called = FILTERS[name]
    literal = 3 if name in ("start", "truncate") else "%Y"
    text_of(called.run(value, *([given] if called.paths else [literal] * called.least)))


SPECIALS = st.text(st.sampled_from("*_`~[]()<>#|\\!&;:@.-+=1 \n\tax/é\u2028\u202e\0\"'^{}$%")) | st.text()
ATTACKS = st.sampled_from(
    [
        *("https://evil.example/", "[click](https://evil.example)", "<https://evil.example>", "@everyone", "<@123>"),
        *(
            "<!channel>",
            "![x](y)",
            "&lt;",
            "&#42;",
            "1. ",
            "---",
            "| a |\n|--|",
            "```",
            "www.x.y",
            "](https://evil.example)",
        ),
    ]
)
HOSTILE = st.lists(SPECIALS | ATTACKS, max_size=5).map("".join)
RUNNING = "a {{ v }} b {{ w }} c"


def spans(blocks: Iterable[Block]) -> Iterator[Span]:
    for block in blocks:
        match block:
            case Paragraph(inside) | Heading(_, inside):
                yield from inside
            case Quote(inner):
                yield from spans(inner)
            case List(items):
                yield from spans(inner for item in items for inner in item)
            case Table(header, rows):
                yield from (span for row in (header, *rows) for cell in row for span in cell)
            case _:
                raise AssertionError(block)


@given(HOSTILE, HOSTILE)
@example("1", ". x")
@example("!", "(https://evil.example)")
@example("x", "_y_")
def test_escaped_text_stays_text(value: str, other: str) -> None:
    """What `escape` promises, seen by the grammar that every channel is rendered from."""
    beside = ("{{ v }}\n\n{{ w }}", "{{ v }}{{ w }}", "[x]{{ v }}", "é{{ v }}\n{{ w }}", "{{ v | lines }}")
    for source in (RUNNING, *beside):
        text = shown(source, {"v": value, "w": other})
        blocks = parse(text)
        read = "".join(span.text for span in spans(blocks))
        assert all(isinstance(block, Paragraph) for block in blocks)
        for span in spans(blocks):
            assert not (span.bold or span.italic or span.strike or span.code), text
            assert span.link in ("", span.text), text
            assert not re.search(r"(?<!\w)@\w", span.text), text
        if source == RUNNING:
            wanted = re.sub(r"(?<!\w)@(?=\w)", "@" + JOINER, f"a {one_line(value)} b {one_line(other)} c")
            assert re.sub(" +", " ", read) == re.sub(" +", " ", wanted), text


@given(HOSTILE)
def test_escaped_text_stays_in_the_place_that_the_template_gave_it(value: str) -> None:
    """In emphasis, a list, a quote, a table and a link's label, what stands after it is what the template says."""
    for source in ("**x {{ v }} y** after", "- {{ v }}\n- after", "> {{ v }}\n\nafter", "# {{ v }}\n\nafter",
                   "|a|b|\n|--|--|\n| {{ v }} | c |\n\nafter", "[x {{ v }}](https://good.example) after"):  # fmt: skip
        empty, filled = parse(shown(source, {"v": "x"})), parse(shown(source, {"v": value}))
        assert [type(block) for block in empty] == [type(block) for block in filled], source
        read = [*spans(filled)]
        assert sum(span.text in (" after", "after") for span in read) == 1, source
        links = {span.link for span in read if span.link not in ("", span.text)}
        assert links == ({"https://good.example"} if "good" in source else set()), source


@given(HOSTILE)
def test_no_platform_reads_markup_mentions_or_other_links_into_it(value: str) -> None:
    text = shown("x {{ v }}", {"v": value})
    for kind in ("telegram", "slack", "discord"):
        address = {"chat_id": 1, "channel": "C", "channel_id": "1"}
        for unit in CHANNELS[kind].render(Reply(text), address):
            assert not re.search(r"(?<!\w)@\w", unit.plain)
            if kind == "telegram":
                assert "<" not in unit.payload["text"].replace("&lt;", "")
            if kind == "discord":
                assert not re.search(r"(?<!\\)<[@#/]", unit.payload["content"])
                assert not re.search(r"(?<!\\)\]\(<", unit.payload["content"])
                assert unit.payload["allowed_mentions"] == {"parse": []}


@given(HOSTILE)
def test_code_cannot_be_closed_from_inside(value: str) -> None:
    read = [*spans(parse(shown("a {{ v | code }} b", {"v": value})))]
    inside = one_line(value)[: len("".join(span.text for span in read))]
    if inside:
        assert [span.code for span in read] == [False, True, False]
        assert read[1].text.strip() == inside.strip() or inside.strip("` ") == ""
    blocks = parse(shown("a\n\n{{ v | block }}\n\nb", {"v": value}))
    assert len(blocks) == (3 if clean(value).strip("\n").strip() else 2)
    rows = parse(shown("| a | b |\n|---|---|\n| {{ v | code }} | c |\n\nb", {"v": value}))
    assert len(rows) == 2


@given(HOSTILE | st.text(st.sampled_from("htps:/.ab@()<>\\ _*%é")).map("https://".__add__))
def test_a_link_leads_where_its_value_says_or_nowhere(value: str) -> None:
    made = markup.url(value)
    assert made == "" or made.lower().startswith(("http://", "https://", "mailto:"))
    assert not re.search(r"[()<>\\\s*`\[\]|\"]", made)
    read = [*spans(parse(shown("[label]({{ v }}) b", {"v": value})))]
    assert [span.text for span in read if span.text.strip()][-1].endswith("b")
    assert all(span.link in ("", MarkdownIt().normalizeLink(made)) for span in read), made
    if made and not made.startswith("mailto"):
        assert "@" not in made


def test_escape_leaves_plain_words_alone() -> None:
    for text in ("Deploy of v1.2.3 failed (exit 1): disk 90% full, see foo_bar", "59.00 EUR", "Ann's “bike”; a/b = d"):
        assert escape(text) == text
