"""python -m simulators.discord: serve until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from simulators.discord.server import run_simulator
from simulators.discord.signing import public_key
from simulators.discord.state import Config


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    defaults = Config()
    parser = argparse.ArgumentParser(prog="simulators.discord", description="A local Discord: REST and gateway.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8082, help="0 picks a free one")
    parser.add_argument("--bot-token", help="made from the seed when absent, like the next two")
    parser.add_argument("--application-id", type=int)
    parser.add_argument("--private-key", metavar="HEX", help="the Ed25519 seed that interactions are signed with")
    parser.add_argument("--bot-name", default=defaults.bot_name)
    parser.add_argument("--interactions-url", help="send interactions there instead of through the gateway")
    parser.add_argument("--state", metavar="FILE", help="keep everything in this file over restarts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flood", action=argparse.BooleanOptionalAction, default=True, help="rate limits")
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    config = Config(
        bot_token=options.bot_token,
        application_id=options.application_id,
        bot_name=options.bot_name,
        private_key=options.private_key,
        interactions_url=options.interactions_url,
        seed=options.seed,
        flood=options.flood,
        state_file=options.state,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with run_simulator(options.host, options.port, config) as simulator:
        sys.stdout.write(
            f"Discord simulator: {simulator.url}\nBot token: {simulator.bot.token}\n"
            f"Application id: {simulator.bot.id}\nPublic key: {public_key(simulator.bot.key)}\n"
        )
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(parse(None)))
