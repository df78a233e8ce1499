"""The portal's links and sessions: who gets in, for how long, to what. `python -m bench.portal` looks at the page."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.commands import portal
from gateway.commands.grammar import parser
from gateway.portal import files, rights, tokens
from gateway.portal.tokens import Link, Session
from gateway.routes.table import ROUTES
from gateway.services import Ground
from gateway.web import Route
from identity import keys
from kernel.log import redact
from kernel.secrets import KeyRing, generate_ring
from kernel.types import Json
from tests.http_face import Client, Server, client, served

LINKS, SESSIONS = "/api/v1/webhooks/portal-links", "/portal/sessions"
NOW = 1_800_000_000.0
RING = KeyRing.parse(generate_ring())


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground, public_url="") as server:
        yield server


async def link(api: Client, **asked: Any) -> tuple[str, str]:
    """The link's address as the server sees it, and the token behind the `#`."""
    made = await api.post(LINKS, asked)
    assert made.status == 201, made.raw
    parts = urlsplit(made.body["url"])
    return f"{parts.path}?{parts.query}", parts.fragment


async def opened(api: Client, **asked: Any) -> tuple[Client, Json]:
    """A client that shows a session's token instead of a key, and what the page was told."""
    _, token = await link(api, **asked)
    begun = await Client(api.server, "", "").post(SESSIONS, {"token": token})
    assert begun.status == 200, begun.raw
    bearer = {"Authorization": f"Bearer {begun.body['session']}"}
    return Client(api.server, api.workspace_id, "", headers=bearer), begun.body


async def test_a_link_is_opened_once_and_looks_after_webhooks(server: Server, workspace_id: str) -> None:
    api = await client(server, workspace_id)
    _, token = await link(api)
    nobody = Client(server, "", "")
    begun = await nobody.post(SESSIONS, {"token": token})
    assert (begun.status, begun.body["capabilities"]) == (200, ["read", "manage"])
    session = Client(server, workspace_id, "", headers={"Authorization": f"Bearer {begun.body['session']}"})
    made = await session.post("/api/v1/webhooks", {"url": "http://127.0.0.1:9001/x", "events": ["chat.*"]})
    assert made.status == 201
    listed = await session.get("/api/v1/webhooks")
    assert [item["webhook_id"] for item in listed.body["items"]] == [made.body["webhook_id"]]
    again = await nobody.post(SESSIONS, {"token": token})
    assert (again.status, again.body["code"]) == (409, "link_used")


async def test_two_openings_at_once_are_one_session(server: Server, workspace_id: str) -> None:
    _, token = await link(await client(server, workspace_id))
    nobody = Client(server, "", "")
    found = await asyncio.gather(*(nobody.post(SESSIONS, {"token": token}) for _ in range(8)))
    assert sorted(reply.status for reply in found) == [200] + [409] * 7


async def test_the_secret_of_a_link_is_never_sent_with_the_page(server: Server, workspace_id: str) -> None:
    api = await client(server, workspace_id)
    address, token = await link(api)
    assert token
    assert token not in address
    page = await Client(server, "", "").get(address)
    assert (page.status, page.headers["Cache-Control"], page.headers["Referrer-Policy"]) == (
        200,
        "no-store",
        "no-referrer",
    )
    assert redact(f"opened {token}") == "opened [hidden]"
    _, told = await opened(api)
    assert redact(f"as {told['session']} it came") == "as [hidden] it came"


async def test_the_page_is_framed_by_the_named_origins_only_and_runs_nothing_inline(
    server: Server, workspace_id: str
) -> None:
    api, nobody = await client(server, workspace_id), Client(server, "", "")
    alone, _ = await link(api)
    page = await nobody.get(alone)
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    held, _ = await link(api, origins=["https://App.example", "http://localhost:3000/", "https://app.example:443"])
    page = await nobody.get(held)
    assert "X-Frame-Options" not in page.headers
    rules = dict(rule.strip().split(" ", 1) for rule in page.headers["Content-Security-Policy"].split(";"))
    assert rules["frame-ancestors"] == "https://app.example http://localhost:3000"
    assert (rules["default-src"], rules["script-src"], rules["base-uri"]) == ("'none'", "'self'", "'none'")
    assert (rules["require-trusted-types-for"], rules["trusted-types"]) == ("'script'", "'none'")
    text = page.raw.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
    frame = parse_qs(urlsplit(held).query)["frame"][0]
    for wrong in ("", "ppf1.W10.AAAA", frame[:-2] + "AA", frame.replace("ppf1", "pps1")):
        assert (await nobody.get(f"/portal?frame={wrong}")).status == 404


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"origins": ["*"]}, "origins.0"),
        ({"origins": ["https://a.example; script-src *"]}, "origins.0"),
        ({"origins": ["https://a.example/path"]}, "origins.0"),
        ({"origins": ["https://*.example"]}, "origins.0"),
        ({"origins": ["javascript:alert(1)"]}, "origins.0"),
        ({"origins": ["https://a.example"] * 21}, "origins"),
        ({"expires_in": 29}, "expires_in"),
        ({"expires_in": 86_401}, "expires_in"),
        ({"capabilities": []}, "capabilities"),
        ({"capabilities": ["admin"]}, "capabilities.0"),
        ({"theme": {"accent": "red;}"}}, "theme.accent"),
        ({"theme": {"logo": "x"}}, "theme.logo"),
    ],
)
async def test_a_wrong_invitation_names_its_fault(server: Server, workspace_id: str, asked: Json, field: str) -> None:
    reply = await (await client(server, workspace_id)).post(LINKS, asked)
    assert (reply.status, reply.body["details"][0]["field"]) == (422, field)


