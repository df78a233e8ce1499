"""Attachments: uploaded as parts of a form, described in the message, fetched by a signed URL that expires."""

import hmac
import mimetypes
import re
import struct
from typing import Any

from aiohttp import web

from simulators.discord.errors import ApiError, JsonObject
from simulators.discord.events import secret
from simulators.discord.params import Params, Upload, listing
from simulators.discord.payloads import path_hash
from simulators.discord.state import Channel, Stored, World

FILES_LIMIT = 10
PART = re.compile(r"files?\[(\d+)\]")
INLINE = ("image/png", "image/jpeg", "image/gif", "image/webp")


def upload_all(world: World, channel: Channel, params: Params, listed: Any) -> list[JsonObject]:
    """The attachments of a form: new ones, described by `listed` (its `attachments`). Raises ApiError."""
    if len(params.files) > FILES_LIMIT:
        raise ApiError(400, 30015, f"Maximum number of attachments in a message reached ({FILES_LIMIT})")
    if sum(len(upload.data) for upload in params.files.values()) > world.config.file_limit:
        raise ApiError(413, 40005, "Request entity too large")
    described = {str(one.get("id")): one for one in listing("attachments", listed) if isinstance(one, dict)}
    made = []
    for part, upload in params.files.items():
        found = PART.fullmatch(part)
        note = described.get(found[1] if found else "", {})
        made.append(store(world, channel, upload, note.get("filename"), note.get("description")))
    return made


def store(world: World, channel: Channel, upload: Upload, name: Any = None, note: Any = None) -> JsonObject:
    """Keep a file; its attachment object, whose URL is added when it is shown."""
    safe = re.sub(r"[^\w.\-]+", "_", str(name or upload.name or "file")).strip("_") or "file"
    guessed = mimetypes.guess_type(safe)[0]
    mime = guessed or (upload.mime if upload.mime != "application/octet-stream" else "") or "application/octet-stream"
    file = Stored(world.take_id(), channel.id, safe, mime, upload.data)
    world.files[file.id] = file
    world.changes += 1
    shown: JsonObject = {
        "id": str(file.id),
        "filename": safe,
        "size": len(file.data),
        "content_type": f"{mime}; charset=utf-8" if mime.startswith("text/") else mime,
        "expires": int(world.now() + world.config.attachment_seconds),
    }
    if note:
        shown["description"] = str(note)[:1024]
    size = image_size(file.data) if mime in INLINE else None
    return shown | {"width": size[0], "height": size[1]} if size else shown


def kept(attachments: list[JsonObject], listed: Any) -> list[JsonObject]:
    """What is left of a message's attachments when an edit lists the ones to keep. Raises ApiError."""
    wanted = {str(one.get("id")) for one in listing("attachments", listed) if isinstance(one, dict)}
    return [one for one in attachments if one["id"] in wanted]


def download(world: World, request: web.Request) -> web.Response:
    """What the CDN answers: the bytes, or 404 when the URL is wrong or has expired."""
    file = world.files.get(int(request.match_info["file"]))
    if file is None:
        return web.Response(status=404, text="This content is no longer available.")
    path = f"/attachments/{request.match_info['channel']}/{file.id}/{request.match_info['name']}"
    try:
        expires = int(request.query.get("ex", "0"), 16)
    except ValueError:
        expires = 0
    fresh = expires > world.now() and hmac.compare_digest(
        path_hash(path, expires, secret(world)), request.query.get("hm", "")
    )
    if not fresh or str(file.channel) != request.match_info["channel"]:
        return web.Response(status=404, text="This content is no longer available.")
    inline = file.mime in INLINE or file.mime.startswith("audio/")
    headers = {
        "Content-Disposition": f'{"inline" if inline else "attachment"}; filename="{file.name}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return web.Response(body=file.data, headers=headers | {"Content-Type": file.mime})


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG or GIF, read from its header; None for others."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    return None
