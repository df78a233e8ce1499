"""The Discord simulator as discord.py's own client meets it."""

import io
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from simulators.discord.limits import Limits, Rate
from simulators.discord.server import Simulator, run_simulator
from simulators.discord.state import Config
from tests.simulator_discord_kit import PNG, Client, connected, discord, eventually, named, refusal, talking


@pytest.fixture
async def both() -> AsyncIterator[tuple[Simulator, Client]]:
    async with talking() as pair:
        yield pair


async def test_people_are_heard_and_answered(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    said = sim.say("ada", "hello")
    sim.say("ben", "hello all", "general")
    await eventually(lambda: len(client.heard) == 2)
    assert client.texts() == ["hello", "hello all"]
    private, public = client.heard
    assert private.guild is None and public.guild and public.guild.name == "Fernhill"
    assert isinstance(public.author, discord.Member) and public.author.name == "ben"
    sent = await private.reply("**hi**")
    assert sent.reference and sent.reference.message_id == int(said["id"])
    await sent.edit(content="hi, Ada")
    history = [message.content async for message in private.channel.history(oldest_first=True)]
    assert history == ["hello", "hi, Ada"]
    await sent.delete()
    assert [(e["method"], e["text"], e["seen_by"]) for e in sim.sends(said["channel_id"])] == [
        ("create_message", "**hi**", [said["author"]["id"]]),
        ("edit_message", "hi, Ada", [said["author"]["id"]]),
        ("delete_message", "hi, Ada", [said["author"]["id"]]),
    ]


async def test_a_nonce_makes_one_message_for_each_author(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    channel = named(client, "general")
    first = await channel.send("once", nonce="turn-1.0")
    again = await channel.send("once, again", nonce="turn-1.0")
    assert again.id == first.id and again.content == "once"
    assert [entry["text"] for entry in sim.sends()] == ["once"]
    sim.fault("drop_after", "create_message", count=1)
    with pytest.raises(aiohttp.ClientError):
        await channel.send("cut off", nonce="turn-2.0")
    repeated = await channel.send("cut off", nonce="turn-2.0")
    assert [entry["message_id"] for entry in sim.sends()] == [str(first.id), str(repeated.id)]


async def test_a_nonce_is_forgotten_after_some_minutes() -> None:
    async with talking(Config(nonce_seconds=-1.0)) as (sim, client):
        channel = named(client, "general")
        assert await channel.send("one", nonce="7") != await channel.send("two", nonce="7")
        assert [entry["text"] for entry in sim.sends()] == ["one", "two"]


async def test_history_is_read_from_any_side(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    channel = named(client, "general")
    said = [sim.say("ada", f"{number}", "general") for number in range(7)]
    middle = discord.Object(int(said[3]["id"]))

    async def texts(**query: Any) -> list[str]:
        return [message.content async for message in channel.history(**query)]

    assert await texts(limit=3) == ["6", "5", "4"]
    assert await texts(after=middle, limit=2) == ["4", "5"]
    assert await texts(before=middle, limit=2) == ["2", "1"]
    assert await texts(around=middle, limit=3) == ["4", "3", "2"]
    assert await texts(after=discord.Object(0), limit=None) == list("0123456")
    assert (await channel.fetch_message(middle.id)).content == "3"


async def test_files_go_both_ways(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    channel = named(client, "general")
    picture = discord.File(io.BytesIO(PNG), "a.png", description="three by two")
    sent = await channel.send("see", files=[picture, discord.File(io.BytesIO(b"some text"), "b.txt")])
    sim.say("ada", "", "general", files={"c.txt": b"from Ada"})
    await eventually(lambda: len(client.heard) == 1)
    assert await client.heard[0].attachments[0].read() == b"from Ada"
    image, text = sent.attachments
    assert (image.width, image.height, image.description) == (3, 2, "three by two")
    assert await text.read() == b"some text"
    kept = await sent.edit(attachments=[text])
    assert [attachment.filename for attachment in kept.attachments] == ["b.txt"]
    async with aiohttp.ClientSession() as session, session.get(text.url.replace("hm=", "hm=0")) as answer:
        assert answer.status == 404
    with pytest.raises(discord.HTTPException) as refused:
        await channel.send(file=discord.File(io.BytesIO(b"x" * (sim.world.config.file_limit + 1)), "big"))
    assert refusal(refused) == (413, 40005)


async def test_refusals_have_the_servers_words(both: tuple[Simulator, Client]) -> None:
    sim, _ = both
    general = next(c.id for c in sim.world.channels.values() if c.name == "general")
    row = {"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "c" * 101}]}
    refusals: list[tuple[dict[str, Any], int, str]] = [
        ({"content": ""}, 50006, ""),
        ({"content": "x" * 2001}, 50035, "Must be 2000 or fewer in length."),
        ({"content": "x", "nonce": "n" * 26}, 50035, "Must be 25 or fewer in length."),
        ({"content": "x", "components": [row]}, 50035, "Must be between 1 and 100 in length."),
        ({"content": "x", "components": [{"type": 1}] * 6}, 50035, "Must be between 1 and 5 in length."),
        ({"content": "x", "message_reference": {"message_id": "77"}}, 50035, "Unknown message"),
        ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, 50035,
         'parse:["users"] and users: [ids...] are mutually exclusive.'),
        ({"embeds": [{"title": "t" * 257}]}, 50035, "Must be 256 or fewer in length."),
    ]  # fmt: skip
    async with aiohttp.ClientSession(headers={"Authorization": f"Bot {sim.bot.token}"}) as session:
        for body, code, words in refusals:
            async with session.post(f"{sim.api_url}/channels/{general}/messages", json=body) as answer:
                assert answer.status == 400
                told = await answer.json()
                assert told["code"] == code and words in str(told)
        missing = {"/channels/1": 10003, "/nothing": 0, f"/channels/{general}/messages/1": 10008}
        for path, code in missing.items():
            async with session.get(sim.api_url + path) as answer:
                assert (answer.status, (await answer.json())["code"]) == (404, code)
    async with aiohttp.ClientSession() as session, session.get(f"{sim.api_url}/users/@me") as answer:
        assert answer.status == 401 and await answer.json() == {"message": "401: Unauthorized", "code": 0}
    assert sim.sends() == []
    with pytest.raises(discord.LoginFailure):
        async with Client(sim.url) as stranger:
            await stranger.login("nobody")


async def test_no_form_is_too_odd_to_be_refused() -> None:
    values: list[Any] = [None, 0, True, "", "x", [], [1], [None], {}, {"a": 1}, [{}], [[]], {"parse": "x"}]
    values += [[{"footer": "x"}], [{"fields": [1]}], {"message_id": []}, [{"type": 1, "components": [1]}]]
    values += [[{"type": 1, "components": [{"type": 2, "style": "x"}]}]]
    names = ["content", "nonce", "embeds", "components", "allowed_mentions", "message_reference", "flags", "type"]
    names += ["attachments", "name", "message", "recipient_id", "options", "description"]
    rng = random.Random(11)
    async with run_simulator(config=Config(seed=7)) as sim:
        channels = {channel.name: channel.id for channel in sim.world.channels.values()}
        routes = [
            f"channels/{channels['general']}/messages",
            f"channels/{channels['ideas']}/threads",
            f"applications/{sim.bot.id}/commands",
            "users/@me/channels",
        ]
        async with aiohttp.ClientSession(headers={"Authorization": f"Bot {sim.bot.token}"}) as session:
            for number in range(600):
                body = {name: rng.choice(values) for name in rng.sample(names, 4)}
                if number % 2:
                    body |= {"content": "x", "name": "x", "description": "x"}
                async with session.post(f"{sim.api_url}/{rng.choice(routes)}", json=body) as answer:
                    assert answer.status < 500, body


async def test_access_and_permissions_are_kept(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    world = sim.world
    staff, support = named(client, "staff"), named(client, "support")
    world.channels[staff.id].members.discard(sim.bot.id)
    with pytest.raises(discord.Forbidden) as refused:
        await staff.send("hi")
    assert refusal(refused) == (403, 50001)
    world.channels[support.id].denied[sim.bot.id] = discord.Permissions(send_messages=True).value
    with pytest.raises(discord.Forbidden) as refused:
        await support.send("hi")
    assert refusal(refused) == (403, 50013)
    sim.say("ada", "the key is under the mat", "staff")
    said = sim.say("ada", "hello", "general")
    await eventually(lambda: client.texts() == ["hello"])
    with pytest.raises(discord.Forbidden) as refused:
        await client.heard[0].edit(content="not mine")
    assert refusal(refused) == (403, 50005)
    with pytest.raises(discord.Forbidden) as refused:
        await client.heard[0].delete()
    assert refusal(refused) == (403, 50013)
    ada = await client.fetch_user(int(said["author"]["id"]))
    await ada.send("to you alone")
    world.people[ada.id].closed.add(sim.bot.id)
    with pytest.raises(discord.Forbidden) as refused:
        await ada.send("still there?")
    assert refusal(refused) == (403, 50007)


async def test_mentions_reactions_and_typing(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    ben = next(person for person in sim.world.people.values() if person.name == "ben")
    channel = named(client, "general")
    everyone = await channel.send(f"<@{ben.id}> @everyone", allowed_mentions=discord.AllowedMentions.none())
    assert everyone.mentions == [] and not everyone.mention_everyone
    pinged = await channel.send(f"<@{ben.id}>")
    assert [user.id for user in pinged.mentions] == [ben.id]
    await pinged.add_reaction("👀")
    assert sim.react("ben", pinged.id, "👍", "general") and not sim.react("ben", pinged.id, "👍", "general")
    seen = await channel.fetch_message(pinged.id)
    assert [(str(r.emoji), r.count, r.me) for r in seen.reactions] == [("👀", 1, True), ("👍", 1, False)]
    assert [user.id async for user in seen.reactions[1].users()] == [ben.id]
    await pinged.remove_reaction("👀", discord.Object(sim.bot.id))
    with pytest.raises(discord.HTTPException) as refused:
        await pinged.add_reaction("nonsense")
    assert refusal(refused) == (400, 10014)
    await channel.typing()
    assert list(sim.world.channels[channel.id].typing) == [sim.bot.id]
    await channel.send("done")
    assert not sim.world.channels[channel.id].typing


async def test_threads_and_forum_posts(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    sim.say("ada", "let us talk", "general")
    await eventually(lambda: len(client.heard) == 1)
    thread = await client.heard[0].create_thread(name="Talk")
    assert thread.id == client.heard[0].id and thread.parent_id == client.heard[0].channel.id
    await thread.send("in here")
    with pytest.raises(discord.HTTPException) as refused:
        await client.heard[0].create_thread(name="Again")
    assert refusal(refused) == (400, 160004)
    sim.say("ben", "me too", thread.id)
    await eventually(lambda: client.texts() == ["let us talk", "me too"])
    assert isinstance(client.heard[1].channel, discord.Thread)
    forum = client.guilds[0].forums[0]
    made = await forum.create_thread(name="An idea", content="what if")
    assert made.message.id == made.thread.id and made.thread.parent_id == forum.id
    active = await client.guilds[0].active_threads()
    assert {one.name for one in active} == {"Talk", "An idea"}
    await made.thread.edit(archived=True)
    assert [one.name async for one in forum.archived_threads()] == ["An idea"]
    with pytest.raises(discord.HTTPException) as refused:
        await client.http.send_message(forum.id, params=discord.http.handle_message_parameters("no"))
    assert refusal(refused) == (400, 50008)


async def test_the_client_keeps_within_the_limits() -> None:
    limits = Limits(routes=(("create_message", Rate(2, 0.1)),), bot=Rate(6, 0.1))
    async with talking(Config(flood=True, limits=limits)) as (sim, client):
        for number in range(5):
            await named(client, "general").send(f"{number}")
        assert [entry["text"] for entry in sim.sends()] == list("01234")


async def test_limits_are_told_and_a_ban_follows() -> None:
    limits = Limits(routes=(("create_message", Rate(2, 600.0)),), bot=Rate(6, 600.0), invalid=Rate(3, 600.0))
    config = Config(flood=True, limits=limits)
    async with run_simulator(config=config) as sim:
        headers = {"Authorization": f"Bot {sim.bot.token}"}
        general = next(c.id for c in sim.world.channels.values() if c.name == "general")
        url = f"{sim.api_url}/channels/{general}"
        async with aiohttp.ClientSession(headers=headers) as session:
            answers = [await session.post(f"{url}/messages", json={"content": "x"}) for _ in range(3)]
            assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
            assert len({answer.headers["X-RateLimit-Bucket"] for answer in answers}) == 1
            late = answers[2]
            told = await late.json()
            assert late.status == 429 and late.headers["X-RateLimit-Scope"] == "user" and late.headers["Via"]
            assert 0 < told["retry_after"] <= 600 and not told["global"]
            whole = [await session.get(url) for _ in range(6)]
            assert [answer.status for answer in whole] == [200] * 4 + [429] * 2
            assert whole[-1].headers["X-RateLimit-Global"] == "true"
            banned = await session.get(f"{sim.api_url}/users/@me")
            assert banned.status == 429 and "Via" not in banned.headers and await banned.text() == "error code: 1015"


async def test_errors_and_delays_to_order(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    channel = named(client, "general")
    sim.fault("delay", ms=1)
    sim.fault("status", "create_*", status=403, code=50013, description="Missing Permissions", count=1)
    with pytest.raises(discord.Forbidden):
        await channel.send("one")
    sim.fault("status", "create_message", status=429, retry_after=0.01, count=1)
    await channel.send("two")
    sim.fault("drop_before", "create_message", channel=channel.id, count=1)
    with pytest.raises(aiohttp.ClientError):
        await channel.send("three")
    assert [entry["text"] for entry in sim.sends()] == ["two"]
    assert dict(sim.world.calls["create_message"]) == {"403": 1, "429": 1, "ok": 1, "drop_before": 1}


async def test_two_bots_are_two() -> None:
    async with talking() as (sim, client):
        async with aiohttp.ClientSession() as session:
            made = await (await session.post(f"{sim.url}/sim/bots", json={"name": "Other"})).json()
        async with connected(sim, token=made["token"]) as other:
            sim.say("ada", "to the first")
            sim.say("ada", "to the other", bot="Other")
            await eventually(lambda: client.texts() == ["to the first"] and other.texts() == ["to the other"])
