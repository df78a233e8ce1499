"""What people do with what an app shows: press, submit, close, shortcuts, slash commands. Each returns the number
under which /sim/interactions/{id} tells what the app made of it.

https://docs.slack.dev/interactivity/handling-user-interaction
"""

from collections.abc import Callable
from typing import Any

from simulators.slack.blocks import elements
from simulators.slack.errors import Refused, SlackError
from simulators.slack.people import find_seen
from simulators.slack.responses import apply, make_response_url
from simulators.slack.state import World
from simulators.slack.values import Channel, Dispatch, Installation, JsonObject, ResponseUrl, User, View
from simulators.slack.views import add_view, checked, close, make_trigger, replace

NAMES = {"im": "directmessage", "group": "privategroup", "mpim": "privategroup"}


def press(world: World, install: Installation, channel: Channel, user: User, ts: str, action: JsonObject) -> str:
    """A button, menu or feedback of a message. action: action_id, and perhaps block_id, value (which option or which
    feedback). Raises Refused when the message has no such element."""
    ephemeral = next(
        (one["message"] for one in channel.ephemerals if one["user"] == user.id and one["message"]["ts"] == ts), None
    )
    message: JsonObject = ephemeral or find_seen(channel, ts).message
    found = _action(world, message.get("blocks", []), action)
    thread = message.get("thread_ts")
    container = {"type": "message", "message_ts": ts, "channel_id": channel.id, "is_ephemeral": bool(ephemeral)}
    target = make_response_url(world, install.team, user.id, channel.id, ts, thread or "", bool(ephemeral))
    payload = _payload(world, install, user, "block_actions") | {
        "container": container | ({"thread_ts": thread} if thread else {}),
        "trigger_id": make_trigger(world, install.team, user.id),
        "channel": {"id": channel.id, "name": NAMES.get(channel.kind, channel.name)},
        "message": message,
        "state": {"values": {}},
        "response_url": f"{world.url}/respond/{target.key}",
        "actions": [found],
    }
    return _send(world, "interactive", "block_actions", install.team, channel.id, payload)


def press_view(world: World, install: Installation, user: User, view: View, action: JsonObject) -> str:
    """A button or menu of a view."""
    found = _action(world, view.view["blocks"], action)
    payload = _payload(world, install, user, "block_actions") | {
        "container": {"type": "view", "view_id": view.id},
        "trigger_id": make_trigger(world, install.team, user.id, view.id),
        "view": view.view,
        "actions": [found],
    }
    return _send(world, "interactive", "block_actions", install.team, "", payload)


def _action(world: World, blocks: list[JsonObject], wanted: JsonObject) -> JsonObject:
    for block, element in elements(blocks):
        if element["action_id"] != wanted.get("action_id"):
            continue
        if wanted.get("block_id") not in (None, "", block["block_id"]):
            continue
        kind = element["type"]
        told: JsonObject = {"action_id": element["action_id"], "block_id": block["block_id"], "type": kind}
        told["action_ts"] = world.take_ts()
        return told | _chosen(element, wanted.get("value"))
    raise Refused("there is nothing with this action_id to press")


def _chosen(element: JsonObject, value: Any) -> JsonObject:
    """What an action tells of what was chosen. Raises Refused for an option that is not there."""
    if element["type"] == "button":
        return {k: element[k] for k in ("text", "value", "style") if k in element}
    if element["type"] == "feedback_buttons":
        for button in (element.get("positive_button"), element.get("negative_button")):
            if button and button.get("value") == value:
                return {"value": value, "text": button["text"]}
        raise Refused("value must be that of the positive or the negative button")
    options = element.get("options")
    if options is None:
        return {"value": value} if value is not None else {}
    chosen = [one for one in options if one["value"] in (value if isinstance(value, list) else [value])]
    if not chosen:
        raise Refused("there is no option with this value")
    many = element["type"] in ("checkboxes", "multi_static_select")
    return {"selected_options": chosen} if many else {"selected_option": chosen[0]}


def submit(world: World, install: Installation, user: User, view: View, values: JsonObject) -> str:
    """A person fills in a modal and submits it. values: block_id to {action_id: value}, or block_id to a value when
    the block has one element."""
    state = {"values": _state(view, values)}
    view.view = view.view | {"state": state}
    payload = _payload(world, install, user, "view_submission") | {
        "trigger_id": make_trigger(world, install.team, user.id, view.id),
        "view": view.view,
        "response_urls": [],
    }

    def answered(told: JsonObject) -> str:
        return _respond_to_view(world, install, view, told.get("payload"))

    return _send(world, "interactive", "view_submission", install.team, "", payload, answered)


def _state(view: View, values: JsonObject) -> JsonObject:
    state: JsonObject = {}
    for block in view.view["blocks"]:
        if block["type"] != "input":
            continue
        element = block["element"]
        given = values.get(block["block_id"])
        if isinstance(given, dict):
            given = given.get(element["action_id"])
        if given is None and not block.get("optional"):
            raise Refused(f"block {block['block_id']} must be filled in")
        told: JsonObject = {"type": element["type"], "value": given}
        if "options" in element:
            told = {"type": element["type"]} | (_chosen(element, given) if given is not None else {})
        state[block["block_id"]] = {element["action_id"]: told}
    return state


