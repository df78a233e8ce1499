"""REST and web: nobody calls in from outside and nothing is delivered; readers fetch their replies."""

from __future__ import annotations

from channels.web import shown
from kernel.types import Account, Unit
from tests.contract_case import Sample
from tests.test_render_web import check


def fetched(unit: Unit) -> None:
    """What a reader gets is the markdown, which a page shows as HTML of a small set of tags."""
    assert unit.payload == {"text": unit.plain}
    check(unit.plain)
    message = {"seq": 1, "message_id": "msg_1", "role": "assistant", "text": unit.plain, "citations": [], "files": []}
    assert shown({**message, "created_at": ""})["text"] == unit.plain


def _sample(kind: str) -> Sample:
    return Sample(
        account=Account("ws_1", "acc_1", kind, "api", {}, {}, {}),
        updates=None,
        signing=None,
        api=None,
        addresses=[{"user_id": "ann"}],
        check=fetched,
        buttons=None,
        formatted=False,
    )


REST, WEB = _sample("rest"), _sample("web")
