"""The REST channel: the reader fetches replies by id, so there is nothing to deliver and nothing to get lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels.markdown import whole
from kernel.types import Account, Channel, Json, OutgoingFile, Parsed, Reply, SendOutcome, Sent, Unit


def _verify(account: Account, headers: Mapping[str, str], body: bytes) -> bool:
    return False  # nobody calls in from outside: the API routes speak for it, with a key


def _parse(account: Account, update: Json) -> list[Parsed]:
    raise ValueError("the REST channel has no inbound address")


def _render(reply: Reply, address: Json) -> list[Unit]:
    text = whole(reply.markdown).replace("\0", "\ufffd")  # neither Postgres nor JSON holds the rest
    return [Unit({"text": text}, text)]


async def _send(client: Any, address: Json, unit: Unit, plain: bool, key: str) -> SendOutcome:
    return Sent({})


async def _upload(client: Any, address: Json, file: OutgoingFile, key: str) -> SendOutcome:
    return Sent({})  # the message lists it, and the reader fetches it as well


async def _typing(client: Any, address: Json) -> None:
    return None


async def _open(account: Account, wire: Any) -> None:
    return None


CHANNEL = Channel("rest", _verify, _parse, _render, _send, _typing, _open, idempotent=True, upload=_upload)
