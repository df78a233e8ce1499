"""JSON logs through structlog: one line an event, with the request id; secrets and message text stay out."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# Names whose values never reach a log, and shapes of secrets that may hide inside other values.
_HIDDEN_NAMES = re.compile(r"token|secret|password|authorization|api_?key|credential|cookie|(^|_)(text|body)$", re.I)
_HIDDEN_SHAPES = re.compile(
    r"whs(?:ec|k)_[\w+/=-]+|prl_[a-z]+_\w+|pp[ls]1\.[\w.-]+|sk-[\w-]{8,}|xox[a-z]-[\w-]+|xapp-[\w-]+|(?<!\d)\d{5,}:[\w-]{20,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
HIDDEN = "[hidden]"


def redact(value: Any) -> Any:
    """A copy of a log value without anything that looks like a secret."""
    if isinstance(value, str):
        return _HIDDEN_SHAPES.sub(HIDDEN, value)
    if isinstance(value, dict):
        return {key: HIDDEN if _HIDDEN_NAMES.search(str(key)) else redact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    return value


def _redaction(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    cleaned: dict[str, Any] = redact(dict(event))
    return cleaned


def configure(level: str = "INFO") -> None:
    """Sends structlog and the standard library's loggers to standard error as redacted JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redaction,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=structlog.processors.JSONRenderer())
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpx2", "telegram", "aiohttp.access", "arq.jobs"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def get(name: str) -> Any:
    return structlog.get_logger(part=name)
