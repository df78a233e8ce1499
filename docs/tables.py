"""Writes the tables of README.md, docs/webhooks.md, docs/events.md and .env.example from the code (`make docs`).

`tests/test_docs.py` fails when they differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from channels.table import CHANNELS  # noqa: E402
from gateway.commands.grammar import parser  # noqa: E402
from kernel.catalogue import EVENT_TYPES, EventType  # noqa: E402
from kernel.settings import Settings, table  # noqa: E402
from kernel.types import Channel  # noqa: E402

MATRIX_HEAD = "capability | " + " | ".join(kind.upper() if kind == "rest" else kind.capitalize() for kind in CHANNELS)
CAPABILITIES: list[tuple[str, Callable[[Channel], object]]] = [
    ("a repeated send is seen once", lambda c: c.idempotent or c.find),
    ("a send that broke off is looked for", lambda c: c.find),
    ("an answer is shown while it is made", lambda c: c.preview),
    ("… and put in the place of what was shown", lambda c: c.preview and c.preview.lasting),
    ("pressed buttons are answered", lambda c: c.acknowledge),
    ("a connection instead of a webhook", lambda c: c.listen),
    ("history is read after an outage", lambda c: c.history),
    ("files that people send are read", lambda c: c.fetch),
    ("files are sent to people", lambda c: c.upload),
    ("whether the platform reaches us is probed", lambda c: c.probe),
    ("outbound messages are paced", lambda c: c.pace),
    ("places are named by their ids", lambda c: c.room),
]

SAMPLE_HEAD = """\
# Copy to .env; Parley reads it from the folder it is started in. What is not set has its default.
# `parley up` needs none of this. `parley settings` prints the values in force.

# For docker-compose.yml, with PARLEY_SECRET_KEYS below (`parley secrets generate` makes a value), these have to be
# set. The passwords may hold letters and digits only.
# POSTGRES_PASSWORD=
# PARLEY_DB_PASSWORD=
"""


def settings() -> list[list[str]]:
    rows = table(Settings())
    return [[f"`{r['name']}`", f"`{r['default']}`" if r["default"] else "", r["meaning"]] for r in rows]


def commands() -> list[list[str]]:
    return [[f"`parley {name}`", help_] for name, help_ in _commands(parser(), "")]


def _commands(of: argparse.ArgumentParser, before: str) -> Iterator[tuple[str, str]]:
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                full = f"{before} {name}".strip()
                yield from list(_commands(sub, full)) or [(full, helps[name])]


def events() -> list[list[str]]:
    return [[f"`{name}`", kind.description + ("" if kind.sent else " (to come)")] for name, kind in EVENT_TYPES.items()]


def event_section(name: str, kind: EventType) -> str:
    rows = [f"| {' | '.join(row)} |" for row in members(kind.schema, "")]
    example = json.dumps(dict(kind.example), indent=2, ensure_ascii=False).replace("\n", "\n    ")
    table = "\n".join(["| member | type | meaning |", "|---|---|---|", *rows])
    told = f"{kind.description}. Version {kind.version}{'' if kind.sent else ', not sent yet'}."
    return f"## `{name}`\n\n{told}\n\n{table}\n\n    {example}\n"


def members(schema: dict[str, Any], before: str) -> Iterator[list[str]]:
    """Every member that a schema of an object names, those of objects and lists inside as well."""
    for name, of in schema["properties"].items():
        missing = "" if name in schema["required"] else ", may be missing"
        values = ", ".join(f"`{json.dumps(value)}`" for value in of.get("enum", ()))
        types = " or ".join([of["type"]] if isinstance(of.get("type"), str) else of.get("type", ()))
        yield [f"`{before}{name}`", (values or types) + missing, of["description"]]
        inner = of.get("items", of)
        if inner.get("properties"):
            yield from members(inner, f"{before}{name}{'[]' if 'items' in of else ''}.")


def capabilities() -> list[list[str]]:
    """What each channel knows, by the functions in its row."""
    rows = list(CHANNELS.values())
    return [[what, *("yes" if has(channel) else "" for channel in rows)] for what, has in CAPABILITIES]


def sample() -> str:
    """The text of .env.example."""
    parts = [f"# {row['meaning']}\n# {row['name']}={row['default']}\n" for row in table(Settings())]
    return "\n".join([SAMPLE_HEAD, *parts])


def replaced(text: str, head: str, rows: Sequence[Sequence[str]]) -> str:
    """The text with other rows in the markdown table under this head."""
    lines = text.splitlines()
    start = lines.index(f"| {head} |") + 2
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith("|")), len(lines))
    body = ["|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|" for row in rows]
    return "\n".join([*lines[:start], *body, *lines[end:]]) + "\n"


def pages() -> dict[Path, str]:
    """Every file that holds such a table, as it should be."""
    readme, webhooks, channels = (ROOT / page for page in ("README.md", "docs/webhooks.md", "docs/channels/README.md"))
    catalogue = ROOT / "docs/events.md"
    intro = catalogue.read_text(encoding="utf-8").partition("\n## ")[0].rstrip("\n")
    told = replaced(readme.read_text(encoding="utf-8"), "command | does", commands())
    return {
        readme: replaced(told, "name | default | meaning", settings()),
        webhooks: replaced(webhooks.read_text(encoding="utf-8"), "type | when", events()),
        channels: replaced(channels.read_text(encoding="utf-8"), MATRIX_HEAD, capabilities()),
        catalogue: "\n".join([f"{intro}\n", *(event_section(name, kind) for name, kind in EVENT_TYPES.items())]),
        ROOT / ".env.example": sample(),
    }


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")
