"""The gateway's own server as a program of the bench: `python -m bench.server whole|intake`; prints its root URL.

whole    what `parley serve` runs, without polling and without loading the embedding model ahead
intake   the same app with turns left lying: nobody is woken and nothing sweeps, so that what is measured is
         taking updates in and not also answering them
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from functools import partial

import uvloop

from channels.table import CHANNELS
from channels.wire import open_wire
from gateway import server, upkeep
from gateway.budget import Budget
from gateway.courtesy import Courtesy
from gateway.directory import Directory
from gateway.hub import Hub
from gateway.intake import Intake
from gateway.outbound import Sender
from gateway.runner import Limits, TurnRunner
from gateway.services import Services, open_client, open_ground
from gateway.work import Work
from kernel import log
from kernel.settings import Settings
from pipeline.machine import Emit, Tools
from pipeline.steps import RedisSteps
from pipeline.turns import Place


def _say(url: str) -> None:
    print(url, flush=True)


async def whole(settings: Settings) -> None:
    await server.serve(settings, "127.0.0.1", 0, ready=_say)


async def intake(settings: Settings) -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_ground(settings, name="parley-bench") as ground:
        wire = open_wire(settings)
        directory = Directory(ground.database, ground.ring, partial(open_client, wire))
        hub, budget = Hub(), Budget(ground.redis)
        sender = Sender(ground.database, directory, CHANNELS, budget)
        tools = Tools(ground.retriever.search, _no_answer, RedisSteps(ground.redis, 60), settings.rag_top_k)
        work = Work(ground.database, directory, CHANNELS, tools, hub, budget, 0)
        courtesy = Courtesy(ground.database, directory, CHANNELS, ground.limiter)
        runner = TurnRunner(ground.database, work, hub, sender, courtesy, Limits())
        inbox = Intake(ground.database, directory, CHANNELS, _leave)
        services = Services(ground, wire, directory, hub, inbox, runner, sender)
        async with server.open_app(services) as app, server.listening(app, "127.0.0.1", 0) as url:
            gc.collect()
            upkeep.spare_the_collector()  # as `serve` does
            _say(url)
            await stop.wait()
        await inbox.close()
        await runner.stop(0)
        await wire.close()


def _leave(place: Place) -> None:
    """Wakes nobody."""


async def _no_answer(question: str, history: object, hits: object, emit: Emit) -> dict[str, object]:
    raise RuntimeError("no turn runs here")


def main(name: str) -> None:
    settings = Settings.read()
    log.configure(settings.log_level)
    uvloop.run({"whole": whole, "intake": intake}[name](settings))


if __name__ == "__main__":
    main(sys.argv[1])
