"""What it costs to render an answer of 10,000 characters for each platform, beside markdown-it-py's own HTML of the
same text (G18). CPU of one process, the two in turns, so that whatever else the machine does hits both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from markdown_it import MarkdownIt

from bench.goals import Outcome, above
from channels.discord.render import render as to_discord
from channels.heal import heal
from channels.slack.render import render as to_slack
from channels.telegram.render import render as to_telegram
from channels.web_html import to_html
from kernel.types import Reply

Work = Callable[[], object]
CHARACTERS = 10_000
FLOOR, AMBITION = 0.4, 0.6
HEALING_FLOOR, HEALING_AMBITION = 1.0, 1.5  # every edit of a streamed answer pays it on top
_SECTION = """## Moving to another plan {n}

You can move **at any time**; the *difference* is settled to the day [{n}]. See [the price list](https://example.org/prices)
or `parley plans --all`, and mind what holds until {n}:00:

1. Open **Settings**, then *Billing*.
2. Choose a plan; what it holds is on https://example.org/plans/{n}.
   - The small one keeps 30 days of history.
   - The large one keeps all of it, as long as you stay.

> A move to a smaller plan takes effect when the month ends.

| plan | price | messages |
|:-----|------:|---------:|
| small | 9 | 1,000 |
| large | 49 | 20,000 |

```python
async with client.workspace("ws_{n}") as workspace:
    await workspace.move(plan="large")  # & that is all
```

"""


def answer(characters: int = CHARACTERS) -> str:
    """Markdown as a model writes it: headings, lists, a table, code, links, and prose between them."""
    parts: list[str] = []
    while sum(map(len, parts)) < characters:
        parts.append(_SECTION.format(n=len(parts) + 1))
    return "".join(parts)[:characters]


def measure(*, rounds: int = 20) -> list[Outcome]:
    """One line for each platform, and one for healing."""
    text = answer()
    reply = Reply(text)
    html = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    contenders: dict[str, Work] = {
        "for Telegram": lambda: to_telegram(reply, {}),
        "for Slack": lambda: to_slack(reply, {}),
        "for Discord": lambda: to_discord(reply, {}),
        "for the web": lambda: to_html(text),
    }
    found = [_outcome(name, ours, lambda: html.render(text), rounds) for name, ours in contenders.items()]
    half = text[: text.rfind("**")]
    healing = _outcome(
        "healed", lambda: heal(half), lambda: html.render(text), rounds, floor=HEALING_FLOOR, ambition=HEALING_AMBITION
    )
    return [*found, healing]


def _outcome(
    name: str, ours: Work, base: Work, rounds: int, *, floor: float = FLOOR, ambition: float = AMBITION
) -> Outcome:
    pairs = [(_micros(base), _micros(ours)) for _ in range(rounds)]
    ratio = statistics.median(one / other for one, other in pairs)
    middle = [statistics.median(side) for side in zip(*pairs, strict=True)]
    return Outcome(
        "G18",
        f"10,000 characters {name}; vs markdown-it-py",
        f"{middle[0]:,.0f} µs",
        f"{middle[1]:,.0f} µs",
        f"≥ {floor}",
        f"≥ {ambition}",
        above(ratio, floor, ambition),
        ratio,
    )


def _micros(work: Work) -> float:
    """CPU microseconds of one call."""
    begun = time.process_time_ns()
    work()
    return (time.process_time_ns() - begun) / 1000
