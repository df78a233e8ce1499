"""`parley doctor`: whatever is broken, it says so in one line that names the setting or the thing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.commands import checks, ports
from kernel.secrets import generate_ring
from kernel.settings import Settings, table
from tests.conftest import Stores

Environ = dict[str, str]


@pytest.fixture
def healthy(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environ:
    for row in table(Settings()):
        monkeypatch.delenv(row["name"], raising=False)
    return {
        "DATABASE_URL": stores.app_url,
        "REDIS_URL": stores.redis_url,
        "PARLEY_SECRET_KEYS": generate_ring(),
        "PARLEY_DATA_DIR": str(tmp_path),
    }


async def examine(
    environ: Environ, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    status = await asyncio.to_thread(main, ["doctor", "--json"])
    answer = json.loads(capsys.readouterr().out)
    faults = [f"{check['name']}: {check['message']}" for check in answer["checks"] if check["status"] == "fault"]
    assert answer["ok"] == (not faults) == (status == 0)
    return status, faults


def _closed() -> str:
    return f"127.0.0.1:{ports.free_port('127.0.0.1', 21_000)}"


def _weak_file(environ: Environ) -> None:
    environ["PARLEY_SECRET_KEYS"] = ""
    file = Path(environ["PARLEY_DATA_DIR"]) / "secret_keys"
    file.write_text(generate_ring())
    file.chmod(0o644)


def _file_for_a_folder(environ: Environ) -> None:
    file = Path(environ["PARLEY_DATA_DIR"]) / "file"
    file.touch()
    environ["PARLEY_DATA_DIR"] = str(file)


def _unmigrated(environ: Environ) -> None:
    environ["DATABASE_URL"] = environ["DATABASE_URL"].replace("/parley?", "/template1?")


def _superuser(environ: Environ) -> None:
    environ["DATABASE_URL"] = environ["DATABASE_URL"].replace("//parley:test@", "//postgres@")


def _set(**values: str) -> Callable[[Environ], None]:
    return lambda environ: environ.update({name: value.format(closed=_closed()) for name, value in values.items()})


BROKEN: list[tuple[Callable[[Environ], None], str]] = [
    (_set(LOG_LEVEL="LOUD"), "settings: LOG_LEVEL: must be"),
    (_set(RAG_TOP_K="many"), "settings: RAG_TOP_K: "),
    (_set(DATABASE_URL="mysql://x"), "settings: DATABASE_URL: must be a URL"),
    (_set(DATABASE_URL="postgresql://u@{closed}/d"), "database: DATABASE_URL: cannot connect to 127.0.0.1"),
    (_superuser, "database: DATABASE_URL: role 'postgres' is a superuser"),
    (_unmigrated, "pgvector: the extension is not there: run `parley migrate`"),
    (_set(REDIS_URL="redis://{closed}/0"), "redis: REDIS_URL: cannot use 127.0.0.1"),
    (_set(PARLEY_SECRET_KEYS="k1:short"), "keys: PARLEY_SECRET_KEYS: each key is"),
    (_weak_file, "keys: others may read"),
    (_file_for_a_folder, "data dir: "),
    (_set(RAG_EMBEDDING_MODEL=""), ""),
    (_set(PARLEY_PUBLIC_URL="http://{closed}"), "public url: PARLEY_PUBLIC_URL: "),
    (_set(OPENAI_API_KEY="sk-x", OPENAI_BASE_URL="http://{closed}/v1"), "answers: OPENAI_BASE_URL: 127.0.0.1 cannot"),
]


@pytest.mark.parametrize(("spoil", "expected"), BROKEN, ids=[expected or "nothing" for _, expected in BROKEN])
async def test_each_fault_is_one_line(
    spoil: Callable[[Environ], None],
    expected: str,
    healthy: Environ,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(healthy)
    status, faults = await examine(healthy, monkeypatch, capsys)
    assert status == (1 if expected else 0), faults
    assert all("\n" not in fault for fault in faults)
    if expected:
        assert any(fault.startswith(expected) for fault in faults), faults


async def test_a_full_disk(
    healthy: Environ, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "_DISK_LEAST", 1 << 62)
    _, faults = await examine(healthy, monkeypatch, capsys)
    assert [fault.partition(" ")[0] for fault in faults] == ["disk:"]


async def test_on_a_machine_where_nothing_runs_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], healthy: Environ
) -> None:
    monkeypatch.setenv("PARLEY_DATA_DIR", str(tmp_path / "new"))
    assert await asyncio.to_thread(main, ["doctor"]) == 0
    said = capsys.readouterr().out
    assert "`parley up` starts one here" in said
    assert "PostgreSQL" in said
