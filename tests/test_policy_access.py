"""Policies in a running gateway: strangers, pairing, groups; what is not taken up leaves no trace."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.services import Ground
from identity import codes, pairings
from kernel.types import Json, Sender
from pipeline import commands
from tests.gateway_parts import until
from tests.http_face import Client, Server, client, served
from tests.people_kit import Bot, Bots

_updates = itertools.count(1)


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id)


@pytest.fixture
def bots(server: Server, workspace_id: str) -> Bots:
    return Bots(server.ground, server.services, server.answer, workspace_id)


async def update(bot: Bot, person: int, text: str, *, group: int = 0, kind: str = "message", **more: Any) -> None:
    """A Telegram update on its way in, policies included."""
    number = next(_updates)
    message = {
        "message_id": number,
        "date": 1_700_000_000,
        "chat": {"id": group or person, "type": "supergroup" if group else "private"},
        "from": {"id": person, "is_bot": False, "first_name": f"P{person}", "username": f"p{person}"},
        "text": text,
        **more,
    }
    whole = {"update_id": number, kind: message}
    account = await bot.bots.services.directory.account(bot.account_id)
    assert account
    await bot.bots.services.intake.take(account, whole, orjson.dumps(whole))


async def answers(bot: Bot, chat: int, many: int) -> list[str]:
    """What the bot has said in a chat, once it has said so much."""
    rows: list[Json] = []

    async def there() -> bool:
        rows[:] = await bot.bots.rows(
            "SELECT m.text FROM messages m JOIN conversations c USING (workspace_id, conversation_id) "
            "WHERE c.account_id = $1 AND c.conversation_key = $2 AND m.role <> 'user' ORDER BY m.seq",
            bot.account_id,
            str(chat),
        )
        return len(rows) >= many

    await until(there)
    return [row["text"] for row in rows]


def code_in(text: str) -> str:
    found = codes.read(text.split("`")[1])
    assert found
    return found


async def test_a_stranger_gets_one_code_is_let_in_told_so_and_put_out_again(bots: Bots, api: Client) -> None:
    bot = await bots.bot(access={"who": "paired"})
    path = f"/api/v1/channels/{bot.account_id}/pairings"
    await update(bot, 5, "my deepest secret")
    await answers(bot, 5, 1)
    await update(bot, 5, "hello?")
    first, second = await answers(bot, 5, 2)
    assert first == second == commands.PAIRED.format(code=code_in(first))
    assert bots.answer.calls == []
    assert await bots.value("SELECT count(*) FROM messages WHERE text LIKE '%secret%' OR text LIKE '%hello%'") == 0
    [waiting] = (await api.get(path)).body["items"]
    assert (waiting["status"], waiting["external_id"], waiting["username"]) == ("waiting", "5", "p5")
    assert code_in(first) not in str(waiting)
    paired = await api.post(path, {"code": code_in(first).lower().replace("-", " ")})
    assert (paired.status, paired.body["status"], paired.body["pairing_id"]) == (200, "paired", waiting["pairing_id"])
    assert (await answers(bot, 5, 3))[-1] == "You are let in. What would you like to know?"
    await update(bot, 5, "when do you open?")
    assert (await answers(bot, 5, 4))[-1] == "you said: when do you open?"
    assert (await api.post(path, {"code": code_in(first)})).status == 404  # used
    assert (await api("DELETE", f"{path}/{waiting['pairing_id']}")).status == 204
    assert (await api("DELETE", f"{path}/{waiting['pairing_id']}")).status == 404
    await update(bot, 5, "still there?")
    last = (await answers(bot, 5, 5))[-1]
    assert last.startswith("This bot is private") and code_in(last) != code_in(first)


async def test_strangers_in_groups_leave_no_trace(bots: Bots) -> None:
    bot = await bots.bot("parley_bot", access={"who": "paired"})
    mention = [{"type": "mention", "offset": 0, "length": 11}]
    await update(bot, 5, "@parley_bot hello", group=-100, entities=mention)
    await update(bot, 5, "hello", group=-100)
    for table in ("inbound_updates", "conversations", "users", "pairings"):
        assert await bots.value(f"SELECT count(*) FROM {table}") == 0, table


async def test_a_listed_bot_gives_no_codes_and_lets_listed_people_in(bots: Bots) -> None:
    bot = await bots.bot(access={"who": "listed", "users": ["6"]})
    await update(bot, 5, "hello")
    assert await answers(bot, 5, 1) == [commands.LISTED]
    await update(bot, 6, "hello")
    assert await answers(bot, 6, 1) == ["you said: hello"]
    assert await bots.value("SELECT count(*) FROM pairings") == 0


async def test_an_edit_of_what_was_never_taken_opens_no_conversation(bots: Bots) -> None:
    bot = await bots.bot("parley_bot")
    await update(bot, 5, "an edit of something old", kind="edited_message", edit_date=1_700_000_001)
    assert await bots.value("SELECT count(*) FROM inbound_updates") == 0
    await update(bot, 5, "hello")
    await answers(bot, 5, 1)
    await update(bot, 5, "an edit in a chat that we know", kind="edited_message", edit_date=1_700_000_002)

    async def heard() -> bool:
        return bool(await bots.rows("SELECT FROM inbound_updates WHERE kind = 'edit' AND status = 'ignored'"))

    await until(heard)


async def test_an_edit_that_overtakes_its_message_is_not_lost(bots: Bots) -> None:
    """The message waits for its turn, so there is no conversation yet: it counts as one that is about to be."""
    bot = await bots.bot()
    await bots.value(
        "INSERT INTO inbound_updates (workspace_id, update_id, account_id, external_id, conversation_key, payload) "
        "VALUES (current_workspace(), 'upd_waits', $1, 'x', '5', '')",
        bot.account_id,
    )
    async with bots.ground.database.anywhere() as conn:
        assert await conn.fetchval("SELECT has_joined($1, '5')", bot.account_id)
        assert not await conn.fetchval("SELECT has_joined($1, '6')", bot.account_id)


async def test_codes_are_the_bots_own_and_the_workspaces_own(
    bots: Bots, api: Client, server: Server, second_workspace: str
) -> None:
    one, other = await bots.bot(access={"who": "paired"}), await bots.bot(access={"who": "paired"})
    await update(one, 5, "hello")
    code = code_in((await answers(one, 5, 1))[0])
    assert (await api.post(f"/api/v1/channels/{other.account_id}/pairings", {"code": code})).status == 404
    foreign = await client(server, second_workspace)
    path = f"/api/v1/channels/{one.account_id}/pairings"
    assert (await foreign.post(path, {"code": code})).status == 404
    assert (await foreign.get(path)).status == 404
    assert (await api.post(path, {"code": "nonsense"})).status == 404
    assert (await (await client(server, bots.workspace_id, "read")).post(path, {"code": code})).status == 403
    async with bots.ground.database.anywhere() as conn:
        assert not await pairings.is_paired(conn, one.account_id, "5")
    assert (await api.post(path, {"code": code})).status == 200
    async with bots.ground.database.anywhere() as conn:
        assert await pairings.is_paired(conn, one.account_id, "5")
        assert not await pairings.is_paired(conn, other.account_id, "5")


async def test_an_old_code_is_worth_nothing_and_gives_way_to_a_new_one(bots: Bots, api: Client) -> None:
    bot = await bots.bot(access={"who": "paired"})
    path = f"/api/v1/channels/{bot.account_id}/pairings"
    await update(bot, 5, "hello")
    old = code_in((await answers(bot, 5, 1))[0])
    await bots.value("UPDATE pairings SET expires_at = now() - interval '1 second'")
    assert (await api.post(path, {"code": old})).status == 404
    assert (await api.get(path)).body["items"] == []
    await update(bot, 5, "hello again")
    fresh = code_in((await answers(bot, 5, 2))[1])
    assert fresh != old
    assert (await api.post(path, {"code": fresh})).status == 200


async def test_a_crowd_of_strangers_gets_codes_up_to_a_number_and_then_a_refusal(bots: Bots) -> None:
    bot = await bots.bot(access={"who": "paired"})
    async with bots.ground.database.workspace(bots.workspace_id) as conn:
        made = [await pairings.ask(conn, bot.account_id, Sender(str(n)), "conv_x") for n in range(201)]
    assert all(made[:200]) and made[200] is None
    await update(bot, 5000, "hello")
    assert await answers(bot, 5000, 1) == [commands.LISTED]


async def test_what_a_prefix_cuts_is_not_asked(bots: Bots) -> None:
    bot = await bots.bot("parley_bot", groups={"answer": "prefix", "prefix": "!bot", "except": ["-200"]})
    await update(bot, 5, "!bot when do you open?", group=-100)
    await update(bot, 5, "!bot hello", group=-200)
    await update(bot, 5, "nothing for a bot", group=-100)
    assert await answers(bot, -100, 1) == ["you said: when do you open?"]
    assert await bots.value("SELECT count(*) FROM inbound_updates") == 1
