"""Sealing of secrets at rest: AES-256-GCM envelopes under a key ring, bound to the row that holds them.

Layout of a sealed value: 0x01, length of key id, key id, 12-byte nonce, wrapped data key (48 bytes), 12-byte nonce,
ciphertext. Both layers carry the same associated data (`workspace|table|column|row`), so a ciphertext copied to
another row does not open. Rotation re-wraps the data key only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kernel.errors import ConfigError

_VERSION = 1
_NONCE = 12
_WRAPPED = 32 + 16


class SealBroken(Exception):
    """A sealed value that does not open: another row's, another key's, or damaged."""


def place(workspace_id: str, table: str, column: str, row: str) -> bytes:
    """The associated data that binds a sealed value to its row."""
    return "|".join((workspace_id, table, column, row)).encode()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Named 256-bit keys. New values are sealed under `current`; all of them open."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Reads `id:base64key[,id:base64key…]`, the current key first. Raises ConfigError naming the fault."""
        keys: dict[str, bytes] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            key_id, _, encoded = item.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                key = b""
            if not key_id.isalnum() or len(key_id) > 32 or len(key) != 32:
                raise ConfigError("PARLEY_SECRET_KEYS: each key is `id:` and 32 bytes in base64")
            if len(set(key)) < 8:
                raise ConfigError(f"PARLEY_SECRET_KEYS: key {key_id!r} is not random")
            if key_id in keys:
                raise ConfigError(f"PARLEY_SECRET_KEYS: key id {key_id!r} stands twice")
            keys[key_id] = key
        if not keys:
            raise ConfigError("PARLEY_SECRET_KEYS: no key. Make one with `parley secrets generate`.")
        return cls(next(iter(keys)), keys)

    def seal(self, secret: bytes, where: bytes) -> bytes:
        data_key, wrap_nonce, nonce = os.urandom(32), os.urandom(_NONCE), os.urandom(_NONCE)
        wrapped = AESGCM(self.keys[self.current]).encrypt(wrap_nonce, data_key, where)
        name = self.current.encode()
        head = bytes((_VERSION, len(name))) + name + wrap_nonce + wrapped
        return head + nonce + AESGCM(data_key).encrypt(nonce, secret, where)

    def open(self, sealed: bytes, where: bytes) -> bytes:
        """Raises SealBroken when the value was not sealed for this place under a key of this ring."""
        try:
            if sealed[0] != _VERSION:
                raise SealBroken("unknown version of sealing")
            start = 2 + sealed[1]
            key = self.keys[sealed[2:start].decode()]
            wrapped_at, nonce_at = start + _NONCE, start + _NONCE + _WRAPPED
            data_key = AESGCM(key).decrypt(sealed[start:wrapped_at], sealed[wrapped_at:nonce_at], where)
            body_at = nonce_at + _NONCE
            return AESGCM(data_key).decrypt(sealed[nonce_at:body_at], sealed[body_at:], where)
        except KeyError as error:
            raise SealBroken("sealed under a key that is not in the ring") from error
        except (InvalidTag, IndexError, ValueError) as error:
            raise SealBroken("the sealed value does not open here") from error

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose, from the oldest key, so that adding a newer key changes nothing."""
        oldest = list(self.keys)[-1]
        return hmac.digest(self.keys[oldest], b"parley/" + purpose.encode(), hashlib.sha256)


def generate_ring(key_id: str = "k1") -> str:
    """A new ring of one random key, in the form that `KeyRing.parse` reads."""
    return f"{key_id}:{base64.b64encode(os.urandom(32)).decode()}"
