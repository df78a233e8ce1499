"""files.getUploadURLExternal, the upload itself, files.completeUploadExternal, files.info, private downloads.

https://docs.slack.dev/messaging/working-with-files#upload
"""

import hmac
from typing import Any

from aiohttp import web

from simulators.slack.calls import Call
from simulators.slack.chat import author
from simulators.slack.errors import SlackError, invalid_arguments
from simulators.slack.files import describe, new_file
from simulators.slack.messages import put, thread_of
from simulators.slack.state import World
from simulators.slack.values import Channel, JsonObject, Stored

SIGN_IN = "<!doctype html><title>Sign in</title><p>Sign in to see this file.</p>"


def upload_url(call: Call) -> JsonObject:
    """The URL to POST the bytes to, and the file's id."""
    name, length = call.needed("filename"), call.params.whole("length")
    if length <= 0:
        raise invalid_arguments("length must be greater than 0")
    file = new_file(call.world, call.install.team, call.install.bot_user, name, length)
    return {"upload_url": f"{call.world.url}/upload/v1/{file.secret}", "file_id": file.id}


def receive(world: World, secret: str, data: bytes) -> web.Response:
    """The POST to an upload URL: the bytes as they are, or one part of a form."""
    waiting = (one for one in world.files.values() if not one.shared)
    file = next((one for one in waiting if hmac.compare_digest(one.secret, secret)), None)
    if file is None:
        return web.Response(status=404, text="not found")
    if len(data) != file.length:
        return web.Response(status=400, text="size mismatch")
    file.data = data
    world.changes += 1
    return web.Response(text=f"OK - {len(data)}")


def complete(call: Call) -> JsonObject:
    """Finish uploads and, with channels, share the files in one message each."""
    listed: Any = call.params.parsed("files", "invalid_arguments")
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise invalid_arguments("files must be a list of {id, title}")
    files = [_finished(call, one) for one in listed]
    names = call.params.names("channels") or call.params.names("channel_id")
    channels = [_place(call, name) for name in names]
    for channel in channels:
        _share(call, channel, files)
    return {"files": [describe(call.world, file) for file in files]}


def info(call: Call) -> JsonObject:
    file = call.world.files.get(call.params.text("file"))
    if file is None or file.team != call.install.team or not file.shared:
        raise SlackError("file_not_found")
    return {"file": describe(call.world, file), "comments": [], "response_metadata": {"next_cursor": ""}}


def download(world: World, token: str, number: str) -> web.Response:
    """url_private: the bytes for a bot of the team that may read files; a page to sign in for others."""
    install = world.installations.get(token)
    file = world.files.get(number)
    if file is None:
        return web.Response(status=404, text="file not found")
    if install is None or install.team != file.team or "files:read" not in install.scopes:
        return web.Response(status=302, headers={"Location": f"{world.url}/signin"})
    return web.Response(body=file.data, content_type=file.mime)


def sign_in() -> web.Response:
    return web.Response(text=SIGN_IN, content_type="text/html")


def _finished(call: Call, wanted: JsonObject) -> Stored:
    file = call.world.files.get(str(wanted.get("id")))
    if file is None or file.team != call.install.team or not file.data:
        raise SlackError("file_not_found")
    file.title = str(wanted.get("title") or file.title)
    file.shared = True
    return file


def _place(call: Call, name: str) -> Channel:
    channel = call.world.channels.get(name)
    if channel is None or channel.team != call.install.team:
        raise SlackError("channel_not_found")
    if call.install.bot_user not in channel.members:
        raise SlackError("not_in_channel" if channel.kind == "channel" else "channel_not_found")
    return channel


def _share(call: Call, channel: Channel, files: list[Stored]) -> None:
    for file in files:
        file.channels = [*dict.fromkeys([*file.channels, channel.id])]
    message = author(call) | {"text": call.params.text("initial_comment"), "ts": call.world.take_ts()}
    message |= {"subtype": "file_share", "files": [describe(call.world, file) for file in files]}
    if call.params.has("thread_ts"):
        root = thread_of(channel, call.params.text("thread_ts"))
        if root is None:
            raise SlackError("thread_not_found")
        message["thread_ts"] = root
    put(call.world, channel, message)
    call.record(channel, message, files=[file.id for file in files])
