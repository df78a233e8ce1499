"""One app's door to the Web API: bounded calls over HTTP sessions that the process shares, and slack_sdk for the rest.

The calls of every turn go through `SlackClient.call`, which tells a request that never left from one that nobody
answered. slack_sdk is imported when it is first needed, so that a process without a Slack bot does not pay for it.
https://docs.slack.dev/apis/web-api
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from yarl import URL

from kernel.types import Account, Json

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
SDK_SECONDS = 20
_JSON = "application/json; charset=utf-8"


class NotConnected(Exception):
    """No connection came about, so the request surely did not leave."""


class NoAnswer(Exception):
    """The request may have left, and no usable answer came back."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the Web API said: `data` when there is no `error`. `retry_after` in seconds, with a rate limit; `scopes` are
    those of the token, where Slack tells."""

    status: int
    error: str = ""
    data: Json = field(default_factory=dict)
    retry_after: float | None = None
    scopes: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        return not self.error


class SlackClient:
    """One account: its bot in one Slack workspace, or in several (`teams`). Addresses and receipts name the team."""

    def __init__(self, account: Account, base_url: str, session: aiohttp.ClientSession) -> None:
        credentials = account.credentials
        self.account = account
        self.base_url = base_url.rstrip("/") + "/"  # slack_sdk adds the method to it as it stands
        self.session = session
        self.app_token = str(credentials.get("app_token") or "")
        self._token = str(credentials.get("bot_token") or "")
        teams = credentials.get("teams")
        self._teams: Mapping[str, Any] = teams if isinstance(teams, dict) else {}
        self._urls: dict[str, URL] = {}
        self._quiet: dict[str, float] = {}
        self._webs: dict[str, AsyncWebClient] = {}
        self.named: set[str] = set()  # direct threads whose title was set

    @property
    def tokens(self) -> dict[str, str]:
        """The bot tokens by team. The account's own bot, where it is not one of the teams', by its profile's team."""
        found = {team: str(known.get("bot_token") or "") for team, known in self._teams.items()}
        own = str(self.account.profile.get("team") or "")
        if self._token and own not in found:
            found[own] = self._token
        return found

    def token(self, team: str) -> str:
        known = self._teams.get(team)
        return str(known.get("bot_token") or "") if isinstance(known, dict) else self._token

    def bot_user(self, team: str) -> str:
        known = self._teams.get(team)
        found = known if isinstance(known, dict) else self.account.profile
        return str(found.get("bot_user_id") or "")

    async def close(self) -> None:
        """The session belongs to the process; slack_sdk opens one for each of its calls."""

    async def call(
        self,
        team: str,
        method: str,
        parameters: Json,
        read_seconds: float = READ_SECONDS,
        *,
        form: bool = False,
        token: str | None = None,
    ) -> Answer:
        """One Web API call. Methods that read take a `form`, those that write JSON as well.

        Raises NotConnected or NoAnswer, and nothing else for what a network or Slack may do.
        """
        url = self._urls.get(method)
        if url is None:
            url = self._urls[method] = URL(self.base_url + method, encoded=True)
        token = self.token(team) if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body: Any = aiohttp.FormData(parameters) if form else orjson.dumps(parameters)
        if not form:
            headers["Content-Type"] = _JSON
        status, found, payload = await exchange(self.session, "POST", url, body, headers, read_seconds)
        return answer_of(status, found, payload)

    def hush(self, what: str, seconds: float) -> None:
        """Remembers that `what` is not to be tried for a while."""
        if len(self._quiet) > 1000:
            self._quiet.clear()
        self._quiet[what] = time.monotonic() + seconds

    def hushed(self, what: str) -> bool:
        return self._quiet.get(what, 0.0) > time.monotonic()

    def web(self, team: str) -> AsyncWebClient:
        """slack_sdk's client with a team's token. It waits out rate limits, and its errors are SlackApiError."""
        if team not in self._webs:
            from slack_sdk.http_retry.builtin_async_handlers import (
                AsyncConnectionErrorRetryHandler,
                AsyncRateLimitErrorRetryHandler,
            )
            from slack_sdk.web.async_client import AsyncWebClient

            again = [AsyncConnectionErrorRetryHandler(), AsyncRateLimitErrorRetryHandler(max_retry_count=10)]
            self._webs[team] = AsyncWebClient(
                self.token(team), base_url=self.base_url, timeout=SDK_SECONDS, retry_handlers=again
            )
        return self._webs[team]


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    body: Any,
    headers: dict[str, str],
    read_seconds: float,
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of one HTTP exchange, tried once. Raises NotConnected or NoAnswer, outside the handler
    so that no exception with a token hangs on them."""
    failure: Exception
    try:
        async with session.request(
            method, url, data=body, headers=headers, timeout=_timeout(read_seconds), allow_redirects=False
        ) as response:
            return response.status, response.headers, await response.read()
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        failure = NotConnected(type(error).__name__)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        failure = NoAnswer(type(error).__name__)
    raise failure


@functools.cache
def _timeout(read_seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=CONNECT_SECONDS + read_seconds, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS
    )


def answer_of(status: int, headers: Mapping[str, str], payload: bytes) -> Answer:
    """Reads the Web API's envelope. Raises NoAnswer when the body is not one.

    Source: https://docs.slack.dev/apis/web-api/#responses and https://docs.slack.dev/apis/web-api/rate-limits
    """
    try:
        data = orjson.loads(payload)
    except orjson.JSONDecodeError:
        data = None
    if status == 429:
        return Answer(status, "ratelimited", retry_after=_seconds(headers.get("Retry-After", "")))
    if not isinstance(data, dict) or not isinstance(data.get("ok"), bool):
        raise NoAnswer(f"HTTP {status} without a Web API answer")
    if data["ok"] and status == 200:
        scopes = headers.get("X-OAuth-Scopes", "")
        return Answer(status, data=data, scopes=[scope.strip() for scope in scopes.split(",") if scope.strip()])
    error = str(data.get("error") or f"http_{status}")
    limited = error in ("ratelimited", "rate_limited")
    return Answer(status, error, data, _seconds(headers.get("Retry-After", "")) if limited else None)


def _seconds(header: str) -> float:
    return float(header) if header.isascii() and header.isdecimal() and len(header) < 7 else 1.0
