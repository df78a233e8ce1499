"""The web channel over HTTP: sessions, messages, streams, and what keeps visitors and pages apart."""

from __future__ import annotations

import asyncio
import base64
import random
import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from channels.web import signature_of
from gateway.routes.table import ROUTES
from gateway.services import Ground
from gateway.widget.shapes import Said
from kernel.db import Database
from kernel.ids import new_id
from kernel.types import Json
from pipeline.machine import Emit
from tests.conftest import make_workspace
from tests.gateway_parts import until
from tests.http_face import Server, served
from tests.test_http_fuzz import filled
from tests.web_visitors import PAGE, Browser, Site, site


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def shop(server: Server, workspace_id: str) -> Site:
    server.answer.before = None
    return await site(server, workspace_id)


@pytest.fixture(autouse=True)
async def nothing_counted(ground: Ground) -> None:
    """All visitors here come from one address: its limits begin anew with each test."""
    await nothing_limited(ground)


async def nothing_limited(ground: Ground) -> None:
    async for key in ground.redis.scan_iter(match="rl:web:*"):
        await ground.redis.delete(key)


async def test_a_session_brings_a_token_and_how_the_chat_looks(server: Server, workspace_id: str) -> None:
    looks = {
        "title": "Ask us",
        "greeting": "Hello!",
        "suggestions": ["When do you open?"],
        "theme": {"mode": "dark", "accent": "#0f766e"},
    }
    begun = (await (await site(server, workspace_id, **looks)).visitor()).begun
    assert {name: begun[name] for name in looks} == looks
    assert (begun["vouched"], begun["continued"], begun["has_messages"]) == (False, False, False)


async def test_what_an_answer_lets_one_choose_from_comes_with_it(shop: Site) -> None:
    """In the history, and in the stream; choosing is saying the text."""
    ann, ben = await shop.visitor(), await shop.visitor()
    await ann.say("/link")
    code = re.findall(r"/link ([A-Z0-9-]{9})", (await ann.answered(2))[1][1])[0]
    async with ben.stream() as events:
        await ben.say(f"/link {code}")
        async for event, _, data in events:
            if event == "message" and data["role"] == "assistant":
                break
    choices = [{"label": "Link them", "text": "/link yes"}, {"label": "Don't link", "text": "/link no"}]
    assert data["choices"] == choices
    assert [item["choices"] for item in (await ben.call("GET", "/messages")).body["items"]] == [[], choices]
    await ben.say(choices[0]["text"])
    assert (await ben.answered(4))[3][1].startswith("Done.")


async def test_a_message_is_committed_and_answered(shop: Site) -> None:
    ann = await shop.visitor()
    taken = await ann.say("hello **there**")
    assert taken.status == 202
    said = await ann.answered(2)
    assert said == [("user", "hello **there**"), ("assistant", "you said: hello **there**")]
    history = (await ann.call("GET", "/messages")).body
    assert history["items"][0]["message_id"] == taken.body["message_id"]
    assert history["items"][1]["html"] == '<p dir="auto">you said: hello <strong>there</strong></p>'
    assert history["more"] is False
    assert (await shop.visitor(ann.token)).begun["has_messages"] is True


async def test_a_repeat_is_taken_once(shop: Site, server: Server) -> None:
    ann, before = await shop.visitor(), len(server.answer.calls)
    first, again, *more = await asyncio.gather(*(ann.say("only once", "client-0001") for _ in range(5)))
    assert {reply.body["message_id"] for reply in (first, again, *more)} == {first.body["message_id"]}
    assert sorted(reply.body["repeated"] for reply in (first, again, *more)) == [False, True, True, True, True]
    await ann.answered(2)
    assert len(server.answer.calls) == before + 1
    ben = await shop.visitor()  # another visitor's id of the same name is another message
    assert (await ben.say("only once", "client-0001")).body["repeated"] is False


