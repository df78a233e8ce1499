"""What is asked of and told about inbound hooks over REST."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from gateway.web import Shape, View
from webhooks.hooks.recipe import MOST_CASES
from webhooks.hooks.syntax import LONGEST
from webhooks.hooks.verify import TOLERANCE, Kind

Status = Literal["enabled", "disabled"]


class Case(Shape):
    when: dict[str, Any] | None = Field(None, description="A condition on the payload; without it the case always fits")
    text: str = Field(min_length=1, max_length=LONGEST)


class Dedupe(Shape):
    key: str = Field(min_length=1, max_length=LONGEST, description="A template; calls that make the same are the same")
    seconds: int | None = Field(None, ge=1, le=30 * 86_400, description="For how long; by default for 30 days")


class Template(Shape):
    """Either `text`, or `cases`, of which the first that fits counts. docs/hooks.md tells what templates can do."""

    text: str | None = Field(None, min_length=1, max_length=LONGEST, examples=["**{{ title }}**: {{ text }}"])
    cases: list[Case] | None = Field(None, min_length=1, max_length=MOST_CASES)
    ignore: dict[str, Any] | None = Field(None, description="A condition; calls for which it holds are answered only")
    dedupe: Dedupe | None = None


class Target(Shape):
    """A user, a conversation, or a room: an account and a chat. Each may be a template."""

    user_id: str | None = Field(None, min_length=1, max_length=500)
    channel: str | None = Field(None, min_length=1, max_length=500, description="By default where they were last seen")
    conversation_id: str | None = Field(None, min_length=1, max_length=500)
    account_id: str | None = Field(None, min_length=1, max_length=500)
    chat: str | None = Field(None, min_length=1, max_length=500, description="The platform's id of a group or channel")
    thread: str | None = Field(None, min_length=1, max_length=500)


class Verify(Shape):
    kind: Kind = "none"
    tolerance: int = Field(TOLERANCE, ge=10, le=86_400, description="stripe: seconds that a call may be old")
    header: str = Field("", max_length=80, description="hmac: what holds the signature of the body")
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = Field("", max_length=40, description="hmac: what stands before the signature, such as `sha256=`")


class NewHook(Shape):
    name: str = Field(min_length=1, max_length=200, examples=["Alerts"])
    example: str | None = Field(None, description="A shipped template with its way to verify", examples=["json"])
    template: Template | None = Field(None, description="An own template")
    target: Target = Field(examples=[{"user_id": "ann"}])
    verify: Verify | None = None
    secret: str | None = Field(None, max_length=256, description="By default one is made, where we may choose it")


class HookChange(Shape):
    name: str | None = Field(None, min_length=1, max_length=200)
    template: Template | None = None
    target: Target | None = None
    verify: Verify | None = None
    secret: str | None = Field(None, max_length=256)
    status: Status | None = None


class Hook(View):
    hook_id: str
    name: str
    example: str = Field(description="The shipped template that it has, empty for an own one")
    template: dict[str, Any]
    target: dict[str, Any]
    verify: dict[str, Any]
    has_secret: bool
    status: Status
    created_at: datetime
    updated_at: datetime
    last_call_at: datetime | None


class HookChanged(Hook):
    secret: str | None = Field(None, description="A new one, because another way to verify was chosen; shown this once")


class HookMade(HookChanged):
    url: str = Field(description="Where to post; the token in it is shown this once only")


class HookAddress(View):
    hook_id: str
    url: str


class Rehearsal(Shape):
    """A call that is not made. By default the example's first sample."""

    payload: Any = None
    headers: dict[str, str] = Field({}, max_length=100)
    sample: str | None = Field(None, max_length=100, description="The name of one of the example's samples")


class Rehearsed(View):
    outcome: Literal["message", "ignored", "refused"]
    reason: str = Field(description="Why it is ignored or would be refused")
    text: str = Field(description="Markdown")
    shown: list[str] = Field(description="The platform messages that it becomes, without their formatting")
    target: dict[str, str]
    channel: str | None
    key: str = Field(description="What a repeat is known by; empty when every call is a new one")


class HookCalled(View):
    call_id: str
    external_id: str = Field(description="What a repeat is known by")
    outcome: Literal["accepted", "ignored"]
    message_id: str
    conversation_id: str
    created_at: datetime


class HookAnswer(View):
    outcome: Literal["accepted", "ignored"]
    hook_id: str
    call_id: str
    message_id: str | None
    conversation_id: str | None


class ExampleView(View):
    name: str
    title: str
    verify: Kind
    template: dict[str, Any]
    samples: dict[str, Any] = Field(description="Calls as the system makes them: headers and payload")
