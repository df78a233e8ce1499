"""The catalogue of events: schemas, examples, and that it and what is published are the same."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.openapi import document
from gateway.routes.table import ROUTES
from gateway.services import Ground
from kernel.catalogue import EVENT_TYPES
from kernel.ids import new_id
from kernel.members import DIALECT
from tests.event_check import closed, data_faults, event_faults, made_up_events, validator
from tests.http_face import Client, client, served

ROOT = Path(__file__).resolve().parent.parent
PROMISED = {
    "chat": "message.received response.generated response.delivered response.failed feedback.received",
    "session": "started resolved escalated abandoned summarized",
    "escalation": "opened claimed resolved",
    "user": "created erased",
    "identity": "linked unlinked",
    "document": "indexed failed deleted",
    "channel": "connected failed",
    "webhook": "failing recovered warned disabled enabled secret_rotated",
    "delivery": "exhausted",
    "quota": "warning exceeded",
}
NAME = re.compile(r"""['"]([a-z_]+(?:\.[a-z_]+)+)['"]""")


def test_what_was_promised_is_there_and_nothing_else() -> None:
    assert set(EVENT_TYPES) == {"ping"} | {f"{of}.{name}" for of, names in PROMISED.items() for name in names.split()}


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_schemas_are_of_2020_12_and_their_examples_fit(name: str) -> None:
    kind = EVENT_TYPES[name]
    Draft202012Validator.check_schema(kind.schema)
    assert (kind.schema["$schema"], kind.schema["type"]) == (DIALECT, "object")
    assert data_faults(name, dict(kind.example)) == []
    assert set(kind.example) == set(kind.schema["properties"])
    assert kind.version >= 1 and kind.description[0].isupper() and not kind.description.endswith(".")


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_member_is_described_and_none_is_left_open(name: str) -> None:
    """No member without a type or its values, and none that could be taken away or be of another type unnoticed."""
    kind = EVENT_TYPES[name]
    for member, schema in kind.schema["properties"].items():
        assert schema["description"], member
        assert "type" in schema or "enum" in schema, member
        assert data_faults(name, {**kind.example, member: [[]]}), member
        without = {key: value for key, value in kind.example.items() if key != member}
        assert bool(data_faults(name, without)) == (member in kind.schema["required"]), member
    assert data_faults(name, {**kind.example, "surprise": 1})


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_readers_may_meet_new_members(name: str) -> None:
    kind = EVENT_TYPES[name]
    assert validator(kind.schema).is_valid({**kind.example, "surprise": 1})


def types_in(text: str) -> set[str]:
    """Words in quotes that look like types of events."""
    families = {name.split(".")[0] for name in EVENT_TYPES}
    return {name for name in NAME.findall(text) if name.split(".")[0] in families}


def publishers() -> dict[str, str]:
    """The text of every file that publishes."""
    files = list(ROOT.glob("migrations/0*.sql"))
    for room in ("channels", "identity", "pipeline", "webhooks", "gateway"):
        files += (ROOT / room).rglob("*.py")
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}
    return {path: text for path, text in texts.items() if re.search(r"\bpublish(_many|_events?)?\(", text)}


def test_what_is_published_is_in_the_catalogue_and_the_other_way_round() -> None:
    """Types in SQL are not checked when they are published, and a test may never reach one."""
    texts = publishers()
    assert {"migrations/0006_channels.sql", "identity/linking.py", "channels/accounts.py"} <= set(texts)
    calls = [call for text in texts.values() for call in re.findall(r"(?s)\bpublish\w*\(.{0,200}", text)]
    sent = {name for name, kind in EVENT_TYPES.items() if kind.sent}
    named = {name for call in calls for name in types_in(call)}
    assert len(named) > 10
    assert named <= sent
    # A ping goes to one endpoint, past subscriptions; what endpoints do is held by the tests of the engine.
    never = sent - {name for text in texts.values() for name in types_in(text)}
    assert {name for name in never if not name.startswith(("webhook.", "delivery."))} <= {"ping"}


def whole(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": new_id("evt"),
        "type": name,
        "timestamp": "2026-11-21T09:30:00.000Z",
        "workspace_id": "ws_1",
        "data": deepcopy(dict(EVENT_TYPES[name].example)),
        **changes,
    }


def test_the_check_finds_what_is_wrong_with_an_event() -> None:
    assert event_faults(whole("webhook.failing")) == []
    for wrong in (
        "no event",
        {**whole("ping"), "more": 1},
        dict(reversed(whole("ping").items())),
        whole("ping", timestamp="2026-11-21"),
        whole("ping", timestamp="yesterdayZ"),
        whole("ping", data={}),
        whole("ping", data=[]),
        whole("ping", type="pong"),
        whole("webhook.failing", data={**EVENT_TYPES["webhook.failing"].example, "next_attempt_at": "soon"}),
        whole("chat.response.generated", data={**EVENT_TYPES["chat.response.generated"].example, "citations": [{}]}),
    ):
        assert event_faults(wrong), wrong
    own = made_up_events("tests.test_webhook_engine")
    assert event_faults(whole("user.created", data={"n": 1}), own) == []
    assert event_faults(whole("user.created", data={"n": 1}), made_up_events("tests.test_turns"))
    assert event_faults(whole("webhook.disabled", data={"n": 1}), own)


def test_closing_a_schema_closes_all_that_is_inside() -> None:
    answer = closed(EVENT_TYPES["chat.response.generated"].schema)
    assert answer["additionalProperties"] is answer["properties"]["citations"]["items"]["additionalProperties"] is False
    assert "additionalProperties" not in EVENT_TYPES["chat.response.generated"].schema


async def test_types_are_told_with_schema_example_and_version(ground: Ground, workspace_id: str) -> None:
    async with served(ground) as server:
        await tells_types(await client(server, workspace_id))


async def tells_types(api: Client) -> None:
    listed = (await api.get("/api/v1/event-types")).body
    assert ([item["type"] for item in listed["items"]], listed["next_cursor"]) == (list(EVENT_TYPES), None)
    for item in listed["items"]:
        assert validator(item["schema"]).is_valid(item["example"])
        assert (await api.get(f"/api/v1/event-types/{item['type']}")).body == item
    assert set(listed["items"][0]) == {"type", "description", "sent", "version", "schema", "example"}
    for unknown in ("chat", "chat.*", "no.such", "ping."):
        assert (await api.get(f"/api/v1/event-types/{unknown}")).status == 404


def test_the_openapi_document_shows_the_shape_of_a_type() -> None:
    schemas = document(ROUTES)["components"]["schemas"]
    assert set(schemas["EventTypeView"]["required"]) == {"type", "description", "sent", "version", "schema", "example"}
