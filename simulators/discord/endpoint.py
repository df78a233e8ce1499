"""Interactions over HTTP: signed POSTs to the application's endpoint, which has three seconds, and the probe before."""

import asyncio
import json
from dataclasses import dataclass, field

import aiohttp

from simulators.discord import responses
from simulators.discord.errors import ApiError, JsonObject, invalid
from simulators.discord.interactions import PING, expire
from simulators.discord.params import Params, Upload, json_object
from simulators.discord.signing import sign
from simulators.discord.state import Bot, Interaction, World
from simulators.discord.wire import dump

SIGNATURE_HEADER = "X-Signature-Ed25519"
TIMESTAMP_HEADER = "X-Signature-Timestamp"
PROBE_PAUSE = 0.5


@dataclass(eq=False, slots=True)
class Endpoint:
    """Posts interactions; every one is a task of its own until it is answered or too late."""

    world: World
    session: aiohttp.ClientSession
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def deliver(self, bot: Bot, asked: Interaction, payload: JsonObject) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(bot, asked, payload))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def stop(self) -> None:
        running = list(self.tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _deliver(self, bot: Bot, asked: Interaction, payload: JsonObject) -> None:
        forged = self.world.faults.strike(("bad_signature",), "interaction_create", bot.id, asked.channel)
        try:
            status, params = await self._post(bot, bot.interactions_url, payload, forged=bool(forged))
        except TimeoutError:
            outcome = "timeout"
        except (aiohttp.ClientError, OSError, ApiError):
            outcome = "failed"
        else:
            outcome = self._accepted(asked, params) if status == 200 else str(status)
        self.world.count("interactions", outcome)
        if outcome not in ("ok", "202"):
            expire(self.world, asked)

    def _accepted(self, asked: Interaction, params: Params) -> str:
        try:
            responses.respond(self.world, asked, params)
        except ApiError as error:
            return str(error.code)
        return "ok"

    async def verify(self, bot: Bot, url: str) -> None:
        """Set a bot's endpoint, "" for none, after Discord's two probes: PING must be answered, forgery refused.

        Raises ApiError, and the old endpoint stays.
        """
        if url and not await self._passes(bot, url):
            words = "The specified interactions endpoint url could not be verified."
            raise invalid("interactions_endpoint_url", "APPLICATION_INTERACTIONS_ENDPOINT_URL_INVALID", words)
        bot.interactions_url = url
        self.world.changes += 1
        self.world.hub.publish("endpoint", bot_id=str(bot.id), url=url)

    async def _passes(self, bot: Bot, url: str) -> bool:
        ping = {
            "id": str(self.world.take_id()),
            "application_id": str(bot.id),
            "type": PING,
            "token": "ping",
            "version": 1,
            "user": bot.profile(),
        }
        try:
            forged, _ = await self._post(bot, url, ping, forged=True)
            status, params = await self._post(bot, url, ping, forged=False)
        except (aiohttp.ClientError, OSError, TimeoutError, ApiError):
            return False
        return forged == 401 and status == 200 and params.values.get("type") == responses.PONG

    async def keep_trying(self, bot: Bot, url: str) -> None:
        """Set an endpoint that may not be up yet."""
        while bot.interactions_url != url:
            try:
                await self.verify(bot, url)
            except ApiError:
                await asyncio.sleep(PROBE_PAUSE)

    async def _post(self, bot: Bot, url: str, payload: JsonObject, forged: bool) -> tuple[int, Params]:
        body, timestamp = dump(payload), str(int(self.world.now()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Discord-Interactions/1.0 (+https://discord.com)",
            SIGNATURE_HEADER: sign(bot.key, timestamp, body + b" " if forged else body),
            TIMESTAMP_HEADER: timestamp,
        }
        limit = aiohttp.ClientTimeout(total=self.world.config.response_seconds)
        async with self.session.post(url, data=body, headers=headers, timeout=limit) as response:
            params = await _read(response) if response.status == 200 else Params({})
            return response.status, params


async def _read(response: aiohttp.ClientResponse) -> Params:
    """The answer: JSON, or a form with payload_json and files[n]."""
    if response.content_type != "multipart/form-data":
        return Params(json_object(await response.read()))
    values: JsonObject = {}
    files: dict[str, Upload] = {}
    reader = aiohttp.MultipartReader.from_response(response)
    while (part := await reader.next()) is not None:
        if not isinstance(part, aiohttp.BodyPartReader):
            continue
        data, name = bytes(await part.read(decode=True)), part.name or ""
        if name == "payload_json":
            values = json.loads(data)
        elif part.filename:
            mime = part.headers.get("Content-Type", "application/octet-stream")
            files[name] = Upload(part.filename, mime, data)
    return Params(values, files)
