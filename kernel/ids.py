"""Prefixed ids that sort by time: `msg_` + 12 hex digits of epoch milliseconds + 3 of their fraction + 17 random ones.

The SQL function `new_id(prefix)` makes the same shape. Ids are names, not secrets: whoever knows one may do nothing
with it, so the generator need not ask the system for each.
"""

import random
import time

_random = random.Random()


def new_id(prefix: str) -> str:
    return f"{prefix}_{time.time_ns() * 4096 // 1_000_000:015x}{_random.getrandbits(68):017x}"
