"""The control API's second half: what people do with buttons, views, commands and assistant threads."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from simulators.slack import assistant, interactions, people, streams
from simulators.slack.control import Control, answering
from simulators.slack.errors import Refused
from simulators.slack.params import Params
from simulators.slack.state import World
from simulators.slack.values import JsonObject
from simulators.slack.views import open_view


class Gestures:
    """The handlers; each answers the interaction's id, whose outcome GET /sim/interactions/{id} tells."""

    def __init__(self, world: World, control: Control) -> None:
        self._world = world
        self._control = control

    def add_routes(self, app: web.Application) -> None:
        posts: dict[str, Callable[[Params], Awaitable[JsonObject]]] = {
            "presses": self.post_press,
            "submissions": self.post_submission,
            "closes": self.post_close,
            "shortcuts": self.post_shortcut,
            "commands": self.post_command,
            "stops": self.post_stop,
            "threads": self.post_thread,
            "contexts": self.post_context,
        }
        for path, post in posts.items():
            app.router.add_post(f"/sim/{path}", answering(post))
        app.router.add_get("/sim/interactions/{id}", answering(self.get_interaction))
        app.router.add_get("/sim/views", answering(self.get_views))
        app.router.add_get("/sim/files/{id}", answering(self.get_file))

    async def post_press(self, params: Params) -> JsonObject:
        """user, action_id, and ts with channel for a message or view for a view; perhaps block_id and value."""
        team, user = self._control.who(params)
        install = people.home_of(self._world, team)
        action = {name: params.values.get(name) for name in ("action_id", "block_id", "value")}
        if params.has("view"):
            view = open_view(self._world, user, params.text("view"))
            return {"id": interactions.press_view(self._world, install, user, view, action)}
        _, channel = self._control.place(params)
        return {"id": interactions.press(self._world, install, channel, user, params.text("ts"), action)}

    async def post_submission(self, params: Params) -> JsonObject:
        """user, values (block_id to value), and view unless it is the topmost."""
        team, user = self._control.who(params)
        view = open_view(self._world, user, params.text("view"))
        values = params.parsed("values", "invalid_json") or {}
        if not isinstance(values, dict):
            raise Refused("values must be an object")
        return {"id": interactions.submit(self._world, people.home_of(self._world, team), user, view, values)}

    async def post_close(self, params: Params) -> JsonObject:
        team, user = self._control.who(params)
        view = open_view(self._world, user, params.text("view"))
        return {"id": interactions.dismiss(self._world, people.home_of(self._world, team), user, view)}

    async def post_shortcut(self, params: Params) -> JsonObject:
        """user, callback_id; with channel and ts it is a message shortcut."""
        team, user = self._control.who(params)
        install = people.home_of(self._world, team)
        channel = self._control.place(params)[1] if params.has("ts") else None
        ts, name = params.text("ts"), params.text("callback_id")
        return {"id": interactions.shortcut(self._world, install, user, name, channel, ts)}

    async def post_command(self, params: Params) -> JsonObject:
        """user, command ("/ask"), text, and perhaps channel."""
        team, user = self._control.who(params)
        _, channel = self._control.place(params)
        install = people.home_of(self._world, team)
        name, text = params.text("command"), params.text("text")
        return {"id": interactions.command(self._world, install, channel, user, name, text)}

    async def post_stop(self, params: Params) -> JsonObject:
        """user stops a message, `ts`, that is being streamed."""
        _, channel = self._control.place(params)
        streams.stop_by_user(self._world, channel, people.find_seen(channel, params.text("ts")))
        return {}

    async def post_thread(self, params: Params) -> JsonObject:
        """user opens the assistant, perhaps while looking at `context`, a channel."""
        team, user = self._control.who(params)
        where = params.text("context")
        context = people.find_channel(self._world, team, user, where) if where else None
        return assistant.open_thread(self._world, people.home_of(self._world, team), user, context)

    async def post_context(self, params: Params) -> JsonObject:
        """user looks at another channel, `context`, while the assistant thread `ts` is open."""
        team, user = self._control.who(params)
        context = people.find_channel(self._world, team, user, params.text("context"))
        install = people.home_of(self._world, team)
        return assistant.move_context(self._world, install, user, params.text("ts"), context)

    async def get_interaction(self, request: web.Request) -> JsonObject:
        """done, ok, error (dispatch problems by their retry reason, or Slack's error) and what the app answered."""
        found = self._world.interactions.get(request.match_info["id"])
        if found is None:
            raise Refused(f"no interaction {request.match_info['id']}")
        return found

    async def get_views(self, request: web.Request) -> JsonObject:
        """What lies on somebody's screen, topmost last, and their home tab."""
        team, user = self._control.who(Params(dict(request.query)))
        modals = [one.view for one in self._world.views.values() if one.user == user.id and one.open]
        home = self._world.views.get(self._world.homes.get((team.id, user.id), ""))
        return {"modals": [one for one in modals if one["type"] == "modal"], "home": home.view if home else None}

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
