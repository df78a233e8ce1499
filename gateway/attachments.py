"""Files of a conversation, brought from their platform when a turn wants them."""

from __future__ import annotations

import asyncio

from gateway.directory import Directory
from kernel import log
from kernel.db import Database
from kernel.types import Account, Attachment, Channel, Json, NotSent, Refused
from pipeline.embedding.lazy import LazyEmbedder
from pipeline.files import attachments
from pipeline.files.passages import passages
from pipeline.files.reading import MOST, Read, read
from pipeline.turns import Turn

_log = log.get("attachments")

_A_TURN = 10  # files of one turn that are looked at
_A_SESSION = 20  # … of one session, the newest
_PATIENCE = 3  # tries at a turn until a file that cannot be fetched is given up


class FetchAgain(Exception):
    """A file could not be fetched now; the turn rests and is tried again."""


class AttachmentFiles:
    """`pipeline.files.steps.Files`: fetches through the channels and keeps what it fetched."""

    def __init__(
        self, database: Database, directory: Directory, channels: dict[str, Channel], embedder: LazyEmbedder
    ) -> None:
        self._database = database
        self._directory = directory
        self._channels = channels
        self._embedder = embedder

    async def take_in(self, turn: Turn) -> list[Json]:
        """Raises FetchAgain."""
        wanted = [
            (f"att{message_id[3:]}_{n}", file)
            for update, message_id in zip(turn.updates, turn.message_ids, strict=False)
            for n, file in enumerate(update.attachments)
        ][:_A_TURN]
        async with self._database.workspace(turn.workspace_id) as conn:
            known = await attachments.known(conn, [attachment_id for attachment_id, _ in wanted])
        account = await self._directory.account(turn.account_id)
        if account is None:
            return []
        missing = [(name, file) for name, file in wanted if name not in known]
        taken = await asyncio.gather(*(self._take(turn, account, name, file) for name, file in missing))
        return [*known.values(), *taken]

    async def passages(self, turn: Turn, question: str, k: int) -> list[Json]:
        async with self._database.workspace(turn.workspace_id) as conn:
            texts = await attachments.texts(conn, turn.session_id, _A_SESSION)
        return await passages(self._embedder, question, texts, k)

    async def _take(self, turn: Turn, account: Account, attachment_id: str, file: Attachment) -> Json:
        data, found = await self._fetched(turn, account, file)
        name = file.name or "a file"
        async with self._database.workspace(turn.workspace_id) as conn:
            await attachments.store(conn, turn, attachment_id, name, data, found)
        return {"name": name, "status": found.status, "cause": found.cause}

    async def _fetched(self, turn: Turn, account: Account, file: Attachment) -> tuple[bytes, Read]:
        fetch = self._channels[account.kind].fetch
        if fetch is None:
            return b"", Read(file.mime, "refused", cause="files cannot be fetched here")
        if file.size > MOST:
            return b"", Read(file.mime, "refused", cause=_too_large())
        got = await fetch(await self._directory.client(account), file, MOST)
        if isinstance(got, bytes):
            return got, await read(file.name, got)
        if isinstance(got, NotSent) and turn.attempt < _PATIENCE:
            raise FetchAgain(got.reason)
        _log.warning("attachments.not_fetched", account=account.account_id, reason=got.reason)
        too_large = isinstance(got, Refused) and got.code == "too_large"
        return b"", Read(file.mime, "refused", cause=_too_large() if too_large else "I could not fetch it")


def _too_large() -> str:
    return f"it is larger than {MOST // (1024 * 1024)} MB"
