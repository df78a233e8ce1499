"""Slack's samples. Shapes: https://docs.slack.dev/reference/events and /reference/interaction-payloads"""

from __future__ import annotations

from typing import Any

from channels.slack.interactions import OTHERS
from channels.slack.parse import OTHER_EVENTS
from kernel.settings import Settings
from kernel.types import Account, Json, Unit
from simulators.slack.delivery import signed_headers
from tests.contract_case import QUESTION, TURN, Api, Said, Sample, Signing, Updates
from tests.slack_parts import ANN, BOT, CHANNEL, DIRECT, TEAM, TS, envelope, said
from tests.slack_parts import account as installed
from tests.test_render_slack import check

TOKEN, SECRET = "xoxb-1-very-secret", "8f742231b10e8888abcd99yyyzzz85a5"
OTHERS_CHANNEL = "C0LAN2Q66"
LATER, LAST = "1515449530.000100", "1515449540.000100"
FILE_URL = "https://files.slack.com/files-pri/T061EG9R6-F0RDZDWEM/a.pdf?t=xoxe-1"
RESPONSE_URL = "https://hooks.slack.com/actions/T061EG9R6/1/abc"


def account(secret: str = SECRET) -> Account:
    return installed(bot_token=TOKEN, **({"signing_secret": secret} if secret else {}))


def pressed(value: str, at: str) -> Json:
    """https://docs.slack.dev/reference/interaction-payloads/block_actions-payload"""
    return {
        "type": "block_actions",
        "team": {"id": TEAM, "domain": "example"},
        "user": {"id": ANN, "username": "ann", "team_id": TEAM},
        "api_app_id": "A02",
        "token": "Shh_its_a_seekrit",
        "container": {"type": "message", "message_ts": TS, "channel_id": CHANNEL, "thread_ts": TS},
        "trigger_id": "12466734323.1395872398",
        "channel": {"id": CHANNEL, "name": "review-updates"},
        "message": {"type": "message", "user": BOT, "ts": TS, "text": "An answer"},
        "response_url": RESPONSE_URL,
        "actions": [{"type": "button", "action_id": "a", "block_id": "b", "value": value, "action_ts": at}],
    }


def changed(message: Json, previous: Json, **more: Any) -> Json:
    """https://docs.slack.dev/reference/events/message/message_changed and message_deleted"""
    event = {"type": "message", "subtype": "message_changed", "hidden": True, "channel": DIRECT, "ts": LATER}
    return envelope({**event, "message": message, "previous_message": previous, "event_ts": LATER, **more})


