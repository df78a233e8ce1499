"""The application changes itself: its interactions endpoint."""

from typing import Any

from simulators.discord.calls import Call
from simulators.discord.errors import ApiError
from simulators.discord.reading import get_application


async def edit_application(call: Call) -> Any:
    """Set interactions_endpoint_url, None for none; the URL is probed first. Raises ApiError when it fails."""
    if "interactions_endpoint_url" in call.params.values:
        if call.world.verify is None:
            raise ApiError(503, 0, "503: Service Unavailable")
        await call.world.verify(call.bot, call.params.text("interactions_endpoint_url"))
    return get_application(call)
