"""WebSocket frames out of bytes that pass by. Pure. https://www.rfc-editor.org/rfc/rfc6455#section-5.2"""

from __future__ import annotations

import zlib
from collections.abc import Callable

_TEXT, _BINARY = 1, 2


class Frames:
    """One direction of one connection. `feed` returns the payloads of the data frames that are complete now.

    Messages in several frames come in their pieces, which is enough to recognise what is in them. `unpack` takes a
    compression off that goes on over the whole connection.
    """

    def __init__(self, unpack: Callable[[bytes], bytes] | None = None) -> None:
        self._held = bytearray()
        self._unpack = unpack

    def feed(self, data: bytes) -> list[bytes]:
        self._held += data
        found = []
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode in (0, _TEXT, _BINARY):
                found.append(self._unpack(payload) if self._unpack else payload)
        return found

    def _frame(self) -> tuple[int, bytes] | None:
        held = self._held
        if len(held) < 2:
            return None
        size, at = held[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(held[2 : 2 + width]), 2 + width
        masked = bool(held[1] & 0x80)
        whole = at + 4 * masked + size
        if len(held) < whole or len(held) < at:
            return None
        opcode, payload = held[0] & 0x0F, bytes(held[whole - size : whole])
        if masked:
            payload = _unmasked(payload, bytes(held[at : at + 4]))
        del held[:whole]
        return opcode, payload


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size])
    return (int.from_bytes(payload) ^ key).to_bytes(size)


def unpacking(path: str) -> Callable[[bytes], bytes] | None:
    """What reads the frames that the socket at this path sends, when it was asked to compress them.

    https://docs.discord.com/developers/events/gateway#transport-compression
    """
    if "compress=zlib-stream" in path:
        return zlib.decompressobj().decompress
    if "compress=zstd-stream" in path:
        import zstandard  # which discord.py asks for only where it is installed

        return zstandard.ZstdDecompressor().decompressobj().decompress
    return None
