"""parley serve, work, migrate: the processes of a deployment with real servers."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from argparse import Namespace
from collections.abc import Coroutine
from functools import partial
from typing import Any

import uvloop

from gateway.commands import ports
from gateway.commands.terminal import as_json, note, out
from gateway.supervisor import ChildSpec, StartError, Supervisor
from kernel import log
from kernel.errors import ConfigError
from kernel.settings import Settings, environment


def _settings(options: Namespace) -> Settings:
    settings = Settings.read()
    return dataclasses.replace(settings, data_dir=options.data_dir) if options.data_dir else settings


def serve(options: Namespace) -> int:
    settings = _settings(options)
    log.configure(settings.log_level)
    if options.processes > 1:
        asyncio.run(_several(options, settings))
        return 0
    from gateway.listen import listening
    from gateway.poll import polling
    from gateway.server import serve as run_server
    from gateway.tend import tending

    _run(
        run_server(
            settings,
            options.host,
            options.port,
            reuse_port=options.reuse_port,
            hooks=[polling, listening, tending],
            warm=True,
        )
    )
    return 0


def work(options: Namespace) -> int:
    from gateway.worker import work as run_worker

    settings = _settings(options)
    log.configure(settings.log_level)
    _run(run_worker(settings))
    return 0


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def _several(options: Namespace, settings: Settings) -> None:
    """So many gateways on one port, which the kernel deals out; each is started again when it dies."""
    if options.port == 0 or not ports.is_free(options.host, options.port):
        raise ConfigError(f"--port: {options.port} cannot be shared: name a free one")
    argv = (sys.executable, "-m", "gateway", "serve", "--host", options.host, "--port", str(options.port))
    env = {**os.environ, **environment(settings)}
    ready = partial(ports.unready, options.host, options.port, "/health/ready")
    try:
        async with Supervisor(note) as supervisor:
            await supervisor.start(
                *(
                    ChildSpec(name=f"gateway {n}", argv=(*argv, "--reuse-port"), env=env, ready=ready)
                    for n in range(1, options.processes + 1)
                )
            )
            await supervisor.forever()
    except StartError as error:
        raise ConfigError(str(error)) from error


async def migrate(options: Namespace) -> int:
    from kernel.migrate import migrate as run_migrations

    settings = Settings.read()
    admin = settings.database_admin_url or settings.database_url
    if not admin:
        raise ConfigError("DATABASE_ADMIN_URL is not set. `parley up` migrates the store it starts by itself.")
    ran = await run_migrations(admin, settings.database_url or admin, note)
    if options.json:
        as_json({"applied": ran})
    else:
        out(f"{ran} migrations applied" if ran else "the database is up to date")
    return 0