WRITTEN = {"type": "message", "user": ANN, "text": QUESTION, "ts": TS}
ASKED = f"<@{BOT}> {QUESTION}"
MENTION = {"type": "app_mention", "user": ANN, "text": ASKED, "ts": TS, "channel": CHANNEL, "event_ts": TS}
FILE = {
    "id": "F0RDZDWEM",
    "name": "a.pdf",
    "mimetype": "application/pdf",
    "mode": "hosted",
    "size": 137531,
    "url_private": FILE_URL,
    "url_private_download": FILE_URL,
}
IGNORED = {
    "own_message": said("x", user=BOT),
    "from_bot": said("x", bot_id="B1", user="U9"),
    "service_message": said("x", subtype="channel_join"),
    "no_text": said(""),
    "not_an_edit": changed({**WRITTEN, "attachments": [{"title": "unfurled"}]}, WRITTEN),
    "unknown_action": pressed("buy:now", LATER),
    "check": {"type": "url_verification", "token": "x", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7"},
    "app_rate_limited": {"type": "app_rate_limited", "team_id": TEAM},
    "app_home_opened": envelope({"type": "app_home_opened", "user": ANN}),
    "unknown_event": envelope({"type": "surprise"}),
    "unknown_update": {"type": "surprise"},
}
REASONS = frozenset(
    (*IGNORED, *OTHERS, *OTHER_EVENTS, "view_action", "unknown_view", "other_reaction", "reaction_to_others")
)
UPDATES = Updates(
    private=said(QUESTION, DIRECT),
    mention=said(ASKED),
    thread=said(ASKED, thread_ts="1515449500.000001", ts=LATER),
    elsewhere=said(ASKED, OTHERS_CHANNEL),
    again=said(QUESTION, DIRECT, ts=LATER),
    chatter=said("morning"),
    command=said("!help", DIRECT, ts=LAST),
    edit=changed({**WRITTEN, "text": "How early is it?", "edited": {"user": ANN, "ts": LATER}}, WRITTEN),
    deletion=changed({}, WRITTEN, subtype="message_deleted", deleted_ts=TS),
    praise=pressed(f"fb:up:{TURN}", "1515449550.000001"),
    blame=pressed(f"fb:down:{TURN}", "1515449550.000002"),
    choice=pressed(f"say:{QUESTION}", "1515449550.000003"),
    chosen_command=pressed("say:/new", "1515449550.000004"),
    file=said(QUESTION, DIRECT, ts="1515449560.000001", subtype="file_share", files=[FILE]),
    unsupported=said(
        "", DIRECT, ts="1515449560.000002", subtype="file_share", files=[{**FILE, "mimetype": "audio/mp4"}]
    ),
    retold=[
        said(ASKED),
        envelope(MENTION),
        envelope({**MENTION, "type": "message", "channel_type": "channel", "team": TEAM, "blocks": []}),
        # https://docs.slack.dev/reference/methods/conversations.history, with the channel that was asked
        envelope({**WRITTEN, "text": ASKED, "channel": CHANNEL, "reply_count": 2, "thread_ts": TS}),
    ],
    own=IGNORED["own_message"],
    other_bot=IGNORED["from_bot"],
    ignored=IGNORED,
    reasons=REASONS,
    malformed=[
        {"type": "event_callback", "team_id": TEAM},
        {"type": "event_callback", "event": {"type": "message"}},
        envelope({"type": "message", "user": ANN, "text": "hi", "ts": TS}),
        said("hi", ts="yesterday"),
        said("hi", files={}),
        said("hi", text=7),
        {**pressed("x", LATER), "team": None},
        {"command": "/parley"},
    ],
    secrets=[FILE_URL, "XXYYZZ", "Shh_its_a_seekrit"],
)


def sign(of: Account, body: bytes, at: float) -> Json:
    return signed_headers(of.credentials.get("signing_secret", ""), body, int(at))


SIGNING = Signing(
    sign,
    ["X-Slack-Signature", "X-Slack-Request-Timestamp"],
    body=b'{"type": "url_verification", "token": "x", "challenge": "3eZbrw1a"}',
    other=b'{"type": "url_verification", "token": "x", "challenge": "other"}',
    strangers=[account("0000000000000000abcd99yyyzzz85a5"), account("")],
    window=300,
)


def refusal(error: str, status: int = 200, **headers: str) -> Said:
    return Said(status, {"ok": False, "error": error}, headers)


def buttons(unit: Unit) -> list[str]:
    blocks = [block for block in unit.payload["blocks"] if block["type"] == "actions"]
    return [element["value"] for block in blocks for element in block["elements"]]


API = Api(
    lambda root: Settings.read({"SLACK_API_BASE_URL": f"{root}/api"}),
    {
        "accepted": Said(200, {"ok": True, "channel": CHANNEL, "ts": LATER, "message": {"text": "x"}}),
        "malformed": refusal("invalid_blocks"),
        "unauthorized": refusal("invalid_auth"),
        "forbidden": refusal("restricted_action"),
        "gone": refusal("channel_not_found"),
        "limited": refusal("ratelimited", 429, **{"Retry-After": "7"}),
        "broken": refusal("internal_error", 500),
    },
)
SAMPLE = Sample(
    account=account(),
    updates=UPDATES,
    signing=SIGNING,
    api=API,
    addresses=[
        {"team": TEAM, "channel": DIRECT, "user": ANN, "direct": True},
        {"team": TEAM, "channel": CHANNEL, "user": ANN, "direct": False, "thread_ts": TS},
    ],
    check=check,
    buttons=buttons,
)
