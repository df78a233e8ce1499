"""The buttons under a reply, with the data that comes back when one is pressed: the same on every platform."""

from __future__ import annotations

from dataclasses import dataclass

from channels.markdown import whole
from kernel.types import Reply

LONGEST_DATA = 64  # bytes: Telegram's bound on `callback_data`, the narrowest
MOST_CHOICES = 10
PRAISE, BLAME = "👍", "👎"


@dataclass(frozen=True, slots=True)
class Button:
    label: str
    data: str

    @property
    def kind(self) -> str:
        return self.data.partition(":")[0]


def choices(reply: Reply, longest: int) -> list[Button]:
    """A button for each choice, its label cut to `longest` characters. Left out: one whose data would not fit, one
    that says the same as another, and one without a visible label."""
    found: dict[str, Button] = {}
    for choice in reply.choices:
        label, data = _storable(" ".join(choice.label.split())), _storable(f"say:{choice.text}")
        if label and len(data.encode()) <= LONGEST_DATA:
            label = label if len(label) <= longest else label[: longest - 1] + "…"
            found.setdefault(data, Button(label, data))
    return list(found.values())[:MOST_CHOICES]


def _storable(text: str) -> str:
    return whole(text).replace("\0", "")


def feedback(reply: Reply) -> list[Button]:
    """The two buttons for praise and blame, or none."""
    if not reply.feedback:
        return []
    return [Button(PRAISE, f"fb:up:{reply.feedback}"), Button(BLAME, f"fb:down:{reply.feedback}")]
