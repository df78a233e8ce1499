"""python -m simulators.telegram: serve until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from simulators.telegram.server import run_simulator
from simulators.telegram.state import Config


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    defaults = Config()
    parser = argparse.ArgumentParser(prog="simulators.telegram", description="A local Telegram Bot API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081, help="0 picks a free one")
    parser.add_argument("--bot-token", help="made from the seed when absent")
    parser.add_argument("--bot-username", default=defaults.bot_username)
    parser.add_argument("--bot-name", default=defaults.bot_name)
    parser.add_argument("--state", metavar="FILE", help="keep everything in this file over restarts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flood", action=argparse.BooleanOptionalAction, default=True, help="rate limits")
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    config = Config(
        bot_token=options.bot_token,
        bot_username=options.bot_username,
        bot_name=options.bot_name,
        seed=options.seed,
        flood=options.flood,
        state_file=options.state,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with run_simulator(options.host, options.port, config) as simulator:
        sys.stdout.write(f"Telegram simulator: {simulator.url}\nBot token: {simulator.bot.token}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(parse(None)))
