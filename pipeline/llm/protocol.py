"""What the pipeline asks of a language model, whoever serves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypedDict

Reason = Literal[
    "connect", "timeout", "rate_limited", "unauthorized", "refused", "server_error", "cut", "malformed", "empty",
    "filtered", "breaker_open",
]  # fmt: skip


class Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: str


class ModelFailure(Exception):
    """The model gave no whole answer. `reason` is a fixed word, fit for a metric; `detail` is for the log."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class ChatModel(Protocol):
    """`service` names the provider in logs and metrics, `model` the model in records of answers."""

    service: str
    model: str

    async def complete(self, messages: Sequence[Message], on_piece: Callable[[str], None]) -> str:
        """The whole answer; `on_piece` hears it while it comes. Raises ModelFailure, even after pieces."""
        ...

    async def close(self) -> None: ...
