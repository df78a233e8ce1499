"""views.open, push, update, publish: modals and the app's home.

https://docs.slack.dev/surfaces/modals
"""

from typing import Any

from simulators.slack.blocks import VIEW_BLOCKS, check_blocks, with_ids
from simulators.slack.calls import Call
from simulators.slack.errors import Refused, SlackError
from simulators.slack.ids import make_hex, make_id
from simulators.slack.state import World
from simulators.slack.values import Installation, JsonObject, Trigger, User, View

DEEPEST = 3
TITLE_LIMIT = 24


def make_trigger(world: World, team: str, user: str, view: str = "") -> str:
    number = f"{world.rng.randrange(10**12, 10**13)}.{world.rng.randrange(10**11, 10**12)}.{make_hex(world.rng, 32)}"
    world.triggers[number] = Trigger(number, team, user, world.tick(), view)
    return number


def open_(call: Call) -> JsonObject:
    trigger = _trigger(call)
    return _shown(call, add_view(call.world, call.install, trigger.user, _view(call, "modal")))


def push(call: Call) -> JsonObject:
    trigger = _trigger(call)
    below = call.world.views.get(trigger.view)
    if below is None or not below.open:
        raise SlackError("view_not_found")
    return _shown(call, add_view(call.world, call.install, trigger.user, _view(call, "modal"), below))


def update(call: Call) -> JsonObject:
    wanted = call.params.text("view_id")
    name = call.params.text("external_id")
    found = call.world.views.get(wanted) or next(
        (one for one in call.world.views.values() if name and one.view.get("external_id") == name), None
    )
    if found is None or found.team != call.install.team or not found.open:
        raise SlackError("not_found")
    if call.params.has("hash") and call.params.text("hash") != found.view["hash"]:
        raise SlackError("hash_conflict")
    replace(call.world, found, _view(call, found.view["type"]))
    return _shown(call, found)


def publish(call: Call) -> JsonObject:
    user = call.user("user_id")
    view = _view(call, "home")
    key = (call.install.team, user.id)
    known = call.world.views.get(call.world.homes.get(key, ""))
    if known is None:
        known = add_view(call.world, call.install, user.id, view)
        call.world.homes[key] = known.id
    else:
        replace(call.world, known, view)
    return _shown(call, known)


def _trigger(call: Call) -> Trigger:
    """The trigger_id's meaning, once and within its time. Raises SlackError."""
    trigger = call.world.triggers.get(call.needed("trigger_id"))
    if trigger is None or trigger.team != call.install.team:
        raise SlackError("invalid_trigger_id")
    if trigger.used:
        raise SlackError("exchanged_trigger_id")
    if call.world.tick() - trigger.made > call.world.pace.trigger:
        raise SlackError("expired_trigger_id")
    trigger.used = True
    return trigger


def _view(call: Call, kind: str) -> JsonObject:
    view = call.params.parsed("view", "invalid_arguments")
    return checked(view, kind)


def checked(view: Any, kind: str) -> JsonObject:
    """A view as an app gives it, when Slack would take it. Raises SlackError."""
    if not isinstance(view, dict) or view.get("type") != kind:
        raise _bad(f"must be a view of type {kind} [json-pointer:/view/type]")
    if kind == "modal":
        for name in ("title", "submit", "close"):
            text = view.get(name)
            if text is None and name != "title":
                continue
            words = text.get("text") if isinstance(text, dict) else None
            if not isinstance(words, str) or not 0 < len(words) <= TITLE_LIMIT:
                raise _bad(f"must be less than {TITLE_LIMIT + 1} characters [json-pointer:/view/{name}/text]")
    blocks = check_blocks(view.get("blocks"), VIEW_BLOCKS)
    if any(block["type"] == "input" for block in blocks) and kind == "modal" and not view.get("submit"):
        raise _bad("submit is required when there are input blocks [json-pointer:/view/submit]")
    if len(str(view.get("private_metadata") or "")) > 3000 or len(str(view.get("callback_id") or "")) > 255:
        raise _bad("private_metadata or callback_id is too long [json-pointer:/view]")
    return view


