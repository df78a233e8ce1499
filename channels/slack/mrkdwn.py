"""Text for Slack's `text` fields. https://docs.slack.dev/messaging/formatting-message-text"""

from __future__ import annotations

import re

_BROADCAST = re.compile(r"@(?=(?:here|channel|everyone)\b)")


def escape(text: str) -> str:
    """Text that shows as it stands: no link, no mention, no call to a channel comes of it."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _BROADCAST.sub("@\u200b", escaped) if "@" in escaped else escaped
