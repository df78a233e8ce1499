"""Getting events and interactions to the app: over Socket Mode while a connection is open, else by signed HTTP POST.

Three seconds for an answer; an event gets up to three retries (at once, after a minute, after five).
https://docs.slack.dev/apis/events-api#error-handling
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp

from simulators.slack.faults import ATTEMPT_KINDS
from simulators.slack.sockets import Sockets
from simulators.slack.state import World
from simulators.slack.values import App, Dispatch, JsonObject

FORM = "application/x-www-form-urlencoded"
USER_AGENT = "Slackbot 1.0 (+https://api.slack.com/robots)"


def signed_headers(secret: str, body: bytes, timestamp: int) -> dict[str, str]:
    """X-Slack-Request-Timestamp and X-Slack-Signature (v0) of a body.

    https://docs.slack.dev/authentication/verifying-requests-from-slack
    """
    base = b"v0:%d:%s" % (timestamp, body)
    mark = hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": str(timestamp), "X-Slack-Signature": f"v0={mark}"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt. error: "" when it was accepted, else the retry reason. body: what the app answered."""

    error: str = ""
    no_retry: bool = False
    status: int = 200
    body: bytes = b""
    payload: JsonObject | None = None


class Delivery:
    """Runs a task for each event and interaction until it was delivered or given up."""

    def __init__(self, world: World, sockets: Sockets, session: aiohttp.ClientSession) -> None:
        self._world = world
        self._sockets = sockets
        self._session = session
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for dispatch in list(self._world.pending.values()):
            self.add(dispatch)
        self._world.deliver = self.add
        app = self._world.app
        if app.request_url and not app.verified:
            self._run(self._greet(app))

    async def stop(self) -> None:
        self._world.deliver = lambda dispatch: None
        running = list(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def add(self, dispatch: Dispatch) -> None:
        self._run(self._deliver(dispatch))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _greet(self, app: App) -> None:
        """A request URL from the configuration gets its challenge, too; events go there whatever comes of it."""
        app.verified = not await self.verify(app.request_url)

    async def _deliver(self, dispatch: Dispatch) -> None:
        reason = ""
        retries = self._world.pace.retries if dispatch.kind == "events_api" else ()
        while True:
            await self._world.calm.wait()
            dispatch.attempts += 1
            answer = await self._attempt(dispatch, reason)
            if dispatch.serial not in self._world.pending:
                return  # forgotten meanwhile
            if not answer.error or answer.no_retry or dispatch.attempts > len(retries):
                break
            reason = answer.error
            await asyncio.sleep(retries[dispatch.attempts - 1] * self._world.pace.scale)
        self._finish(dispatch, answer)

    def _finish(self, dispatch: Dispatch, answer: Answer) -> None:
        world = self._world
        del world.pending[dispatch.serial]
        world.changes += 1
        if answer.error:
            world.lost += 1
        else:
            world.delivered += 1
        world.hub.publish("delivery", name=dispatch.name, error=answer.error, pending=len(world.pending))
        if dispatch.answered:
            dispatch.answered(_told(answer))

    async def _attempt(self, dispatch: Dispatch, reason: str) -> Answer:
        fault = self._world.faults.for_event(ATTEMPT_KINDS, dispatch.name, dispatch.team, dispatch.channel)
        kind = fault.kind if fault else ""
        if kind == "close_socket":
            await self._sockets.cut()
            return Answer("connection_failed")
        if self._sockets:
            return await self._over_socket(dispatch, reason)
        url = _url(self._world.app, dispatch.kind)
        if not url:
            return Answer("connection_failed")
        return await self._over_http(dispatch, url, reason, forged=kind == "bad_signature")

    async def _over_socket(self, dispatch: Dispatch, reason: str) -> Answer:
        try:
            payload = await self._sockets.send(dispatch, reason)
        except TimeoutError:
            return Answer("timeout")
        except ConnectionError:
            return Answer("connection_failed")
        return Answer(payload=payload)

    async def _over_http(self, dispatch: Dispatch, url: str, reason: str, forged: bool) -> Answer:
        body, mime = _encoded(dispatch)
        secret = self._world.app.signing_secret + ("x" if forged else "")
        headers = signed_headers(secret, body, int(self._world.now()))
        headers |= {"Content-Type": mime, "User-Agent": USER_AGENT}
        if dispatch.attempts > 1:
            headers |= {"X-Slack-Retry-Num": str(dispatch.attempts - 1), "X-Slack-Retry-Reason": reason}
        return await self.post(url, body, headers)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """One POST to the app, within the time an app has."""
        limit = aiohttp.ClientTimeout(total=self._world.pace.ack)
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False, timeout=limit
            ) as response:
                answered = await response.read()
        except TimeoutError:
            return Answer("http_timeout")
        except aiohttp.ClientError:
            return Answer("connection_failed")
        if 200 <= response.status <= 299:
            return Answer(status=response.status, body=answered)
        no_retry = response.headers.get("X-Slack-No-Retry") == "1"
        return Answer("http_error", no_retry, response.status, answered)

    async def verify(self, url: str) -> str:
        """url_verification: "" when the app sent the challenge back, else what was wrong.

        https://docs.slack.dev/reference/events/url_verification
        """
        challenge = f"{self._world.wire.getrandbits(256):064x}"
        token = self._world.app.verification_token
        body = json.dumps({"token": token, "challenge": challenge, "type": "url_verification"}).encode()
        headers = signed_headers(self._world.app.signing_secret, body, int(self._world.now()))
        answer = await self.post(url, body, headers | {"Content-Type": "application/json", "User-Agent": USER_AGENT})
        if answer.error:
            return f"Your URL didn't respond with the value of the challenge parameter ({answer.error})"
        return "" if challenge.encode() in answer.body else "Challenge failed: the response has no challenge"


def _url(app: App, kind: str) -> str:
    special = {"interactive": app.interactivity_url, "slash_commands": app.commands_url}.get(kind)
    return special or app.request_url


def _encoded(dispatch: Dispatch) -> tuple[bytes, str]:
    """The body of a POST: events are JSON, interactions a form with JSON in it, commands a form."""
    if dispatch.kind == "events_api":
        return json.dumps(dispatch.payload).encode(), "application/json"
    if dispatch.kind == "interactive":
        return urlencode({"payload": json.dumps(dispatch.payload)}).encode(), FORM
    return urlencode(dispatch.payload).encode(), FORM


def _told(answer: Answer) -> JsonObject:
    """What an app made of an interaction: ok, error, status and its answer, text or an object."""
    payload = answer.payload
    text = answer.body.decode(errors="replace")
    if payload is None and text.startswith("{"):
        try:
            payload = json.loads(text)
        except ValueError:
            payload = None
    return {"ok": not answer.error, "error": answer.error, "status": answer.status, "text": text, "payload": payload}
