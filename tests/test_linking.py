"""One person on several channels: codes, offers, joining, parting, and what follows the person."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from gateway.services import Ground
from identity import codes, linking
from identity.people import People
from kernel.types import Json
from pipeline import commands
from tests.conftest import Stores
from tests.gateway_parts import until
from tests.http_face import Client, Server, client, served
from tests.people_kit import Bots, Chat, talking

HISTORY = """
    SELECT turn_history(t, c, 10) AS history FROM turns t JOIN conversations c USING (workspace_id, conversation_id)
    WHERE t.status = 'running'
    """


@pytest.fixture
async def bots(ground: Ground, workspace_id: str) -> AsyncIterator[Bots]:
    async with talking(ground, workspace_id) as bots:
        yield bots


@pytest.fixture
async def elsewhere(ground: Ground, second_workspace: str) -> AsyncIterator[Bots]:
    async with talking(ground, second_workspace) as bots:
        yield bots


async def code_of(chat: Chat) -> str:
    said = await chat.say("/link")
    found = re.search(r"[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}", said)
    assert found, said
    return found[0]


async def join(issuer: Chat, bearer: Chat) -> str:
    offer = await bearer.say(f"/link {await code_of(issuer)}")
    assert offer.startswith("**Is all of this you?**"), offer
    return await bearer.say("/link yes")


async def one_person(*chats: Chat) -> bool:
    return len({await chat.user_id for chat in chats}) == 1


async def two_chats(bots: Bots) -> tuple[Chat, Chat]:
    return (await bots.bot("first")).chat(1, "Ann"), (await bots.bot("second")).chat(77, "Annie")


async def test_a_code_shows_what_it_would_join_and_joins_when_that_is_agreed_to(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await here.say("what do bikes cost?")
    await there.say("hello")
    ann, annie = await here.user_id, await there.user_id
    offer = await there.say(f"/link {await code_of(here)}")
    assert "Telegram (`second`): `annie`, 2 messages since" in offer
    assert "Telegram (`first`): `ann`, 2 messages since" in offer
    assert (await here.user_id, await there.user_id) == (ann, annie)  # nothing is joined yet
    assert await there.say("/link yes") == commands.LINKED
    assert (await here.user_id, await there.user_id) == (ann, ann)
    for table in ("conversations", "sessions", "messages"):
        assert await bots.value(f"SELECT count(*) FROM {table} WHERE user_id <> $1", ann) == 0, table
    [event] = await bots.events("identity.linked")
    assert (event["user_id"], event["previous_user_id"], event["channel"]) == (ann, annie, "telegram")
    assert event["account_id"] == there.bot.account_id


async def test_the_offer_has_buttons(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await there.say(f"/link {await code_of(here)}")
    unit = await bots.value("SELECT unit::text FROM outbound_messages WHERE turn_id = $1", there.last["turn_id"])
    assert "say:/link yes" in unit and "say:/link no" in unit and "fb:up" not in unit


async def test_an_offer_that_is_declined_joins_nothing_and_its_code_is_spent(bots: Bots) -> None:
    here, there = await two_chats(bots)
    code = await code_of(here)
    await there.say(f"/link {code}")
    assert await there.say("/link no") == commands.CANCELLED
    assert await there.say("/link yes") == commands.NO_OFFER
    assert await there.say("/link no") == commands.NO_OFFER
    assert await there.say(f"/link {code}") == commands.INVALID
    assert not await one_person(here, there)


async def test_what_was_asked_in_one_chat_goes_on_in_the_other(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await here.say("what does a tandem cost?")
    heard: list[Json] = []

    async def listen(question: str) -> None:
        [turn] = await bots.rows(HISTORY)
        heard[:] = turn["history"]

    await there.say("and for children?")
    bots.answer.before = listen
    await there.say("before")
    assert "what does a tandem cost?" not in [said["text"] for said in heard]
    await join(here, there)
    await there.say("and for the other one?")
    assert "what does a tandem cost?" in [said["text"] for said in heard]
    await here.say("thanks")
    assert "and for the other one?" in [said["text"] for said in heard]
    assert await there.say("/unlink") == commands.UNLINKED
    await there.say("and now?")
    assert "what does a tandem cost?" not in [said["text"] for said in heard]
    assert "and for the other one?" in [said["text"] for said in heard]
    assert not [said for said in heard if "/link" in said["text"]]  # what was arranged is no part of what was said


async def test_no_private_words_follow_into_a_group(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await here.say("my secret")
    await join(here, there)
    heard: list[list[Json]] = []

    async def listen(question: str) -> None:
        rows = await bots.rows(HISTORY)
        heard.extend(row["history"] for row in rows)

    bots.answer.before = listen
    await there.bot.chat(77, "Annie", group=-9).say("hello all")
    assert heard == [[]]


async def test_a_code_is_good_once_and_for_one(bots: Bots) -> None:
    here, there = await two_chats(bots)
    third = (await bots.bot("third")).chat(5, "Eve")
    code = await code_of(here)
    await there.say(f"/link {code}")
    assert await third.say(f"/link {code}") == commands.INVALID
    assert (await there.say(f"/link {code}")).startswith("**Is all of this you?**")  # the bearer may ask again
    await there.say("/link yes")
    for chat in (there, third):
        assert await chat.say(f"/link {code}") == commands.INVALID


async def test_two_who_enter_one_code_at_once_are_not_both_offered_it(bots: Bots) -> None:
    here = (await bots.bot("first")).chat(1)
    bot = await bots.bot("second")
    rivals = [bot.chat(n) for n in range(20, 26)]
    await asyncio.gather(*(rival.say("hi") for rival in rivals))
    for _ in range(3):
        code = await code_of(here)
        answers = await asyncio.gather(*(rival.say(f"/link {code}") for rival in rivals))
        assert sorted(answer == commands.INVALID for answer in answers) == [False] + [True] * 5


async def test_a_new_code_puts_the_older_out_of_force(bots: Bots) -> None:
    here, there = await two_chats(bots)
    first, second = await code_of(here), await code_of(here)
    assert first != second
    assert await there.say(f"/link {first}") == commands.INVALID
    assert (await there.say(f"/link {second}")).startswith("**Is")


async def test_an_expired_code_and_an_expired_offer_are_worth_nothing(bots: Bots) -> None:
    here, there = await two_chats(bots)
    code = await code_of(here)
    await bots.value("UPDATE link_codes SET expires_at = now() - interval '1 second'")
    assert await there.say(f"/link {code}") == commands.INVALID
    await there.say(f"/link {await code_of(here)}")
    await bots.value("UPDATE link_offers SET expires_at = now() - interval '1 second'")
    assert await there.say("/link yes") == commands.NO_OFFER
    assert not await one_person(here, there)


async def test_a_code_means_nothing_in_another_workspace(bots: Bots, elsewhere: Bots) -> None:
    here = (await bots.bot()).chat(1)
    foreign = (await elsewhere.bot()).chat(1)
    assert await foreign.say(f"/link {await code_of(here)}") == commands.INVALID
    assert await elsewhere.value("SELECT count(*) FROM link_offers") == 0
    assert await bots.value("SELECT count(*) FROM link_codes") == 1  # and it was not used up


async def test_codes_are_kept_as_hashes_only(bots: Bots) -> None:
    here = (await bots.bot()).chat(1)
    code = await code_of(here)
    stored = await bots.value("SELECT code_hash FROM link_codes")
    assert len(stored) == 32 and code.encode() not in stored
    assert stored == codes.digest(codes.pepper(bots.ground.ring), bots.workspace_id, code)


async def test_ones_own_code_is_told_apart_and_not_used_up(bots: Bots) -> None:
    here, there = await two_chats(bots)
    code = await code_of(here)
    assert await here.say(f"/link {code}") == commands.SAME
    assert (await there.say(f"/link {code}")).startswith("**Is")
    await there.say("/link yes")
    assert await here.say(f"/link {await code_of(there)}") == commands.SAME


async def test_guessing_is_limited_and_the_right_code_then_looks_wrong(bots: Bots) -> None:
    here, there = await two_chats(bots)
    code = await code_of(here)
    for _ in range(5):
        assert await there.say("/link ABCD-2345") == commands.INVALID
    assert await there.say(f"/link {code}") == commands.INVALID
    assert await bots.value("SELECT count(*) FROM link_offers") == 0
    other = (await bots.bot("third")).chat(9)
    assert (await other.say(f"/link {code}")).startswith("**Is")  # others are not kept from it


async def test_guessing_by_many_is_limited_together(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await there.say("hi")
    code = await code_of(here)
    people = People(bots.ground.database, bots.ground.ring, bots.ground.limiter)
    guesses = (people.redeem(bots.workspace_id, "acc_x", str(n), "garbage") for n in range(100))
    assert {outcome["outcome"] for outcome in await asyncio.gather(*guesses)} == {"invalid"}
    assert await there.say(f"/link {code}") == commands.INVALID


async def test_codes_are_not_made_without_end(bots: Bots) -> None:
    here = (await bots.bot()).chat(1)
    for _ in range(5):
        await code_of(here)
    assert await here.say("/link") == commands.TOO_MANY


async def test_in_a_group_no_code_is_shown_and_one_that_was_written_there_is_worth_nothing(bots: Bots) -> None:
    here, there = await two_chats(bots)
    group = there.bot.chat(77, "Annie", group=-9)
    assert await group.say("/link") == commands.IN_PRIVATE
    assert await bots.value("SELECT count(*) FROM link_codes") == 0
    code = await code_of(here)
    assert await group.say(f"/link {code}") == commands.IN_PRIVATE
    assert await there.say(f"/link {code}") == commands.INVALID
    assert await group.say("/link yes") == commands.IN_PRIVATE
    assert await group.say("/unlink") == commands.IN_PRIVATE
    assert "/link" not in await group.say("/help")
    assert "/link" in await there.say("/help")


async def test_three_in_a_row_are_one_person_and_part_one_by_one(bots: Bots) -> None:
    a, b, c = [(await bots.bot(f"bot{n}")).chat(n + 1, f"P{n}") for n in range(3)]
    for chat in (a, b, c):
        await chat.say(f"I am {chat.name}")
    owners = [await chat.user_id for chat in (a, b, c)]
    await join(b, c)  # c becomes b
    assert await join(a, b) == commands.LINKED  # b, with c, becomes a
    assert [await chat.user_id for chat in (a, b, c)] == [owners[0]] * 3
    assert await c.say("/unlink") == commands.UNLINKED
    assert [await chat.user_id for chat in (a, b, c)] == [owners[0], owners[0], owners[2]]
    assert await b.say("/unlink") == commands.UNLINKED
    assert [await chat.user_id for chat in (a, b, c)] == owners
    for chat, owner in zip((a, b, c), owners, strict=True):
        spoken = await bots.rows(
            "SELECT DISTINCT m.user_id, c.user_id AS place FROM messages m "
            "JOIN conversations c USING (workspace_id, conversation_id) WHERE c.account_id = $1",
            chat.bot.account_id,
        )
        assert spoken == [{"user_id": owner, "place": owner}]
    assert await a.say("/unlink") == commands.NOT_LINKED
    assert len(await bots.events("identity.linked")) == 3
    parted = await bots.events("identity.unlinked")
    assert [(event["user_id"], event["previous_user_id"]) for event in parted] == [
        (owners[2], owners[0]),
        (owners[1], owners[0]),
    ]


async def test_whoever_gave_the_code_can_leave_as_well(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await here.say("mine")
    await join(here, there)
    ann = await there.user_id
    assert await here.say("/unlink") == commands.UNLINKED
    assert await there.user_id == ann != await here.user_id
    owners = await bots.rows("SELECT account_id, user_id FROM conversations")
    assert {row["account_id"]: row["user_id"] for row in owners} == {
        here.bot.account_id: await here.user_id,
        there.bot.account_id: ann,
    }
    assert await there.say("/unlink") == commands.NOT_LINKED


async def test_parted_and_joined_again(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await join(here, there)
    annie = (await bots.events("identity.linked"))[0]["previous_user_id"]
    for _ in range(2):
        await there.say("/unlink")
        assert await there.user_id == annie
        assert await join(here, there) == commands.LINKED
        assert await one_person(here, there)
    await here.say("/unlink")
    assert await join(there, here) == commands.LINKED  # the other way round
    assert await one_person(here, there)
    await there.say("/unlink")
    assert not await one_person(here, there)


async def test_two_identities_on_one_bot_keep_their_own_places(bots: Bots) -> None:
    bot = await bots.bot()
    phone, tablet = bot.chat(1, "Phone"), bot.chat(2, "Tablet")
    group_phone, group_tablet = bot.chat(1, "Phone", group=-9), bot.chat(2, "Tablet", group=-9)
    for chat in (phone, tablet, group_phone, group_tablet):
        await chat.say(f"from {chat.name}")
    owners = (await phone.user_id, await tablet.user_id)
    await join(phone, tablet)
    assert await bots.value("SELECT count(DISTINCT user_id) FROM messages") == 1
    await tablet.say("/unlink")
    said = await bots.rows("SELECT DISTINCT user_id, text FROM messages WHERE text LIKE 'from %'")
    assert sorted((row["text"], row["user_id"]) for row in said) == [
        ("from Phone", owners[0]),
        ("from Tablet", owners[1]),
    ]
    places = await bots.rows("SELECT conversation_key, user_id FROM conversations WHERE private")
    assert {row["conversation_key"]: row["user_id"] for row in places} == {"1": owners[0], "2": owners[1]}


async def test_ratings_move_along_and_the_later_one_counts(bots: Bots) -> None:
    bot = await bots.bot()
    one, other = bot.chat(1, group=-9), bot.chat(2, group=-9)
    await one.say("hello")
    turn = one.last["turn_id"]
    await one.say(kind="feedback", detail="up", about=turn)
    await other.say(kind="feedback", detail="down", about=turn)
    await join(bot.chat(1), bot.chat(2))
    rows = await bots.rows("SELECT rating, user_id FROM feedback")
    assert rows == [{"rating": "down", "user_id": await one.user_id}]


async def test_when_the_sides_change_after_the_offer_they_are_shown_anew(bots: Bots) -> None:
    here, there = await two_chats(bots)
    third = (await bots.bot("third")).chat(9, "Third")
    await there.say(f"/link {await code_of(here)}")
    await join(there, third)  # meanwhile more has become of one side
    again = await there.say("/link yes")
    assert again.startswith(commands.CHANGED) and "third" in again
    assert not await one_person(here, there)
    assert await there.say("/link yes") == commands.LINKED
    assert await one_person(here, there, third)


async def test_an_offer_follows_its_issuer_who_was_joined_meanwhile(bots: Bots) -> None:
    here, there = await two_chats(bots)
    third = (await bots.bot("third")).chat(9, "Third")
    await there.say(f"/link {await code_of(here)}")
    await join(third, here)  # the issuer is another person by now
    assert (await there.say("/link yes")).startswith(commands.CHANGED)
    assert await there.say("/link yes") == commands.LINKED
    assert await one_person(here, there, third)


async def test_both_who_offer_each_other_end_as_one(bots: Bots) -> None:
    here, there = await two_chats(bots)
    codes_ = await code_of(here), await code_of(there)
    await asyncio.gather(there.say(f"/link {codes_[0]}"), here.say(f"/link {codes_[1]}"))
    said = await asyncio.gather(here.say("/link yes"), there.say("/link yes"))
    assert sorted(said) == sorted([commands.LINKED, commands.SAME])
    assert await one_person(here, there)


async def test_a_turn_that_runs_while_its_person_is_joined_ends_as_the_persons_who_is_left(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await there.say("hi")
    release = asyncio.Event()

    async def wait(question: str) -> None:
        if question == "slow":
            await release.wait()

    bots.answer.before = wait
    slow = there.bot.chat(77, "Annie", group=-9)
    update = await slow.send("slow")

    async def asked() -> bool:
        return "slow" in bots.answer.calls

    await until(asked)
    await join(here, there)
    release.set()
    assert await slow.answer_to(update) == "you said: slow"
    ann = await here.user_id
    for table in ("messages", "conversations", "sessions"):
        assert await bots.value(f"SELECT count(*) FROM {table} WHERE user_id <> $1", ann) == 0, table
    assert (
        await bots.value("SELECT count(*) FROM turns WHERE user_id <> $1 AND turn_id = $2", ann, slow.last["turn_id"])
        == 0
    )


async def test_what_was_begun_for_the_one_that_is_gone_is_the_others(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await there.say("hi")
    annie = await there.user_id
    await join(here, there)
    ann = await here.user_id
    async with bots.ground.database.workspace(bots.workspace_id) as conn:  # as a turn would that was just being opened
        for table in ("conversations", "sessions", "messages"):
            await conn.execute(f"UPDATE {table} SET user_id = $1 WHERE user_id = $2", annie, ann)
        await linking.stragglers(conn, linking.Linked(annie, ann))
        for table in ("conversations", "sessions", "messages"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table} WHERE user_id <> $1", ann) == 0, table


async def test_a_turn_that_is_tried_again_hears_the_same(bots: Bots) -> None:
    here, there = await two_chats(bots)
    await there.say(f"/link {await code_of(here)}")
    people = People(bots.ground.database, bots.ground.ring, bots.ground.limiter)
    who = (bots.workspace_id, there.bot.account_id, "77")
    for _ in range(2):
        assert await people.confirm(*who, "turn_1") == {"outcome": "linked"}
    assert await people.confirm(*who, "turn_2") == {"outcome": "nothing"}
    assert len(await bots.events("identity.linked")) == 1


async def test_names_cannot_smuggle_markup(bots: Bots) -> None:
    here = (await bots.bot("first")).chat(1, "`[click](https://evil.example)`\n# Big")
    there = (await bots.bot("second")).chat(77, "Annie")
    offer = await there.say(f"/link {await code_of(here)}")
    assert "`'[click](https://evil.example)' # big`" in offer


@pytest.mark.parametrize(
    "typed", ["abcd-efgh", "ABCDEFGH", " AB CD EF GH ", "abcd\u2011efgh", "ABCD\u2013EFGH", "`ABCD-EFGH`"]
)
def test_a_code_is_read_however_it_is_typed(typed: str) -> None:
    assert codes.read(typed) == "ABCD-EFGH"


@pytest.mark.parametrize("typed", ["", "ABCD-EFG", "ABCD-EFGH2", "ABCD-EFG0", "ABCD-EFGI", "x" * 10_000, "ABCD-EFGÄ"])
def test_what_cannot_be_a_code_is_none(typed: str) -> None:
    assert codes.read(typed) is None


def test_codes_are_long_and_use_their_whole_alphabet() -> None:
    made = [codes.mint() for _ in range(500)]
    assert all(codes.read(code) == code for code in made)
    assert len(set(made)) == 500
    assert set("".join(made)) == {*codes.ALPHABET, "-"} and len(codes.ALPHABET) == 32


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id)


async def test_a_code_made_over_http_links_and_http_parts_again(api: Client, bots: Bots, server: Server) -> None:
    await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "hello"})
    [ann] = (await api.get("/api/v1/users")).body["items"]
    made = await api.post("/api/v1/identities/link-codes", {"user_id": ann["user_id"]})
    assert made.status == 201 and codes.read(made.body["code"]) == made.body["code"]
    there = (await bots.bot("second")).chat(77, "Annie")
    offer = await there.say(f"/link {made.body['code']}")
    assert "REST (`REST`): `ann`, 1 message since" in offer
    assert await there.say("/link yes") == commands.LINKED
    identities = (await api.get(f"/api/v1/users/{ann['user_id']}/identities")).body["items"]
    assert {identity["channel"] for identity in identities} == {"rest", "telegram"}
    people = (await api.get("/api/v1/users")).body["items"]
    assert {person["joined_to"] for person in people} == {None, ann["user_id"]}
    telegram = next(identity for identity in identities if identity["channel"] == "telegram")
    path = f"/api/v1/identities/{telegram['identity_id']}"
    stranger = await client(server, bots.workspace_id, "read")
    assert (await stranger("DELETE", path)).status == 403
    parted = await api("DELETE", path)
    assert (parted.status, parted.body["previous_user_id"]) == (200, ann["user_id"])
    assert parted.body["user_id"] == await there.user_id
    assert (await api.get(f"/api/v1/users/{parted.body['user_id']}")).body["joined_to"] is None
    assert (await api("DELETE", path)).status == 409
    assert (await api("DELETE", "/api/v1/identities/idn_none")).status == 404


async def test_people_of_the_rest_channel_link_by_words_like_everybody(api: Client, bots: Bots) -> None:
    async def say(text: str) -> str:
        reply = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": text})
        return str(reply.body["reply"]["text"])

    there = (await bots.bot("second")).chat(77, "Annie")
    offer = await say(f"/link {await code_of(there)}")
    assert offer.startswith("**Is all of this you?**")
    assert await say("/link yes") == commands.LINKED
    assert await say("/unlink") == commands.UNLINKED
    assert await say("/unlink now") == "you said: /unlink now"  # no command of ours


async def test_codes_over_http_are_for_people_of_the_workspace_and_not_without_end(
    api: Client, server: Server, second_workspace: str, stores: Stores
) -> None:
    await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "hello"})
    [ann] = (await api.get("/api/v1/users")).body["items"]
    wanted = {"user_id": ann["user_id"]}
    foreign = await client(server, second_workspace)
    assert (await foreign.post("/api/v1/identities/link-codes", wanted)).status == 404
    answers = [await api.post("/api/v1/identities/link-codes", wanted) for _ in range(6)]
    assert [answer.status for answer in answers] == [201] * 5 + [429]
    assert answers[-1].body["retry_after"] > 0
