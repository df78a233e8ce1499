"""What visitors' browsers send, and what they get."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from gateway.web import Shape, View

TEXT_LIMIT = 8_000


class Identity(Shape):
    """What a page says of its user. `signature` is the hexadecimal HMAC-SHA256 of `USER_ID:EXPIRES` under the channel's
    `identity_secret`, made on the page's server; without `expires` nothing stands behind the colon."""

    user_id: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    expires: int | None = Field(None, ge=0, lt=1 << 40, description="Epoch seconds from which it counts no more")
    signature: str = Field(max_length=200, examples=["6f0c…"])
    name: str = Field("", max_length=200, description="Shown to operators; not signed")
    email: str = Field("", max_length=320, description="Shown to operators; not signed")


class Begin(Shape):
    visitor: str | None = Field(None, max_length=4_000, description="The token of an earlier session, to go on")
    identity: Identity | None = None


class Begun(View):
    visitor: str = Field(description="The token to show as Authorization: Bearer")
    expires_at: datetime
    vouched: bool = Field(description="Whether the page vouches for this visitor")
    continued: bool = Field(description="Whether what the visitor said as a guest is now this user's conversation")
    has_messages: bool
    title: str
    greeting: str
    suggestions: list[str]
    theme: dict[str, str]
    feedback: bool = Field(description="Whether answers carry buttons for praise and blame")


class Words(Shape):
    text: str = Field(min_length=1, max_length=TEXT_LIMIT, pattern=r"\S", examples=["When do you open?"])
    client_id: str = Field(
        pattern=r"^[A-Za-z0-9_-]{8,64}$", description="The client's own id of the message: a repeat is taken once"
    )


class Accepted(View):
    message_id: str
    conversation_id: str
    client_id: str
    repeated: bool = Field(description="It was accepted before")


class Source(View):
    number: int = Field(description="As in the text: [1]")
    title: str
    url: str = Field(description="Empty when there is none to open")
    quote: str


class WebFile(View):
    attachment_id: str = Field(description="Names it in `/files/{attachment_id}`")
    name: str
    mime: str
    size: int = Field(description="Bytes")
    caption: str


class WebChoice(View):
    label: str
    text: str = Field(description="What choosing it says")


class WebMessage(View):
    seq: int = Field(description="Grows with every message; the id of its event in the stream")
    message_id: str
    role: Literal["user", "assistant", "system"]
    text: str = Field(description="Markdown")
    html: str = Field(description="The same as HTML that may be shown as it is")
    sources: list[Source]
    files: list[WebFile] = Field(description="What came with it, to be downloaded")
    choices: list[WebChoice] = Field(description="What an answer lets the visitor choose from")
    rating: Literal["up", "down"] | None
    created_at: datetime


class Span(Shape):
    after: int | None = Field(None, ge=0, lt=1 << 62, description="Messages after this seq, oldest first")
    before: int | None = Field(None, ge=0, lt=1 << 62, description="The last ones before this seq")
    limit: int = Field(50, ge=1, le=100)


class Said(View):
    items: list[WebMessage] = Field(description="Oldest first")
    more: bool = Field(description="Whether there is more in the direction asked for")


class Opinion(Shape):
    message_id: str = Field(min_length=1, max_length=128)
    rating: Literal["up", "down", "none"] = Field(description="`none` takes an earlier rating back")
    comment: str | None = Field(None, max_length=2_000, description="By default an earlier comment is left as it is")


class Rated(View):
    message_id: str
    rating: Literal["up", "down", "none"]
    comment: str
