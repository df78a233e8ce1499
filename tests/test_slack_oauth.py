"""Installing the app in further Slack workspaces by OAuth, through a served gateway and the simulator's own pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from channels import accounts
from channels.slack import oauth
from channels.slack.install import SCOPES, open_bot
from channels.slack.parse import parse
from channels.slack.send import send
from gateway.services import Ground
from kernel.types import Account, Json, Sent, Unit
from simulators.slack.server import Simulator, run_simulator
from simulators.slack.state import Config
from tests.http_face import Client, Reply, Server, client, served
from tests.slack_parts import message_of, said

PUBLIC = "https://parley.example"
KEY = b"k" * 32


@dataclass
class Face:
    server: Server
    simulator: Simulator
    call: Client
    account_id: str

    async def account(self) -> Account:
        async with self.server.ground.database.workspace(self.call.workspace_id) as conn:
            found = await accounts.find(conn, self.server.ground.ring, self.account_id)
        assert found is not None
        return found

    async def link(self) -> str:
        made = await self.call.get(f"/api/v1/channels/{self.account_id}/install-link")
        assert made.status == 200, made.raw
        return here(made.body["install_url"])

    async def begin(self) -> tuple[str, str]:
        """Slack's address, and the cookie."""
        begun = await self.call.get(await self.link())
        assert begun.status == 302, begun.raw
        return begun.headers["Location"], begun.headers["Set-Cookie"].partition(";")[0]

    async def allow(self, url: str, **choice: str) -> str:
        """What a person does on Slack's page; the way back."""
        async with self.server.http.get(f"{url}&{urlencode(choice)}", allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            return here(answer.headers["Location"])

    async def back(self, path: str, cookie: str) -> Reply:
        return await self.call.get(path, headers={"Cookie": cookie})


def here(url: str) -> str:
    assert url.startswith(PUBLIC + "/"), url
    return url.removeprefix(PUBLIC)


@pytest.fixture
async def face(ground: Ground, workspace_id: str) -> AsyncIterator[Face]:
    async with run_simulator(config=Config(seed=5, installed=False)) as simulator:
        slack: Json = {
            "slack_api_base_url": simulator.api_url.rstrip("/"),
            "slack_oauth_authorize_url": f"{simulator.url}/oauth/v2/authorize",
            "public_url": PUBLIC,
        }
        async with served(ground, **slack) as server:
            call = await client(server, workspace_id)
            credentials = {
                "signing_secret": simulator.app.signing_secret,
                "client_id": simulator.app.client_id,
                "client_secret": simulator.app.client_secret,
            }
            made = await call.post(
                "/api/v1/channels", {"kind": "slack", "name": "Slack", "mode": "webhook", "credentials": credentials}
            )
            assert made.status == 201, made.raw
            yield Face(server, simulator, call, made.body["account_id"])


async def test_two_teams_on_one_account(face: Face) -> None:
    names = [team.name for team in face.simulator.world.teams.values()]
    for team in face.simulator.world.teams:
        url, cookie = await face.begin()
        assert parse_qs(urlsplit(url).query)["scope"] == [",".join(SCOPES)]
        done = await face.back(await face.allow(url, approve="1", team=team), cookie)
        assert done.status == 200 and done.headers["Content-Type"].startswith("text/html")
        assert face.simulator.world.teams[team].name in done.raw.decode()
        assert "Max-Age=0" in done.headers["Set-Cookie"]
    account = await face.account()
    teams = account.credentials["teams"]
    assert [kept["team_name"] for kept in teams.values()] == names
    client = await open_bot(account, face.server.services.wire)
    for team, kept in teams.items():
        asked = face.simulator.say("ada", "@parley hello", "#support", team=team)
        update = {**said(f"<@{kept['bot_user_id']}> hello", user="U1"), "team_id": team, "authorizations": []}
        assert message_of(parse(account, update)).addressed
        address = {"team": team, "channel": asked["channel"]}
        assert isinstance(await send(client, address, Unit({"text": "hi"}, "hi"), False, "out_1"), Sent)
        assert face.simulator.sends()[-1]["team"] == team


async def test_the_way_back_is_for_the_browser_that_set_out_and_once(face: Face) -> None:
    url, cookie = await face.begin()
    back = await face.allow(url, approve="1")
    assert (await face.back(back, "")).status == 422
    assert (await face.back(back, cookie + "x")).status == 422
    assert (await face.back(back.replace("state=", "state=1"), cookie)).status == 422
    assert (await face.account()).credentials.get("teams") is None
    assert (await face.back(back, cookie)).status == 200
    again = await face.back(back, cookie)
    assert again.status == 422 and "invalid_code" in again.body["message"]


async def test_a_refusal_installs_nothing(face: Face) -> None:
    url, cookie = await face.begin()
    done = await face.back(await face.allow(url, deny="1"), cookie)
    assert done.status == 200 and "Nothing was installed" in done.raw.decode()
    assert (await face.account()).credentials.get("teams") is None


async def test_when_slack_is_away_one_may_try_again(face: Face) -> None:
    url, cookie = await face.begin()
    back = await face.allow(url, approve="1")
    face.simulator.fault("outage")
    assert (await face.back(back, cookie)).status == 503


async def test_a_link_is_made_by_who_may_and_proves_it(face: Face, second_workspace: str) -> None:
    root = f"/channels/slack/{face.account_id}"
    for key in ("", "?key=", "?key=1.2", "?key=99999999999.ab", f"?key={'9' * 200}"):
        assert (await face.call.get(f"{root}/install{key}")).status == 422, key
    link = await face.link()
    assert (await face.call.get(link[:-1] + ("0" if link[-1] != "0" else "1"))).status == 422
    assert (await face.call.get("/channels/slack/acc_other/install?key=1.2")).status == 404
    stranger = await client(face.server, second_workspace)
    assert (await stranger.get(f"/api/v1/channels/{face.account_id}/install-link")).status == 404
    reader = await client(face.server, face.call.workspace_id, "read")
    assert (await reader.get(f"/api/v1/channels/{face.account_id}/install-link")).status == 403


async def test_an_account_without_an_app_has_no_link(face: Face) -> None:
    made = await face.call.post("/api/v1/channels", {"kind": "web", "name": "Web", "mode": "api"})
    assert made.status == 201, made.raw
    refused = await face.call.get(f"/api/v1/channels/{made.body['account_id']}/install-link")
    assert refused.status == 409
    assert (await face.call.get(f"/channels/slack/{made.body['account_id']}/install?key=1.2")).status == 404


async def test_teams_that_come_at_once_are_all_kept(face: Face) -> None:
    ground = face.server.ground

    async def add(team: str) -> None:
        async with ground.database.workspace(face.call.workspace_id) as conn:
            change = partial(oauth.with_team, team=team, kept={"bot_token": f"xoxb-{team}"})
            await accounts.amend(conn, ground.ring, face.account_id, change)

    await asyncio.gather(*(add(f"T{n}") for n in range(8)))
    account = await face.account()
    assert sorted(account.credentials["teams"]) == [f"T{n}" for n in range(8)]
    assert account.credentials["client_id"] == face.simulator.app.client_id


def test_tokens_hold_for_their_words_and_their_time() -> None:
    now = time.time()
    token = oauth.sign(KEY, ("acc_1", "browser"), int(now) + 10)
    assert oauth.genuine(KEY, ("acc_1", "browser"), token, now)
    assert not oauth.genuine(KEY, ("acc_1", "browser"), token, now + 20)
    assert not oauth.genuine(KEY, ("acc_2", "browser"), token, now)
    assert not oauth.genuine(b"x" * 32, ("acc_1", "browser"), token, now)
    later = f"{int(now) + 1000}.{token.partition('.')[2]}"
    assert not oauth.genuine(KEY, ("acc_1", "browser"), later, now)
    for nonsense in ("", ".", "x.y", "²." + "a" * 64, "-1.a", token + "\udc80"):
        assert not oauth.genuine(KEY, ("acc_1", "browser"), nonsense, now)
