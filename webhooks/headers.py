"""Headers of an endpoint's own: which may be set, and which may be shown again."""

from __future__ import annotations

import re
from collections.abc import Mapping

MOST, LONGEST_NAME, LONGEST_VALUE = 32, 128, 4_096
HIDDEN = "(hidden)"

# What HTTP itself, the connection or we decide, and what a cloud's metadata service takes for a proof of good intent.
_REFUSED = frozenset(
    (
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "date", "expect",
        "forwarded", "host", "http2-settings", "keep-alive", "metadata", "metadata-flavor", "origin", "referer", "te",
        "trailer", "transfer-encoding", "upgrade", "user-agent", "via",
    )
)  # fmt: skip
_REFUSED_PREFIXES = (
    "access-control-", "cf-", "proxy-", "sec-", "svix-", "webhook-", "x-aws-ec2-metadata-", "x-envoy-", "x-forwarded-",
    "x-google-metadata-", "x-parley-", "x-real-",
)  # fmt: skip
_NAME = re.compile(rf"[A-Za-z0-9!#$%&'*+.^_`|~-]{{1,{LONGEST_NAME}}}")  # RFC 9110 5.1
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_SENSITIVE = re.compile(
    r"auth|cookie|credential|key|password|passwd|secret|session|signature|token|jwt|bearer", re.IGNORECASE
)


def name_fault(name: str) -> str | None:
    """Why no header of this name may be set, or None."""
    low = name.lower()
    if not _NAME.fullmatch(name):
        return f"a header's name is 1 to {LONGEST_NAME} letters, digits and signs like - and _"
    if low in _REFUSED:
        return "this header is not for setting"
    prefix = next((prefix for prefix in _REFUSED_PREFIXES if low.startswith(prefix)), None)
    return f"headers that start with {prefix} are not for setting" if prefix else None


def value_fault(value: object) -> str | None:
    """Why a header may not have this value, or None."""
    if not isinstance(value, str):
        return "a text"
    if value == HIDDEN:
        return "this is what is shown instead of the value; to keep that, change the endpoint without naming the header"
    if len(value) > LONGEST_VALUE:
        return f"at most {LONGEST_VALUE} characters"
    if not _VALUE.fullmatch(value):
        return "printable ASCII that neither starts nor ends with a blank"
    return None


def faults(headers: Mapping[str, object]) -> list[tuple[str, str]]:
    """Every fault, with the name of the header that has it ('' for all together)."""
    if len(headers) > MOST:
        return [("", f"at most {MOST} headers")]
    found = [(name, fault) for name in headers if (fault := name_fault(name) or value_fault(headers[name]))]
    first: dict[str, str] = {}
    for name in headers:
        first.setdefault(name.lower(), name)
    found += [(name, f"the same header as {first[name.lower()]}") for name in headers if first[name.lower()] != name]
    return found


def masked(name: str, value: str) -> str:
    """The value, or HIDDEN where the name says that it is a secret."""
    return HIDDEN if _SENSITIVE.search(name) else value
