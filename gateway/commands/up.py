"""parley up"""

from __future__ import annotations

import sys
from argparse import Namespace

from gateway.client import data_dir
from gateway.supervisor import StartError
from gateway.up import Wanted, up
from kernel.errors import ConfigError
from kernel.settings import Settings


async def run(options: Namespace) -> int:
    settings = Settings.read()
    wanted = Wanted(data_dir(options, settings), options.host, options.port, options.demo)
    try:
        await up(wanted, settings, _say)
    except StartError as error:
        raise ConfigError(str(error)) from error
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
