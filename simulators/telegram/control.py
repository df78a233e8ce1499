"""The control API under /sim/: what people do, what they saw, and what shall go wrong. JSON in, JSON out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from simulators.telegram import groups, people
from simulators.telegram.errors import ApiError
from simulators.telegram.faults import parse_fault
from simulators.telegram.files import store
from simulators.telegram.params import Params, read_params
from simulators.telegram.people import Refused
from simulators.telegram.state import Bot, Chat, JsonObject, User, World
from simulators.telegram.views import chat_view, person_view, seen_view
from simulators.telegram.webhook import webhook_info

FILE_KINDS = ("photo", "document", "voice", "sticker")
TRUTH_PAGE = 1000
HEARTBEAT_SECONDS = 15.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The handlers. `closing` ends event streams when the server stops."""

    def __init__(self, world: World, closing: asyncio.Event) -> None:
        self._world = world
        self._closing = closing

    def add_routes(self, app: web.Application) -> None:
        posts: dict[str, Callable[[Params], Awaitable[JsonObject]]] = {
            "bots": self.post_bot,
            "users": self.post_user,
            "chats": self.post_chat,
            "topics": self.post_topic,
            "members": self.post_member,
            "messages": self.post_message,
            "edits": self.post_edit,
            "callbacks": self.post_callback,
            "block": self.post_block,
            "unblock": self.post_unblock,
            "migrate": self.post_migrate,
            "faults": self.post_fault,
            "reset": self.post_reset,
        }
        gets: dict[str, Callable[[web.Request], Awaitable[Any]]] = {
            "state": self.get_state,
            "chats/{id}/messages": self.get_messages,
            "callbacks/{id}": self.get_callback,
            "truth": self.get_truth,
            "calls": self.get_calls,
            "faults": self.get_faults,
            "files/{id}": self.get_file,
        }
        for path, post in posts.items():
            app.router.add_post(f"/sim/{path}", _answering(post))
        for path, get in gets.items():
            app.router.add_get(f"/sim/{path}", _answering(get))
        app.router.add_delete("/sim/faults", _answering(self.delete_faults))
        app.router.add_delete("/sim/faults/{id}", _answering(self.delete_fault))
        app.router.add_get("/sim/events", self.get_events)

    def _bot(self, params: Params) -> Bot:
        return people.find_bot(self._world, params.values.get("bot") or None)

    def _user(self, params: Params) -> User:
        return people.known_user(self._world, _number(params, "user_id"))

    def _chat(self, params: Params, user: User) -> Chat:
        chat_id = params.whole("chat_id") or None
        return people.find_chat(self._world, self._bot(params), user, chat_id)

    def _shown_chat(self, request: web.Request) -> tuple[Bot, Chat]:
        """The chat of the path: a group, or the dialogue of a bot with the user of this id."""
        params = Params({**request.query, "chat_id": request.match_info["id"]})
        bot = self._bot(params)
        number = params.whole("chat_id")
        chat = self._world.groups.get(number) or self._world.dialogues.get((bot.id, number))
        if chat is None:
            raise Refused(f"no chat {request.match_info['id']}")
        return bot, chat

    async def post_bot(self, params: Params) -> JsonObject:
        bot = people.add_bot(
            self._world,
            params.text("token") or None,
            params.text("username") or f"bot_{len(self._world.bots) + 1}_bot",
            params.text("name") or "Bot",
            params.flag("can_read_all_group_messages"),
        )
        return bot.profile() | {"token": bot.token}

    async def post_user(self, params: Params) -> JsonObject:
        return people.add_user(
            self._world,
            params.whole("id") or None,
            params.text("first_name"),
            params.text("username"),
            params.text("last_name"),
        ).profile()

    async def post_chat(self, params: Params) -> JsonObject:
        users = params.values.get("users") or []
        if not isinstance(users, list) or not all(isinstance(u, int) for u in users):
            raise Refused("users must be a list of user ids")
        wanted = params.values.get("bots")
        bots = [people.find_bot(self._world, which) for which in wanted or [params.values.get("bot")]]
        chat = groups.add_chat(
            self._world,
            params.text("type") or "group",
            params.text("title"),
            params.flag("forum"),
            users,
            bots,
            params.whole("user_id") or None,
        )
        return self._world.show_chat(chat)

    async def post_topic(self, params: Params) -> JsonObject:
        user = self._user(params)
        number = groups.add_topic(self._world, self._chat(params, user), user, params.text("name") or "Topic")
        return {"message_thread_id": number}

    async def post_member(self, params: Params) -> JsonObject:
        """status "member" adds the bot to a group, "kicked" removes it."""
        user = self._user(params)
        chat = self._chat(params, user)
        change = {"member": groups.join, "kicked": groups.kick}.get(params.text("status"))
        if change is None or chat.type == "private":
            raise Refused("status must be member or kicked, and the chat a group")
        return {"update_id": change(self._world, chat, self._bot(params), user.id)}

    async def post_message(self, params: Params) -> JsonObject:
        user = self._user(params)
        for name in ("message_thread_id", "reply_to_message_id"):
            if params.has(name):
                params.values[name] = _number(params, name)
        files = {
            kind: store(self._world, kind, upload.name, upload.mime, upload.data)
            for kind, upload in params.files.items()
            if kind in FILE_KINDS
        }
        return people.write(self._world, self._chat(params, user), user, params.values, files)

    async def post_edit(self, params: Params) -> JsonObject:
        user = self._user(params)
        chat = self._chat(params, user)
        numbers = people.edit(self._world, chat, user, _number(params, "message_id"), params.text("text"))
        return {"update_ids": numbers}

    async def post_callback(self, params: Params) -> JsonObject:
        user = self._user(params)
        chat = self._chat(params, user)
        number, update = people.press(self._world, chat, user, _number(params, "message_id"), params.text("data"))
        return {"callback_query_id": number, "update_id": update}

    async def post_block(self, params: Params) -> JsonObject:
        user = self._user(params)
        chat = self._world.dialogue(self._bot(params), user)
        return {"update_ids": people.set_blocked(self._world, chat, user, True)}

    async def post_unblock(self, params: Params) -> JsonObject:
        user = self._user(params)
        chat = self._world.dialogue(self._bot(params), user)
        return {"update_ids": people.set_blocked(self._world, chat, user, False)}

    async def post_migrate(self, params: Params) -> JsonObject:
        user = self._user(params)
        chat, numbers = groups.migrate(self._world, self._chat(params, user), user)
        return {"chat_id": chat.id, "update_ids": numbers}

    async def post_fault(self, params: Params) -> JsonObject:
        return {"id": self._world.faults.add(parse_fault(params.values))}

    async def delete_faults(self, request: web.Request) -> JsonObject:
        self._world.faults.clear()
        return {}

    async def delete_fault(self, request: web.Request) -> JsonObject:
        if not self._world.faults.remove(Params(dict(request.match_info)).whole("id")):
            raise Refused(f"no fault {request.match_info['id']}")
        return {}

    async def post_reset(self, params: Params) -> JsonObject:
        self._world.reset()
        return {}

    async def get_state(self, request: web.Request) -> JsonObject:
        world = self._world
        return {
            "bots": [bot.profile() | {"webhook": webhook_info(bot)} for bot in world.bots.values()],
            "users": [person_view(user) for user in world.users.values()],
            "chats": [chat_view(world, chat) for chat in world.chats()],
            "faults": world.faults.rules(),
            "flood": world.flood is not None,
        }

    async def get_messages(self, request: web.Request) -> JsonObject:
        bot, chat = self._shown_chat(request)
        after = Params(dict(request.query)).whole("after")
        return {
            "chat": chat_view(self._world, chat),
            "bot_id": bot.id,
            "messages": [seen_view(seen) for number, seen in chat.messages.items() if number > after],
        }

    async def get_callback(self, request: web.Request) -> JsonObject:
        callback = self._world.callbacks.get(request.match_info["id"])
        if callback is None:
            raise Refused(f"no callback query {request.match_info['id']}")
        return {"id": callback.id, "data": callback.data, "answer": callback.answer}

    async def get_truth(self, request: web.Request) -> JsonObject:
        query = Params(dict(request.query))
        since = max(0, query.whole("since"))
        entries = self._world.truth[since : since + max(1, query.whole("limit", TRUTH_PAGE))]
        return {"entries": entries, "last": len(self._world.truth)}

    async def get_calls(self, request: web.Request) -> JsonObject:
        return {"calls": self._world.calls}

    async def get_faults(self, request: web.Request) -> JsonObject:
        return {"faults": self._world.faults.rules()}

    async def get_file(self, request: web.Request) -> web.StreamResponse:
        """A file for the page. Only pictures and sound are shown in place; the rest is for saving."""
        file = self._world.files.get(request.match_info["id"])
        if file is None:
            raise Refused("no such file")
        inline = file.mime in ("image/png", "image/jpeg", "image/gif", "image/webp") or file.mime.startswith("audio/")
        headers = {
            "Content-Disposition": "inline" if inline else "attachment",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        mime = file.mime if inline else "application/octet-stream"
        return web.Response(body=file.data, content_type=mime, headers=headers)

    async def get_events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events from now on: send, message, edited_message, action, draft, callback_answer, …"""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        listener = self._world.hub.listen()
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n: open\n\n")
            while not closing.done() and not listener.lost:
                waiting = asyncio.ensure_future(listener.queue.get())
                await asyncio.wait({waiting, closing}, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                batch = [waiting.result()] if waiting.done() else []
                waiting.cancel()
                while not listener.queue.empty():
                    batch.append(listener.queue.get_nowait())
                await response.write(b"".join(b"data: " + e + b"\n\n" for e in batch) or b": still here\n\n")
        except ConnectionError:
            pass
        finally:
            closing.cancel()
            self._world.hub.leave(listener)
        return response


def _number(params: Params, name: str) -> int:
    value = params.values.get(name)
    try:
        return int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise Refused(f"{name} must be a number") from None


def _answering(handler: Callable[[Any], Awaitable[Any]]) -> Handler:
    """Hand POSTs their parameters and others the request; answer JSON, and 400 with the reason when refused."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            result = await handler(await read_params(request) if request.method == "POST" else request)
        except Refused as error:
            return _json({"error": str(error)}, 400)
        except ApiError as error:
            return _json({"error": error.description}, error.code)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return result if isinstance(result, web.StreamResponse) else _json(result, 200)

    return answer


def _json(value: JsonObject, status: int) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(status=status, body=body, content_type="application/json")
