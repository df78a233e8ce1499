"""Refusals in Discord's own words (https://docs.discord.com/developers/topics/opcodes-and-status-codes)."""

from typing import Any

JsonObject = dict[str, Any]


class ApiError(Exception):
    """What the API answers instead of a result. `errors`: the tree of a 50035."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        errors: JsonObject | None = None,
        headers: dict[str, str] | None = None,
        more: JsonObject | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors
        self.headers = headers or {}
        self.more = more or {}

    def payload(self) -> JsonObject:
        """The JSON body: message, code and, for an invalid form, errors."""
        body: JsonObject = {"message": self.message, "code": self.code} | self.more
        return body | {"errors": self.errors} if self.errors else body


UNKNOWN = {
    10003: "Unknown Channel",
    10004: "Unknown Guild",
    10008: "Unknown Message",
    10013: "Unknown User",
    10014: "Unknown Emoji",
    10015: "Unknown Webhook",
    10062: "Unknown interaction",
    10063: "Unknown application command",
}


def unknown(code: int) -> ApiError:
    return ApiError(400 if code == 10014 else 404, code, UNKNOWN[code])


def unauthorized() -> ApiError:
    return ApiError(401, 0, "401: Unauthorized")


def not_found() -> ApiError:
    return ApiError(404, 0, "404: Not Found")


def missing_access() -> ApiError:
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    return ApiError(403, 50013, "Missing Permissions")


def invalid(path: str, code: str, message: str) -> ApiError:
    """50035: one field of the form is wrong. `path`: dotted, as in "embeds.0.title"."""
    tree: JsonObject = {"_errors": [{"code": code, "message": message}]}
    for name in reversed(path.split(".")):
        tree = {name: tree}
    return ApiError(400, 50035, "Invalid Form Body", tree)


def too_long(path: str, limit: int) -> ApiError:
    return invalid(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def required(path: str) -> ApiError:
    return invalid(path, "BASE_TYPE_REQUIRED", "This field is required")


def too_many_requests(seconds: float, scope: str) -> ApiError:
    """429, as Discord's own limiter answers it; the `Via` header tells it from Cloudflare's ban."""
    headers = {"Retry-After": str(int(-(-seconds // 1))), "X-RateLimit-Scope": scope, "Via": "1.1 google"}
    if scope == "global":
        headers["X-RateLimit-Global"] = "true"
    more = {"retry_after": round(seconds, 3), "global": scope == "global"}
    return ApiError(429, 0, "You are being rate limited.", headers=headers, more=more)
