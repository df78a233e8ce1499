"""Refusals: in the Web API's own words for apps, in plain ones for whoever drives the simulator."""

from typing import Any


class SlackError(Exception):
    """What the Web API answers instead of a result: {"ok": false, "error": …}. Most come with HTTP 200.

    https://docs.slack.dev/apis/web-api/#responses
    """

    def __init__(self, error: str, status: int = 200, retry_after: int = 0, **fields: Any) -> None:
        super().__init__(error)
        self.error = error
        self.status = status
        self.retry_after = retry_after
        self.fields = fields

    def payload(self) -> dict[str, Any]:
        """The JSON body."""
        return {"ok": False, "error": self.error, **self.fields}


class Refused(ValueError):
    """Something a person cannot do, in words for whoever asked."""


def invalid_arguments(*messages: str) -> SlackError:
    return SlackError("invalid_arguments", response_metadata={"messages": [f"[ERROR] {m}" for m in messages]})


def ratelimited(seconds: int) -> SlackError:
    return SlackError("ratelimited", 429, retry_after=seconds)
