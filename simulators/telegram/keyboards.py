"""Inline keyboards: what the server checks before it shows one."""

from typing import Any

from simulators.telegram.errors import bad_request
from simulators.telegram.links import checked_url
from simulators.telegram.params import Params

ACTIONS = (
    "url", "callback_data", "web_app", "login_url", "switch_inline_query",
    "switch_inline_query_current_chat", "switch_inline_query_chosen_chat", "copy_text", "callback_game", "pay",
)  # fmt: skip
DATA_BYTES = 64


def inline_keyboard(params: Params) -> dict[str, Any] | None:
    """The reply_markup shown under the message, or None. Raises ApiError.

    Custom keyboards change the reader's keyboard, not the message: they are accepted and not kept.
    """
    markup = params.parsed("reply_markup", "reply keyboard markup")
    if markup is None or markup == {}:
        return None
    if not isinstance(markup, dict):
        raise bad_request("object expected as reply markup")
    if "inline_keyboard" not in markup:
        return None
    rows = markup["inline_keyboard"]
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request('field "inline_keyboard" must be an Array of Arrays')
    kept = [[_button(button) for button in row] for row in rows if row]
    return {"inline_keyboard": kept} if kept else None


def _button(button: Any) -> dict[str, Any]:
    if not isinstance(button, dict):
        raise bad_request("can't parse inline keyboard button: InlineKeyboardButton must be an Object")
    if not isinstance(button.get("text"), str):
        raise bad_request('can\'t parse inline keyboard button: Field "text" must be of type String')
    if not button["text"].strip():
        raise bad_request("inline keyboard button text must be non-empty")
    kinds = [kind for kind in ACTIONS if button.get(kind) is not None]
    if not kinds:
        raise bad_request("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    shown = {"text": button["text"], kinds[0]: button[kinds[0]]}
    if kinds[0] == "callback_data" and not 1 <= len(str(shown["callback_data"]).encode()) <= DATA_BYTES:
        raise bad_request("BUTTON_DATA_INVALID")
    if kinds[0] == "url":
        url = checked_url(str(shown["url"]))
        if url is None:
            raise bad_request(f"inline keyboard button URL '{shown['url']}' is invalid: Wrong HTTP URL")
        shown["url"] = url
    return shown
