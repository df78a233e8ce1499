"""The numbered sources at the end of a reply, as pieces."""

from __future__ import annotations

from collections.abc import Sequence

from channels.markdown import Span, whole
from channels.pieces import Dialect, Piece, linked
from kernel.types import Citation

_HEADING = 6  # the smallest: platforms with native headings show it bold only


def sources(citations: Sequence[Citation], dialect: Dialect) -> list[Piece]:
    """A heading and a line for each citation: its number as in the text, its title, and its address as the title's
    link where the platform opens it, else spelled out."""
    if not citations:
        return []
    lines = [Piece((Span("Sources", bold=True),), heading=_HEADING)]
    for citation in citations:
        url = whole(citation.url)
        title = " ".join(whole(citation.title).split()) or url or citation.document_id
        source = linked(url, (Span(title, link=url),), dialect)
        lines.append(Piece((Span(f"[{citation.number}] "), *source), gap="\n"))
    return lines
