"""What is asked of `verify`, `decode` and `immediate`: who is let in, and what they hear at once."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from kernel.types import Channel, decode_json
from tests.contract_case import Sample, Signing
from tests.contract_inbound import any_json, broken


def genuine(sample: Sample, signing: Signing, age: float = 0.0) -> CIMultiDict[str]:
    return CIMultiDict(signing.sign(sample.account, signing.body, time.time() - age))


def genuine_requests_are_let_in(channel: Channel, sample: Sample) -> None:
    if (signing := sample.signing) is None:
        return
    headers = genuine(sample, signing)
    assert channel.verify(sample.account, headers, signing.body) is True
    spelled = CIMultiDict({name.upper(): value for name, value in headers.items()})
    assert channel.verify(sample.account, spelled, signing.body) is True


def requests_without_proof_are_not(channel: Channel, sample: Sample) -> None:
    """A proof that is missing, empty, cut, longer, another, or made of bytes that are no text."""
    if (signing := sample.signing) is None:
        return
    whole = genuine(sample, signing)
    assert signing.proofs
    for proof in signing.proofs:
        without = CIMultiDict({name: value for name, value in whole.items() if name.lower() != proof.lower()})
        assert len(without) == len(whole) - 1
        assert channel.verify(sample.account, without, signing.body) is False
        value = whole[proof]
        for wrong in ("", value[:-1], value + "0", value[::-1], "0" * len(value), "é", "\udcff\udc80", "²", "9" * 5000):
            headers = CIMultiDict({**without, proof: wrong})
            assert channel.verify(sample.account, headers, signing.body) is False, (proof, wrong)


def other_accounts_and_bodies_are_not(channel: Channel, sample: Sample) -> None:
    if (signing := sample.signing) is None:
        return
    headers = genuine(sample, signing)
    assert len(signing.strangers) > 1
    for stranger in signing.strangers:
        assert channel.verify(stranger, headers, signing.body) is False
    foreign = CIMultiDict(signing.sign(signing.strangers[0], signing.body, time.time()))
    assert channel.verify(sample.account, foreign, signing.body) is False
    if signing.covers_body:
        for body in (signing.other, signing.body + b" ", b""):
            assert channel.verify(sample.account, headers, body) is False


def old_requests_are_not(channel: Channel, sample: Sample) -> None:
    if (signing := sample.signing) is None or signing.window is None:
        return
    inside, outside = signing.window - 30, signing.window + 30
    for age, let_in in ((inside, True), (-inside, True), (outside, False), (-outside, False)):
        assert channel.verify(sample.account, genuine(sample, signing, age), signing.body) is let_in, age


class Untouchable(str):
    """A text that may be read as a whole, and not compared piece by piece."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a proof was compared in a time that depends on it")

    def startswith(self, *args: Any) -> bool:
        raise AssertionError("a proof was compared in a time that depends on it")


def proofs_are_compared_in_constant_time(channel: Channel, sample: Sample) -> None:
    """Right or wrong, the proof meets only comparisons that take the same time for both."""
    if (signing := sample.signing) is None:
        return
    right = genuine(sample, signing)
    for wrong in (False, True):
        headers = {name: Untouchable(value[:-1] + "0" if wrong else value) for name, value in right.items()}
        assert channel.verify(sample.account, _Headers(headers), signing.body) is not wrong


class _Headers(dict[str, str]):
    """Case-insensitive as a request's."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in values.items()})

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())


def no_header_breaks_verify(channel: Channel, sample: Sample) -> None:
    signing = sample.signing
    names = list(signing.proofs) if signing else ["X-Signature"]

    @settings(deadline=None)
    @given(st.dictionaries(st.sampled_from(names), st.text(st.characters(exclude_categories=()))), st.binary())
    def run(headers: dict[str, str], body: bytes) -> None:
        assert channel.verify(sample.account, CIMultiDict(headers), body) is False

    run()


def bodies_are_decoded_or_a_value_error(channel: Channel, sample: Sample) -> None:
    if (signing := sample.signing) is None:
        assert channel.decode is decode_json  # nothing comes in that could need another
        return
    headers = genuine(sample, signing)
    assert channel.parse(sample.account, channel.decode(headers, signing.body))
    kinds = ["", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    garbage = st.binary() | st.sampled_from([b"", b"{", b"[1]", b"5", b"null", b'"x"', b"\xff", b"payload=1"])

    @settings(deadline=None)
    @given(st.sampled_from(kinds), garbage | any_json.map(orjson.dumps))
    def run(kind: str, body: bytes) -> None:
        try:
            update = channel.decode(CIMultiDict({"Content-Type": kind}), body)
        except ValueError:
            return
        assert isinstance(update, dict)

    run()


def what_is_heard_at_once_is_pure(channel: Channel, sample: Sample) -> None:
    if channel.immediate is None or sample.updates is None:
        return
    immediate, updates = channel.immediate, sample.updates
    whole = [*updates.told.values(), *updates.ignored.values(), *updates.retold]

    @settings(deadline=None)
    @given(st.sampled_from(whole) | st.sampled_from(whole).flatmap(broken))
    def run(update: Any) -> None:
        before = copy.deepcopy(update)
        heard = immediate(sample.account, update)
        assert heard is None or isinstance(heard, dict)
        orjson.dumps(heard)
        assert update == before
        assert immediate(sample.account, before) == heard

    run()


CHECKS = (
    genuine_requests_are_let_in,
    requests_without_proof_are_not,
    other_accounts_and_bodies_are_not,
    old_requests_are_not,
    proofs_are_compared_in_constant_time,
    no_header_breaks_verify,
    bodies_are_decoded_or_a_value_error,
    what_is_heard_at_once_is_pure,
)
