"""How gateway payloads are packed: plain, zlib-stream, zstd-stream, or each one alone (`compress` in identify)."""

import zlib
from collections.abc import Callable

from aiohttp import web

try:
    import zstandard
except ImportError:  # pragma: no cover - clients that ask for zstd then get plain text frames, which they take
    zstandard = None  # type: ignore[assignment]

Pack = Callable[[bytes], bytes | None]


def packer(kind: str) -> Pack:
    """What to send for a payload under the `compress` that a client asked for; None: a text frame of it as it is."""
    if kind == "zlib-stream":
        stream = zlib.compressobj()
        return lambda body: stream.compress(body) + stream.flush(zlib.Z_SYNC_FLUSH)
    if kind == "zstd-stream" and zstandard is not None:
        frames = zstandard.ZstdCompressor(level=3).compressobj()
        return lambda body: frames.compress(body) + frames.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    if kind == "payload":
        return zlib.compress
    return lambda body: None


async def send(socket: web.WebSocketResponse, pack: Pack, body: bytes) -> None:
    packed = pack(body)
    if packed is None:
        await socket.send_str(body.decode())
    else:
        await socket.send_bytes(packed)
