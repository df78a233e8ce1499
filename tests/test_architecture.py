"""The rules of the house: who may import whom, where SQL and HTTP clients live, how long a module may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("kernel", "identity", "channels", "pipeline", "webhooks", "gateway", "simulators")
MAY_IMPORT = {
    "kernel": {"kernel"},
    "identity": {"identity", "kernel"},
    "channels": {"channels", "kernel"},
    "pipeline": {"pipeline", "kernel"},
    "webhooks": {"webhooks", "kernel"},
    "gateway": {"gateway", "identity", "channels", "pipeline", "webhooks", "kernel"},
    "simulators": {"simulators"},
}
ONLY_IN = {
    "aiohttp.web": ("gateway/", "simulators/"),
    "arq": ("kernel/queue.py", "gateway/worker.py", "gateway/services.py"),
    "telegram": ("channels/telegram/",),
    "slack_sdk": ("channels/slack/",),
    "slack_bolt": ("channels/slack/",),
    "discord": ("channels/discord/",),
    "openai": ("pipeline/llm/",),
    "aiohttp.ClientSession": (
        "channels/", "pipeline/llm/", "webhooks/transport.py", "webhooks/guard.py", "gateway/client.py", "simulators/",
    ),
}  # fmt: skip
# One door to each table: the only modules that may hold SQL.
SQL_DOORS = re.compile(
    r"kernel/(db|migrate|events)\.py|channels/accounts\.py|identity/\w+\.py"
    r"|pipeline/(turns|outbox|conversations|reach|threads|feedback)\.py"
    r"|pipeline/knowledge/(documents|jobs|retrieval|collections)\.py|pipeline/files/attachments\.py"
    r"|webhooks/hooks/(registered|calls)\.py"
    r"|webhooks/(endpoints|secrets|deliveries|claims|health|operations|retention|stats)\.py"
    r"|gateway/(idempotency|embedded/postgres)\.py"
)
STATEMENT = re.compile(
    r"^\s*(SELECT\s.+|INSERT INTO\s.+|UPDATE\s+\w+\s.*SET\s.+|DELETE FROM\s.+|WITH\s+\w+\s+AS\s.+)", re.S
)
LONGEST = 350


def modules() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


MODULES = list(modules())


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of everything a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_there_is_something_to_check() -> None:
    assert len(MODULES) > 50
    assert "kernel.db" in set(imported(dict(MODULES)["gateway/intake.py"]))


@pytest.mark.parametrize(("path", "tree"), MODULES, ids=[path for path, _ in MODULES])
def test_rooms_import_only_what_they_may(path: str, tree: ast.Module) -> None:
    allowed = MAY_IMPORT[path.split("/")[0]]
    for name in imported(tree):
        top = name.split(".")[0]
        assert top not in ROOMS or top in allowed, f"{path} imports {name}"
        for guarded, homes in ONLY_IN.items():
            if name == guarded or name.startswith(guarded + "."):
                assert path.startswith(homes), f"{path} imports {name}"


@pytest.mark.parametrize(("path", "tree"), MODULES, ids=[path for path, _ in MODULES])
def test_sql_stays_behind_the_doors(path: str, tree: ast.Module) -> None:
    if SQL_DOORS.fullmatch(path):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not STATEMENT.match(node.value), f"{path}:{node.lineno} holds SQL"


@pytest.mark.parametrize(("path", "tree"), MODULES, ids=[path for path, _ in MODULES])
def test_sessions_are_altered_inside_transactions_only(path: str, tree: ast.Module) -> None:
    """Connections go back to the pool as they are, so what a session was set to must end with its transaction."""
    if path in ("kernel/migrate.py", "gateway/embedded/postgres.py"):
        return  # connections of their own, closed after use
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.match(r"\s*SET\s+(?!LOCAL)", node.value), f"{path}:{node.lineno}"
            if "set_config(" in node.value:
                assert re.search(r"set_config\([^)]*,\s*true\)", node.value), f"{path}:{node.lineno}"


@pytest.mark.parametrize(("path", "tree"), MODULES, ids=[path for path, _ in MODULES])
def test_secrets_are_compared_in_constant_time(path: str, tree: ast.Module) -> None:
    """Only hmac.compare_digest touches secrets, signatures and hashes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            for side in (node.left, *node.comparators):
                name = side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", "")
                assert not re.fullmatch(r".*(secret|signature|secret_hash|digest)", name), f"{path}:{node.lineno}"


def test_modules_stay_small() -> None:
    long = {
        path: lines
        for path, _ in MODULES
        if (lines := len((ROOT / path).read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert long == {}


def test_nobody_imports_the_gateway_but_tests_and_benches() -> None:
    for path, tree in MODULES:
        if not path.startswith("gateway/"):
            assert not any(name.split(".")[0] == "gateway" for name in imported(tree)), path
