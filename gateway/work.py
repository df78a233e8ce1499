"""What a turn comes to: its steps are run and its reply is rendered, while the place where it was asked shows that we
think. Nothing here writes the result; that is the runner's, under the turn's token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from gateway.budget import Budget
from gateway.directory import Directory
from gateway.hub import Hub
from gateway.live import AWAITED, Live
from kernel import log
from kernel.db import Database
from kernel.types import Account, Channel, InboundMessage, Json, Reply
from pipeline import feedback, machine, route, turns
from pipeline.turns import Place, Result, Turn

_log = log.get("work")

_GATHER = 0.3  # seconds; a burst on a chat platform
_ABSORBED = 5  # times that a running turn begins anew because more was said


@dataclass(slots=True)
class Held:
    """A turn that this process holds. Once it settles, the database fences it; before, a lost lease ends the work.

    `more` is set when something has come in since.
    """

    turn: Turn
    task: asyncio.Task[None]
    settling: bool = False
    more: asyncio.Event = field(default_factory=asyncio.Event)


class Typing:
    """Shows that we think, unless the answer is there at once; platforms forget the sign after five seconds."""

    def __init__(self, show: Callable[[Account, Json], Awaitable[None]], account: Account, address: Json) -> None:
        self._show = show
        self._account = account
        self._address = address
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(0.15, self._start)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._task:
            self._task.cancel()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._repeat())

    async def _repeat(self) -> None:
        while True:
            await self._show(self._account, self._address)
            await asyncio.sleep(4)


class Work:
    """`result` is the work on one turn; it may be begun anew by another process at any point."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        channels: dict[str, Channel],
        tools: machine.Tools,
        hub: Hub,
        budget: Budget,
        memory: int,
    ) -> None:
        self._database = database
        self._directory = directory
        self._channels = channels
        self._tools = tools
        self._hub = hub
        self._budget = budget
        self._memory = memory

    async def gather_seconds(self, place: Place) -> float:
        """How long people of this place are given to go on writing, before what they wrote is answered."""
        account = await self._directory.account(place.account_id)
        if account is None or account.settings.get("answer") == "echo":
            return 0.0
        usual = 0.0 if self._channels[account.kind].idempotent else _GATHER
        return float(account.settings.get("gather_seconds", usual))

    async def result(self, held: Held) -> Result:
        turn = held.turn
        account = await self._directory.account(turn.account_id)
        if account is None:
            return Result(status="dead", failure="the channel account is disconnected")
        if turn.exhausted:
            return self._give_up(turn, account, await self._left_behind(turn, account))
        if route.silent(turn):
            return await self._silent(turn, account)
        for update in turn.updates:
            await self._acknowledge(account, update, "")
        with Typing(self._show_typing, account, turn.address):
            results, preview = await self._answered(held, account)
        turn = held.turn
        said = self._say(turn, account, results["compose"], preview=preview)
        return replace(said, metrics=route.metrics(turn, results), snapshot=route.snapshot(turn, results))

    async def _answered(self, held: Held, account: Account) -> tuple[Mapping[str, Json], Json | None]:
        """The steps' results, and the receipt of the preview that the answer replaces."""
        turn = held.turn
        if turn.preview is not None or not self._streams(account, turn):
            return await self._thought(held, account, None), await self._left_behind(turn, account)
        preview = self._channels[account.kind].preview
        assert preview is not None
        client = await self._directory.client(account)
        live = Live(
            preview,
            client,
            turn.address,
            turn.turn_id,
            store=lambda receipt: self._store_preview(turn, receipt),
            allowed=lambda: self._budget.spare(account, self._channels[account.kind], turn.address),
        )
        try:
            results = await self._thought(held, account, live)
        except BaseException:
            live.cancel()
            raise
        return results, await live.stop()

    def _streams(self, account: Account, turn: Turn) -> bool:
        return self._channels[account.kind].preview is not None and account.settings.get("streaming") is not False

    async def _store_preview(self, turn: Turn, receipt: Json) -> bool:
        async with self._database.anywhere() as conn:
            return await turns.note_preview(conn, turn, receipt)

    async def _left_behind(self, turn: Turn, account: Account) -> Json | None:
        """The preview that an earlier try at this turn has shown, if there is one."""
        preview = self._channels[account.kind].preview
        if turn.preview is None or preview is None:
            return None
        if turn.preview != AWAITED:
            return turn.preview or None
        client = await self._directory.client(account)
        return await preview.recover(client, turn.address, turn.turn_id, turn.begun_at)

    async def _thought(self, held: Held, account: Account, live: Live | None) -> Mapping[str, Json]:
        """Runs the steps; begins anew with all that was said when more comes in meanwhile."""
        echo = account.settings.get("answer") == "echo"
        for _ in range(_ABSORBED):
            steps = route.steps_for(held.turn, echo=echo)
            if len(steps) == 1:
                return await machine.run(self._state(held.turn, live), steps, self._tools)
            thinking = asyncio.ensure_future(machine.run(self._state(held.turn, live), steps, self._tools))
            try:
                if await self._undisturbed(held, thinking):
                    return thinking.result()
            finally:
                thinking.cancel()
                await asyncio.gather(thinking, return_exceptions=True)
            if live:
                live.restart()
        return await machine.run(self._state(held.turn, live), route.steps_for(held.turn, echo=echo), self._tools)

    async def _undisturbed(self, held: Held, thinking: asyncio.Future[Mapping[str, Json]]) -> bool:
        """True when the thought came to its end; False when the turn has taken in more and has to begin anew."""
        while True:
            more = asyncio.ensure_future(held.more.wait())
            try:
                await asyncio.wait((thinking, more), return_when=asyncio.FIRST_COMPLETED)
            finally:
                more.cancel()
            if thinking.done():
                return True
            held.more.clear()
            async with self._database.anywhere() as conn:
                absorbed = await turns.absorb(conn, held.turn, self._memory)
            if absorbed is not None:
                held.turn = absorbed
                self._opened(absorbed)
                return False

    def _opened(self, turn: Turn) -> None:
        self._hub.tell(turn.place, {"type": "opened", "turn_id": turn.turn_id, "message_ids": list(turn.message_ids)})

    def _state(self, turn: Turn, live: Live | None) -> machine.State:
        def emit(piece: str) -> None:
            self._hub.tell(turn.place, {"type": "piece", "text": piece})
            if live is not None:
                live.add(piece)

        return machine.State(turn, emit)

    def _give_up(self, turn: Turn, account: Account, preview: Json | None) -> Result:
        """The end of a turn that nothing helped: without one its conversation would stand still for good."""
        failure = "every attempt failed"
        try:
            return self._say(turn, account, {"text": route.FAILED}, status="dead", failure=failure, preview=preview)
        except Exception as error:
            _log.exception("work.gave_up_silently", turn=turn.turn_id)
            return Result(status="dead", failure=f"{failure}, and so did the apology: {error!r}")

    def _say(
        self,
        turn: Turn,
        account: Account,
        composed: Json,
        *,
        status: str = "done",
        failure: str = "",
        preview: Json | None = None,
    ) -> Result:
        reply: Reply = route.reply_of(composed, account.settings)
        units = self._channels[account.kind].render(reply, turn.address)
        return Result(
            status=status,
            failure=failure,
            answer={
                "text": reply.markdown,
                "citations": composed.get("citations", []),
                "retrieval": {**composed.get("retrieval", {}), **_offered(composed)},
            },
            units=units,
            end_session=route.ends_session(turn),
            preview=preview,
        )

    async def _silent(self, turn: Turn, account: Account) -> Result:
        """An update that changes records only."""
        update = turn.updates[0]
        if update.kind == "migrated":
            async with self._database.anywhere() as conn:
                await turns.rekey(conn, turn.account_id, str(update.address["chat_id"]), update.detail)
        if update.kind == "feedback":
            async with self._database.workspace(turn.workspace_id) as conn:
                thanks = await feedback.record(conn, turn, update)
            await self._acknowledge(account, update, thanks)
        edits = []
        if update.kind in ("edit", "deletion"):
            text = update.text if update.kind == "edit" else ""
            edits = [{"message_ref": update.message_ref, "text": text}]
        return Result(edits=edits, blocked=update.kind == "blocked")

    async def _acknowledge(self, account: Account, update: InboundMessage, text: str) -> None:
        acknowledge = self._channels[account.kind].acknowledge
        if acknowledge is not None and update.press:
            await acknowledge(await self._directory.client(account), update, text)

    async def _show_typing(self, account: Account, address: Json) -> None:
        client = await self._directory.client(account)
        await self._channels[account.kind].typing(client, address)


def _offered(composed: Json) -> Json:
    """Choices are kept beside the answer, for whoever reads it later."""
    return {"choices": composed["choices"]} if composed.get("choices") else {}