async def test_nobody_hands_out_more_than_they_have(server: Server, workspace_id: str) -> None:
    writer = await client(server, workspace_id, "write")
    assert (await writer.post(LINKS, {"capabilities": ["read"]})).status == 403
    session, told = await opened(writer)
    assert told["capabilities"] == ["manage"]
    assert (await session.get("/api/v1/webhooks")).status == 403
    both = await client(server, workspace_id, "read", "write")
    session, told = await opened(both, capabilities=["read"])
    assert told["capabilities"] == ["read"]
    assert (await session.get("/api/v1/webhooks")).status == 200
    refused = await session.post("/api/v1/webhooks", {"url": "http://127.0.0.1:9001/x", "events": ["*"]})
    assert refused.status == 403


def test_the_portals_routes_exist_and_none_of_them_hands_out_keys() -> None:
    there = {route.name: route for route in ROUTES}
    assert set(there) >= rights.ROUTES
    for name in rights.ROUTES:
        assert there[name].scope in ("read", "write"), name
        assert re.match(r"/api/v1/(webhooks|deliveries|events|event-types|webhook-operations)\b", there[name].path), (
            name
        )
    assert f"POST {LINKS}" not in rights.ROUTES


async def test_a_session_opens_the_portals_routes_and_no_other(server: Server, workspace_id: str) -> None:
    session, _ = await opened(await client(server, workspace_id))
    for route in ROUTES:
        if route.keyed:
            status = (await session(route.method, somewhere(route))).status
            assert (status == 403) == (route.name not in rights.ROUTES), (route.name, status)


def somewhere(route: Route) -> str:
    return re.sub(r"{\w+}", "nothing_0", route.path)


async def test_a_session_sees_its_own_workspace_only(server: Server, workspace_id: str, second_workspace: str) -> None:
    theirs = await client(server, second_workspace)
    hook = await theirs.post("/api/v1/webhooks", {"url": "http://127.0.0.1:9001/x", "events": ["*"]})
    session, _ = await opened(await client(server, workspace_id))
    assert (await session.get(f"/api/v1/webhooks/{hook.body['webhook_id']}")).status == 404
    assert (await session.get("/api/v1/webhooks")).body["items"] == []


