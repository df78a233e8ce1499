"""python -m simulators.stage: serve until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from simulators.discord import state as discord_state
from simulators.slack import state as slack_state
from simulators.stage.server import Config, run_stage
from simulators.telegram import state as telegram_state


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="simulators.stage", description="A local Telegram, Slack and Discord on one page."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="0 picks a free one")
    parser.add_argument("--bot-name", default="Parley")
    parser.add_argument("--bot-username", default="parley_bot", help="Telegram's")
    parser.add_argument("--telegram-token", help="made from the seed when absent, as all that follow")
    parser.add_argument("--slack-bot-token")
    parser.add_argument("--slack-app-token")
    parser.add_argument("--slack-signing-secret")
    parser.add_argument("--discord-token")
    parser.add_argument("--discord-application-id", type=int)
    parser.add_argument("--discord-private-key", metavar="HEX")
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="keep everything there over restarts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flood", action=argparse.BooleanOptionalAction, default=True, help="rate limits")
    return parser.parse_args(argv)


def config_of(options: argparse.Namespace) -> Config:
    def kept(name: str) -> str | None:
        return str(options.state_dir / f"{name}.json") if options.state_dir else None

    return Config(
        telegram_state.Config(
            bot_token=options.telegram_token, bot_username=options.bot_username, bot_name=options.bot_name,
            seed=options.seed, flood=options.flood, state_file=kept("telegram"),
        ),
        slack_state.Config(
            bot_token=options.slack_bot_token, app_token=options.slack_app_token,
            signing_secret=options.slack_signing_secret, app_name=options.bot_name,
            seed=options.seed, flood=options.flood, state_file=kept("slack"),
        ),
        discord_state.Config(
            bot_token=options.discord_token, application_id=options.discord_application_id, bot_name=options.bot_name,
            private_key=options.discord_private_key, seed=options.seed, flood=options.flood,
            state_file=kept("discord"),
        ),
    )  # fmt: skip


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with run_stage(options.host, options.port, config_of(options)) as stage:
        sys.stdout.write(f"Stage: {stage.url}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(parse(None)))
