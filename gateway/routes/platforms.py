"""What platforms call. As lean as can be: read, hand to the intake, answer when it is committed."""

from __future__ import annotations

from functools import partial

from gateway.web import Call, Route
from kernel.errors import MalformedRequest, NotFound, TooLarge, Unauthorized, Unavailable
from kernel.types import Json

_SUMMARIES = {
    "telegram": "Telegram delivers an update, proven by the secret header that setWebhook was given",
    "slack": "Slack delivers an event, an interaction or a command, proven by its signature",
    "discord": "Discord delivers an interaction, proven by its signature",
}


async def _inbound(kind: str, call: Call) -> Json | None:
    """What the platform wants to hear, None for an empty answer."""
    request = call.request
    body = await request.read()
    return await call.services.intake.receive(kind, request.match_info["account_id"], request.headers, body)


ROUTES = [
    Route(
        "POST",
        f"/channels/{kind}/{{account_id}}",
        partial(_inbound, kind),
        "platform",
        summary,
        "platforms",
        errors=(Unauthorized, NotFound, MalformedRequest, TooLarge, Unavailable),
    )
    for kind, summary in _SUMMARIES.items()
]