def _respond_to_view(world: World, install: Installation, view: View, answer: Any) -> str:
    """What the answer to a submission does; "" or what is wrong with it."""
    action = answer.get("response_action") if isinstance(answer, dict) else None
    if action is None:
        close(world, view)
        return ""
    try:
        if action == "clear":
            close(world, view, everything=True)
        elif action == "update":
            replace(world, view, checked(answer.get("view"), "modal"))
        elif action == "push":
            add_view(world, install, view.user, checked(answer.get("view"), "modal"), view)
        elif action == "errors":
            world.hub.publish("view_errors", user=view.user, view=view.view, errors=answer.get("errors"))
        else:
            return "unknown response_action"
    except SlackError as error:
        return error.error
    return ""


def dismiss(world: World, install: Installation, user: User, view: View) -> str | None:
    """A person closes a modal; view_closed when the view asked for it."""
    close(world, view)
    if not view.view.get("notify_on_close"):
        return None
    payload = _payload(world, install, user, "view_closed") | {"view": view.view, "is_cleared": False}
    return _send(world, "interactive", "view_closed", install.team, "", payload)


def shortcut(
    world: World, install: Installation, user: User, callback_id: str, channel: Channel | None, ts: str
) -> str:
    """A global shortcut, or with a message a message shortcut."""
    kind = "message_action" if channel and ts else "shortcut"
    payload = _payload(world, install, user, kind) | {
        "callback_id": callback_id,
        "action_ts": world.take_ts(),
        "trigger_id": make_trigger(world, install.team, user.id),
    }
    if channel and ts:
        message = find_seen(channel, ts).message
        target = make_response_url(world, install.team, user.id, channel.id, "", message.get("thread_ts") or "")
        payload |= {"channel": {"id": channel.id, "name": NAMES.get(channel.kind, channel.name)}, "message_ts": ts}
        payload |= {"message": message, "response_url": f"{world.url}/respond/{target.key}"}
    return _send(world, "interactive", kind, install.team, channel.id if channel else "", payload)


def command(world: World, install: Installation, channel: Channel, user: User, name: str, text: str) -> str:
    """A slash command; the answer may be text or a message. Raises Refused for what is no command's name.

    https://docs.slack.dev/interactivity/implementing-slash-commands
    """
    if not name.startswith("/") or " " in name or len(name) < 2:
        raise Refused("a command is a slash and a name")
    target = make_response_url(world, install.team, user.id, channel.id)
    payload = {
        "token": world.app.verification_token,
        "team_id": install.team,
        "team_domain": world.teams[install.team].domain,
        "channel_id": channel.id,
        "channel_name": NAMES.get(channel.kind, channel.name),
        "user_id": user.id,
        "user_name": user.name,
        "command": name,
        "text": text,
        "api_app_id": world.app.id,
        "is_enterprise_install": "false",
        "response_url": f"{world.url}/respond/{target.key}",
        "trigger_id": make_trigger(world, install.team, user.id),
    }

    def answered(told: JsonObject) -> str:
        return _respond_to_command(world, target, told)

    return _send(world, "slash_commands", name, install.team, channel.id, payload, answered)


def _respond_to_command(world: World, target: ResponseUrl, told: JsonObject) -> str:
    body = told["payload"] if isinstance(told.get("payload"), dict) else {"text": told["text"]}
    if not any(body.get(name) for name in ("text", "blocks", "attachments")):
        return ""
    try:
        apply(world, target, body, "slash_command")
    except SlackError as error:
        return error.error
    return ""


def _payload(world: World, install: Installation, user: User, kind: str) -> JsonObject:
    who = {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team}
    return {
        "type": kind,
        "user": who,
        "api_app_id": world.app.id,
        "token": world.app.verification_token,
        "team": {"id": install.team, "domain": world.teams[install.team].domain},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def _send(
    world: World,
    kind: str,
    name: str,
    team: str,
    channel: str,
    payload: JsonObject,
    answered: Callable[[JsonObject], str] | None = None,
) -> str:
    """Put it on its way; its number. Slack does not try interactions again: what failed, the person is told."""
    dispatch: Dispatch = world.take_dispatch(kind, name, team, channel, payload)
    number = str(dispatch.serial)
    record: JsonObject = {"id": number, "kind": kind, "name": name, "done": False, "ok": None, "error": ""}
    world.interactions[number] = record

    def finish(told: JsonObject) -> None:
        problem = told["error"] or (answered(told) if answered else "")
        record.update(told | {"done": True, "ok": not problem, "error": problem})
        user = payload.get("user_id") or payload["user"]["id"]
        world.hub.publish("interaction", user=user, interaction=record)

    dispatch.answered = finish
    world.put(dispatch)
    return number
