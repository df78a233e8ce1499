"""Block Kit as far as its rules matter: which blocks there are, and every documented limit of theirs.

https://docs.slack.dev/reference/block-kit/blocks
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

from simulators.slack.errors import SlackError
from simulators.slack.ids import make_hex
from simulators.slack.values import JsonObject

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
MARKDOWN_TOTAL = 12_000
# Undocumented: Slack refuses messages whose blocks hold more than some 12,000 characters, counting a little for each
# block, or 13,200 with markdown blocks (measured by others: https://github.com/slackapi/bolt-js/issues/2509, 2867).
TOTAL = 12_000
TOTAL_WITH_MARKDOWN = 13_200
PER_BLOCK = 20

Problems = Iterator[tuple[str, str]]  # what is wrong, JSON pointer


def check_blocks(blocks: Any, most: int = MESSAGE_BLOCKS) -> list[JsonObject]:
    """The blocks, when Slack would take them. Raises SlackError: invalid_blocks_format, invalid_blocks (also for too
    many, as Slack does), msg_blocks_too_long."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise SlackError("invalid_blocks_format")
    if len(blocks) > most:
        raise _invalid([(f"no more than {most} items allowed", "/blocks")])
    problems = [found for index, block in enumerate(blocks) for found in _block(block, f"/blocks/{index}")]
    named = [block["block_id"] for block in blocks if block.get("block_id")]
    if len(named) != len(set(named)):
        problems.append(("block_id must be unique", "/blocks"))
    markdown = sum(len(block.get("text", "")) for block in blocks if block.get("type") == "markdown")
    if not problems and markdown > MARKDOWN_TOTAL:
        problems.append((f"markdown blocks hold more than {MARKDOWN_TOTAL} characters", "/blocks"))
    if problems:
        raise _invalid(problems)
    limit = TOTAL_WITH_MARKDOWN if markdown else TOTAL
    if most == MESSAGE_BLOCKS and sum(_weight(block) for block in blocks) > limit:
        raise SlackError("msg_blocks_too_long")
    return blocks


def _invalid(problems: list[tuple[str, str]]) -> SlackError:
    told = [f"{text} [json-pointer:{pointer}]" for text, pointer in problems]
    return SlackError("invalid_blocks", errors=told, response_metadata={"messages": [f"[ERROR] {t}" for t in told]})


def with_ids(blocks: list[JsonObject], rng: random.Random) -> list[JsonObject]:
    """The blocks as they are stored: each with a block_id, interactive elements with an action_id."""
    return [_with_actions({**block, "block_id": block.get("block_id") or make_hex(rng, 5)}, rng) for block in blocks]


def _with_actions(block: JsonObject, rng: random.Random) -> JsonObject:
    if block.get("type") in ("actions", "context_actions"):
        block["elements"] = [
            {**element, "action_id": element.get("action_id") or make_hex(rng, 5)} for element in block["elements"]
        ]
    elif isinstance(accessory := block.get("accessory"), dict) and accessory.get("type") != "image":
        block["accessory"] = {**accessory, "action_id": accessory.get("action_id") or make_hex(rng, 5)}
    return block


def elements(blocks: list[JsonObject]) -> Iterator[tuple[JsonObject, JsonObject]]:
    """Every interactive element with its block."""
    for block in blocks:
        inner = [*block.get("elements", []), block.get("accessory"), block.get("element")]
        yield from ((block, one) for one in inner if isinstance(one, dict) and one.get("action_id"))


def _weight(block: JsonObject) -> int:
    return PER_BLOCK + sum(len(text) for text in _texts(block))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "text" and isinstance(inner, str):
                yield inner
            else:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _block(block: JsonObject, at: str) -> Problems:
    kind = block.get("type")
    check = CHECKS.get(kind) if isinstance(kind, str) else None
    if check is None:
        yield f"unsupported type: {kind}", f"{at}/type"
        return
    if len(str(block.get("block_id") or "")) > 255:
        yield "must be less than 256 characters", f"{at}/block_id"
    yield from check(block, at)


def _text(value: Any, at: str, longest: int, plain: bool = False) -> Problems:
    """A text object of 1 to `longest` characters."""
    kinds = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if not isinstance(value, dict) or value.get("type") not in kinds or not isinstance(value.get("text"), str):
        yield "failed to match all allowed schemas", at
    elif not value["text"]:
        yield "must be more than 0 characters", f"{at}/text"
    elif len(value["text"]) > longest:
        yield "failed to match all allowed schemas", at
        yield f"must be less than {longest + 1} characters", f"{at}/text"


def _string(value: Any, at: str, longest: int, needed: bool = False) -> Problems:
    if value is None and not needed:
        return
    if not isinstance(value, str) or (needed and not value):
        yield "missing required field or not a string", at
    elif len(value) > longest:
        yield f"must be less than {longest + 1} characters", at


def _listed(block: JsonObject, name: str, most: int, at: str) -> tuple[list[Any], list[tuple[str, str]]]:
    value = block.get(name)
    if not isinstance(value, list) or not value:
        return [], [(f"missing required field: {name}", at)]
    if len(value) > most:
        return [], [(f"no more than {most} items allowed", f"{at}/{name}")]
    return value, []


