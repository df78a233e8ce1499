"""How much of an answer is taken off the wire: so many bytes, whatever they are, and not one more.

aiohttp bounds a line and the number of headers, but not what all of them come to; nor chunk extensions, nor how often a
receiver may say "100 Continue" (some kilobytes of memory each, and no other task runs while they are read).
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD

MOST = 32_768  # bytes of one answer, head and body
_AT_ONCE = 4_096
_INTERIM = 8  # answers before the answer


class BoundedHandler(ResponseHandler):
    """A connection that is cut after MOST bytes of an answer. What came of a body until then is its whole body."""

    _left = MOST
    _done = False

    def set_response_params(self, **given: Any) -> None:
        """aiohttp's call at the beginning of each request."""
        self._left, self._done = MOST, False
        super().set_response_params(**given)

    def data_received(self, data: bytes) -> None:
        if self._done:
            return
        over = len(data) > self._left
        data = data[: self._left]
        self._left -= len(data)
        self._feed(data[:_AT_ONCE])
        # In pieces, because a single piece could hold ten thousand interim answers.
        for start in range(_AT_ONCE, len(data), _AT_ONCE):
            if self._too_many() or self._exception is not None or self.transport is None:
                break
            self._feed(data[start : start + _AT_ONCE])
        if over or self._too_many():
            self._cut()

    def _feed(self, piece: bytes) -> None:
        super().data_received(piece)
        if self._exception is not None and self._exception.__cause__ is not None:
            self._exception.__cause__.__traceback__ = None  # its frames would keep what was read

    def _too_many(self) -> bool:
        return len(self._buffer) > _INTERIM

    def _cut(self) -> None:
        self._done = True
        payload = self._payload
        if payload is not None and payload is not EMPTY_PAYLOAD and not payload.is_eof():
            payload.feed_eof()
            self.close()
            return
        self._buffer.clear()
        if self.transport is not None:
            self.transport.abort()
        self.set_exception(HttpProcessingError(message="the answer is too long"))


def bound(connector: aiohttp.TCPConnector) -> None:
    """Has the connections that this connector makes be BoundedHandlers."""
    connector._factory = cast("partial[ResponseHandler]", partial(BoundedHandler, loop=connector._loop))
