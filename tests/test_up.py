"""`parley up --demo` as a newcomer runs it: a process, its children, what it leaves behind and finds again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest

from gateway.cli import main
from gateway.commands import logs, ports
from gateway.commands.installation import Owner, key_ring, make_owner, settle
from kernel.db import Database
from kernel.errors import ConfigError
from kernel.secrets import KeyRing
from kernel.settings import Settings, environment, table
from tests.conftest import Stores
from tests.event_check import event_faults

_PATIENCE = 90.0


@dataclass
class Up:
    """A running `parley up --demo`."""

    process: subprocess.Popen[bytes]
    folder: Path
    output: Path

    @property
    def credentials(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / "credentials.json").read_text())
        return found

    @property
    def simulator(self) -> str:
        return f"http://127.0.0.1:{(self.folder / 'demo' / 'stage.port').read_text().strip()}"

    def children(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def child(self, word: str) -> psutil.Process:
        return next(child for child in self.children() if word in child.cmdline())

    async def until(self, happened: Callable[[], Awaitable[Any]]) -> Any:
        """What it gives as soon as that is something; a process that ends first fails the test."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.output.read_text()
            if found := await happened():
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(self.output.read_text())

    async def says(self, words: str) -> None:
        async def said() -> bool:
            return words in self.output.read_text()

        await self.until(said)

    async def stop(self) -> None:
        """Ctrl-C; everything has to be gone after it."""
        children = self.children()
        self.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(self.process.wait, 60) == 0, self.output.read_text()
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def _clean() -> dict[str, str]:
    ours = {row["name"] for row in table(Settings())}
    return {name: value for name, value in os.environ.items() if name not in ours}


def _start(folder: Path, port: int) -> Up:
    output = folder.with_suffix(".out")
    argv = (sys.executable, "-m", "gateway", "up", "--demo", "--port", str(port), "--data-dir", str(folder))
    with output.open("wb") as out:
        process = subprocess.Popen(argv, env=_clean(), stdout=out, stderr=out, start_new_session=True)
    return Up(process, folder, output)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data directory that the stores' user can reach."""
    base = Path(tempfile.mkdtemp(prefix="parley-test-")).resolve()
    base.chmod(0o755)
    yield base / "data"
    shutil.rmtree(base)


@pytest.fixture
async def http() -> Any:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


async def _ask_bot(up: Up, http: aiohttp.ClientSession, user: int, text: str) -> str:
    """Writes to the bot as this user and waits for its answer."""
    async with http.post(f"{up.simulator}/telegram/sim/messages", json={"user_id": user, "text": text}) as response:
        asked = (await response.json())["message_id"]

    async def answer() -> str:
        async with http.get(f"{up.simulator}/telegram/sim/chats/{user}/messages", params={"after": asked}) as response:
            seen = [entry["message"] for entry in (await response.json())["messages"]]
        return next((str(message["text"]) for message in seen if message["from"]["is_bot"]), "")

    return str(await up.until(answer))


async def _everywhere(up: Up, http: aiohttp.ClientSession) -> None:
    """The bot answers in Slack and Discord as well, and the shop's page has the chat on it."""
    for platform, field in (("slack", "text"), ("discord", "content")):
        said = {"user": "ben", field: "When are you open on Saturday?"}
        async with http.post(f"{up.simulator}/{platform}/sim/messages", json=said) as response:
            assert response.status == 200

        async def answered(platform: str = platform) -> bool:
            async with http.get(f"{up.simulator}/{platform}/sim/truth", params={"limit": 1000}) as response:
                return "9:30 to 16:00" in await response.text()

        await up.until(answered)
    async with http.get(f"{up.simulator}/site/?person=ben") as response:
        page = await response.text()
    assert f'src="{up.credentials["url"]}/widget.js"' in page
    assert 'data-user-id="ben"' in page


async def _whoami(up: Up, http: aiohttp.ClientSession, key: str) -> int:
    try:
        async with http.get(f"{up.credentials['url']}/api/v1/channels", headers={"X-API-Key": key}) as response:
            return response.status
    except aiohttp.ClientError:
        return 0


