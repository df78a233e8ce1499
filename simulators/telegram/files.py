"""Files: stored once, known by ids, fetched by path."""

import hashlib
import struct
from typing import Any

from simulators.telegram.errors import bad_request
from simulators.telegram.params import Params
from simulators.telegram.state import Stored, World

DOWNLOAD_LIMIT = 20 * 1024 * 1024
FOLDERS = {"photo": "photos", "voice": "voice", "sticker": "stickers"}
SUFFIXES = {"photo": "jpg", "voice": "oga", "sticker": "webp"}


def store(world: World, kind: str, name: str, mime: str, data: bytes) -> Stored:
    """Keep a file. Its unique id follows from its content, its file id from this upload."""
    digest = hashlib.sha256(data).hexdigest()
    number = len(world.files) + 1
    suffix = name.rpartition(".")[2] if "." in name else SUFFIXES.get(kind, "bin")
    safe = "".join(c for c in suffix if c.isalnum())[:8] or "bin"
    path = f"{FOLDERS.get(kind, 'documents')}/file_{number}.{safe}"
    file = Stored(f"{kind[:3].upper()}{number:08d}{digest[:24]}", digest[:16], path, name, mime, data)
    world.files[file.id] = file
    world.paths[file.path] = file
    world.changes += 1
    return file


def sent_file(world: World, params: Params, kind: str) -> Stored:
    """The file a bot sends: an upload, attach://part, or an id it knows. Raises ApiError."""
    reference = params.text(kind)
    part = reference.removeprefix("attach://") if reference.startswith("attach://") else kind
    if upload := params.files.get(part):
        if not upload.data:
            raise bad_request("file must be non-empty")
        return store(world, kind, upload.name, upload.mime, upload.data)
    if not reference:
        raise bad_request(f"there is no {kind} in the request")
    if reference not in world.files:
        raise bad_request("wrong file identifier/HTTP URL specified")
    return world.files[reference]


def describe(file: Stored, kind: str) -> Any:
    """The message field for a file: a Document, a list of PhotoSize, a Voice or a Sticker. Raises ApiError."""
    known: dict[str, Any] = {
        "file_id": file.id,
        "file_unique_id": file.unique_id,
        "file_size": len(file.data),
    }
    if kind == "document":
        return known | {"file_name": file.name, "mime_type": file.mime}
    if kind == "voice":
        # Opus voice notes run at about 16 kbit/s.
        return known | {"duration": max(1, len(file.data) // 2000), "mime_type": file.mime or "audio/ogg"}
    size = image_size(file.data)
    if size is None:
        raise bad_request("IMAGE_PROCESS_FAILED")
    shown = known | {"width": size[0], "height": size[1]}
    if kind == "sticker":
        return shown | {"type": "regular", "is_animated": False, "is_video": False}
    return [shown]


def file_info(world: World, params: Params) -> dict[str, Any]:
    """getFile. Raises ApiError for unknown ids and for what is too big to download."""
    if not params.has("file_id"):
        raise bad_request("file_id not specified")
    file = world.files.get(params.text("file_id"))
    if file is None:
        raise bad_request("invalid file_id")
    if len(file.data) > DOWNLOAD_LIMIT:
        raise bad_request("file is too big")
    return {
        "file_id": file.id,
        "file_unique_id": file.unique_id,
        "file_size": len(file.data),
        "file_path": file.path,
    }


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, WebP or JPEG, read from its header; None when it is no picture."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp_size(data)
    return _jpeg_size(data) if data.startswith(b"\xff\xd8") else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
