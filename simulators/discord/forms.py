"""What a message may contain (https://docs.discord.com/developers/resources/message): checked, in Discord's words."""

import re
from typing import Any

from simulators.discord.errors import ApiError, JsonObject, invalid, required, too_long
from simulators.discord.params import listing, mapping

TEXT_LIMIT = 2000
NONCE_LIMIT = 25
EMBED_LIMIT = 10
EMBED_TOTAL = 6000
ROW_LIMIT = 5
BUTTON_LIMIT = 5
EPHEMERAL = 1 << 6
SENDABLE_FLAGS = 1 << 2 | 1 << 12
MENTION = re.compile(r"<@!?(\d{1,20})>")
EMBED_TEXTS = (("title", 256), ("description", 4096))
PARSE_KINDS = ("users", "roles", "everyone")


def content_of(values: JsonObject) -> str | None:
    """The text, trimmed as Discord trims it; None when the form does not speak of it. Raises ApiError."""
    if "content" not in values:
        return None
    value = values["content"]
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise invalid("content", "STRING_TYPE_CONVERT", "Could not interpret this value as string.")
    text = str(value).strip()
    if len(text) > TEXT_LIMIT:
        raise too_long("content", TEXT_LIMIT)
    return text


def nonce_of(values: JsonObject) -> str | int | None:
    nonce = values.get("nonce")
    if nonce is None or nonce == "":
        return None
    if not isinstance(nonce, str | int) or isinstance(nonce, bool):
        raise invalid("nonce", "NONCE_TYPE", "Nonce must be an integer or a string.")
    if len(str(nonce)) > NONCE_LIMIT:
        raise too_long("nonce", NONCE_LIMIT)
    return nonce


def embeds_of(values: JsonObject) -> list[JsonObject] | None:
    embeds = values.get("embeds")
    if embeds is None:
        return [] if "embeds" in values else None
    if len(listing("embeds", embeds)) > EMBED_LIMIT:
        raise invalid("embeds", "BASE_TYPE_MAX_LENGTH", f"Must be {EMBED_LIMIT} or fewer in length.")
    total = sum(_embed(f"embeds.{number}", embed) for number, embed in enumerate(embeds))
    if total > EMBED_TOTAL:
        raise invalid("embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {EMBED_TOTAL}")
    return [{"type": "rich", **embed} for embed in embeds]


def _embed(path: str, given: Any) -> int:
    """Check one embed; how many characters it counts."""
    if given is None:
        raise required(path)
    embed = mapping(path, given)
    total = sum(_length(f"{path}.{name}", embed.get(name), limit) for name, limit in EMBED_TEXTS)
    for part, name, limit in (("footer", "text", 2048), ("author", "name", 256)):
        inner = mapping(f"{path}.{part}", embed.get(part))
        total += _length(f"{path}.{part}.{name}", inner.get(name), limit)
    fields = listing(f"{path}.fields", embed.get("fields"))
    if len(fields) > 25:
        raise too_long(f"{path}.fields", 25)
    for number, one in enumerate(fields):
        place = f"{path}.fields.{number}"
        for name, limit in (("name", 256), ("value", 1024)):
            if not mapping(place, one).get(name):
                raise required(f"{place}.{name}")
            total += _length(f"{place}.{name}", one[name], limit)
    return total


def _length(path: str, value: Any, limit: int) -> int:
    text = "" if value is None else str(value)
    if len(text) > limit:
        raise too_long(path, limit)
    return len(text)


def components_of(values: JsonObject) -> list[JsonObject] | None:
    """Action rows with buttons or one select menu. Raises ApiError."""
    rows = values.get("components")
    if rows is None:
        return [] if "components" in values else None
    if not isinstance(rows, list) or len(rows) > ROW_LIMIT:
        raise invalid("components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {ROW_LIMIT} in length.")
    ids: set[str] = set()
    return [_row(f"components.{number}", row, ids) for number, row in enumerate(rows)]


def _row(path: str, row: Any, ids: set[str]) -> JsonObject:
    if not isinstance(row, dict) or row.get("type") != 1:
        raise invalid(f"{path}.type", "UNION_TYPE_CHOICES", 'Value of field "type" must be one of (1,).')
    children = row.get("components")
    if not isinstance(children, list) or not 1 <= len(children) <= BUTTON_LIMIT:
        raise invalid(f"{path}.components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {BUTTON_LIMIT} in length.")
    kinds = [mapping(f"{path}.components.{number}", child).get("type") for number, child in enumerate(children)]
    if len(kinds) > 1 and any(kind != 2 for kind in kinds):
        raise invalid(
            f"{path}.components", "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "The specified component exceeds the maximum width"
        )
    for number, child in enumerate(children):
        _child(f"{path}.components.{number}", child, ids)
    return row


def _child(path: str, child: JsonObject, ids: set[str]) -> None:
    kind = child.get("type")
    if kind == 2:
        _button(path, child)
        if child.get("style") == 5:
            return
    elif kind not in (3, 5, 6, 7, 8):
        raise invalid(f"{path}.type", "UNION_TYPE_CHOICES", 'Value of field "type" must be one of (2, 3, 5, 6, 7, 8).')
    name = child.get("custom_id")
    if not name:
        raise required(f"{path}.custom_id")
    if not isinstance(name, str) or len(name) > 100:
        raise invalid(f"{path}.custom_id", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    if name in ids:
        raise invalid(f"{path}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
    ids.add(name)


def _button(path: str, button: JsonObject) -> None:
    style = button.get("style")
    if style not in (1, 2, 3, 4, 5):
        raise invalid(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3, 4, 5, 6}.")
    if len(str(button.get("label") or "")) > 80:
        raise too_long(f"{path}.label", 80)
    if not button.get("label") and not button.get("emoji"):
        raise invalid(path, "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", "A button needs a label or an emoji")
    if style == 5 and not str(button.get("url") or "").startswith(("http://", "https://", "discord://")):
        raise invalid(f"{path}.url", "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    if style == 5 and button.get("custom_id"):
        raise invalid(
            path, "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", "A custom id and url cannot both be specified"
        )


def flags_of(values: JsonObject, allowed: int) -> int:
    flags = values.get("flags") or 0
    if not isinstance(flags, int):
        raise invalid("flags", "NUMBER_TYPE_COERCE", f'Value "{flags}" is not int.')
    if flags & 1 << 15:
        raise ApiError(400, 50035, "Invalid Form Body: this simulator does not speak Components V2")
    return flags & allowed


def mentioned(values: JsonObject, text: str) -> tuple[list[int], bool]:
    """The ids that a text pings and whether it pings everyone, as `allowed_mentions` leaves it. Raises ApiError."""
    named = list(dict.fromkeys(int(found) for found in MENTION.findall(text)))
    everyone = "@everyone" in text or "@here" in text
    if values.get("allowed_mentions") is None:
        return named, everyone
    allowed = mapping("allowed_mentions", values["allowed_mentions"])
    parse = listing("allowed_mentions.parse", allowed.get("parse"))
    users = listing("allowed_mentions.users", allowed.get("users"))
    if parse and any(kind not in PARSE_KINDS for kind in parse):
        raise invalid(
            "allowed_mentions.parse.0", "BASE_TYPE_CHOICES", "Value must be one of ('users', 'roles', 'everyone')."
        )
    if parse and "users" in parse and users:
        raise invalid(
            "allowed_mentions",
            "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
            'parse:["users"] and users: [ids...] are mutually exclusive.',
        )
    kept = named if "users" in parse else [number for number in named if str(number) in map(str, users)]
    return kept, everyone and "everyone" in parse
