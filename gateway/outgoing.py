"""Files on their way to people: their bytes are loaded just before they leave."""

from __future__ import annotations

import asyncio
from typing import Any

from kernel.db import AWAY, Database
from kernel.types import Channel, NotSent, OutgoingFile, Refused, Reply, SendOutcome, Unit
from pipeline.files import attachments
from pipeline.outbox import Outbound

_AT_ONCE = 16  # files in memory on their way, of up to 10 MB each


class Uploads:
    """Hands files over to channels that take them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def send(self, channel: Channel, client: Any, sent: Outbound) -> SendOutcome:
        assert channel.upload is not None
        async with self._room:
            try:
                async with self._database.workspace(sent.lane.workspace_id) as conn:
                    found = await attachments.content(conn, sent.attachment_id)
            except AWAY as error:
                return NotSent(type(error).__name__)
            if found is None:
                return Refused("gone", "the file is not kept any more")
            name, mime, data = found
            tried = sent.created_at if sent.ambiguous else 0.0
            file = OutgoingFile(name, mime, data, str(sent.unit.payload.get("caption") or ""), tried)
            return await channel.upload(client, sent.address, file, sent.outbound_id)


def in_words(channel: Channel, sent: Outbound) -> Unit:
    """What a person is told of a file where none can be sent: that there is one."""
    caption = sent.unit.payload.get("caption")
    words = f"There is a file for you, {sent.unit.plain}, but files cannot be sent here. Please ask for it another way."
    return channel.render(Reply(f"{words}\n\n{caption}" if caption else words), sent.address)[0]
