"""Codes that people read from one screen and type on another: eight signs that are not mistaken for each other."""

from __future__ import annotations

import hmac
import re
import secrets

from kernel.secrets import KeyRing

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without 0 and O, 1 and I: 40 bits in eight signs
LENGTH = 8

_BETWEEN = re.compile(r"[\s\-\u2010-\u2015`]+")  # keyboards turn a hyphen into any of its cousins
_CODE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


def mint() -> str:
    """A new code, as it is shown: XXXX-XXXX."""
    return shown("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)))


def shown(code: str) -> str:
    return f"{code[:4]}-{code[4:]}"


def read(typed: str) -> str | None:
    """The code that somebody typed, as it is shown; None when it cannot be one."""
    bare = _BETWEEN.sub("", typed[:64]).upper()
    return shown(bare) if _CODE.fullmatch(bare) else None


def pepper(ring: KeyRing) -> bytes:
    return ring.derive("link-codes")


def digest(peppered: bytes, workspace_id: str, code: str) -> bytes:
    """What is stored instead of the code. It means nothing in another workspace."""
    return hmac.digest(peppered, f"{workspace_id}:{code}".encode(), "sha256")