async def test_links_and_sessions_end_with_their_time_and_with_their_key(
    server: Server, workspace_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, nobody = await client(server, workspace_id), Client(server, "", "")
    owner = await client(server, workspace_id)
    _, token = await link(api, expires_in=30)
    _, spare = await link(api)
    session, _ = await opened(api)
    assert (await session.get("/api/v1/webhooks")).status == 200
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr("gateway.routes.portal.time.time", lambda: now + 31)
        over = await nobody.post(SESSIONS, {"token": token})
        assert (over.status, over.body["code"]) == (401, "link_over")
    with monkeypatch.context() as later:
        later.setattr("gateway.auth.time.time", lambda: now + tokens.SESSION_LIFE + 1)
        assert (await session.get("/api/v1/webhooks")).status == 401
    assert (await session.get("/api/v1/webhooks")).status == 200
    assert (await owner("DELETE", f"/api/v1/keys/{api.key_id}")).status == 204
    assert (await session.get("/api/v1/webhooks")).status == 401
    assert (await nobody.post(SESSIONS, {"token": spare})).status == 401
    await server.ground.redis.delete("rl:auth:127.0.0.1", "rl:web:failures:127.0.0.1")


async def test_forged_tokens_are_refused_and_counted(server: Server, workspace_id: str) -> None:
    nobody, api = Client(server, "", ""), await client(server, workspace_id)
    known = keys.public_id_of(api.api_key)
    assert known
    forged = Session(workspace_id, known, ("read", "manage"), int(time.time()) + 60)
    stranger = KeyRing.parse(generate_ring())
    bearer = {"Authorization": f"Bearer {tokens.issue_session(stranger, forged)}"}
    assert (await nobody.get("/api/v1/webhooks", headers=bearer)).status == 401
    invited = Link("plk_x", workspace_id, known, ("read",), int(time.time()) + 60)
    for token in ("", "ppl1", "ppl1.x.y", "é", tokens.issue_link(stranger, invited)):
        assert (await nobody.post(SESSIONS, {"token": token})).status == 401, token
    statuses = [(await nobody.post(SESSIONS, {"token": "x"})).status for _ in range(40)]
    assert 429 in statuses
    await server.ground.redis.delete("rl:web:failures:127.0.0.1", "rl:portal:127.0.0.1")


def test_a_token_of_one_kind_is_none_of_another() -> None:
    session = Session("ws_1", "pub", ("read",), int(NOW) + 60)
    invited = Link("plk_1", "ws_1", "pub", ("read",), int(NOW) + 60, {"name": "Shop"})
    made = (
        tokens.issue_session(RING, session),
        tokens.issue_link(RING, invited),
        tokens.issue_frame(RING, ["https://a.b"]),
    )
    assert tokens.read_session(RING, made[0], NOW) == session
    assert tokens.read_link(RING, made[1], NOW) == invited
    assert tokens.read_frame(RING, made[2]) == ["https://a.b"]
    for wrong in (made[1], made[2], made[1].replace("ppl1", "pps1"), made[0] + "A", made[0][:-1], "pps1..", "\ud800"):
        assert tokens.read_session(RING, wrong, NOW) is None
    assert tokens.read_link(RING, made[0], NOW) is None
    assert tokens.read_frame(RING, made[0]) is None
    assert tokens.read_session(RING, made[0], NOW + 60) is None
    assert tokens.read_link(RING, made[1], NOW + 60) is None


async def test_the_theme_goes_with_the_link(server: Server, workspace_id: str) -> None:
    api = await client(server, workspace_id)
    theme = {"name": 'Shop <b>"&', "accent": "#7a1f3d", "mode": "dark"}
    _, told = await opened(api, theme=theme)
    assert told["theme"] == theme
    _, told = await opened(api)
    assert told["theme"] == {"mode": "auto"}


async def test_files_are_served_packed_and_revalidated(server: Server) -> None:
    nobody = Client(server, "", "")
    names = {path.name for path in files.FOLDER.iterdir()} - {"portal.html"}
    assert {"portal.js", "portal.css"} <= names
    for name in names:
        plain = await nobody.get(f"/portal/{name}", headers={"Accept-Encoding": "identity"})
        assert (plain.status, plain.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert plain.raw == (files.FOLDER / name).read_bytes()
        packed = await nobody.get(f"/portal/{name}", auto_decompress=False)
        assert packed.headers["Content-Encoding"] == "gzip"
        again = await nobody.get(f"/portal/{name}", headers={"If-None-Match": plain.headers["ETag"]})
        assert (again.status, again.raw) == (304, b"")
    for wrong in ("portal.html", "none.js", "%2e%2e%2ftokens.py"):
        assert (await nobody.get(f"/portal/{wrong}")).status in (404, 405)


async def test_the_command_prints_a_link_that_opens(
    server: Server, workspace_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api = await client(server, workspace_id)
    asked = ["--read-only", "--name", "Shop", "--accent", "#7a1f3d", "--origin", "https://a.example"]
    target = ["--url", server.url, "--api-key", api.api_key]
    assert await portal.link(parser().parse_args(["webhooks", "portal", *asked, *target])) == 0
    url = urlsplit(capsys.readouterr().out.strip())
    assert tokens.read_frame(server.ground.ring, parse_qs(url.query)["frame"][0]) == ["https://a.example"]
    begun = await Client(server, "", "").post(SESSIONS, {"token": url.fragment})
    assert (begun.status, begun.body["capabilities"]) == (200, ["read"])
    assert begun.body["theme"] == {"name": "Shop", "accent": "#7a1f3d", "mode": "auto"}


def test_nothing_in_the_page_makes_markup_or_code_of_text_or_keeps_the_session() -> None:
    for path in files.FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"\.(?:inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTMLUnsafe"
            r"|localStorage|sessionStorage|document\.cookie|indexedDB|https?://(?!www\.w3\.org/|example\.com/|\")",
            text,
        ), path.name
        assert "url(" not in text, path.name
