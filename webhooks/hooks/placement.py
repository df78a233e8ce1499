"""Where in the markdown of a template a placeholder stands, since that decides what its value may be turned into.

In a link's target it is percent-encoded. In code that the template writes nothing could be escaped, so it is refused
there: the filters `code` and `block` make the code themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from webhooks.hooks.paths import Fault

Spot = Literal["text", "target", "in_target"]

_FENCE = re.compile(r"[ \t>]*(?:[-*+][ \t]+|\d+[.)][ \t]+)?(?:```|~~~)")


@dataclass(slots=True)
class Placement:
    """Told of a template's own text, piece by piece, as it stands between the tags."""

    line: str = ""
    spans: int = 0
    fenced: bool = False
    target: Literal["", "target", "in_target"] = ""

    def text(self, text: str) -> None:
        for piece in re.split(r"(\n)", text):
            if piece == "\n":
                self._end_line()
            else:
                self.line += piece
                self.spans += len(re.findall("`+", piece))
                self._follow_target(piece)

    def _end_line(self) -> None:
        if _FENCE.match(self.line):
            self.fenced, self.spans = not self.fenced, 0
        elif not self.line.strip():
            self.spans = 0
        self.line, self.target = "", ""

    def _follow_target(self, piece: str) -> None:
        for found in re.finditer(r"\]\(<?|[)\s]|[^)\s\]]+|\]", piece):
            if found.group().startswith("]("):
                self.target = "target"
            elif found.group().isspace() or found.group() == ")":
                self.target = ""
            elif self.target:
                self.target = "in_target"

    def value(self) -> Spot:
        """Where the placeholder stands that comes next. Raises Fault where none may stand."""
        if self.fenced or _FENCE.match(self.line):
            raise Fault("no placeholder within a code block: leave the fence out and write {{ … | block }}")
        if self.spans % 2:
            raise Fault("no placeholder between backticks: leave them out and write {{ … | code }}")
        spot, self.target = self.target or "text", "in_target" if self.target else ""
        return spot
