"""What is asked of `render`."""

from __future__ import annotations

import copy

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel.types import Channel, Choice, Citation, Json, Reply
from tests.contract_case import QUESTION, TURN, Sample
from tests.rendering_kit import long_markdown, markdown

CHOICES = (Choice("Opening hours", QUESTION), Choice("Start anew", "/new"))
BUTTONS = [f"say:{QUESTION}", "say:/new", f"fb:up:{TURN}", f"fb:down:{TURN}"]
_citations = st.lists(
    st.builds(
        Citation,
        st.integers(1, 9),
        st.just("chk_1"),
        st.just("doc_1"),
        st.sampled_from(["Fares & <rules>", "Hand\nbook", "", "*a* `b`", "x" * 300]),
        st.sampled_from(["", "https://a.b/f?x=1&y=2", "intranet/wiki", "javascript:x"]),
    ),
    max_size=4,
)
_choices = st.lists(
    st.builds(Choice, st.text(max_size=100) | st.just("Yes"), st.text(max_size=80) | st.just("/new")), max_size=12
)
replies = st.builds(Reply, markdown | long_markdown, _citations, st.sampled_from(["", TURN]), _choices)


def any_reply_is_shown(channel: Channel, sample: Sample) -> None:
    """At least one unit, each within the platform's rules, fit for its JSON, and the same each time."""

    @settings(deadline=None, max_examples=150)
    @given(replies, st.sampled_from(sample.addresses))
    @example(Reply("a\0b \ud800 *c*", [], TURN, [Choice("\0", "\ud800 x")]), sample.addresses[0])
    def run(reply: Reply, address: Json) -> None:
        before = copy.deepcopy((reply, address))
        units = channel.render(reply, address)
        assert units
        assert (reply, address) == before
        assert channel.render(reply, address) == units
        for unit in units:
            assert rb"\u0000" not in orjson.dumps([unit.payload, unit.plain])
        for unit in channel.render(Reply(reply.markdown, reply.citations), address):
            sample.check(unit)

    run()


def nothing_is_still_shown(channel: Channel, sample: Sample) -> None:
    for address in sample.addresses:
        for nothing in ("", " \n ", "\u200b", "#"):
            (unit,) = channel.render(Reply(nothing), address)
            assert not sample.formatted or unit.plain.strip()


def plain_text_is_without_marks(channel: Channel, sample: Sample) -> None:
    source = "**bold** _it_ `code` [docs](https://a.b/c) R&D <b>"
    (unit,) = channel.render(Reply(source), sample.addresses[0])
    if not sample.formatted:
        assert unit.plain == source  # the reader renders it
        return
    assert unit.plain != source
    for word in ("bold", "it", "code", "docs", "R&D <b>"):
        assert word in unit.plain
    for mark in ("**", "_it", "`", "](", "&amp;", "<i>"):
        assert mark not in unit.plain


def buttons_stand_under_the_last_unit(channel: Channel, sample: Sample) -> None:
    address = sample.addresses[0]
    for text in ("Yes.", "A sentence of some length. " * 700):
        units = channel.render(Reply(text, (), TURN, CHOICES), address)
        if sample.buttons is None:
            assert units == channel.render(Reply(text), address)
            continue
        assert [sample.buttons(unit) for unit in units] == [*[[]] * len(units[1:]), BUTTONS]
        assert len(units) > 1 or text == "Yes."
        assert [sample.buttons(unit) for unit in channel.render(Reply(text), address)] == [[]] * len(units)


CHECKS = (
    any_reply_is_shown,
    nothing_is_still_shown,
    plain_text_is_without_marks,
    buttons_stand_under_the_last_unit,
)
