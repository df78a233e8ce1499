"""A chat model behind the OpenAI chat completions protocol, streamed.

Source: https://platform.openai.com/docs/api-reference/chat-streaming, as the `openai` package reads it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import openai
from openai.types.chat import ChatCompletionMessageParam

from kernel import backoff, log
from kernel.settings import Settings
from pipeline.llm.breaker import Breaker
from pipeline.llm.protocol import Message, ModelFailure, Reason

_log = log.get("llm")

_LONGEST_WAIT = 5.0  # seconds of Retry-After that a user is made to wait
_CHARS_PER_TOKEN = 12  # more than any tokenizer yields: a stream beyond it ignores max_tokens
_NOT_THE_PROVIDER = ("refused", "filtered")  # this request's fault: says nothing about the provider's health


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: until connected, between two pieces, for the whole answer with its retry, and before a retry."""

    connect: float = 5.0
    read: float = 30.0
    total: float = 60.0
    pause: float = 0.5


class OpenAIChat:
    """One model of one provider, with one retry and a circuit breaker. Belongs to one event loop."""

    service = "openai"

    def __init__(
        self,
        settings: Settings,
        *,
        patience: Patience | None = None,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = settings.rag_chat_model
        self._settings = settings
        self._patience = patience or Patience()
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._client = openai.AsyncOpenAI(
            api_key=settings.openai_api_key,
            base_url=settings.openai_base_url,
            timeout=openai.Timeout(self._patience.read, connect=self._patience.connect),
            max_retries=0,
        )

    async def complete(self, messages: Sequence[Message], on_piece: Callable[[str], None]) -> str:
        """The whole answer; `on_piece` hears it while it comes. Raises ModelFailure.

        A try that had begun to answer is not repeated: what `on_piece` heard is then void.
        """
        try:
            async with asyncio.timeout(self._patience.total):
                return await self._tries(messages, on_piece)
        except TimeoutError:
            self._breaker.failed(self._clock())
            raise ModelFailure("timeout", f"no whole answer in {self._patience.total:g} s") from None

    async def close(self) -> None:
        await self._client.close()

    async def _tries(self, messages: Sequence[Message], on_piece: Callable[[str], None]) -> str:
        heard: list[str] = []

        def hear(piece: str) -> None:
            heard.append(piece)
            on_piece(piece)

        wait = await self._try(messages, hear, again=lambda: not heard)
        if wait is not None:
            await asyncio.sleep(wait)
            await self._try(messages, hear, again=lambda: False)
        return "".join(heard)

    async def _try(
        self, messages: Sequence[Message], hear: Callable[[str], None], *, again: Callable[[], bool]
    ) -> float | None:
        """None once the answer is whole, or the seconds to wait before trying `again`."""
        if not self._breaker.allow(self._clock()):
            raise ModelFailure("breaker_open", "the provider failed too often")
        try:
            await self._once(messages, hear)
        except Exception as error:
            failure = _failure(error)
            if failure.reason not in _NOT_THE_PROVIDER:
                self._breaker.failed(self._clock())
            closed = self._breaker.state(self._clock()) == "closed"
            wait = _wait(error, self._patience.pause) if closed and again() else None
            if wait is None:
                raise failure from error
            _log.info("llm.retry", service=self.service, reason=failure.reason, wait=round(wait, 2))
            return wait
        self._breaker.succeeded()
        return None

    async def _once(self, messages: Sequence[Message], hear: Callable[[str], None]) -> None:
        settings = self._settings
        stream = await self._client.chat.completions.create(
            model=self.model,
            messages=cast("list[ChatCompletionMessageParam]", list(messages)),
            max_tokens=settings.rag_max_tokens,
            temperature=settings.rag_temperature,
            top_p=settings.rag_top_p,
            stream=True,
        )
        length, ended = 0, ""
        async with stream:
            async for chunk in stream:
                piece, reason = _read(chunk)
                ended = reason or ended
                length += len(piece)
                if piece:
                    hear(piece)
                if length > settings.rag_max_tokens * _CHARS_PER_TOKEN:
                    return
        if ended == "content_filter":
            raise ModelFailure("filtered")
        if not ended:
            raise ModelFailure("cut", "the stream ended before the answer did")
        if not length:
            raise ModelFailure("empty")


def _read(chunk: Any) -> tuple[str, str]:
    """Text and finish reason of a chunk, which the SDK builds without validation: it may hold anything."""
    choices = getattr(chunk, "choices", None)
    if not isinstance(choices, list):
        raise ModelFailure("malformed", "a chunk without choices")
    if not choices:  # a trailing chunk of usage
        return "", ""
    delta = getattr(choices[0], "delta", None)
    text, reason = getattr(delta, "content", None), getattr(choices[0], "finish_reason", None)
    if not isinstance(text, str | None) or not isinstance(reason, str | None):
        raise ModelFailure("malformed", "a chunk of another shape")
    return text or "", reason or ""


def _failure(error: Exception) -> ModelFailure:
    """What went wrong, in a word. Details carry a status or class name, never text that a user wrote."""
    if isinstance(error, ModelFailure):
        return error
    if isinstance(error, openai.APIStatusError):
        return ModelFailure(_by_status(error.status_code), f"status {error.status_code}")
    reason: Reason = "malformed"  # JSON that is none, an `error` event, a shape that the SDK stumbles over
    if isinstance(error, (openai.APITimeoutError, TimeoutError)):
        reason = "timeout"
    elif isinstance(error, openai.APIConnectionError):
        reason = "connect"
    return ModelFailure(reason, type(error).__name__)


def _by_status(status: int) -> Reason:
    if status == 429:
        return "rate_limited"
    if status in (401, 403):
        return "unauthorized"
    return "server_error" if status >= 500 else "refused"


def _wait(error: Exception, pause: float) -> float | None:
    """Seconds until the second try, or None where one would not help or would take too long."""
    if isinstance(error, openai.APIConnectionError):
        return None if isinstance(error, openai.APITimeoutError) else backoff.jittered(pause, random.random())
    if not isinstance(error, openai.APIStatusError) or error.code == "insufficient_quota":
        return None
    if error.status_code != 429 and error.status_code < 500:
        return None
    asked = error.response.headers.get("retry-after")
    if asked is None:
        return backoff.jittered(pause, random.random())
    try:
        seconds = float(asked)
    except ValueError:  # a date: longer than anybody waits in a chat
        return None
    return max(0.0, seconds) if seconds <= _LONGEST_WAIT else None
