"""parley settings, parley secrets generate"""

from __future__ import annotations

from argparse import Namespace

from gateway.commands.terminal import as_json, out, table
from kernel.secrets import generate_ring
from kernel.settings import Settings
from kernel.settings import table as rows_of


def run(options: Namespace) -> int:
    rows = rows_of(Settings.read())
    if options.json:
        as_json(rows)
    else:
        table(rows, ("name", "value", "default", "meaning"), "no settings")
    return 0


def generate(options: Namespace) -> int:
    ring = generate_ring()
    if options.json:
        as_json({"PARLEY_SECRET_KEYS": ring})
    else:
        out(ring)
    return 0
