"""OAuth 2 client credentials against a real token server: asked once, kept, shared, asked again when it has to be."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from urllib.parse import parse_qsl, unquote_plus

import pytest
from aiohttp import web

from webhooks.oauth import AuthFailed, Token, Tokens, read_token
from webhooks.options import ClientCredentials, Options
from webhooks.transport import Outcome, Session, open_session, post, timeouts

LOOPBACK = (ip_network("127.0.0.0/8"),)
ID, SECRET = "parley: é", "s%cret/+"


@dataclass
class TokenServer:
    """Gives t1, t2, … to whoever knows the secret; and a receiver beside it that takes what `valid` holds."""

    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    answer: web.Response | None = None
    pause: float = 0.0
    lasts: float = 3_600

    async def give(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text()))
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            user, _, password = base64.b64decode(encoded).decode().partition(":")
            form |= {"client_id": unquote_plus(user), "client_secret": unquote_plus(password), "by": "basic"}
        self.asked.append(form)
        await asyncio.sleep(self.pause)
        if self.answer is not None:
            return self.answer
        if (form["client_id"], form["client_secret"]) != (ID, SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        token = f"t{next(self.numbers)}"
        self.valid.add(f"Bearer {token}")
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": self.lasts})

    async def hear(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "")
        self.heard.append(shown)
        return web.Response(status=200 if shown in self.valid else 401)

    @property
    def wanted(self) -> ClientCredentials:
        return ClientCredentials(self.url + "/token", ID, SECRET, ("events:write", "b"), "https://receiver.example")


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    server = TokenServer()
    app = web.Application()
    app.router.add_post("/token", server.give)
    app.router.add_post("/hook", server.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


async def send(
    session: Session, server: TokenServer, wanted: ClientCredentials | None = None, total: float = 5.0
) -> Outcome:
    options = Options(oauth=wanted or server.wanted)
    return await post(session, server.url + "/hook", {"webhook-id": "evt_1"}, b"{}", timeouts(total), options)


async def test_a_token_is_asked_for_once_and_sent_with_every_delivery(tokens: TokenServer) -> None:
    async with open_session(LOOPBACK) as session:
        together = await asyncio.gather(*(send(session, tokens) for _ in range(10)))
        later = await send(session, tokens)
    assert all(outcome.ok for outcome in (*together, later))
    assert tokens.heard == ["Bearer t1"] * 11
    assert tokens.asked == [
        {
            "grant_type": "client_credentials", "scope": "events:write b", "audience": "https://receiver.example",
            "client_id": ID, "client_secret": SECRET, "by": "basic",
        }
    ]  # fmt: skip
    assert later.request == {"webhook-id": "evt_1", "Authorization": "(hidden)"}
    assert SECRET not in repr(tokens.wanted)


async def test_the_secret_goes_into_the_body_where_that_is_asked_for(tokens: TokenServer) -> None:
    wanted = ClientCredentials(tokens.url + "/token", ID, SECRET, client_auth="body")
    async with open_session(LOOPBACK) as session:
        assert (await send(session, tokens, wanted)).ok
    assert tokens.asked == [{"grant_type": "client_credentials", "client_id": ID, "client_secret": SECRET}]


async def test_a_token_that_is_not_believed_any_more_is_replaced_for_the_next_try(tokens: TokenServer) -> None:
    async with open_session(LOOPBACK) as session:
        assert (await send(session, tokens)).ok
        tokens.valid.clear()
        refused = await send(session, tokens)
        assert (refused.status, refused.error_code) == (401, "http_status")
        assert (await send(session, tokens)).ok
    assert tokens.heard == ["Bearer t1", "Bearer t1", "Bearer t2"]


async def test_tokens_that_last_no_time_are_asked_for_each_time(tokens: TokenServer) -> None:
    tokens.lasts = 0
    async with open_session(LOOPBACK) as session:
        for _ in range(3):
            assert (await send(session, tokens)).ok
    assert len(tokens.asked) == 3


async def test_what_the_token_server_says_reaches_the_log_and_it_is_not_stormed(tokens: TokenServer) -> None:
    wrong = ClientCredentials(tokens.url + "/token", ID, "wrong")
    async with open_session(LOOPBACK) as session:
        outcomes = [await send(session, tokens, wrong) for _ in range(5)]
    assert {(o.status, o.error_code, o.detail, o.ours) for o in outcomes} == {
        (None, "auth_error", "the token server answered 401 (invalid_client)", False)
    }
    assert len(tokens.asked) == 1
    assert not tokens.heard


async def test_one_customers_credentials_never_serve_another(tokens: TokenServer) -> None:
    async with open_session(LOOPBACK) as session:
        assert (await send(session, tokens)).ok
        stranger = ClientCredentials(tokens.url + "/token", ID, "guessed", tokens.wanted.scopes)
        assert (await send(session, tokens, stranger)).error_code == "auth_error"
        less = ClientCredentials(tokens.url + "/token", ID, SECRET, ("b",))
        assert (await send(session, tokens, less)).ok
    assert tokens.heard == ["Bearer t1", "Bearer t2"]


async def test_a_slow_token_server_costs_no_more_than_the_try_may_last(tokens: TokenServer) -> None:
    tokens.pause = 30.0
    async with open_session(LOOPBACK) as session:
        late = await send(session, tokens, total=0.3)
    assert (late.error_code, late.detail) == ("auth_error", "no complete answer in time")
    assert not tokens.heard


@pytest.mark.parametrize(
    ("url", "code", "detail"),
    [
        ("http://10.0.0.1/token", "auth_error", "may not be called"),
        ("http://127.0.0.1:1/token", "auth_error", "the token server refuses connections"),
        ("http://name.invalid/token", "auth_error", "does not resolve"),
        ("nonsense", "auth_error", "cannot be used"),
    ],
)
async def test_the_guard_holds_token_servers_too(tokens: TokenServer, url: str, code: str, detail: str) -> None:
    allowed = (ip_network("127.0.0.0/8"),)
    async with open_session(allowed) as session:
        outcome = await send(session, tokens, ClientCredentials(url, ID, SECRET))
    assert outcome.error_code == code
    assert detail in outcome.detail or "port 1 is not for webhooks" in outcome.detail


async def test_redirects_and_endless_answers_are_no_tokens(tokens: TokenServer) -> None:
    async with open_session(LOOPBACK) as session:
        tokens.answer = web.Response(status=302, headers={"Location": tokens.url + "/token"})
        assert (await send(session, tokens)).detail == "the token server answered 302"
        tokens.answer = web.Response(body=b" " * 1_000_000)
        long = ClientCredentials(tokens.url + "/token", ID, SECRET)
        assert (await send(session, tokens, long)).detail == "the token server's answer is too long"
    assert len(tokens.asked) == 2


async def test_a_token_is_replaced_shortly_before_it_ends() -> None:
    now, given = 0.0, itertools.count(1)

    async def fetch(_: ClientCredentials) -> Token:
        return Token(f"t{next(given)}", 100.0)

    kept, wanted = Tokens(fetch, clock=lambda: now), ClientCredentials("https://t.example", "a", "b")
    for now, expected in ((0.0, "t1"), (89.0, "t1"), (90.0, "t2"), (179.0, "t2"), (181.0, "t3")):  # noqa: B007
        assert await kept.get(wanted) == expected
    kept.forget(wanted, "t2")
    assert await kept.get(wanted) == "t3"
    kept.forget(wanted, "t3")
    assert await kept.get(wanted) == "t4"
    await kept.close()


async def test_whoever_gives_up_waiting_takes_the_token_from_nobody() -> None:
    going = asyncio.Event()

    async def fetch(_: ClientCredentials) -> Token:
        await going.wait()
        return Token("t", 100.0)

    kept, wanted = Tokens(fetch), ClientCredentials("https://t.example", "a", "b")
    first, second = asyncio.create_task(kept.get(wanted)), asyncio.create_task(kept.get(wanted))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    going.set()
    assert await second == "t"
    await kept.close()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"access_token": "x"}', 300.0),
        (b'{"access_token": "x", "token_type": "BEARER", "expires_in": "60"}', 60.0),
        (b'{"access_token": "x", "expires_in": null}', 300.0),
        (b'{"access_token": "x", "expires_in": "nan"}', 300.0),
        (b'{"access_token": "x", "expires_in": -5}', 0.0),
        (b'{"access_token": "x", "expires_in": 1e9}', 86_400.0),
    ],
)
def test_how_long_a_token_lasts(raw: bytes, expected: float) -> None:
    assert read_token(200, raw) == Token("x", expected)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"nonsense", b"{}", b'{"access_token": ""}', b'{"access_token": 5}', b'{"access_token": "a b"}',
        b'{"access_token": "a\\r\\nX: y"}', b'{"access_token": "x", "token_type": "mac"}', b"\xff",
        b'{"access_token": "\xc3\xa9"}', b'{"access_token": "' + b"x" * 9_000 + b'"}',
    ],
)  # fmt: skip
def test_answers_without_a_usable_token(raw: bytes) -> None:
    with pytest.raises(AuthFailed):
        read_token(200, raw)


def test_an_odd_error_is_not_repeated() -> None:
    for raw in (b'{"error": "<script>"}', b'{"error": 5}', b"x"):
        with pytest.raises(AuthFailed, match=r"^the token server answered 500$"):
            read_token(500, raw)
