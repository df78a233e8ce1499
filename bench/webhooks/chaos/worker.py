"""`python -m gateway work` in a process whose names, and time without a C compiler, belong to a fault run.

CHAOS_NAMES   the port of the run's name server
CHAOS_CLOCK   the file with the clock's offset, heeded here only where no library has shifted the clock already
CHAOS_MARGIN  seconds that a lease lasts beyond the time that a try may take, to make a short run of it
"""

from __future__ import annotations

import os
import socket
import sys
import time

from bench.webhooks.chaos import clock, names
from gateway import cli
from webhooks import engine


def main() -> int:
    environment = os.environ
    if port := environment.get(names.SERVER):
        vars(socket)["getaddrinfo"] = names.asking(int(port))
    if (path := environment.get(clock.OFFSET_FILE)) and "LD_PRELOAD" not in environment:
        page, real = clock.offset_of(path), time.time
        vars(time)["time"] = lambda: real() + clock.read_offset(page)
    if margin := environment.get("CHAOS_MARGIN"):
        vars(engine)["_LEASE_MARGIN"] = float(margin)
    return cli.main(["work"])


if __name__ == "__main__":
    sys.exit(main())