def _section(block: JsonObject, at: str) -> Problems:
    fields = block.get("fields")
    if block.get("text") is None and not fields:
        yield "missing required field: text or fields", at
    if block.get("text") is not None:
        yield from _text(block["text"], f"{at}/text", 3000)
    if fields is not None:
        found, problems = _listed(block, "fields", 10, at)
        yield from problems
        for index, one in enumerate(found):
            yield from _text(one, f"{at}/fields/{index}", 2000)
    if block.get("accessory") is not None:
        yield from _element(block["accessory"], f"{at}/accessory")


def _header(block: JsonObject, at: str) -> Problems:
    yield from _text(block.get("text"), f"{at}/text", 150, plain=True)


def _markdown(block: JsonObject, at: str) -> Problems:
    yield from _string(block.get("text"), f"{at}/text", MARKDOWN_TOTAL, needed=True)


def _context(block: JsonObject, at: str) -> Problems:
    found, problems = _listed(block, "elements", 10, at)
    yield from problems
    for index, one in enumerate(found):
        if isinstance(one, dict) and one.get("type") == "image":
            yield from _image(one, f"{at}/elements/{index}")
        else:
            yield from _text(one, f"{at}/elements/{index}", 3000)


def _actions(block: JsonObject, at: str) -> Problems:
    found, problems = _listed(block, "elements", 25, at)
    yield from problems
    for index, one in enumerate(found):
        yield from _element(one, f"{at}/elements/{index}")
    named = [one.get("action_id") for one in found if isinstance(one, dict) and one.get("action_id")]
    if len(named) != len(set(named)):
        yield "action_id must be unique", f"{at}/elements"


def _image(block: JsonObject, at: str) -> Problems:
    if not block.get("slack_file"):
        yield from _string(block.get("image_url"), f"{at}/image_url", 3000, needed=True)
    yield from _string(block.get("alt_text"), f"{at}/alt_text", 2000, needed=True)


def _input(block: JsonObject, at: str) -> Problems:
    yield from _text(block.get("label"), f"{at}/label", 2000, plain=True)
    yield from _element(block.get("element"), f"{at}/element")


def _listed_elements(block: JsonObject, at: str) -> Problems:
    yield from _listed(block, "elements", 1000, at)[1]


def _feedback(block: JsonObject, at: str) -> Problems:
    """context_actions: feedback_buttons and icon_button, at most five."""
    found, problems = _listed(block, "elements", 5, at)
    yield from problems
    for index, one in enumerate(found):
        kind = one.get("type") if isinstance(one, dict) else None
        if kind not in ("feedback_buttons", "icon_button"):
            yield f"unsupported type: {kind}", f"{at}/elements/{index}"
        elif kind == "feedback_buttons":
            for name in ("positive_button", "negative_button"):
                button = one.get(name)
                where = f"{at}/elements/{index}/{name}"
                yield from _text(button.get("text") if isinstance(button, dict) else None, f"{where}/text", 75, True)


def _anything(block: JsonObject, at: str) -> Problems:
    yield from ()


def _element(element: Any, at: str) -> Problems:
    kind = element.get("type") if isinstance(element, dict) else None
    if not isinstance(kind, str) or not (kind in ELEMENTS or kind.endswith(("_select", "picker"))):
        yield f"unsupported type: {kind}", at
        return
    yield from _string(element.get("action_id"), f"{at}/action_id", 255)
    if kind == "image":
        yield from _image(element, at)
    elif kind == "button":
        yield from _text(element.get("text"), f"{at}/text", 75, plain=True)
        yield from _string(element.get("value"), f"{at}/value", 2000)
        yield from _string(element.get("url"), f"{at}/url", 3000)
        if element.get("style") not in (None, "primary", "danger"):
            yield "unexpected value", f"{at}/style"
    elif kind in ("static_select", "multi_static_select", "radio_buttons", "checkboxes", "overflow"):
        most = {"overflow": 5, "radio_buttons": 10, "checkboxes": 10}.get(kind, 100)
        yield from _options(element, at, most)


def _options(element: JsonObject, at: str, most: int) -> Problems:
    if element.get("option_groups"):
        return
    found, problems = _listed(element, "options", most, at)
    yield from problems
    for index, one in enumerate(found):
        option = one if isinstance(one, dict) else {}
        yield from _text(option.get("text"), f"{at}/options/{index}/text", 75)
        yield from _string(option.get("value"), f"{at}/options/{index}/value", 150, needed=True)


ELEMENTS = frozenset(
    {"button", "image", "overflow", "checkboxes", "radio_buttons", "plain_text_input", "rich_text_input"}
    | {"email_text_input", "url_text_input", "number_input", "file_input", "workflow_button"}
)
CHECKS: dict[str, Callable[[JsonObject, str], Problems]] = {
    "section": _section,
    "header": _header,
    "markdown": _markdown,
    "context": _context,
    "context_actions": _feedback,
    "actions": _actions,
    "image": _image,
    "input": _input,
    "divider": _anything,
    "rich_text": _listed_elements,
    "file": _anything,
    "video": _anything,
    "table": _anything,
    "task_card": _anything,
    "plan": _anything,
}
