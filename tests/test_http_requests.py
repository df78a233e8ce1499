"""Every refusal in the contract's shape, limits on what comes in, and what is said beside the body."""

from __future__ import annotations

import asyncio
import gzip
import io
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.services import Ground
from gateway.web import Route, Shape, check_table
from kernel.errors import ConfigError
from tests.gateway_parts import SECRET, telegram_account
from tests.http_face import ERROR_FIELDS, Client, Reply, Server, client, served


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id)


async def raw(api: Client, path: str, body: bytes, kind: str = "application/json", **headers: str) -> Reply:
    return await api("POST", path, data=io.BytesIO(body), headers={"Content-Type": kind, **headers})


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def bomb(mebibytes: int) -> bytes:
    """Zeros, gzipped about a thousandfold."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    return b"".join([packer.compress(block) for _ in range(mebibytes)] + [packer.flush()])


async def test_health(api: Client) -> None:
    assert (await api.get("/health/live")).body == {"status": "alive"}
    ready = await api.get("/health/ready")
    checks = {"database": "ok", "migrations": "ok", "redis": "ok"}
    assert (ready.body["status"], ready.body["checks"]) == ("ready", checks)
    assert set(ready.body["bots"]) == {"ok", "unwell"}
    head = await api("HEAD", "/health/live")
    assert (head.status, head.raw) == (200, b"")


async def test_without_redis_the_gateway_stays_in_service(ground: Ground) -> None:
    import dataclasses

    from kernel.queue import open_redis

    gone = open_redis("redis://127.0.0.1:1")
    async with served(dataclasses.replace(ground, redis=gone)) as server:
        ready = await Client(server, "", "").get("/health/ready")
    await gone.aclose()
    assert (ready.status, ready.body["status"], ready.body["checks"]["redis"]) == (200, "degraded", "degraded")


async def test_a_database_behind_the_code_is_named(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(_: object) -> int:
        return 2

    monkeypatch.setattr("gateway.routes.health.pending", two)
    ready = await api.get("/health/ready")
    assert (ready.status, ready.body["details"][0]["field"]) == (503, "migrations")


async def test_metrics(api: Client) -> None:
    await api.get("/api/v1/users/usr_x")
    page = await api.get("/metrics")
    text = page.raw.decode()
    assert page.headers["Content-Type"].startswith("text/plain")
    assert 'parley_requests_total{route="/api/v1/users/{user_id}",status="404"}' in text
    for queue in ("updates", "outbound", "outbound_unknown", "deliveries"):
        assert f'parley_queue_depth{{queue="{queue}"}}' in text


async def test_an_unknown_path_is_404_and_a_wrong_method_405(api: Client) -> None:
    for path in ("/nothing", "/api/v1/none", "/api/v1/users/a/b/c", "//", "/api/v1/users/%2e%2e%2fx"):
        assert (await api.get(path)).status == 404, path
    wrong = await api("PUT", "/api/v1/keys")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, POST")
    assert (await api("OPTIONS", "/health/live")).headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/api/v1/users/%00", "/api/v1/users/a%20b", "/api/v1/sessions/" + "x" * 200])
async def test_what_cannot_be_an_id_names_nothing(api: Client, path: str) -> None:
    assert (await api.get(path)).status == 404


async def test_bad_bodies(api: Client) -> None:
    path = "/api/v1/messages"
    assert (await raw(api, path, b"{")).status == 400
    assert (await raw(api, path, b"\xff\xfe")).status == 400
    assert (await raw(api, path, b'"\\ud800"')).status == 400
    assert (await raw(api, path, b"a=b", "application/x-www-form-urlencoded")).status == 415
    assert (await raw(api, path, b"{}", **{"Content-Encoding": "rot13"})).status == 415
    assert (await raw(api, path, b"no gzip", **{"Content-Encoding": "gzip"})).status == 400
    for body in (b"[]", b"1", b"null", b""):
        assert (await raw(api, path, body)).status == 422
    wrong = await api.post(path, {"user_id": 5, "txt": "hi"})
    assert wrong.status == 422
    assert {d["field"] for d in wrong.body["details"]} == {"user_id", "text", "txt"}
    assert (await api.post(path, {"user_id": "a", "text": "nul \0"})).status == 422
    assert (await api.get("/api/v1/conversations?user_id=%00")).status == 422
    bad = await api.get("/api/v1/users?limit=0&wat=1")
    assert {d["field"] for d in bad.body["details"]} == {"limit", "wat"}


async def test_a_compressed_body_is_read(api: Client) -> None:
    body = gzip.compress(b'{"user_id": "ann", "text": "packed"}')
    assert (await raw(api, "/api/v1/messages?wait=20", body, **{"Content-Encoding": "gzip"})).status == 200


async def test_a_body_too_large_is_413(api: Client) -> None:
    large = await raw(api, "/api/v1/messages", b" " * (1 << 21))
    assert large.status == 413


@pytest.mark.parametrize("path", ["/api/v1/messages", "/channels/telegram/{account}"])
async def test_a_bomb_is_refused_without_being_unpacked(api: Client, server: Server, path: str) -> None:
    """I1: a megabyte that unpacks to a gigabyte."""
    account = await telegram_account(server.ground, api.workspace_id)
    packed = bomb(1024)
    assert len(packed) < 2 << 20
    before = most = resident()
    headers = {"Content-Encoding": "gzip", "X-Telegram-Bot-Api-Secret-Token": SECRET}
    sending = asyncio.create_task(raw(api, path.format(account=account), packed, **headers))
    while not sending.done():
        await asyncio.sleep(0.005)
        most = max(most, resident())
    assert (await sending).status == 413
    assert most - before < 64 << 20


async def test_a_request_id_is_taken_when_it_is_sane(api: Client) -> None:
    assert (await api.get("/health/live", headers={"X-Request-ID": "abc-1.2_3"})).headers["X-Request-ID"] == "abc-1.2_3"
    for insane in ("a b", "x" * 129, "<script>"):
        made = (await api.get("/health/live", headers={"X-Request-ID": insane})).headers["X-Request-ID"]
        assert made.startswith("req_")


async def test_headers_that_keep_browsers_safe(api: Client) -> None:
    reply = await api.get("/api/v1/users", headers={"Origin": "https://evil.example"})
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in reply.headers


async def test_one_too_many_is_told_when_to_come_back(ground: Ground, workspace_id: str) -> None:
    async with served(ground, max_concurrent_requests=1) as server:
        api = await client(server, workspace_id)
        release, asked = asyncio.Event(), asyncio.Event()

        async def wait(question: str) -> None:
            asked.set()
            await release.wait()

        server.answer.before = wait
        slow = asyncio.create_task(api.post("/api/v1/ask", {"query": "slow"}))
        await asked.wait()
        shed = await api.get("/api/v1/users")
        assert (shed.status, shed.body["code"], shed.headers["Retry-After"]) == (503, "overloaded", "1")
        assert (await api.get("/health/ready")).status == 200
        release.set()
        assert (await slow).status == 200
        assert (await api.get("/api/v1/users")).status == 200


async def test_a_bug_is_told_by_its_request_id_alone(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("identity.users.list_users", broken)
    reply = await api.get("/api/v1/users")
    assert (reply.status, reply.body["code"]) == (500, "internal")
    assert b"secret detail" not in reply.raw


async def test_a_database_that_is_away_is_503(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("identity.users.list_users", away)
    reply = await api.get("/api/v1/users")
    assert (reply.status, reply.body["code"], reply.body["retry_after"]) == (503, "unavailable", 2.0)
    assert reply.headers["Retry-After"] == "2"


async def test_a_client_that_hangs_up_leaves_no_trace(api: Client, server: Server) -> None:
    release = asyncio.Event()

    async def wait(question: str) -> None:
        await release.wait()

    server.answer.before = wait
    with pytest.raises(TimeoutError):
        await api.post("/api/v1/ask", {"query": "bye"}, timeout=aiohttp.ClientTimeout(total=0.5))
    release.set()
    assert (await api.get("/api/v1/users")).status == 200


async def test_the_platforms_door_refuses_in_the_same_shape(api: Client, server: Server) -> None:
    account = await telegram_account(server.ground, api.workspace_id)
    path = f"/channels/telegram/{account}"
    token = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    assert (await raw(api, path, b"{}")).status == 401
    assert (await raw(api, "/channels/telegram/acc_none", b"{}", **token)).status == 404
    assert (await raw(api, path, b"{", **token)).status == 400
    taken = await raw(api, path, b'{"update_id": 1, "poll": {}}', **token, **{"X-Request-ID": "mine"})
    assert (taken.status, taken.headers["X-Request-ID"]) == (200, "mine")
    assert (await api.get(path)).status == 405


async def test_a_route_without_a_scope_does_not_start() -> None:
    async def handler(_: object) -> None:
        return None

    bare = Route("GET", "/x", handler, "", "x", "x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="declares no scope"):
        check_table([bare])
    route = Route("GET", "/x", handler, "read", "x", "x")
    with pytest.raises(ConfigError, match="twice"):
        check_table([route, route])
    with pytest.raises(ConfigError, match="reads a body"):
        check_table([Route("GET", "/x", handler, "read", "x", "x", request=Shape)])


async def test_the_shape_of_a_refusal_is_the_contracts(api: Client) -> None:
    reply = await api.get("/nothing")
    assert set(reply.body) == ERROR_FIELDS
    assert (reply.body["code"], reply.body["fallback_used"], reply.body["details"]) == ("not_found", False, [])
