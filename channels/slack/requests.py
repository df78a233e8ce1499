"""What Slack posts to the request URL, and what it wants to hear at once.

Events are JSON; interactions are a form with JSON in its field `payload`; slash commands are a form.
https://docs.slack.dev/apis/events-api#receiving-events, https://docs.slack.dev/interactivity/handling-user-interaction
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import orjson

from channels.slack.commands import PRIVATE, slash
from kernel.types import Account, Json

FORM = "application/x-www-form-urlencoded"


def decode(headers: Mapping[str, str], body: bytes) -> Json:
    """The update in a request. Raises ValueError."""
    if not headers.get("Content-Type", "").lower().startswith(FORM):
        return _object(body)
    fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return _object(fields["payload"]) if "payload" in fields else dict(fields)


def _object(body: bytes | str) -> Json:
    update = orjson.loads(body)
    if not isinstance(update, dict):
        raise ValueError("an update must be an object")
    return update


def immediate(account: Account, update: Json) -> Json | None:
    """What goes into the response; None for an empty one.

    A slash command is shown to the channel in which it was given, so that people see what the reply is about; not so
    one that holds a code, which is answered in direct messages.
    """
    if update.get("type") == "url_verification":
        return {"challenge": update.get("challenge")}
    if update.get("type") == "view_submission":
        return {"response_action": "clear"}
    if isinstance(command := update.get("command"), str):
        if slash(command, str(update.get("text") or ""))[0] in PRIVATE:
            return {"response_type": "ephemeral", "text": "I answer that in our direct messages."}
        return {"response_type": "in_channel"}
    return None
