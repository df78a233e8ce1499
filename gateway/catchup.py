"""What was said while nobody listened: read from the platform's history and taken in like anything else.

The dedupe key of a message is the same however it reaches us, so reading too much is harmless; what had been answered
before is not answered again.
"""

from __future__ import annotations

import time

import orjson

from gateway.intake import Intake
from gateway.metrics import CAUGHT_UP
from kernel import log
from kernel.types import Account, Channel

_log = log.get("catchup")

OLDEST = 24 * 3600.0  # seconds; what is older is nobody's question any more
_MARGIN = 10.0  # seconds that are read twice, for clocks that differ


async def catch_up(intake: Intake, channel: Channel, client: object, account: Account, since: float) -> int:
    """Takes in everything since `since` (epoch seconds, bounded by age). Returns how many messages were new.

    Raises Disconnected when the platform cannot be read now; what was taken in until then stays.
    """
    if channel.history is None:
        return 0
    start = max(since - _MARGIN, time.time() - OLDEST)
    new = 0
    async for update in channel.history(client, account, start):
        new += (await intake.take(account, update, orjson.dumps(update))).new
    CAUGHT_UP.labels(account.kind).inc(new)
    if new:
        _log.info("catchup.found", account=account.account_id, messages=new, since=round(start, 1))
    return new
