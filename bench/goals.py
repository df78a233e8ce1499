"""What a measured goal comes to: its figures, its verdict, and the table of all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ambition", "floor met", "BELOW"]
_WORST: tuple[Verdict, ...] = ("BELOW", "floor met", "ambition")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the table. Ratios are ours against the baseline of the same run, larger is better unless the floor
    says otherwise; None where a ratio has no meaning. `ranges` holds the extremes of a ratio over the rounds."""

    goal: str
    what: str
    baseline: str
    ours: str
    floor: str
    ambition: str
    verdict: Verdict
    by_cpu: float | None = None
    by_rate: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def above(value: float, floor: float, ambition: float) -> Verdict:
    """Verdict on a figure that should be large."""
    return "ambition" if value >= ambition else "floor met" if value >= floor else "BELOW"


def below(value: float, floor: float, ambition: float) -> Verdict:
    """Verdict on a figure that should be small."""
    return "ambition" if value <= ambition else "floor met" if value <= floor else "BELOW"


def judge(*verdicts: Verdict) -> Verdict:
    """A goal with several parts is as good as its worst."""
    return min(verdicts, key=_WORST.index)


def not_measured(goal: str, what: str, why: str, floor: str, ambition: str) -> Outcome:
    """A goal that could not be measured counts as not met."""
    return Outcome(goal, what, "", "not measured", floor, ambition, "BELOW", note=why)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank over sorted or unsorted values; `share` between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


_HEADS = ("goal", "what", "baseline", "ours", "by CPU", "by rate", "floor", "ambition", "verdict")


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes as aligned text, notes below."""
    outcomes = list(outcomes)
    rows = [
        (o.goal, o.what, o.baseline, o.ours, _ratio(o.by_cpu), _ratio(o.by_rate), o.floor, o.ambition, o.verdict)
        for o in outcomes
    ]
    widths = [max(len(row[n]) for row in (_HEADS, *rows)) for n in range(len(_HEADS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (_HEADS, *rows)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = dict.fromkeys(f"{o.goal}: {o.note}" for o in outcomes if o.note)
    return "\n".join([*lines, *(["", *notes] if notes else [])])
