"""What every channel accepts in a second, beside a bare aiohttp handler that is sent the same bytes (G19).

Accepted means verified, parsed and committed before the answer. Each update is another one, and signed as its platform
signs: Slack's HMAC, Discord's Ed25519. Turns are left lying, but for REST, whose answer names the turn: there the turn
runs, too. Requests are signed before the clock starts. What a signature check alone costs is measured beside it;
Discord's, more than twice of all that H does, keeps the ratio below 0.3 whatever else we do.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson

from bench.goals import Outcome, above
from bench.intake import Rounds, distinct
from bench.load import Compose, closed, post
from bench.process import Program, running
from bench.stores import Stores
from channels.discord.verify import verify as verify_discord
from channels.slack.verify import verify as verify_slack
from gateway import visitors
from kernel.secrets import KeyRing
from kernel.types import Account
from simulators.discord.signing import public_key, sign
from simulators.slack.delivery import signed_headers

_SECRET, _KEY = "5" * 32, "33" * 32
_TEAM, _BOT, _APPLICATION = "T061EG9R6", "U0LAN0Z89", "1100000000000000002"
_TEXT = "When do you open on Saturday, and may I bring my dog along to the workshop?"
_PLACES = 1_000
_OF_VISITOR, _OF_ADDRESS = 8, 150  # fewer than a visitor and an address may say at once
_READY = 12_000  # requests signed ahead of a second
_BARE = 1_000  # of the bare handler, which does not look at them
_CHECKS = 2_000


@dataclass(frozen=True, slots=True)
class Contender:
    """A channel: what makes its requests, what those of its H, and what it should reach."""

    name: str
    what: str
    requests: Iterator[bytes]
    bare: Iterator[bytes]
    floor: float
    ambition: float
    many_addresses: bool = False


def slack_request(url: str, number: int) -> bytes:
    """A direct message. https://docs.slack.dev/reference/events/message.im"""
    at = f"{1_790_000_000 + number // 1000}.{number % 1000:03d}000"
    channel, user = f"D{number % _PLACES:09d}", f"U{number % _PLACES:09d}"
    event = {
        "type": "message", "channel": channel, "user": user, "text": _TEXT, "ts": at, "event_ts": at, "team": _TEAM,
        "channel_type": "im", "client_msg_id": f"{number:032x}", "blocks": [{"type": "rich_text", "block_id": "b1",
        "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": _TEXT}]}]}],
    }  # fmt: skip
    body = orjson.dumps(
        {
            "token": "t",
            "team_id": _TEAM,
            "api_app_id": "A123ABC456",
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{number:09d}",
            "event_time": 1_790_000_000,
            "authorizations": [{"enterprise_id": None, "team_id": _TEAM, "user_id": _BOT, "is_bot": True}],
        }
    )
    return post(url, body, signed_headers(_SECRET, body, int(time.time())))


def discord_body(number: int) -> bytes:
    """A slash command. https://docs.discord.com/developers/interactions/receiving-and-responding"""
    user = {"id": f"{1_400_000_000_000_000_000 + number % _PLACES}", "username": "ann", "discriminator": "0"}
    place = f"{1_200_000_000_000_000_000 + number % _PLACES}"
    options = [{"name": "question", "type": 3, "value": _TEXT}]
    return orjson.dumps(
        {
            "id": f"{1_300_000_000_000_000_000 + number}",
            "application_id": _APPLICATION,
            "type": 2,
            "version": 1,
            "token": "aW50ZXJhY3Rpb24" * 6,
            "data": {"id": "1", "type": 1, "name": "ask", "options": options},
            "channel_id": place,
            "channel": {"id": place, "type": 1},
            "user": user,
            "locale": "en-US",
            "context": 1,
        }
    )


def discord_request(url: str, number: int) -> bytes:
    body, stamp = discord_body(number), str(int(time.time()))
    return post(url, body, {"X-Signature-Timestamp": stamp, "X-Signature-Ed25519": sign(_KEY, stamp, body)})


def rest_request(url: str, key: str, number: int) -> bytes:
    body = orjson.dumps({"user_id": f"user-{number % _PLACES}", "text": _TEXT})
    return post(url, body, {"X-API-Key": key})


def web_requests(url: str, ring: KeyRing, account: str) -> Iterator[bytes]:
    """Messages of visitors, few of each: no browser says more at once."""
    for visitor in itertools.count():
        token = visitors.issue(ring, visitors.new_guest(account, time.time()))
        headers = {"Origin": "https://shop.example", "Authorization": f"Bearer {token}"}
        for n in range(_OF_VISITOR):
            body = orjson.dumps({"text": _TEXT, "client_id": f"client-{visitor:08d}-{n}"})
            yield post(url, body, headers)


def numbered(make: Callable[[int], bytes]) -> Iterator[bytes]:
    return map(make, itertools.count(1))


def ready(requests: Iterator[bytes], count: int) -> Compose:
    """The next `count` requests are made now; beyond them each when it is wanted."""
    made = iter(list(itertools.islice(requests, count)))
    return lambda: next(made, None) or next(requests)