def _bad(message: str) -> SlackError:
    return SlackError("invalid_arguments", response_metadata={"messages": [f"[ERROR] {message}"]})


def add_view(world: World, install: Installation, user: str, view: JsonObject, below: View | None = None) -> View:
    """A view on somebody's screen, on top of another one. Raises SlackError when the stack is full."""
    if below and _depth(world, below) >= DEEPEST:
        raise SlackError("push_limit_reached")
    number = make_id(world.rng, "V")
    root = below.root if below else number
    made = View(number, install.team, user, {}, previous=below.id if below else "", root=root)
    made.view = {
        "id": number,
        "team_id": install.team,
        "app_id": world.app.id,
        "app_installed_team_id": install.team,
        "bot_id": install.bot_id,
        "root_view_id": root,
        "previous_view_id": below.id if below else None,
    }
    world.views[number] = made
    replace(world, made, view)
    return made


def replace(world: World, held: View, view: JsonObject) -> None:
    """Another content for a view, under its id and with a new hash."""
    kept = {k: held.view[k] for k in ("id", "team_id", "app_id", "app_installed_team_id", "bot_id")}
    kept |= {k: held.view[k] for k in ("root_view_id", "previous_view_id")}
    defaults: JsonObject = {"title": None, "submit": None, "close": None, "private_metadata": "", "callback_id": ""}
    defaults |= {"external_id": "", "clear_on_close": False, "notify_on_close": False}
    content = {name: view.get(name, standard) for name, standard in defaults.items()}
    blocks = [_input_ids(world, block) for block in with_ids(view["blocks"], world.rng)]
    mark = f"{int(world.now())}.{make_hex(world.rng, 8)}"
    held.view = kept | {"type": view["type"]} | content | {"blocks": blocks, "state": {"values": {}}, "hash": mark}
    world.changes += 1
    world.hub.publish("view", team=held.team, user=held.user, view=held.view, open=held.open)


def _input_ids(world: World, block: JsonObject) -> JsonObject:
    if block["type"] != "input":
        return block
    element = block["element"]
    return block | {"element": element | {"action_id": element.get("action_id") or make_hex(world.rng, 5)}}


def _depth(world: World, view: View) -> int:
    depth = 1
    while view.previous:
        view = world.views[view.previous]
        depth += 1
    return depth


def close(world: World, view: View, everything: bool = False) -> None:
    """A view leaves the screen; the one below shows again, unless everything goes."""
    view.open = False
    below = world.views.get(view.previous)
    while everything and below:
        below.open = False
        below = world.views.get(below.previous)
    world.changes += 1
    world.hub.publish("view", team=view.team, user=view.user, view=view.view, open=False)


def top_view(world: World, user: User) -> View | None:
    """What lies on top of somebody's screen."""
    mine = [one for one in world.views.values() if one.user == user.id and one.open and one.view["type"] == "modal"]
    return mine[-1] if mine else None


def open_view(world: World, user: User, number: str) -> View:
    """A view that is open on this person's screen; without a number the topmost. Raises Refused."""
    view = world.views.get(number) if number else top_view(world, user)
    if view is None or view.user != user.id or not view.open:
        raise Refused("no such view on this person's screen")
    return view


def _shown(call: Call, held: View) -> JsonObject:
    channel = next((one for one in call.world.channels.values() if one.kind == "im" and one.user == held.user), None)
    if channel is None:
        channel = call.world.dialogue(call.install, call.world.users[held.user])
    message = {"text": (held.view.get("title") or {}).get("text", ""), "blocks": held.view["blocks"]}
    call.record(channel, message, seen_by=[held.user], view=held.view["id"])
    return {"view": held.view}
