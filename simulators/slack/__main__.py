"""python -m simulators.slack: serve until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from simulators.slack.server import run_simulator
from simulators.slack.state import Config, Pace


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    defaults = Config()
    parser = argparse.ArgumentParser(prog="simulators.slack", description="A local Slack.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8082, help="0 picks a free one")
    parser.add_argument("--bot-token", help="of the first team; made from the seed when absent, as those below")
    parser.add_argument("--app-token", help="for Socket Mode")
    parser.add_argument("--signing-secret")
    parser.add_argument("--client-id")
    parser.add_argument("--client-secret")
    parser.add_argument("--bot-name", default=defaults.bot_name)
    parser.add_argument("--app-name", default=defaults.app_name)
    parser.add_argument("--request-url", help="where events, interactions and commands go without Socket Mode")
    parser.add_argument("--public-url", help="where the app reaches this server, when not where it calls it")
    parser.add_argument("--scale", type=float, default=1.0, help="the pauses before retries (0, 60, 300 s) times this")
    parser.add_argument("--state", metavar="FILE", help="keep everything in this file over restarts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--streaming", action=argparse.BooleanOptionalAction, default=True, help="know chat.startStream"
    )
    parser.add_argument("--flood", action=argparse.BooleanOptionalAction, default=True, help="rate limits")
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    config = Config(
        bot_token=options.bot_token,
        app_token=options.app_token,
        signing_secret=options.signing_secret,
        client_id=options.client_id,
        client_secret=options.client_secret,
        bot_name=options.bot_name,
        app_name=options.app_name,
        request_url=options.request_url,
        public_url=options.public_url,
        pace=Pace(scale=options.scale),
        state_file=options.state,
        seed=options.seed,
        streaming=options.streaming,
        flood=options.flood,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with run_simulator(options.host, options.port, config) as simulator:
        lines = [
            f"Slack simulator: {simulator.url}",
            *(
                f"Bot token of {simulator.world.teams[i.team].name}: {i.token}"
                for i in simulator.world.installations.values()
            ),
            f"App token: {simulator.app.app_token}",
            f"Signing secret: {simulator.app.signing_secret}",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(parse(None)))
