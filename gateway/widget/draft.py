"""An answer as a visitor sees it while it is made."""

from __future__ import annotations

from kernel.types import Json

_FLOOR = 0.15  # seconds between two drafts
_BY_LENGTH = 50_000.0  # each draft holds the whole text: longer ones come more slowly


class Draft:
    """`hear` what the hub tells of a turn; `due` and `taken` say when to show what has come of it.

    Only a turn that was seen to open is shown, because the beginning of any other is missing.
    """

    def __init__(self) -> None:
        self._text = ""
        self._turn_id = ""
        self._shown = ""
        self._shown_at = 0.0

    @property
    def running(self) -> bool:
        return bool(self._turn_id)

    def hear(self, event: Json) -> None:
        kind = event["type"]
        if kind == "opened" and event["message_ids"]:  # without any it is nothing that a person waits for
            self._turn_id, self._text, self._shown = event["turn_id"], "", ""
        elif kind == "piece" and self._turn_id:
            self._text += event["text"]
        elif kind == "finished" and event["turn_id"] == self._turn_id:
            self._turn_id, self._text, self._shown = "", "", ""

    def due(self, now: float) -> float | None:
        """Seconds until the next draft should be shown; None when there is nothing new."""
        if self._text == self._shown:
            return None
        return max(0.0, self._shown_at + _FLOOR + len(self._text) / _BY_LENGTH - now)

    def taken(self, now: float) -> str:
        self._shown, self._shown_at = self._text, now
        return self._text
