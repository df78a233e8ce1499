"""Keys of an endpoint: rotated, listed, revoked, sealed; and what receivers' libraries make of deliveries meanwhile."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import asyncpg
import pytest
import standardwebhooks
import svix
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kernel.db import Database
from kernel.errors import Conflict, InvalidRequest, MalformedRequest, NotFound
from kernel.events import list_events, publish
from kernel.secrets import KeyRing, SealBroken, generate_ring
from kernel.types import Json
from webhooks import endpoints, secrets
from webhooks.engine import DeliveryEngine
from webhooks.signing import new_private_key, new_secret, public_key, signing_key, verify
from webhooks.urls import Rules

LOOPBACK = (ip_network("127.0.0.0/8"),)


class Rig:
    """One endpoint, at a real receiver, and the keys that it was ever told of."""

    def __init__(self, database: Database, keyring: KeyRing, workspace_id: str) -> None:
        self.database, self.keyring, self.workspace_id = database, keyring, workspace_id
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = self.webhook_id = ""
        self.arrived = asyncio.Event()

    async def hear(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        self.arrived.set()
        return web.Response()

    async def register(self, *, secret: str | None = None, **more: Any) -> Json:
        asked, rules = {"url": self.url, "events": ["ping"], **more}, Rules(LOOPBACK)
        async with self.database.workspace(self.workspace_id) as conn:
            made = await endpoints.create(
                conn, self.workspace_id, asked, keyring=self.keyring, rules=rules, secret=secret
            )
        self.webhook_id = made["webhook_id"]
        return made

    async def rotate(self, **more: Any) -> Json:
        async with self.database.workspace(self.workspace_id) as conn:
            return await secrets.rotate(conn, self.keyring, self.workspace_id, self.webhook_id, **more)

    async def listed(self) -> list[Json]:
        async with self.database.workspace(self.workspace_id) as conn:
            return await secrets.list_live(conn, self.keyring, self.workspace_id, self.webhook_id)

    async def revoke(self, secret_id: str) -> None:
        async with self.database.workspace(self.workspace_id) as conn:
            await secrets.revoke(conn, self.workspace_id, self.webhook_id, secret_id)

    async def delivered(self) -> tuple[dict[str, str], bytes]:
        """One event as the receiver got it."""
        engine, stop = DeliveryEngine(self.database, self.keyring, LOOPBACK), asyncio.Event()
        task = asyncio.create_task(engine.run(stop))
        self.arrived.clear()
        try:
            async with self.database.workspace(self.workspace_id) as conn:
                await publish(conn, self.workspace_id, "ping", {"webhook_id": self.webhook_id})
            await asyncio.wait_for(self.arrived.wait(), 20)
        finally:
            stop.set()
            await task
        return self.got[-1]


@pytest.fixture
async def rig(database: Database, keyring: KeyRing, workspace_id: str) -> AsyncIterator[Rig]:
    rig = Rig(database, keyring, workspace_id)
    app = web.Application()
    app.router.add_post("/hook", rig.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    rig.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield rig
    await runner.cleanup()


def verified(secret: str, delivery: tuple[dict[str, str], bytes]) -> bool:
    """What both libraries say, which have to agree with us."""
    headers, body = delivery
    said = []
    for library in (standardwebhooks, svix):
        try:
            library.Webhook(secret).verify(body, headers)
            said.append(True)
        except library.WebhookVerificationError:
            said.append(False)
    assert said[0] == said[1]
    return said[0]


def verified_v1a(public: str, delivery: tuple[dict[str, str], bytes]) -> bool:
    """As a receiver does it with `cryptography` and nothing of ours."""
    headers, body = delivery
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for item in headers["webhook-signature"].split(" "):
        version, _, signature = item.partition(",")
        if version == "v1a":
            try:
                key.verify(base64.b64decode(signature), content)
                return True
            except InvalidSignature:
                continue
    return False


def versions(delivery: tuple[dict[str, str], bytes]) -> list[str]:
    return [item.partition(",")[0] for item in delivery[0]["webhook-signature"].split(" ")]


async def test_case_5_a_secret_is_shown_once_rotated_and_rotated_back(rig: Rig) -> None:
    first = (await rig.register())["secret"]
    second = await rig.rotate(overlap=0)
    assert second["secret"] not in ("", first)
    delivery = await rig.delivered()
    assert (verified(first, delivery), verified(second["secret"], delivery)) == (False, True)
    back = await rig.rotate(secret=first, overlap=0)
    assert back["secret"] == first
    delivery = await rig.delivered()
    assert (verified(first, delivery), verified(second["secret"], delivery)) == (True, False)
    [only] = await rig.listed()
    assert (only["secret_id"], only["expires_at"]) == (back["secret_id"], None)
    assert first not in repr(only)


async def test_a_secret_that_still_signs_becomes_the_current_one_again(rig: Rig) -> None:
    first = (await rig.register())["secret"]
    second = await rig.rotate()
    back = await rig.rotate(secret=first)
    assert [(s["secret_id"], s["expires_at"] is None) for s in await rig.listed()] == [
        (back["secret_id"], True),
        (second["secret_id"], False),
    ]
    delivery = await rig.delivered()
    assert versions(delivery) == ["v1", "v1"]
    assert verified(first, delivery)


async def test_case_6_after_two_rotations_all_three_secrets_verify_one_delivery(rig: Rig) -> None:
    known = [(await rig.register())["secret"], (await rig.rotate())["secret"], (await rig.rotate())["secret"]]
    delivery = await rig.delivered()
    assert versions(delivery) == ["v1"] * 3
    assert [verified(secret, delivery) for secret in known] == [True] * 3
    assert not verified(new_secret(), delivery)


async def test_case_7_v1_then_v1a_then_v1_again_stand_in_one_header(rig: Rig) -> None:
    first = (await rig.register())["secret"]
    middle = await rig.rotate(kind="v1a")
    assert (middle["secret"], middle["kind"]) == (None, "v1a")
    last = (await rig.rotate(kind="v1"))["secret"]
    delivery = await rig.delivered()
    assert versions(delivery) == ["v1", "v1", "v1a"]
    assert verified(first, delivery)
    assert verified(last, delivery)
    assert verified_v1a(middle["public_key"], delivery)
    assert not verified_v1a(public_key(new_private_key()), delivery)
    verify([middle["public_key"]], delivery[0], delivery[1], time.time())


async def test_an_endpoint_signs_both_from_the_beginning(rig: Rig) -> None:
    made = await rig.register(signing="v1+v1a")
    delivery = await rig.delivered()
    assert versions(delivery) == ["v1", "v1a"]
    assert verified(made["secret"], delivery)
    assert verified_v1a(made["public_key"], delivery)
    turned = await rig.rotate(kind="v1a", overlap=0)
    delivery = await rig.delivered()
    assert verified(made["secret"], delivery)
    assert (verified_v1a(made["public_key"], delivery), verified_v1a(turned["public_key"], delivery)) == (False, True)


async def test_a_public_key_may_be_read_again_and_a_private_one_brought(rig: Rig) -> None:
    own = new_private_key()
    made = await rig.register(signing="v1a", secret=own)
    assert (made["secret"], made["public_key"]) == (None, public_key(own))
    [only] = await rig.listed()
    assert (only["kind"], only["public_key"]) == ("v1a", public_key(own))
    assert own not in repr((made, only))


async def test_case_8_a_sixth_live_key_is_refused_until_one_expires(rig: Rig, admin: asyncpg.Connection[Any]) -> None:
    await rig.register()
    for kind in ("v1", "v1a", "v1", "v1"):
        await rig.rotate(kind=kind)
    assert len(await rig.listed()) == secrets.MOST_LIVE
    with pytest.raises(MalformedRequest) as caught:
        await rig.rotate()
    assert (caught.value.status, caught.value.code) == (400, "too_many_secrets")
    assert len(await rig.listed()) == secrets.MOST_LIVE
    oldest = (await rig.listed())[-1]["secret_id"]
    await admin.execute("UPDATE webhook_secrets SET expires_at = now() WHERE secret_id = $1", oldest)
    await rig.rotate()
    listed = await rig.listed()
    assert len(listed) == secrets.MOST_LIVE
    assert oldest not in {one["secret_id"] for one in listed}
    await rig.rotate(overlap=0)
    assert sorted(one["kind"] for one in await rig.listed()) == ["v1"]


async def test_case_9_expired_keys_sign_nothing(rig: Rig, admin: asyncpg.Connection[Any]) -> None:
    first = (await rig.register())["secret"]
    second = (await rig.rotate(overlap=3_600))["secret"]
    assert verified(first, await rig.delivered())
    await admin.execute(
        "UPDATE webhook_secrets SET expires_at = now() - interval '1 second' "
        "WHERE webhook_id = $1 AND expires_at IS NOT NULL",
        rig.webhook_id,
    )
    delivery = await rig.delivered()
    assert versions(delivery) == ["v1"]
    assert (verified(first, delivery), verified(second, delivery)) == (False, True)


@pytest.mark.parametrize(
    ("secret", "word"),
    [
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), "23 bytes"),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), "65 bytes"),
        ("whsec_nonsense!", "base64"),
        ("whsec_", "0 bytes"),
        ("w", "starts with"),
        ("", "starts with"),
        ("whsk_" + base64.b64encode(b"k" * 33).decode(), "33 bytes"),
        (new_private_key()[:-4], "base64|bytes"),
        (public_key(new_private_key()), "starts with"),
        ("whsk_" + base64.b64encode(bytes(64)).decode(), "does not belong"),
    ],
    ids=["short", "long", "words", "nothing", "a letter", "empty", "33 bytes", "cut", "public", "halves"],
)
async def test_case_10_secrets_that_are_none_are_refused(rig: Rig, secret: str, word: str) -> None:
    await rig.register()
    with pytest.raises(InvalidRequest, match=word) as caught:
        await rig.rotate(secret=secret)
    assert [detail["field"] for detail in caught.value.details] == ["secret"]
    assert secret not in caught.value.message or len(secret) < 2
    with pytest.raises(InvalidRequest, match=word) as caught:
        await rig.register(secret=secret)
    assert [detail["field"] for detail in caught.value.details] == ["secret"]


async def test_case_11_the_column_is_not_the_secret_and_opens_with_its_key_alone(
    rig: Rig, admin: asyncpg.Connection[Any]
) -> None:
    made = await rig.register(signing="v1+v1a")
    rows = await admin.fetch("SELECT sealed FROM webhook_secrets WHERE webhook_id = $1", rig.webhook_id)
    sealed = [row["sealed"] for row in rows]
    assert len(sealed) == 2
    raw = base64.b64decode(made["secret"].removeprefix("whsec_"))
    assert not any(secret in one for one in sealed for secret in (made["secret"].encode(), raw))
    opened = secrets.open_keys(rig.keyring, rig.workspace_id, rig.webhook_id, sealed)
    assert signing_key(made["secret"]) in opened
    newer = KeyRing.parse(f"{generate_ring('k2')},k1:{base64.b64encode(rig.keyring.keys['k1']).decode()}")
    assert raw in secrets.open_keys(newer, rig.workspace_id, rig.webhook_id, sealed)
    for ring, workspace, webhook in (
        (KeyRing.parse(generate_ring()), rig.workspace_id, rig.webhook_id),
        (rig.keyring, "ws_other", rig.webhook_id),
        (rig.keyring, rig.workspace_id, "wh_other"),
    ):
        with pytest.raises(SealBroken):
            secrets.open_keys(ring, workspace, webhook, sealed)


async def test_overlaps_and_expiries(rig: Rig) -> None:
    await rig.register()
    made = await rig.rotate(overlap=secrets.LONGEST_OVERLAP)
    new, old = await rig.listed()
    assert (new["secret_id"], new["expires_at"]) == (made["secret_id"], None)
    assert old["expires_at"] == made["previous_expires_at"]
    assert timedelta(days=6, hours=23) < old["expires_at"] - datetime.now(UTC) <= timedelta(days=7)
    again = await rig.rotate(overlap=60)
    assert {one["expires_at"] for one in await rig.listed()} == {None, again["previous_expires_at"]}
    sooner = (await rig.listed())[-1]["expires_at"]
    await rig.rotate(overlap=3_600)
    assert (await rig.listed())[-1]["expires_at"] == sooner


async def test_a_key_is_revoked_early_but_not_the_current_one(rig: Rig) -> None:
    first = (await rig.register())["secret"]
    second = await rig.rotate()
    with pytest.raises(Conflict, match="current"):
        await rig.revoke(second["secret_id"])
    old = (await rig.listed())[-1]["secret_id"]
    await rig.revoke(old)
    delivery = await rig.delivered()
    assert (versions(delivery), verified(first, delivery)) == (["v1"], False)
    for unknown in (old, "whs_none"):
        with pytest.raises(NotFound):
            await rig.revoke(unknown)


async def test_a_change_of_signing_makes_the_keys_it_needs_and_ends_the_others_in_time(rig: Rig) -> None:
    first = (await rig.register())["secret"]

    async def change(signing: str) -> Json:
        async with rig.database.workspace(rig.workspace_id) as conn:
            return await endpoints.update(
                conn, rig.workspace_id, rig.webhook_id, {"signing": signing}, keyring=rig.keyring, allow=LOOPBACK
            )

    both = await change("v1+v1a")
    assert (both["secret"], both["public_key"][:5]) == (None, "whpk_")
    own = await change("v1a")
    assert (own["secret"], own["public_key"]) == (None, None)
    assert [(s["kind"], s["expires_at"] is None) for s in await rig.listed()] == [("v1a", True), ("v1", False)]
    delivery = await rig.delivered()
    assert verified(first, delivery)
    assert verified_v1a(both["public_key"], delivery)
    back = await change("v1")
    assert back["secret"] not in (None, first)
    assert sorted((s["kind"], s["expires_at"] is None) for s in await rig.listed()) == [
        ("v1", False), ("v1", True), ("v1a", False),
    ]  # fmt: skip


async def test_rotations_are_told_without_secrets(rig: Rig) -> None:
    await rig.register()
    made = await rig.rotate()
    now = await rig.rotate(overlap=0)
    async with rig.database.workspace(rig.workspace_id) as conn:
        told, _ = await list_events(conn, rig.workspace_id, event_type="webhook.secret_rotated")
    latest, before = (event["data"] for event in told)
    assert before == {
        "webhook_id": rig.webhook_id, "url": rig.url, "secret_id": made["secret_id"], "kind": "v1",
        "previous_expires_at": before["previous_expires_at"],
    }  # fmt: skip
    assert datetime.fromisoformat(before["previous_expires_at"]) == made["previous_expires_at"]
    assert (latest["secret_id"], latest["previous_expires_at"]) == (now["secret_id"], None)


async def test_kinds_that_do_not_fit_are_refused(rig: Rig) -> None:
    await rig.register()
    with pytest.raises(InvalidRequest, match="kind"):
        await rig.rotate(secret=new_secret(), kind="v1a")
    for signing, secret in (("v1", new_private_key()), ("v1a", new_secret()), ("neither", new_secret())):
        with pytest.raises(InvalidRequest, match="secret"):
            await rig.register(signing=signing, secret=secret)


async def test_case_66_keys_of_another_workspace_are_out_of_reach(rig: Rig, second_workspace: str) -> None:
    await rig.register()
    [only] = await rig.listed()
    async with rig.database.workspace(second_workspace) as conn:
        for call in (
            secrets.rotate(conn, rig.keyring, second_workspace, rig.webhook_id),
            secrets.rotate(conn, rig.keyring, rig.workspace_id, rig.webhook_id),
            secrets.list_live(conn, rig.keyring, second_workspace, rig.webhook_id),
            secrets.revoke(conn, second_workspace, rig.webhook_id, only["secret_id"]),
            secrets.revoke(conn, rig.workspace_id, rig.webhook_id, only["secret_id"]),
        ):
            with pytest.raises(NotFound):
                await call
    assert await rig.listed() == [only]


async def test_rotations_at_one_moment_come_one_after_the_other(rig: Rig) -> None:
    await rig.register()
    results = await asyncio.gather(*(rig.rotate() for _ in range(8)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert len(refused) == 8 - (secrets.MOST_LIVE - 1)
    assert all(isinstance(error, MalformedRequest) for error in refused)
    listed = await rig.listed()
    assert len(listed) == secrets.MOST_LIVE
    assert [one["expires_at"] is None for one in listed].count(True) == 1
