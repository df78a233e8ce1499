"""Every setting, once: name, default, meaning. Read from the environment and `.env`, validated together at start."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from kernel.errors import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _setting(env: str, default: Any, meaning: str, read: Callable[[str], Any] = str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"env": env, "meaning": meaning, "read": read, "secret": secret})


def _url(*schemes: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise ValueError(f"must be a URL starting with {' or '.join(f'{s}://' for s in schemes)}")
        return text.rstrip("/")

    return read


def _between(kind: Callable[[str], Any], low: float, high: float) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not low <= value <= high:
            raise ValueError(f"must be between {low:g} and {high:g}")
        return value

    return read


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return text.upper()


def _precision(text: str) -> str:
    if text not in ("int8", "fp32"):
        raise ValueError("must be int8 or fp32")
    return text


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _egress(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "socks5") or not parts.hostname or not parts.port or parts.path.strip("/"):
        raise ValueError("must be http://host:port or socks5://host:port, with user:password@ where it is needed")
    return text.rstrip("/")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


_postgres, _redis, _http = _url("postgresql", "postgres"), _url("redis", "rediss", "unix"), _url("http", "https")


@dataclass(frozen=True, slots=True)
class Settings:
    """The values in force. `parley settings` prints this table; README repeats it and a test compares the two."""

    database_url: str = _setting(
        "DATABASE_URL",
        "",
        "Postgres, as a plain login role (`parley up` starts its own when empty)",
        _postgres,
        secret=True,
    )
    database_admin_url: str = _setting(
        "DATABASE_ADMIN_URL",
        "",
        "The same database as a role that may create roles; for `migrate`",
        _postgres,
        secret=True,
    )
    redis_url: str = _setting("REDIS_URL", "", "Redis (`parley up` starts its own when empty)", _redis, secret=True)
    data_dir: Path = _setting("PARLEY_DATA_DIR", Path(".parley"), "Where `up` keeps stores, keys and models", Path)
    secret_keys: str = _setting(
        "PARLEY_SECRET_KEYS", "", "Key ring for sealing, `id:base64` of 32 bytes, current first", secret=True
    )
    public_url: str = _setting("PARLEY_PUBLIC_URL", "", "The address under which platforms reach this gateway", _http)
    egress_allow: tuple[Network, ...] | None = _setting(
        "EGRESS_ALLOW", None, "Networks that webhooks may reach besides public addresses (`up`: loopback)", _networks
    )
    egress_proxy: str = _setting(
        "EGRESS_PROXY", "", "Through which webhooks go out, `http://` or `socks5://`", _egress, secret=True
    )
    egress_direct: tuple[str, ...] = _setting(
        "EGRESS_DIRECT", (), "Hosts, and `.example.com` for all below it, that are called without that proxy", _names
    )
    webhook_https_only: bool = _setting(
        "WEBHOOK_HTTPS_ONLY", False, "Whether endpoints may have https URLs only", _truth
    )
    webhook_retention_days: int = _setting(
        "WEBHOOK_RETENTION_DAYS", 30, "Days that events, deliveries and attempts are kept", _between(int, 7, 3_650)
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        "TRUSTED_PROXIES", (), "Networks of reverse proxies whose X-Forwarded-For is believed", _networks
    )
    log_level: str = _setting("LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR", _level)
    max_concurrent_requests: int = _setting(
        "MAX_CONCURRENT_REQUESTS", 100, "API requests handled at once; more get 503", _between(int, 1, 100_000)
    )
    turn_lease_seconds: float = _setting(
        "TURN_LEASE_SECONDS", 15.0, "A silent process loses its turns after this long", _between(float, 1, 600)
    )
    embedding_batch_size: int = _setting("EMBEDDING_BATCH_SIZE", 32, "Texts encoded together", _between(int, 1, 1024))
    cache_ttl_seconds: int = _setting(
        "CACHE_TTL_SECONDS", 3600, "How long a turn's recorded steps stay in Redis", _between(int, 60, 604_800)
    )
    rag_chat_model: str = _setting("RAG_CHAT_MODEL", "gpt-4o-mini", "The model that answers")
    rag_embedding_model: str = _setting(
        "RAG_EMBEDDING_MODEL", "all-MiniLM-L6-v2", "The model that embeds; any other needs [sentence-transformers]"
    )
    rag_embedding_precision: str = _setting(
        "RAG_EMBEDDING_PRECISION",
        "int8",
        "int8 (quick, mean cosine 0.9994 to fp32) or fp32, for all-MiniLM-L6-v2",
        _precision,
    )
    rag_top_k: int = _setting("RAG_TOP_K", 5, "Passages an answer is drawn from", _between(int, 1, 50))
    rag_similarity_threshold: float = _setting(
        "RAG_SIMILARITY_THRESHOLD",
        0.42,
        "Below this cosine the answer is an honest “I don't know”",
        _between(float, 0, 1),
    )
    rag_memory_messages: int = _setting(
        "RAG_MEMORY_MESSAGES", 10, "Earlier messages that a turn looks at", _between(int, 0, 100)
    )
    rag_max_tokens: int = _setting("RAG_MAX_TOKENS", 800, "Longest answer of a model", _between(int, 1, 100_000))
    rag_temperature: float = _setting("RAG_TEMPERATURE", 0.2, "Sampling temperature", _between(float, 0, 2))
    rag_top_p: float = _setting("RAG_TOP_P", 1.0, "Nucleus sampling", _between(float, 0, 1))
    openai_api_key: str = _setting("OPENAI_API_KEY", "", "Key of the OpenAI-compatible model", secret=True)
    openai_base_url: str = _setting(
        "OPENAI_BASE_URL", "https://api.openai.com/v1", "Root of the OpenAI-compatible API", _http
    )
    telegram_api_base_url: str = _setting(
        "TELEGRAM_API_BASE_URL", "https://api.telegram.org", "Root of the Telegram Bot API", _http
    )
    slack_api_base_url: str = _setting(
        "SLACK_API_BASE_URL", "https://slack.com/api", "Root of the Slack Web API", _http
    )
    slack_oauth_authorize_url: str = _setting(
        "SLACK_OAUTH_AUTHORIZE_URL",
        "https://slack.com/oauth/v2/authorize",
        "Where a person allows a Slack app into a Slack workspace",
        _http,
    )
    discord_api_base_url: str = _setting(
        "DISCORD_API_BASE_URL", "https://discord.com/api/v10", "Root of the Discord REST API", _http
    )
    discord_gateway_url: str = _setting(
        "DISCORD_GATEWAY_URL",
        "",
        "The Discord gateway's websocket (by default what the REST API names)",
        _url("ws", "wss"),
    )
    parley_url: str = _setting("PARLEY_URL", "", "The gateway that commands talk to", _http)
    parley_api_key: str = _setting("PARLEY_API_KEY", "", "The key that commands use", secret=True)

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Reads the environment (by default the process's, over `.env`). Raises ConfigError naming every fault."""
        if environ is None:
            environ = {k: v for k, v in dotenv_values(".env").items() if v is not None} | dict(os.environ)
        values: dict[str, Any] = {}
        faults = []
        for item in fields(cls):
            env, text = item.metadata["env"], environ.get(item.metadata["env"], "").strip()
            if not text:
                if env == "EGRESS_ALLOW" and env in environ:
                    values[item.name] = ()
                continue
            try:
                values[item.name] = item.metadata["read"](text)
            except ValueError as error:
                faults.append({"field": env, "message": str(error)})
        if faults:
            raise ConfigError("; ".join(f"{f['field']}: {f['message']}" for f in faults), details=faults)
        return cls(**{**values, **overrides})


def table(settings: Settings) -> list[dict[str, str]]:
    """Name, value in force (secrets masked), default and meaning of every setting."""
    rows = []
    for item in fields(Settings):
        value = getattr(settings, item.name)
        rows.append(
            {
                "name": item.metadata["env"],
                "value": "(set)" if item.metadata["secret"] and value else _show(value),
                "default": _show(item.default),
                "meaning": item.metadata["meaning"],
            }
        )
    return rows


def environment(settings: Settings) -> dict[str, str]:
    """The environment in which a child process reads these very settings."""
    return {
        item.metadata["env"]: _show(value)
        for item in fields(Settings)
        if (value := getattr(settings, item.name)) is not None
    }


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
