"""Endpoints as they are asked for and shown over REST.

Values are checked in `webhooks.fields`, all of them together and in one voice; the models describe them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, SkipValidation

from gateway.web import Paging, Shape, View
from kernel.types import Json
from webhooks import fields, headers, secrets
from webhooks.urls import MAX_URL

Status = Literal["enabled", "disabled"]
PayloadMode = Literal["full", "thin", "redacted"]
Signing = Literal["v1", "v1a", "v1+v1a"]
Ordering = Literal["none", "conversation"]
OnStuck = Literal["block", "skip"]
Kind = Literal["v1", "v1a"]

Url = Annotated[str, Field(min_length=1, max_length=MAX_URL)]
Pause = Annotated[int, Field(ge=1, le=fields.LONGEST_PAUSE)]
Schedule = Annotated[list[Pause], Field(max_length=fields.MAX_TRIES)]
Texts = Annotated[dict[str, str | None], Field(max_length=fields.MAX_METADATA)]
Headers = Annotated[dict[str, Annotated[str, Field(max_length=headers.LONGEST_VALUE)] | None], Field()]


class BasicAuth(Shape):
    kind: Literal["basic"]
    username: str = Field(max_length=255)
    password: str = Field(max_length=1_024)


class BearerAuth(Shape):
    kind: Literal["bearer"]
    token: str = Field(max_length=4_096)


class OAuthClient(Shape):
    """OAuth 2 client credentials: a token is fetched, kept until shortly before it ends, and sent as a bearer."""

    kind: Literal["oauth2"]
    token_url: Url
    client_id: str = Field(max_length=255)
    client_secret: str = Field(max_length=1_024)
    client_auth: Literal["basic", "body"] = Field("basic", description="Where the token server looks for the secret")
    scopes: list[str] = Field([], max_length=32)
    audience: str = Field("", max_length=500)


class ClientTls(Shape):
    """PEM texts. `certificate` (with its chain) and `key` belong together; `ca` replaces the public authorities."""

    certificate: str = ""
    key: str = ""
    ca: str = ""


class RateLimit(Shape):
    count: int = Field(ge=1, le=fields.MAX_RATE)
    seconds: int = Field(1, ge=1, le=fields.MAX_RATE_SECONDS)


Auth = Annotated[BasicAuth | BearerAuth | OAuthClient, Field(discriminator="kind")]
Given: Any = SkipValidation()  # type: ignore[type-arg]  # a marker here, not a type


class WebhookFields(Shape):
    """What may be said of an endpoint besides its URL. null is the default. When they are changed, `metadata` and
    `headers` are merged member by member, and null removes one."""

    events: Annotated[list[str] | None, Field(min_length=1, max_length=fields.MAX_PATTERNS), Given] = Field(
        None, description="Event types, or patterns like `chat.*`, `*.failed` and `*`, which is the default"
    )
    description: Annotated[str | None, Field(max_length=fields.MAX_DESCRIPTION), Given] = None
    uid: Annotated[str | None, Field(pattern=fields.UID), Given] = Field(
        None, description="A name of your own for it, once in a workspace"
    )
    metadata: Annotated[Texts | None, Given] = Field(None, description="Texts of your own, that we only keep")
    status: Annotated[Status | None, Given] = Field(None, description="Out of use, what is owed waits")
    headers: Annotated[Headers | None, Given] = Field(
        None, description="Sent with every delivery; values of those that look secret are shown as (hidden)"
    )
    auth: Annotated[Auth | None, Given] = Field(None, description="How we log in; its secrets are never shown again")
    tls: Annotated[ClientTls | None, Given] = Field(None, description="A client certificate (mTLS)")
    timeout_seconds: Annotated[float | None, Field(ge=fields.SHORTEST_TIMEOUT, le=fields.LONGEST_TIMEOUT), Given] = (
        Field(None, description="For one try, from the name's look-up to the end of the answer; 15 by default")
    )
    schedule: Annotated[Schedule | None, Given] = Field(
        None,
        description="Seconds between tries, in all a week at most; [] is one try, null the usual ten in 75.6 hours",
    )
    schedules: Annotated[dict[str, Schedule] | None, Given] = Field(
        None, description="By event type or pattern, where that differs"
    )
    rate_limit: Annotated[RateLimit | None, Given] = Field(None, description="So many tries in so many seconds")
    max_in_flight: Annotated[int | None, Field(ge=1, le=fields.MAX_IN_FLIGHT), Given] = Field(
        None, description="Tries under way at once"
    )
    payload_mode: Annotated[PayloadMode | None, Given] = Field(
        None, description="thin: `data` holds ids and the channel; redacted: without what `redact` names"
    )
    redact: Annotated[list[str] | None, Field(max_length=fields.MAX_REDACT), Given] = Field(
        None, description="Paths in `data`, like `citations.quote`; by default texts, titles, reasons and files"
    )
    channels: Annotated[list[str] | None, Field(min_length=1, max_length=fields.MAX_CHANNELS), Given] = Field(
        None, description="Kinds of channels, accounts or conversations; null is all of them"
    )
    condition: Annotated[dict[str, Any] | None, Given] = Field(
        None,
        description="On an event's `data`: $eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $exists, $and, $or, $not",
        examples=[{"rating": {"$lt": 0}}],
    )
    signing: Annotated[Signing | None, Given] = Field(None, description="v1: HMAC-SHA256; v1a: Ed25519")
    ordering: Annotated[Ordering | None, Given] = Field(
        None, description="conversation: the events of one come one after the other, with a `seq`"
    )
    on_stuck: Annotated[OnStuck | None, Given] = Field(
        None, description="Whether the next event of a conversation waits for one that keeps failing"
    )

    def given(self) -> Json:
        """What was mentioned, as it came."""
        return {name: getattr(self, name) for name in self.model_fields_set - {"secret"}}


class NewWebhook(WebhookFields):
    url: Annotated[Url, Given] = Field(
        examples=["https://example.com/hook"],
        description="A user name and password in it become `auth`, unless an Authorization is set",
    )
    secret: str | None = Field(
        None, max_length=200, description="To bring one's own: `whsec_…` for v1, `whsk_…` for v1a"
    )


class WebhookChange(WebhookFields):
    url: Annotated[Url | None, Given] = None


class Webhook(View):
    webhook_id: str
    uid: str | None
    url: str
    events: list[str]
    description: str
    metadata: dict[str, str]
    headers: dict[str, str]
    auth: dict[str, Any] | None
    tls: dict[str, Any] | None = Field(description="subject, not_after and SHA-256 fingerprint; whether it has a ca")
    timeout_seconds: float
    schedule: list[int] | None
    schedules: dict[str, list[int]]
    rate_limit: dict[str, int] | None
    max_in_flight: int | None
    payload_mode: PayloadMode
    redact: list[str]
    channels: list[str] | None
    condition: dict[str, Any] | None
    signing: Signing
    ordering: Ordering
    on_stuck: OnStuck
    status: Status
    disabled_reason: str
    failing_since: datetime | None = Field(description="Of the first failure that no success followed")
    paused_until: datetime | None = Field(description="It fails so much that nothing is tried before")
    created_at: datetime
    updated_at: datetime


class WebhookMade(Webhook):
    secret: str | None = Field(description="Signs every delivery (v1); shown this once only, where a new one was made")
    public_key: str | None = Field(description="`whpk_…`: verifies every delivery (v1a), where a new one was made")


class WebhookQuery(Paging):
    uid: str = Field("", max_length=128, description="The one with this uid")


class TrialQuery(Shape):
    wait: float = Field(0, ge=0, le=30, description="Seconds to wait for what comes of the first try")


class Rotation(Shape):
    secret: str | None = Field(None, max_length=200, description="`whsec_…` or `whsk_…`, to bring one's own")
    kind: Kind | None = Field(None, description="v1 or v1a; by default what the endpoint signs")
    overlap_seconds: int = Field(
        secrets.OVERLAP, ge=0, le=secrets.LONGEST_OVERLAP, description="For so long the old ones go on signing"
    )


class Secret(View):
    secret_id: str
    kind: Kind
    public_key: str | None = Field(description="`whpk_…`, of a v1a key")
    created_at: datetime
    expires_at: datetime | None = Field(description="Until when it signs; null for the current one")


class SecretMade(View):
    secret_id: str
    kind: Kind
    secret: str | None = Field(description="Shown this once only; null for v1a")
    public_key: str | None
    created_at: datetime
    previous_expires_at: datetime | None = Field(description="Until when the keys before it sign; null when they ended")