async def test_history_pages_both_ways(shop: Site) -> None:
    ann = await shop.visitor()
    for n in range(3):
        await ann.say(f"message {n}")
        await ann.answered(2 * n + 2)
    last = (await ann.call("GET", "/messages?limit=2")).body
    assert ([m["text"] for m in last["items"]], last["more"]) == (["message 2", "you said: message 2"], True)
    older = (await ann.call("GET", f"/messages?limit=3&before={last['items'][0]['seq']}")).body
    assert [m["text"] for m in older["items"]] == ["you said: message 0", "message 1", "you said: message 1"]
    since = (await ann.call("GET", f"/messages?after={older['items'][0]['seq']}")).body
    assert (since["items"][0]["text"], since["more"]) == ("message 1", False)


async def test_the_stream_tells_who_types_what_comes_and_resumes(shop: Site, server: Server) -> None:
    ann, release = await shop.visitor(), asyncio.Event()

    async def wait(question: str) -> None:
        await release.wait()

    server.answer.before = wait
    seen: list[tuple[str, Any]] = []
    async with ann.stream() as events:
        await ann.say("hello")
        async for event, event_id, data in events:
            seen.append((event, data.get("on", data.get("text"))))
            if event == "typing" and data["on"]:
                release.set()
            if event == "message":
                last = int(event_id)
                assert data["seq"] == last
            if event == "typing" and not data["on"]:
                break
    assert seen == [("message", "hello"), ("typing", True), ("message", "you said: hello"), ("typing", False)]
    async with ann.stream(last - 1) as events:
        event, event_id, data = await anext(events)
        assert (event, int(event_id), data["text"]) == ("message", last, "you said: hello")


