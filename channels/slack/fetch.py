"""A shared file's bytes. Its address is asked for each time, and the token goes to Slack and nowhere else.

https://docs.slack.dev/reference/methods/files.info
"""

from __future__ import annotations

import aiohttp
from yarl import URL

from channels.slack.client import CONNECT_SECONDS, NoAnswer, NotConnected, SlackClient
from kernel.types import Attachment, NotSent, Refused

SECONDS = 60.0
_CHUNK = 1 << 16


async def fetch(client: SlackClient, attachment: Attachment, limit: int) -> bytes | Refused | NotSent:
    team, file_id = str(attachment.ref["team"]), str(attachment.ref["file_id"])
    try:
        answer = await client.call(team, "files.info", {"file": file_id}, form=True)
    except (NotConnected, NoAnswer) as error:
        return NotSent(str(error))
    if answer.retry_after is not None or answer.status >= 500:
        return NotSent(answer.error, answer.retry_after)
    file = answer.data.get("file")
    if not answer.ok or not isinstance(file, dict):
        return Refused(answer.error or "file_not_found", "Slack does not show the file")
    size = file.get("size")
    if isinstance(size, int) and size > limit:
        return Refused("too_large", f"more than {limit} bytes")
    url = str(file.get("url_private_download") or file.get("url_private") or "")
    if not _slacks(client, url):
        return Refused("not_at_slack", "the file is kept elsewhere")
    return await _download(client, URL(url, encoded=True), client.token(team), limit)


def _slacks(client: SlackClient, url: str) -> bool:
    try:
        target, api = URL(url), URL(client.base_url)
        at_slack = target.scheme == "https" and (target.host or "").endswith(".slack.com")
        return at_slack or target.origin() == api.origin()
    except ValueError:
        return False


async def _download(client: SlackClient, url: URL, token: str, limit: int) -> bytes | Refused | NotSent:
    """Slack answers a token that may not read files with a way to its page to sign in, so none is followed."""
    timeout = aiohttp.ClientTimeout(total=SECONDS, connect=CONNECT_SECONDS)
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with client.session.get(url, headers=headers, timeout=timeout, allow_redirects=False) as response:
            if response.status == 429 or response.status >= 500:
                return NotSent(f"HTTP {response.status}")
            if response.status != 200:
                return Refused(f"http_{response.status}", "Slack does not hand the file out")
            data = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                data += chunk
                if len(data) > limit:
                    return Refused("too_large", f"more than {limit} bytes")
            return bytes(data)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return NotSent(type(error).__name__)
