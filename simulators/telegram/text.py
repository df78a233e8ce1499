"""Lengths and spans in UTF-16 units, the unit of Telegram's entities and limits."""


class MarkupError(ValueError):
    """Markup that Telegram refuses; the text is what follows "can't parse entities: "."""


def u16len(text: str) -> int:
    """UTF-16 code units in a text."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def u16slice(text: str, start: int, end: int) -> str:
    """The text between two UTF-16 offsets."""
    if text.isascii():
        return text[start:end]
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le", "replace")
