"""Uploads: multipart/form-data, each file and the whole bounded while they are read (RFC 7578)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from aiohttp import BodyPartReader, web

from kernel.errors import MalformedRequest, TooLarge, Unsupported

MAX_FILES = 20
MAX_FILE = 20 << 20
_MAX_FIELD = 64 << 10
_MAX_PARTS = 64


@dataclass(frozen=True, slots=True)
class File:
    name: str
    data: bytes


@dataclass(slots=True)
class Form:
    """What was sent: files in their order, and the other fields by name."""

    files: list[File] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


async def read_form(request: web.Request, limit: int) -> Form:
    """Raises Unsupported when it is no form, TooLarge and MalformedRequest."""
    if request.content_type != "multipart/form-data":
        raise Unsupported("files are sent as multipart/form-data")
    if (request.content_length or 0) > limit + (1 << 20):
        raise TooLarge(f"an upload of at most {limit} bytes is taken")
    form, left = Form(), limit
    try:
        reader = await request.multipart()
        for _ in range(_MAX_PARTS):
            part = await reader.next()
            if part is None:
                return form
            if not isinstance(part, BodyPartReader):
                raise MalformedRequest("a form within a form is not taken")
            left -= await _take(form, part, left)
    except (ValueError, LookupError, AssertionError) as error:  # what aiohttp's reader does with broken input
        raise MalformedRequest("the form cannot be read") from error
    raise TooLarge(f"a form of at most {_MAX_PARTS} parts is taken")


async def _take(form: Form, part: BodyPartReader, left: int) -> int:
    """Adds one part to the form. Returns its size."""
    if part.filename is None:
        data = await _read(part, min(left, _MAX_FIELD), part.name or "")
        form.fields[part.name or ""] = data.decode("utf-8", "replace")
        return len(data)
    if len(form.files) >= MAX_FILES:
        raise TooLarge(f"at most {MAX_FILES} files are taken at once")
    name = clean_name(part.filename)
    form.files.append(File(name, await _read(part, min(left, MAX_FILE), name)))
    return len(form.files[-1].data)


async def _read(part: BodyPartReader, most: int, name: str) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(1 << 16):
        data += chunk
        if len(data) > most:
            message = f"{name}: more than {most} bytes"
            raise TooLarge(message, details=[{"field": "files", "message": message}])
    return bytes(data)


def clean_name(given: str) -> str:
    """The last part of a file's name, without anything that a path or a terminal would mind."""
    last = re.split(r"[/\\]", unquote(given))[-1]
    return re.sub(r"[\x00-\x1f\x7f]", "", last).strip().lstrip(".")[-200:] or "file"


def digest_of(form: Form) -> bytes:
    """The same for the same upload, whatever boundary it was sent with."""
    fields = [f"{name}={value}".encode("utf-8", "replace") for name, value in sorted(form.fields.items())]
    hashes = [file.name.encode("utf-8", "replace") + hashlib.sha256(file.data).digest() for file in form.files]
    return b"\n".join([*fields, *hashes])