async def test_an_answer_is_shown_while_it_is_made(shop: Site, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = asyncio.Event()

    async def streaming(self: object, question: str, history: Sequence[Json], hits: Sequence[Json], emit: Emit) -> Json:
        emit("The **shop** ")
        emit("opens at **ni")
        await finish.wait()
        text = "The **shop** opens at **nine**."
        return {"text": text, "citations": [], "grounded": True, "score": 1.0, "model": "scripted"}

    monkeypatch.setattr(type(server.answer), "__call__", streaming)
    ann = await shop.visitor()
    drafts: list[str] = []
    async with ann.stream() as events:
        await ann.say("when?")
        async for event, _, data in events:
            if event == "draft":
                drafts.append(data["html"])
                finish.set()
            if event == "message" and data["role"] == "assistant":
                assert data["html"] == '<p dir="auto">The <strong>shop</strong> opens at <strong>nine</strong>.</p>'
                break
    assert drafts[-1] == '<p dir="auto">The <strong>shop</strong> opens at <strong>ni</strong></p>'


async def test_visitors_see_nothing_of_one_another(server: Server, database: Database) -> None:
    """Two workspaces, two accounts in one of them, two visitors on one account."""
    here, there = await make_workspace(database), await make_workspace(database)
    shops = [await site(server, here), await site(server, here), await site(server, there)]
    browsers = [await shops[0].visitor(), await shops[0].visitor(), await shops[1].visitor(), await shops[2].visitor()]
    for n, browser in enumerate(browsers):
        await browser.say(f"secret of {n}")
    for n, browser in enumerate(browsers):
        assert await browser.answered(2) == [("user", f"secret of {n}"), ("assistant", f"you said: secret of {n}")]
    for browser in browsers:  # a token opens no other account
        for other in shops:
            if other is not browser.site:
                for method, path, body in (
                    ("GET", "/messages", None),
                    ("GET", "/stream", None),
                    ("POST", "/messages", {"text": "x", "client_id": new_id("c")}),
                ):
                    assert (await other.call(method, path, body, token=browser.token)).status == 401
    answer = (await browsers[0].call("GET", "/messages")).body["items"][1]["message_id"]
    for stranger in browsers[1:]:
        refused = await stranger.call("POST", "/feedback", {"message_id": answer, "rating": "up"})
        assert refused.status == 404
    async with browsers[1].stream(0) as events:  # from the very beginning, and still only their own
        seen = [(await anext(events))[2]["text"] for _ in range(2)]
    assert seen == ["secret of 1", "you said: secret of 1"]


@pytest.mark.parametrize("token", ["", "x", "pv1.x.y", "pv1..", "é.é.é", "prl_live_abc"])
async def test_without_a_good_token_nothing_is_told(shop: Site, token: str) -> None:
    for method, path, body in (
        ("GET", "/messages", None),
        ("POST", "/messages", {"text": "x", "client_id": new_id("c")}),
        ("POST", "/feedback", {"message_id": "msg_1", "rating": "up"}),
    ):
        refused = await shop.call(method, path, body, token=token.encode().decode("latin-1"))
        assert refused.status == 401
        assert refused.headers["Access-Control-Allow-Origin"] == PAGE  # so that the page can read why


async def test_a_token_that_was_altered_or_has_expired_is_none(shop: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await shop.visitor()
    head, payload, mac = ann.token.split(".")
    forged = payload[:-2] + ("AA" if payload[-2:] != "AA" else "BB")
    assert (await shop.call("GET", "/messages", token=f"{head}.{forged}.{mac}")).status == 401
    later = time.time() + 40 * 86_400
    monkeypatch.setattr("gateway.widget.door.time.time", lambda: later)
    assert (await ann.call("GET", "/messages")).status == 401


async def test_only_listed_origins_may_call(shop: Site) -> None:
    for origin in ("https://evil.example", "http://shop.example", "https://shop.example:8443", "null"):
        refused = await shop.call("POST", "/sessions", {}, Origin=origin)
        assert (refused.status, refused.body["code"]) == (403, "origin_not_allowed")
        assert "Access-Control-Allow-Origin" not in refused.headers
        assert (await shop.call("OPTIONS", "/sessions", Origin=origin)).status == 403
    asked = await shop.call("OPTIONS", "/messages", **{"Access-Control-Request-Method": "POST"})
    assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    assert asked.headers["Vary"] == "Origin"
    ann = await shop.visitor()
    assert (await ann.call("GET", "/messages", Origin="https://evil.example")).status == 403
    assert (await ann.call("GET", "/messages")).headers["Access-Control-Allow-Origin"] == PAGE


async def test_a_caller_without_an_origin_needs_a_token_or_an_identity(server: Server, shop: Site) -> None:
    assert (await shop.call("POST", "/sessions", {}, Origin="")).status == 403
    assert (await shop.call("POST", "/sessions", {"identity": shop.identity("ann")}, Origin="")).status == 200
    ann = await shop.visitor()
    assert (await ann.call("GET", "/messages", Origin="")).status == 200
    assert (await shop.call("POST", "/sessions", {"visitor": ann.token}, Origin="")).status == 200
    anyone = await site(server, shop.api.workspace_id, origins=["*"])
    assert (await anyone.call("POST", "/sessions", {}, Origin="")).status == 200
    assert (await anyone.call("POST", "/sessions", {}, Origin="https://evil.example")).status == 200


async def test_the_gateways_own_pages_may_always_call(server: Server, shop: Site) -> None:
    assert (await shop.call("POST", "/sessions", {}, Origin=server.url)).status == 200
    rebound = await shop.call("POST", "/sessions", {}, Origin="http://evil.example", Host="evil.example")
    assert rebound.status == 403


async def test_origins_are_kept_as_browsers_write_them(server: Server, workspace_id: str) -> None:
    origins = ["HTTPS://Shop.Example/", "http://localhost:3000", "https://a.example:443", "http://[::1]:8080"]
    shop = await site(server, workspace_id, origins=origins)
    seen = (await shop.api.get(f"/api/v1/channels/{shop.account_id}")).body["settings"]["origins"]
    assert seen == ["https://shop.example", "http://localhost:3000", "https://a.example", "http://[::1]:8080"]
    for bad in ("shop.example", "https://shop.example/path", "ftp://a.example", "https://u:p@a.example", "https://"):
        change = {"settings": {"origins": [bad]}}
        assert (await shop.api("PATCH", f"/api/v1/channels/{shop.account_id}", change)).status == 422, bad


async def test_other_kinds_of_channels_have_no_visitors(shop: Site) -> None:
    await shop.api.post("/api/v1/messages", {"user_id": "ann", "text": "hi"})
    rest = next(c for c in (await shop.api.get("/api/v1/channels")).body["items"] if c["kind"] == "rest")
    other = Site(shop.api, rest["account_id"], "")
    assert (await other.call("POST", "/sessions", {})).status == 404
    assert (await Site(shop.api, "acc_none", "").call("POST", "/sessions", {})).status == 404


async def test_a_page_vouches_for_its_user(shop: Site) -> None:
    home = await shop.visitor(identity=shop.identity("ann", name="Ann"))
    await home.say("from home")
    await home.answered(2)
    away = await shop.visitor(identity=shop.identity("ann", expires=int(time.time()) + 60))
    assert away.begun["vouched"]
    assert (await away.said())[0] == ("user", "from home")
    people = (await shop.api.get("/api/v1/users")).body["items"]
    assert [person["display_name"] for person in people] == ["Ann"]


async def test_a_forged_identity_is_refused(shop: Site) -> None:
    genuine = shop.identity("ann", expires=int(time.time()) + 60)
    old = int(time.time()) - 1
    for forged in (
        {**genuine, "user_id": "ben"},
        {**genuine, "expires": genuine["expires"] + 1},
        {**genuine, "signature": "0" * 64},
        {**genuine, "signature": "é"},
        {"user_id": "ann", "signature": signature_of("", "ann", None)},
        shop.identity("ann") | {"user_id": "ann:"},
        {**genuine, "expires": old, "signature": signature_of(shop.secret, "ann", old)},
    ):
        refused = await shop.call("POST", "/sessions", {"identity": forged})
        assert (refused.status, refused.body["code"]) == (401, "bad_identity"), forged


async def test_a_guest_who_becomes_known_keeps_the_conversation(shop: Site) -> None:
    guest = await shop.visitor()
    await guest.say("as a guest")
    await guest.answered(2)
    ann = await shop.visitor(guest.token, shop.identity("ann"))
    assert ann.begun["continued"]
    assert await ann.said() == [("user", "as a guest"), ("assistant", "you said: as a guest")]
    await ann.say("as ann")
    await ann.answered(4)
    people = (await shop.api.get("/api/v1/users")).body["items"]
    assert len(people) == 1
    known = (await shop.api.get(f"/api/v1/users/{people[0]['user_id']}/identities")).body["items"]
    assert [identity["external_id"] for identity in known] == ["user:ann"]
    assert await guest.said() == []  # the guest's token opens nothing of Ann's


async def test_a_guests_conversation_is_not_merged_with_one_that_the_user_has(shop: Site) -> None:
    ann = await shop.visitor(identity=shop.identity("ann"))
    await ann.say("mine")
    await ann.answered(2)
    guest = await shop.visitor()
    await guest.say("somebody at Ann's desk")
    await guest.answered(2)
    again = await shop.visitor(guest.token, shop.identity("ann"))
    assert again.begun["continued"] is False
    assert [text for _, text in await again.said()] == ["mine", "you said: mine"]
    assert len(await guest.said()) == 2


async def test_a_stream_ends_when_the_conversation_is_given_to_a_user(shop: Site) -> None:
    guest = await shop.visitor()
    await guest.say("as a guest")
    await guest.answered(2)
    async with guest.stream() as events:
        ann = await shop.visitor(guest.token, shop.identity("ann"))
        await ann.say("a secret of Ann's")
        async with asyncio.timeout(20):
            seen = [data async for event, _, data in events if event == "message"]
    assert seen == []


async def test_what_waits_goes_with_a_guest_who_becomes_known(shop: Site, server: Server) -> None:
    release = asyncio.Event()

    async def wait(question: str) -> None:
        await release.wait()

    server.answer.before = wait
    guest = await shop.visitor()
    await guest.say("/help")
    await guest.answered(2)
    await guest.say("first")

    async def asked() -> bool:
        return "first" in server.answer.calls

    await until(asked)
    ann = await shop.visitor(guest.token, shop.identity("ann"))
    release.set()
    assert await ann.answered(4)
    await ann.say("second")
    assert (await ann.answered(6))[-1] == ("assistant", "you said: second")


async def test_where_identity_is_required_guests_are_not_let_in(server: Server, shop: Site) -> None:
    guest = await shop.visitor()
    path = f"/api/v1/channels/{shop.account_id}"
    assert (await shop.api("PATCH", path, {"settings": {"identity_required": True}})).status == 200
    refused = await shop.call("POST", "/sessions", {"visitor": guest.token})
    assert (refused.status, refused.body["code"]) == (401, "identity_required")
    assert (await guest.call("GET", "/messages")).body["code"] == "identity_required"
    ann = await shop.visitor(identity=shop.identity("ann"))
    assert (await ann.say("hi")).status == 202


async def test_strangers_are_told_so_where_only_listed_users_may_ask(server: Server, workspace_id: str) -> None:
    access = {"who": "listed", "users": ["user:ann"]}
    shop = await site(server, workspace_id, access=access)
    stranger, ann = await shop.visitor(), await shop.visitor(identity=shop.identity("ann"))
    before = len(server.answer.calls)
    for browser in (stranger, ann):
        assert (await browser.say("may I?")).status == 202
        await browser.answered(2)
    assert (await ann.said())[1] == ("assistant", "you said: may I?")
    assert (await stranger.said())[1] != ("assistant", "you said: may I?")
    assert server.answer.calls[before:] == ["may I?"]


async def test_without_streaming_an_answer_is_shown_when_it_is_done(
    server: Server, workspace_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def streaming(self: object, question: str, history: Sequence[Json], hits: Sequence[Json], emit: Emit) -> Json:
        emit("half an ")
        await asyncio.sleep(0.5)
        return {"text": "half an hour", "citations": [], "grounded": True, "score": 1.0, "model": "scripted"}

    monkeypatch.setattr(type(server.answer), "__call__", streaming)
    shop = await site(server, workspace_id, streaming=False, feedback=False)
    ann = await shop.visitor()
    assert ann.begun["feedback"] is False
    seen: list[str] = []
    async with ann.stream() as events:
        await ann.say("how long?")
        async for event, _, data in events:
            seen.append(event)
            if event == "typing" and not data["on"]:
                break
    assert seen == ["message", "typing", "message", "typing"]


async def test_an_answer_is_rated_and_the_rating_shown(shop: Site) -> None:
    ann = await shop.visitor()
    await ann.say("hello")
    await ann.answered(2)
    items = (await ann.call("GET", "/messages")).body["items"]
    question, answer = (item["message_id"] for item in items)
    assert items[1]["rating"] is None
    for rating, comment in (("up", None), ("down", "too short"), ("down", None)):
        body = {"message_id": answer, "rating": rating, **({"comment": comment} if comment else {})}
        rated = await ann.call("POST", "/feedback", body)
        assert (rated.status, rated.body["rating"]) == (200, rating)
    assert rated.body["comment"] == "too short"
    assert (await ann.call("GET", "/messages")).body["items"][1]["rating"] == "down"
    assert (await ann.call("POST", "/feedback", {"message_id": answer, "rating": "none"})).status == 200
    assert (await ann.call("GET", "/messages")).body["items"][1]["rating"] is None
    assert (await ann.call("POST", "/feedback", {"message_id": question, "rating": "up"})).status == 404


async def test_what_makes_no_sense_is_refused(shop: Site) -> None:
    ann = await shop.visitor()
    for body in (
        {"text": "", "client_id": "client-0001"},
        {"text": "  \n ", "client_id": "client-0001"},
        {"text": "x" * 8_001, "client_id": "client-0001"},
        {"text": "x", "client_id": "short"},
        {"text": "x\0", "client_id": "client-0001"},
        {"text": "x"},
        {"text": "x", "client_id": "client-0001", "more": 1},
    ):
        assert (await ann.call("POST", "/messages", body)).status == 422, body
    big = {"text": "x", "client_id": "client-0001", "more": "x" * (70 << 10)}
    assert (await ann.call("POST", "/messages", big)).status == 413
    assert (await ann.call("GET", "/messages?after=x")).status == 422
    assert (await ann.call("GET", "/stream", **{"Last-Event-ID": "x"})).status == 422


async def test_a_visitor_who_writes_too_fast_is_told_to_wait(shop: Site) -> None:
    ann = await shop.visitor()
    replies = [await ann.say(f"message {n}") for n in range(15)]
    slowed = [reply for reply in replies if reply.status == 429]
    assert slowed
    assert int(slowed[0].headers["Retry-After"]) >= 1
    assert "Retry-After" in slowed[0].headers["Access-Control-Expose-Headers"]
    assert (await (await shop.visitor()).say("hello")).status == 202


async def test_bad_attempts_are_counted_by_address(shop: Site) -> None:
    tries = [(await shop.call("GET", "/messages", token="pv1.x.y")).status for _ in range(40)]
    assert set(tries) == {401, 429}
    ann = await shop.visitor()  # good ones from the same address go on
    assert (await ann.say("hello")).status == 202


async def test_a_visitor_has_so_many_streams_and_no_more(shop: Site) -> None:
    from contextlib import AsyncExitStack

    ann = await shop.visitor()
    async with AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(ann.stream())
        assert (await ann.call("GET", "/stream")).status == 429

    async def room() -> bool:
        async with ann.site.api.server.http.get(
            f"{ann.site.api.server.url}{ann.site.base}/stream",
            headers={"Authorization": f"Bearer {ann.token}", "Origin": PAGE},
        ) as response:
            return response.status == 200

    await until(room)


async def test_a_stream_ends_with_its_channel(shop: Site) -> None:
    ann = await shop.visitor()
    async with ann.stream() as events:
        assert (await shop.api("DELETE", f"/api/v1/channels/{shop.account_id}")).status == 204
        async with asyncio.timeout(20):
            assert [event async for event in events] == []
    assert (await ann.call("GET", "/messages")).status == 404


async def test_a_notification_reaches_a_visitor(shop: Site) -> None:
    ann: Browser = await shop.visitor(identity=shop.identity("ann"))
    await ann.say("hello")
    await ann.answered(2)
    user_id = (await shop.api.get("/api/v1/users")).body["items"][0]["user_id"]
    sent = await shop.api.post("/api/v1/notifications", {"user_id": user_id, "text": "Your parcel is there."})
    assert sent.status < 300, sent.raw
    assert (await ann.answered(3))[2][1] == "Your parcel is there."


async def test_a_file_reaches_its_visitor_and_nobody_else(shop: Site) -> None:
    ann: Browser = await shop.visitor(identity=shop.identity("ann"))
    await ann.say("hello")
    await ann.answered(2)
    user_id = (await shop.api.get("/api/v1/users")).body["items"][0]["user_id"]
    files = [{"name": "note.html", "content": base64.b64encode(b"<script>alert(1)</script>").decode()}]
    sent = await shop.api.post("/api/v1/notifications", {"user_id": user_id, "files": files})
    assert sent.status < 300, sent.raw
    await ann.answered(3)
    (shown,) = (await ann.call("GET", "/messages")).body["items"][-1]["files"]
    assert (shown["name"], shown["size"]) == ("note.html", 25)
    path = f"/files/{shown['attachment_id']}"
    got = await ann.call("GET", path)
    assert (got.raw, got.headers["Content-Type"]) == (b"<script>alert(1)</script>", "application/octet-stream")
    assert got.headers["Content-Disposition"].startswith("attachment")
    ben: Browser = await shop.visitor(identity=shop.identity("ben"))
    assert (await ben.call("GET", path)).status == 404


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_input_of_a_visitor_is_a_bug(shop: Site, ground: Ground, seed: int) -> None:
    chance, ann = random.Random(seed), await shop.visitor()
    for route in (route for route in ROUTES if route.path.startswith("/channels/web/") and not route.streams):
        fields = [*(route.request or route.query or Said).model_fields]
        for _ in range(25):
            await nothing_limited(ground)  # no limit may hide what a body does
            given, path = filled(chance, fields), route.path.removeprefix("/channels/web/{account_id}")
            if route.method == "POST":
                reply = await ann.call("POST", path, given)
            else:
                query = urlencode({name: str(value) for name, value in given.items()})
                reply = await ann.call(route.method, f"{path}?{query}")
            assert reply.status < 500, (route.name, path, given, reply.raw)
