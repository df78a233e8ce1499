"""What is asked of `parse`: each function holds one channel to one clause, with the samples of its platform."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.types import Account, Channel, Ignored, InboundMessage, Json
from tests.contract_case import QUESTION, TURN, Sample, Updates

REASON = re.compile(r"[a-z][a-z0-9_]*")
ABOUT_MESSAGES = ("private", "mention", "thread", "elsewhere", "again")

# No lone surrogates: `orjson.loads`, which reads every request, does not let them in.
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_scalars = st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False) | _text
any_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)


def told(channel: Channel, account: Account, update: Json) -> InboundMessage:
    """The one message in an update."""
    parsed = channel.parse(account, update)
    assert len(parsed) == 1
    assert isinstance(parsed[0], InboundMessage), parsed
    return parsed[0]


def messages(channel: Channel, sample: Sample, updates: Updates) -> dict[str, InboundMessage]:
    return {name: told(channel, sample.account, update) for name, update in updates.told.items()}


def pulls(channel: Channel, sample: Sample) -> None:
    """Where nobody calls in, nothing is understood and nobody is believed."""
    if sample.updates is None:
        with pytest.raises(ValueError):
            channel.parse(sample.account, {"text": QUESTION})
        assert (channel.listen, channel.history, channel.immediate) == (None, None, None)
    if sample.signing is None:
        assert channel.verify(sample.account, {}, b"{}") is False


def questions_are_understood(channel: Channel, sample: Sample) -> None:
    """The words without the mention; private or not, and meant for the bot or not."""
    if (updates := sample.updates) is None:
        return
    found = messages(channel, sample, updates)
    for name in ABOUT_MESSAGES:
        if name in found:
            assert (found[name].kind, found[name].text) == ("text", QUESTION), name
            assert found[name].addressed, name
            assert found[name].message_ref, name
    assert found["private"].private
    assert not found["mention"].private
    assert not found["elsewhere"].private
    for name, message in found.items():
        assert message.sender.external_id, name
        assert message.chat, name
        assert message.sent_at >= 0, name
    people = {message.sender.external_id for name, message in found.items() if name != "deletion"}
    assert len(people) == 1


def chatter_is_left_to_the_policy(channel: Channel, sample: Sample) -> None:
    """Talk among people is ignored, or passed on with `addressed` False; passed on where a policy wants to hear it."""
    if (updates := sample.updates) is None:
        return
    (quiet,) = channel.parse(sample.account, updates.chatter)
    assert isinstance(quiet, Ignored) or not quiet.addressed
    listening = copy.deepcopy(sample.account)
    listening.settings["groups"] = {"answer": "always"}
    heard = told(channel, listening, updates.chatter)
    assert (heard.kind, heard.addressed, heard.private) == ("text", False, False)


def messages_survive_storage(channel: Channel, sample: Sample) -> None:
    if (updates := sample.updates) is None:
        return
    for name, message in messages(channel, sample, updates).items():
        stored = orjson.dumps(message.to_json())
        again = InboundMessage.from_json(orjson.loads(stored))
        assert orjson.dumps(again.to_json()) == stored, name
        assert (again.sender, again.address, again.kind) == (message.sender, message.address, message.kind), name


def parse_is_pure(channel: Channel, sample: Sample) -> None:
    if (updates := sample.updates) is None:
        return
    for update in (*updates.told.values(), *updates.retold, *updates.ignored.values(), updates.chatter):
        given, account = copy.deepcopy(update), copy.deepcopy(sample.account)
        assert channel.parse(account, given) == channel.parse(account, given)
        assert given == update
        assert account == sample.account


def malformed_updates_are_value_errors(channel: Channel, sample: Sample) -> None:
    if (updates := sample.updates) is None:
        return
    assert updates.malformed
    for update in ([], None, "x", 5, *updates.malformed):
        with pytest.raises(ValueError):
            channel.parse(sample.account, update)


def anything_is_parsed_or_a_value_error(channel: Channel, sample: Sample) -> None:
    """Arbitrary JSON, and documented updates with one part replaced, or missing."""
    if (updates := sample.updates) is None:
        return
    genuine = [*updates.told.values(), *updates.ignored.values(), updates.chatter]

    @settings(deadline=None, max_examples=400)
    @given(any_json | st.sampled_from(genuine).flatmap(broken))
    def run(update: Any) -> None:
        before = copy.deepcopy(update)
        try:
            parsed = channel.parse(sample.account, update)
        except ValueError:
            return
        finally:
            assert update == before
        for each in parsed:
            if isinstance(each, Ignored):
                assert each.reason in updates.reasons
            else:
                orjson.dumps(each.to_json())
                assert "\0" not in each.text

    run()


@st.composite
def broken(draw: st.DrawFn, whole: Json) -> Json:
    update = copy.deepcopy(whole)
    *parents, last = draw(st.sampled_from(list(paths(update))))
    place: Any = update
    for key in parents:
        place = place[key]
    if draw(st.booleans()):
        place[last] = draw(any_json)
    else:
        del place[last]
    return update


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inside:
        yield (*before, key)
        yield from paths(child, (*before, key))


def what_needs_no_turn_is_ignored(channel: Channel, sample: Sample) -> None:
    """The bot's own words and other bots' above all; for each a reason of a closed set, fit to be a metric's label."""
    if (updates := sample.updates) is None:
        return
    for reason, update in updates.ignored.items():
        assert channel.parse(sample.account, update) == [Ignored(reason)]
    for update in (updates.own, updates.other_bot):
        (ignored,) = channel.parse(sample.account, update)
        assert isinstance(ignored, Ignored)
        assert ignored.reason in updates.reasons
    assert set(updates.ignored) <= updates.reasons
    assert all(map(REASON.fullmatch, updates.reasons))


