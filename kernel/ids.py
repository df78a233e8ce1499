"""Prefixed ids that sort by time: `msg_` + 12 hex digits of epoch milliseconds + 20 random hex digits.

The SQL function `new_id(prefix)` makes the same shape.
"""

import os
import time


def new_id(prefix: str) -> str:
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
