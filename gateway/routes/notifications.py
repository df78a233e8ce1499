"""Words and files to a user that answer no question: where they were last seen, or in a channel that is named."""

from __future__ import annotations

import asyncio
import base64
import binascii

from pydantic import Field

from gateway.credentials import AnyChannel
from gateway.parts import clean_name
from gateway.routes.talk import TEXT_LIMIT
from gateway.telling import Unreachable, first_open, tell
from gateway.web import MEBIBYTE, Call, Route, Shape, View
from kernel.errors import InvalidRequest, NotFound, TooLarge
from kernel.types import Json, OutgoingFile
from pipeline.files import outgoing
from pipeline.files.reading import MOST
from pipeline.reach import Reach
from pipeline.reach import reach as find_places

_BODY = 72 * MEBIBYTE  # with everything that is in it


class Enclosed(Shape):
    """A file, of at most 10 MB. Programs are refused, whatever they are called."""

    name: str = Field(min_length=1, max_length=200, examples=["invoice.pdf"])
    content: str = Field(description="Base64", examples=["SGVsbG8="])
    mime: str = Field(
        "", max_length=100, pattern=r"^([\w.+-]+/[\w.+-]+)?$", description="Counts where the bytes do not tell"
    )
    caption: str = Field("", max_length=500, description="Plain text, shown with the file")


class Notification(Shape):
    """To a user (`usr_…`, or the caller's own name for one who came by REST), or into one conversation."""

    user_id: str | None = Field(None, min_length=1, max_length=200)
    conversation_id: str | None = Field(None, max_length=128)
    channel: AnyChannel | None = Field(None, description="By default the one where the user was last seen")
    account_id: str | None = Field(None, max_length=128, description="One bot among several of a channel")
    text: str = Field("", max_length=TEXT_LIMIT, description="Markdown; may be left out when there are files")
    files: list[Enclosed] = Field([], max_length=outgoing.MOST_FILES, description="Sent in this order, after the text")


class Sending(View):
    attachment_id: str
    name: str = Field(description="As it is shown: two files of one message never have the same")
    mime: str
    size: int = Field(description="Bytes")


class Notified(View):
    message_id: str
    conversation_id: str
    channel: str
    account_id: str
    files: list[Sending]


async def notify(call: Call) -> Json:
    """Committed before it is answered; delivered like any reply. Raises NotFound, Unreachable and TooLarge."""
    asked: Notification = call.body
    if (asked.user_id is None) == (asked.conversation_id is None):
        raise _invalid("user_id", "give either user_id or conversation_id")
    if not asked.text and not asked.files:
        raise _invalid("text", "there is neither text nor a file")
    files = outgoing.named(await asyncio.to_thread(_files, asked.files) if asked.files else [])
    async with call.database() as conn:
        places = await find_places(
            conn, user_id=asked.user_id, conversation_id=asked.conversation_id,
            channel=asked.channel, account_id=asked.account_id,
        )  # fmt: skip
        reach = _open(places, asked)
        told = await tell(conn, call.workspace_id, reach, asked.text, files)
    call.services.sender.wake(told.lane)
    return {
        "message_id": told.message_id,
        "conversation_id": reach.conversation_id,
        "channel": reach.channel,
        "account_id": reach.account_id,
        "files": [
            {"attachment_id": attachment_id, "name": file.name, "mime": file.mime, "size": len(file.data)}
            for attachment_id, file in files.items()
        ],
    }


def _open(places: list[Reach], asked: Notification) -> Reach:
    """The first place that takes words, the one spoken in last before others."""
    if not places:
        where = f" on {asked.channel}" if asked.channel else ""
        if asked.conversation_id:
            raise NotFound("there is no such conversation")
        raise Unreachable(f"this user has not written to a bot of this workspace{where} in private, so none may write")
    return first_open(places)


def _files(asked: list[Enclosed]) -> list[OutgoingFile]:
    """Raises InvalidRequest and TooLarge."""
    names = outgoing.apart(_clean(file.name) for file in asked)
    return [_file(n, name, file) for n, (name, file) in enumerate(zip(names, asked, strict=True))]


def _clean(name: str) -> str:
    """A form's name may be percent-encoded, this one is not; nor does it end in what Windows leaves out."""
    return clean_name(name.replace("%", "%25")).rstrip(". ") or "file"


def _file(n: int, name: str, asked: Enclosed) -> OutgoingFile:
    try:
        data = base64.b64decode(asked.content, validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"files.{n}.content", "this is not Base64") from None
    if outgoing.is_too_large(data):
        message = f"{name} has more than {MOST} bytes"
        raise TooLarge(message, details=[{"field": f"files.{n}.content", "message": message}])
    if fault := outgoing.fault_of(name, data):
        raise _invalid(f"files.{n}", f"{name}: {fault}")
    return OutgoingFile(name, outgoing.mime_of(name, data, asked.mime), data, asked.caption)


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, details=[{"field": field, "message": message}])


ROUTES = [
    Route(
        "POST",
        "/api/v1/notifications",
        notify,
        "write",
        "Tell a user something that they did not ask for, and send them files",
        "talk",
        request=Notification,
        response=Notified,
        status=202,
        errors=(NotFound, Unreachable),
        limit=_BODY,
    ),
]
