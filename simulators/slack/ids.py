"""Ids, secrets and timestamps as Slack makes them, from a seeded source so that runs repeat."""

import random
import string
import uuid

LETTERS = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"


def make_id(rng: random.Random, prefix: str) -> str:
    """An encoded id: its kind's letters and ten more (T…, C…, D…, U…, B…, A…, F…, V…, Ev…)."""
    return f"{prefix}0{''.join(rng.choices(LETTERS, k=9))}"


def make_hex(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(HEX, k=length))


def make_uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def make_token(rng: random.Random, kind: str) -> str:
    """A token of a kind: xoxb (bot), xapp-1 (app level), xoxp (user)."""
    numbers = "-".join(str(rng.randrange(10**11, 10**12)) for _ in range(2))
    return f"{kind}-{numbers}-{''.join(rng.choices(string.ascii_letters + string.digits, k=24))}"


def stamp(micros: int) -> str:
    """A message's `ts`: seconds and six digits."""
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


def micros(ts: str) -> int:
    """The other way round. Raises ValueError for what is no ts."""
    seconds, _, rest = ts.partition(".")
    return int(seconds) * 1_000_000 + int((rest or "0").ljust(6, "0")[:6])
