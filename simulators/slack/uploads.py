"""What comes with a person's message: files as multipart parts, or in JSON as text or base64."""

import base64
import binascii

from simulators.slack.errors import Refused
from simulators.slack.files import store
from simulators.slack.params import Params
from simulators.slack.state import World
from simulators.slack.values import Stored, User


def shared_files(world: World, user: User, params: Params) -> list[Stored]:
    """Multipart parts, or `files`: [{name, content (text) or data (base64), mimetype}]. Raises Refused."""
    parts = [store(world, user.team, user.id, one.name, one.mime, one.data) for one in params.files]
    listed = params.parsed("files", "invalid_json") or []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Refused("files must be a list of objects with name and content or data")
    for one in listed:
        try:
            encoded = base64.b64decode(str(one["data"]), validate=True) if "data" in one else None
        except binascii.Error:
            raise Refused("data must be base64") from None
        data = encoded if encoded is not None else str(one.get("content", "")).encode()
        name, mime, title = (
            str(one.get("name") or "file.txt"),
            str(one.get("mimetype") or ""),
            str(one.get("title") or ""),
        )
        parts.append(store(world, user.team, user.id, name, mime, data, title))
    return parts