def dedupe_keys_are_stable_and_apart(channel: Channel, sample: Sample) -> None:
    """One key for one message however it is told, and another for each other message, edit, deletion and press."""
    if (updates := sample.updates) is None:
        return
    assert len(updates.retold) > 1
    retold = [told(channel, sample.account, update) for update in updates.retold]
    assert len({(one.external_id, one.conversation_key, one.text, one.kind) for one in retold}) == 1
    keys = [message.external_id for message in messages(channel, sample, updates).values()]
    assert len(set(keys)) == len(keys)
    assert all(keys)


def places_are_told_apart(channel: Channel, sample: Sample) -> None:
    """The same place has the same key, a thread another than its channel, and no two chats share one."""
    if (updates := sample.updates) is None:
        return
    found = messages(channel, sample, updates)
    assert found["again"].conversation_key == found["private"].conversation_key
    apart = [found[name] for name in ("private", "mention", "elsewhere", "thread") if name in found]
    assert len({message.conversation_key for message in apart}) == len(apart)
    assert len({found[name].chat for name in ("private", "mention", "elsewhere")}) == 3
    if "thread" in found:
        assert found["thread"].chat == found["mention"].chat


def edits_and_deletions_name_their_message(channel: Channel, sample: Sample) -> None:
    if (updates := sample.updates) is None:
        return
    found = messages(channel, sample, updates)
    for name in ("edit", "deletion"):
        if name in found:
            assert found[name].kind == name
            assert found[name].message_ref == found["private"].message_ref
            assert found[name].conversation_key == found["private"].conversation_key
    if "edit" in found:
        assert found["edit"].text
        assert found["edit"].text != QUESTION


def commands_are_read(channel: Channel, sample: Sample) -> None:
    if sample.updates is None or sample.updates.command is None:
        return
    heard = told(channel, sample.account, sample.updates.command)
    assert (heard.kind, heard.command, heard.text, heard.addressed) == ("command", "help", "", True)


def buttons_come_back(channel: Channel, sample: Sample) -> None:
    """Praise and blame as feedback about their turn; a choice as words of the person, or as their command."""
    assert (sample.updates is None or sample.updates.praise is None) == (sample.buttons is None)
    if sample.updates is None or sample.buttons is None:
        return
    found = messages(channel, sample, sample.updates)
    for name, detail in (("praise", "up"), ("blame", "down")):
        assert (found[name].kind, found[name].detail, found[name].about) == ("feedback", detail, TURN)
        assert found[name].message_ref
    choice, command = found["choice"], found["chosen_command"]
    assert (choice.kind, choice.text, choice.addressed) == ("text", QUESTION, True)
    assert (command.kind, command.command, command.text, command.addressed) == ("command", "new", "", True)
    pressed = [found[name].press for name in ("praise", "blame", "choice", "chosen_command")]
    assert all(pressed) or channel.acknowledge is None


def files_are_named_and_not_addressed(channel: Channel, sample: Sample) -> None:
    assert (sample.updates is None or sample.updates.file is None) == (channel.fetch is None)
    if sample.updates is not None and sample.updates.file is not None:
        heard = told(channel, sample.account, sample.updates.file)
        assert (heard.kind, heard.text) == ("text", QUESTION)
        (file,) = heard.attachments
        assert file.kind == "file"
        assert file.name
        assert "/" in file.mime
        assert file.size > 0
        assert file.ref
    if sample.updates is not None and sample.updates.unsupported is not None:
        unreadable = told(channel, sample.account, sample.updates.unsupported)
        assert (unreadable.kind, unreadable.text) == ("unsupported", "")
        assert unreadable.detail


def nothing_secret_is_kept(channel: Channel, sample: Sample) -> None:
    """Neither the account's credentials nor what the platform put into the update for whoever holds them."""
    if (updates := sample.updates) is None:
        return
    held = [str(value) for value in sample.account.credentials.values() if isinstance(value, str)]
    assert held
    for name, message in messages(channel, sample, updates).items():
        kept = orjson.dumps(message.to_json()).decode()
        for secret in (*held, *updates.secrets):
            assert secret not in kept, name
        files = orjson.dumps([file.ref for file in message.attachments]).decode()
        assert "://" not in files, name


CHECKS = (
    pulls,
    questions_are_understood,
    chatter_is_left_to_the_policy,
    messages_survive_storage,
    parse_is_pure,
    malformed_updates_are_value_errors,
    anything_is_parsed_or_a_value_error,
    what_needs_no_turn_is_ignored,
    dedupe_keys_are_stable_and_apart,
    places_are_told_apart,
    edits_and_deletions_name_their_message,
    commands_are_read,
    buttons_come_back,
    files_are_named_and_not_addressed,
    nothing_secret_is_kept,
)
