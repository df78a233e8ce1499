"""Files: uploads in three steps, private downloads, and the file object.

https://docs.slack.dev/messaging/working-with-files
"""

import mimetypes
from pathlib import PurePosixPath

from simulators.slack.ids import make_hex, make_id
from simulators.slack.state import World
from simulators.slack.values import JsonObject, Stored

TYPES = {"text": "Plain Text", "png": "PNG", "jpg": "JPEG", "gif": "GIF", "pdf": "PDF", "markdown": "Markdown (raw)"}
EXTENSIONS = {"txt": "text", "md": "markdown", "jpeg": "jpg"}


def store(world: World, team: str, user: str, name: str, mime: str, data: bytes, title: str = "") -> Stored:
    """Keep a file that a person shares."""
    file = new_file(world, team, user, name, len(data), title)
    file.mime = mime or file.mime
    file.data = data
    file.shared = True
    return file


def new_file(world: World, team: str, user: str, name: str, length: int, title: str = "") -> Stored:
    number = make_id(world.rng, "F")
    mime = mimetypes.guess_type(name)[0] or "application/octet-stream"
    secret = make_hex(world.rng, 32)
    file = Stored(number, team, user, name, title or name, mime, secret, int(world.now()), length=length)
    world.files[number] = file
    world.changes += 1
    return file


def describe(world: World, file: Stored) -> JsonObject:
    """The file object. `url_private` needs a bot token."""
    extension = PurePosixPath(file.name).suffix.removeprefix(".").lower()
    kind = EXTENSIONS.get(extension, extension or "binary")
    base = f"{world.url}/files-pri/{file.team}-{file.id}"
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in file.name.lower())
    return {
        "id": file.id,
        "created": file.created,
        "timestamp": file.created,
        "name": file.name,
        "title": file.title,
        "mimetype": file.mime,
        "filetype": kind,
        "pretty_type": TYPES.get(kind, kind.upper()),
        "user": file.user,
        "user_team": file.team,
        "editable": False,
        "size": len(file.data),
        "mode": "hosted",
        "is_external": False,
        "external_type": "",
        "is_public": False,
        "public_url_shared": False,
        "display_as_bot": False,
        "username": "",
        "url_private": f"{base}/{safe}",
        "url_private_download": f"{base}/download/{safe}",
        "permalink": f"{world.url}/files/{file.user}/{file.id}/{safe}",
        "channels": [one for one in file.channels if world.channels[one].kind == "channel"],
        "groups": [one for one in file.channels if world.channels[one].kind == "group"],
        "ims": [one for one in file.channels if world.channels[one].kind == "im"],
        "has_rich_preview": False,
        "file_access": "visible",
    }
