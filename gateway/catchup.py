"""What was said while nobody listened: read from the platform's history and taken in like anything else.

The dedupe key of a message is the same however it reaches us, so reading too much is harmless; what had been answered
before is not answered again.
"""

from __future__ import annotations

import time

import orjson

from channels.table import CHANNELS
from gateway.metrics import CAUGHT_UP
from gateway.services import Services
from kernel import log
from kernel.types import Account
from pipeline import reach

_log = log.get("catchup")

OLDEST = 24 * 3600.0  # seconds; what is older is nobody's question any more
_PLACES = 500  # one-to-one conversations, the ones spoken in last, for platforms that do not list them to bots
_MARGIN = 10.0  # seconds that are read twice, for clocks that differ


async def catch_up(services: Services, client: object, account: Account, since: float) -> int:
    """Takes in everything since `since` (epoch seconds, bounded by age). Returns how many messages were new.

    Raises Disconnected when the platform cannot be read now; what was taken in until then stays.
    """
    history = CHANNELS[account.kind].history
    if history is None:
        return 0
    async with services.ground.database.anywhere() as conn:
        places = await reach.private_places(conn, account.account_id, _PLACES)
    start = max(since - _MARGIN, time.time() - OLDEST)
    new = 0
    async for update in history(client, account, start, places):
        new += (await services.intake.take(account, update, orjson.dumps(update))).new
    CAUGHT_UP.labels(account.kind).inc(new)
    if new:
        _log.info("catchup.found", account=account.account_id, messages=new, since=round(start, 1))
    return new
