"""The sign that we think, and what an assistant's thread is furnished with: a title, and what one could ask.

https://docs.slack.dev/ai/developing-ai-apps. None of it is owed: failures are passed over.
"""

from __future__ import annotations

from channels.slack.client import NoAnswer, NotConnected, SlackClient
from kernel.types import Json

STATUS = "is thinking…"
SECONDS = 5.0
PROMPTS = (
    {"title": "What can you do?", "message": "!help"},
    {"title": "Start a new conversation", "message": "!new"},
)
_FOR_GOOD = ("unknown_method", "missing_scope", "not_allowed_token_type", "access_denied")
_MOST_NAMED = 10_000


async def typing(client: SlackClient, address: Json) -> None:
    """Shows "… is thinking…" in a thread, until the next message there or for two minutes. Elsewhere Slack has no
    such sign."""
    if address.get("thread_ts"):
        await _call(client, address, "assistant.threads.setStatus", {"status": STATUS})


async def furnish(client: SlackClient, address: Json) -> None:
    """After a message: prompts for a thread that was just opened, a title for one that has its first question."""
    if address.get("opened"):
        await _call(client, address, "assistant.threads.setSuggestedPrompts", {"prompts": list(PROMPTS)})
    title, thread = address.get("title"), f"{address['channel']}:{address.get('thread_ts')}"
    if title and thread not in client.named:
        if len(client.named) >= _MOST_NAMED:
            client.named.clear()
        client.named.add(thread)
        await _call(client, address, "assistant.threads.setTitle", {"title": title})


async def _call(client: SlackClient, address: Json, method: str, parameters: Json) -> None:
    team, place = address["team"], {"channel_id": address["channel"], "thread_ts": address["thread_ts"]}
    if client.hushed(f"{method}:{team}"):
        return
    try:
        answer = await client.call(team, method, {**place, **parameters}, SECONDS)
    except (NotConnected, NoAnswer):
        return
    if answer.error in _FOR_GOOD:
        client.hush(f"{method}:{team}", 600.0)
    elif answer.retry_after is not None:
        client.hush(f"{method}:{team}", answer.retry_after)
