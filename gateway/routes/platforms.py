"""What platforms call. As lean as can be: read, hand to the intake, answer when it is committed."""

from __future__ import annotations

from gateway.web import Call, Route
from kernel.errors import MalformedRequest, NotFound, TooLarge, Unauthorized, Unavailable


async def telegram(call: Call) -> None:
    request = call.request
    body = await request.read()
    await call.face.services.intake.receive("telegram", request.match_info["account_id"], request.headers, body)


ROUTES = [
    Route(
        "POST",
        "/channels/telegram/{account_id}",
        telegram,
        "platform",
        "Telegram delivers an update, proven by the secret header that setWebhook was given",
        "platforms",
        errors=(Unauthorized, NotFound, MalformedRequest, TooLarge, Unavailable),
    ),
]