async def measure(stores: Stores, *, rounds: int = 3, seconds: float = 1.0) -> list[Outcome]:
    workspace = await stores.workspace()
    seen, found = Rounds(), list[Outcome]()
    async with running("bench.baselines", "hello") as hello:
        for name, make in (("intake", platforms), ("whole", rest)):
            async with running("bench.server", name, environment=stores.environment()) as server:
                entered = await make(stores, workspace, hello.url + "/hook", server)
                for _ in range(rounds):
                    for one in entered:
                        await _round(one, hello, server, seen, seconds)
                found += [_outcome(one, seen) for one in entered]
            async with stores.admin() as conn:
                await conn.execute("TRUNCATE inbound_updates")  # what lies there would be answered by the other server
    return found


async def _round(one: Contender, hello: Program, server: Program, seen: Rounds, seconds: float) -> None:
    again = itertools.cycle(list(itertools.islice(one.bare, _BARE)))
    seen.add(f"H {one.name}", await closed(hello, again.__next__, seconds=seconds))
    hosts = addresses() if one.many_addresses else None
    signed = ready(one.requests, round(_READY * seconds))
    seen.add(one.name, await closed(server, signed, seconds=seconds, hosts=hosts))


_used = itertools.count(1)


def addresses() -> Iterator[str]:
    """Addresses of this machine that nobody called from before."""
    while True:
        number = next(_used)
        yield f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


async def platforms(stores: Stores, workspace: str, bare: str, intake: Program) -> list[Contender]:
    """Every channel that is called from outside, with a bot of its own."""
    telegram = await stores.telegram_account(workspace)
    slack = await stores.account(
        workspace, "slack", "webhook", {"bot_token": "xoxb-1", "signing_secret": _SECRET},
        profile={"id": f"{_TEAM}:{_BOT}", "team": _TEAM, "bot_user_id": _BOT},
    )  # fmt: skip
    discord = await stores.account(
        workspace, "discord", "webhook", {"bot_token": "t", "public_key": public_key(_KEY)},
        profile={"id": _APPLICATION, "application_id": _APPLICATION},
    )  # fmt: skip
    web = await stores.account(workspace, "web", "api", {"identity_secret": "i"}, settings={"origins": ["*"]})
    ring, root = KeyRing.parse(stores.ring), f"{intake.url}/channels"

    def slack_of(url: str) -> Iterator[bytes]:
        return numbered(lambda number: slack_request(url, number))

    def discord_of(url: str) -> Iterator[bytes]:
        return numbered(lambda number: discord_request(url, number))

    def web_of(url: str) -> Iterator[bytes]:
        return web_requests(url, ring, web)

    def telegram_of(url: str) -> Iterator[bytes]:
        return iter(distinct(url), b"")

    def entered(
        name: str, what: str, of: Callable[[str], Iterator[bytes]], url: str, floor: float, ambition: float
    ) -> Contender:
        return Contender(name, what, of(url), of(bare), floor, ambition, name == "web")

    return [
        entered("Telegram", "secret header", telegram_of, f"{root}/telegram/{telegram}", 0.45, 0.60),
        entered("Slack", "HMAC", slack_of, f"{root}/slack/{slack}", 0.30, 0.45),
        entered("Discord", "Ed25519", discord_of, f"{root}/discord/{discord}", 0.12, 0.20),
        entered("web", "visitor's token", web_of, f"{root}/web/{web}/messages", 0.05, 0.10),
    ]


async def rest(stores: Stores, workspace: str, bare: str, whole: Program) -> list[Contender]:
    """Messages over REST, which come back as they are."""
    await stores.echo_over_rest(workspace)
    key = await stores.api_key(workspace)

    def rest_of(url: str) -> Iterator[bytes]:
        return numbered(lambda number: rest_request(url, key, number))

    return [Contender("REST", "and its turn", rest_of(f"{whole.url}/api/v1/messages"), rest_of(bare), 0.05, 0.10)]


def _outcome(one: Contender, seen: Rounds) -> Outcome:
    bare = f"H {one.name}"
    cpu, rate = seen.by_cpu(one.name, bare), seen.by_rate(one.name, bare)
    return Outcome(
        "G19", f"{one.name} ({one.what}): accepted; vs H", seen.show(bare), seen.show(one.name), f"≥ {one.floor}",
        f"≥ {one.ambition}", above(cpu, one.floor, one.ambition), cpu, rate, note=_note(one),
    )  # fmt: skip


def _note(one: Contender) -> str:
    checks = {"Slack": slack_check, "Discord": discord_check}
    if one.name not in checks:
        return ""
    return f"{one.name}'s signature check alone is {checks[one.name]() * 1e6:.0f} µs of that; judged by CPU"


def slack_check() -> float:
    """CPU seconds of checking one request."""
    body = slack_request("http://h/", 1).partition(b"\r\n\r\n")[2]
    account = Account("ws", "acc", "slack", "webhook", {"signing_secret": _SECRET}, {}, {})
    headers = signed_headers(_SECRET, body, int(time.time()))
    return _each(lambda: verify_slack(account, headers, body))


def discord_check() -> float:
    body = discord_body(1)
    account = Account("ws", "acc", "discord", "webhook", {"public_key": public_key(_KEY)}, {}, {})
    headers = {"X-Signature-Timestamp": "1", "X-Signature-Ed25519": sign(_KEY, "1", body)}
    return _each(lambda: verify_discord(account, headers, body))


def _each(check: Callable[[], bool]) -> float:
    began = time.process_time()
    if not all(check() for _ in range(_CHECKS)):
        raise RuntimeError("a signature is not accepted")
    return (time.process_time() - began) / _CHECKS
