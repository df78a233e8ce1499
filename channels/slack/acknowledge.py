"""What a person sees who pressed a button: a line that only they see, or a form that asks what was wrong.

https://docs.slack.dev/interactivity/handling-user-interaction and https://docs.slack.dev/surfaces/modals
"""

from __future__ import annotations

import orjson
from yarl import URL

from channels.slack.client import NoAnswer, NotConnected, SlackClient, exchange
from channels.slack.interactions import COMMENT, COMMENT_ACTION, COMMENT_BLOCK
from channels.slack.mrkdwn import escape
from kernel.types import InboundMessage, Json

SECONDS = 5.0
LONGEST_COMMENT = 3000


async def acknowledge(client: SlackClient, message: InboundMessage, text: str) -> None:
    """Blame opens a form, while Slack allows it (three seconds); otherwise `text` is shown, if there is any."""
    press = orjson.loads(message.press) if message.press else {}
    try:
        if message.kind == "feedback" and message.detail == "down" and press.get("trigger"):
            asked = {"trigger_id": press["trigger"], "view": form(message)}
            opened = await client.call(message.address["team"], "views.open", asked, SECONDS)
            if opened.ok:
                return
        if text and _ours(client, str(press.get("url") or "")):
            await _answer(client, press["url"], message, text)
    except (NotConnected, NoAnswer):
        return


async def _answer(client: SlackClient, url: str, message: InboundMessage, text: str) -> None:
    said = {"response_type": "ephemeral", "replace_original": False, "text": escape(text)}
    if message.address.get("thread_ts"):
        said["thread_ts"] = message.address["thread_ts"]
    headers = {"Content-Type": "application/json"}
    await exchange(client.session, "POST", URL(url, encoded=True), orjson.dumps(said), headers, SECONDS)


def _ours(client: SlackClient, url: str) -> bool:
    """Only Slack is answered: at its host for answers, or where the Web API is."""
    try:
        target, api = URL(url), URL(client.base_url)
        return target.origin() in (URL("https://hooks.slack.com"), api.origin())
    except ValueError:
        return False


def form(message: InboundMessage) -> Json:
    """https://docs.slack.dev/reference/views/modal-views"""
    address = message.address
    meta = {"turn": message.about, "channel": address["channel"], "ts": message.message_ref}
    if address.get("thread_ts"):
        meta["thread_ts"] = address["thread_ts"]
    return {
        "type": "modal",
        "callback_id": COMMENT,
        "private_metadata": orjson.dumps(meta).decode(),
        "title": _text("Thank you"),
        "submit": _text("Send"),
        "close": _text("Skip"),
        "blocks": [
            {
                "type": "input",
                "block_id": COMMENT_BLOCK,
                "label": _text("What was wrong with the answer?"),
                "element": {
                    "type": "plain_text_input",
                    "action_id": COMMENT_ACTION,
                    "multiline": True,
                    "max_length": LONGEST_COMMENT,
                },
            }
        ],
    }


def _text(words: str) -> Json:
    return {"type": "plain_text", "text": words}
