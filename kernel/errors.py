"""Refusals in the contract's shape. An expected failure is a value; these end a request or a command."""

from __future__ import annotations

from typing import Any


class ParleyError(Exception):
    """A refusal with a code, an HTTP status, a message for people and the fields at fault."""

    status = 500
    code = "internal"

    def __init__(
        self,
        message: str,
        *,
        details: list[dict[str, str]] | None = None,
        retry_after: float | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or []
        self.retry_after = retry_after
        if code:
            self.code = code

    def body(self, request_id: str) -> dict[str, Any]:
        return {
            "status": "error",
            "code": self.code,
            "message": self.message,
            "request_id": request_id,
            "fallback_used": False,
            "retry_after": self.retry_after,
            "details": self.details,
        }


class InvalidRequest(ParleyError):
    status, code = 422, "invalid_request"


class MalformedRequest(ParleyError):
    status, code = 400, "malformed_request"


class Unauthorized(ParleyError):
    status, code = 401, "unauthorized"


class Forbidden(ParleyError):
    status, code = 403, "forbidden"


class NotFound(ParleyError):
    status, code = 404, "not_found"


class MethodNotAllowed(ParleyError):
    status, code = 405, "method_not_allowed"


class Conflict(ParleyError):
    status, code = 409, "conflict"


class TooLarge(ParleyError):
    status, code = 413, "too_large"


class Unsupported(ParleyError):
    status, code = 415, "unsupported"


class RateLimited(ParleyError):
    status, code = 429, "rate_limited"


class Unavailable(ParleyError):
    status, code = 503, "unavailable"


class ConfigError(ParleyError):
    """A setting or a deployment fault that stops a start, named so that a person can mend it."""

    code = "configuration"