async def _parley(up: Up, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    status = await asyncio.to_thread(main, [*argv, "--data-dir", str(up.folder)])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return printed.out


async def test_the_demo_from_first_start_to_second(
    folder: Path,
    http: aiohttp.ClientSession,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for row in table(Settings()):
        monkeypatch.delenv(row["name"], raising=False)
    up = _start(folder, ports.free_port("127.0.0.1", 22_000))
    try:
        await up.says("Parley is ready")
        key = up.credentials["api_key"]
        assert set(up.credentials) == {"url", "workspace", "api_key"}
        assert up.credentials["workspace"] == "default"
        assert {(folder / name).stat().st_mode & 0o777 for name in ("credentials.json", "secret_keys")} == {0o600}
        assert key in up.output.read_text()
        assert not [child for child in up.children() if key in " ".join(child.cmdline())]

        answer = await _ask_bot(up, http, 1001, "When are you open on Saturday?")
        assert "9:30 to 16:00" in answer
        assert "Opening hours and how to find us" in answer
        await _everywhere(up, http)

        assert "75 euros" in await _parley(up, capsys, "ask", "What does it cost to rent an e-bike for a weekend?")
        await _ingest(up, capsys, tmp_path)
        await _watch(up, tmp_path)
        assert json.loads(await _parley(up, capsys, "doctor", "--json"))["ok"]
        await _told(up, http, key)

        up.child("serve").kill()
        await up.says("gateway was killed by SIGKILL; starting it again")

        async def back() -> bool:
            return await _whoami(up, http, key) == 200

        await up.until(back)
        await up.stop()

        assert not _readable_by_others(folder)
        up = _start(folder, ports.free_port("127.0.0.1", 23_000))
        await up.says("Parley is ready")
        assert up.credentials["api_key"] == key
        assert key not in up.output.read_text()
        assert await _whoami(up, http, key) == 200
        assert "60 per cent" in await _ask_bot(up, http, 1001, "How do I store the battery in winter?")
        second = _start(folder.with_name("other"), int(up.credentials["url"].rpartition(":")[2]))
        assert await asyncio.to_thread(second.process.wait, 60) == 1
        assert "is taken by another program" in second.output.read_text()
        await up.stop()
    finally:
        if up.process.poll() is None:
            up.process.kill()
            up.process.wait()


async def _told(up: Up, http: aiohttp.ClientSession, key: str) -> None:
    """What happened so far was told in events, and each is as the catalogue says."""
    seen: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        url = f"{up.credentials['url']}/api/v1/events?limit=200&cursor={cursor}"
        async with http.get(url, headers={"X-API-Key": key}) as response:
            page = await response.json()
        assert [fault for event in page["items"] for fault in event_faults(event)] == []
        seen |= {f"{event['type']} {event['data'].get('channel', '')}".strip() for event in page["items"]}
        cursor = page["next_cursor"]
    chat = {f"chat.response.generated {channel}" for channel in ("telegram", "slack", "discord", "rest")}
    assert chat | {"document.indexed", "document.deleted", "channel.connected telegram"} <= seen


async def _ingest(up: Up, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is new is indexed, what is unchanged is not; a faulty file does not stop the others."""
    (tmp_path / "canteen.md").write_text("# The canteen\n\nThe canteen serves lentil soup on Wednesdays.\n")
    (tmp_path / "more.jsonl").write_text(
        '{"id": "p1", "title": "Parking", "text": "Parking garage B closes at ten."}\n'
    )
    first = json.loads(await _parley(up, capsys, "ingest", str(tmp_path), "--json"))
    again = json.loads(await _parley(up, capsys, "ingest", str(tmp_path), "--json"))
    assert (first["documents"], first["chunks_added"], again["chunks_added"]) == (2, 2, 0)
    assert "lentil soup" in await _parley(up, capsys, "ask", "What does the canteen serve on Wednesdays?")
    status = await asyncio.to_thread(main, ["ingest", str(tmp_path / "none"), "--data-dir", str(up.folder)])
    assert (status, "no such file" in capsys.readouterr().err) == (1, True)


async def _watch(up: Up, tmp_path: Path) -> None:
    """Changes are followed, deletions too, until Ctrl-C."""
    folder = tmp_path / "watched"
    folder.mkdir()
    file = folder / "a.md"
    file.write_text("# Lockers\n\nLockers are in the basement.\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "ingest", "--watch", str(folder), "--data-dir", str(up.folder),
        env=_clean(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout

    async def line() -> str:
        assert process.stdout
        return (await asyncio.wait_for(process.stdout.readline(), _PATIENCE)).decode()

    try:
        assert await line() == "1 documents read, 1 passages added\n"
        assert (await line()).startswith("watching")
        file.write_text("# Lockers\n\nLockers are on the second floor now.\n")
        assert await line() == "1 documents read, 1 passages added\n"
        file.unlink()
        assert await line() == f"{file.as_uri()} removed\n"
    finally:
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


def _readable_by_others(folder: Path) -> list[Path]:
    secret = [folder / name for name in ("postgres", "redis", "demo", "logs", "credentials.json", "secret_keys")]
    return [path for path in secret if path.stat().st_mode & 0o077]


async def test_the_owners_key_is_found_or_made_again(settings: Settings, database: Database, tmp_path: Path) -> None:
    first = await settle(settings, tmp_path, "http://127.0.0.1:1")
    assert first.origin in ("first", "renewed")
    assert await settle(settings, tmp_path, "http://127.0.0.1:2") == Owner(first.api_key, "found")
    assert json.loads((tmp_path / "credentials.json").read_text())["url"] == "http://127.0.0.1:2"
    (tmp_path / "credentials.json").unlink()
    renewed = await settle(settings, tmp_path, "http://127.0.0.1:2")
    assert renewed.origin == "renewed"
    assert renewed.api_key != first.api_key
    (tmp_path / "credentials.json").write_text("half a fi")
    assert (await settle(settings, tmp_path, "http://127.0.0.1:2")).origin == "renewed"
    assert await make_owner(settings) not in (first.api_key, renewed.api_key)


async def test_several_processes_share_a_port(stores: Stores, settings: Settings, http: aiohttp.ClientSession) -> None:
    port = ports.free_port("127.0.0.1", 24_000)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", "--port", str(port), "--processes", "2",
        env={**_clean(), **environment(settings)}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr
    try:
        ready: set[str] = set()
        while len(ready) < 2:
            line = (await asyncio.wait_for(process.stderr.readline(), _PATIENCE)).decode()
            assert line, "it ended"
            if line.startswith("gateway") and " ready after " in line:
                ready.add(line[:9])
        for _ in range(4):
            async with http.get(f"http://127.0.0.1:{port}/health/live") as response:
                assert response.status == 200
        process.terminate()
        rest = await process.stderr.read()
        assert await process.wait() == 0, rest
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_key_ring_is_made_once_and_missed_when_it_is_gone(tmp_path: Path) -> None:
    made = key_ring(Settings(), tmp_path, used=False)
    assert KeyRing.parse(made)
    assert (tmp_path / "secret_keys").stat().st_mode & 0o777 == 0o600
    assert key_ring(Settings(), tmp_path, used=True) == made
    assert key_ring(replace(Settings(), secret_keys="given"), tmp_path, used=True) == "given"
    (tmp_path / "secret_keys").unlink()
    with pytest.raises(ConfigError, match="put it back"):
        key_ring(Settings(), tmp_path, used=True)


async def test_ports(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert not ports.is_free("127.0.0.1", port)
    assert ports.free_port("127.0.0.1", port) != port
    assert await ports.unready("127.0.0.1", port, "/") == "it hung up"
    server.close()
    await server.wait_closed()
    assert await ports.unready("127.0.0.1", port, "/")
    with pytest.raises(ConfigError, match="no address of this machine"):
        ports.is_free("203.0.113.7", 1)
    assert ports.local_url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert ports.local_url("::", 80) == "http://[::1]:80"


def test_errors_in_logs_are_told_in_a_few_words() -> None:
    log = (
        b'{"level": "info", "event": "server.ready"}\n{"level": "error", "event": "http.bug",'
        b' "exception": "Traceback\\n  ...\\nKeyError: 3"}\nplain words\n{"level": "error", "ev'
    )
    assert list(logs.errors(log)) == ["http.bug KeyError: 3"]


async def test_new_errors_in_a_log_are_surfaced(tmp_path: Path) -> None:
    file, told = tmp_path / "gateway.log", asyncio.Queue[str]()
    file.write_bytes(b'{"level": "error", "event": "old"}\n')
    async with logs.surfaced([file], told.put_nowait):
        await asyncio.sleep(0)
        with file.open("ab") as out:
            out.write(b'{"level": "error", "event": "new"}\n' * 5)
        lines = [await asyncio.wait_for(told.get(), 30) for _ in range(4)]
    assert lines == ["gateway: new"] * 3 + [f"gateway: 2 more errors in {file}"]
