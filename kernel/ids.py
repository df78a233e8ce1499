"""Prefixed ids that sort by time: `msg_` + 12 hex digits of epoch milliseconds + 20 random hex digits.

The SQL function `new_id(prefix)` makes the same shape. Ids are names, not secrets: whoever knows one may do nothing
with it, so the generator need not ask the system for each.
"""

import random
import time

_random = random.Random()


def new_id(prefix: str) -> str:
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{_random.getrandbits(80):020x}"
