"""Whether a call of a hook comes from whom it should: by the token in its address alone, or also by a signature.

github            https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
stripe            https://docs.stripe.com/webhooks#verify-manually
standard_webhooks https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
hmac              any header that holds an HMAC of the body
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from webhooks import signing
from webhooks.hooks.paths import Fault

Kind = Literal["none", "github", "stripe", "standard_webhooks", "hmac"]
TOLERANCE = 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_SECRET = re.compile(r"[\x21-\x7e]{8,256}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proof:
    """How a call is proven. `tolerance` in seconds is Stripe's, the rest for hmac; `prefix` stands before the value."""

    kind: Kind = "none"
    tolerance: int = TOLERANCE
    header: str = ""
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""


def secret_fault(kind: Kind, secret: str) -> str | None:
    """Why a secret cannot be one for this kind, or None."""
    if kind == "none":
        return "a hook that verifies nothing has no secret"
    if not _SECRET.fullmatch(secret):
        return "a secret is 8 to 256 printable characters without blanks"
    if kind == "standard_webhooks":
        try:
            signing.secret_key(secret)
        except ValueError as error:
            return str(error)
    return None


def new_secret(kind: Kind) -> str | None:
    """A secret that the other system can be given; None where it makes its own, or needs none."""
    if kind == "standard_webhooks":
        return signing.new_secret()
    return secrets.token_urlsafe(32) if kind in ("github", "hmac") else None


def refusal(proof: Proof, secret: str | None, headers: Mapping[str, str], body: bytes, now: float) -> str | None:
    """Why a call is not believed, or None. Header names in lower case; `now` in epoch seconds."""
    if proof.kind == "none":
        return None
    if not secret:
        return "this hook has no secret yet to check signatures with"
    if proof.kind == "standard_webhooks":
        try:
            signing.verify([secret], headers, body, now)
        except signing.SignatureRefused as error:
            return str(error)
        return None
    if proof.kind == "stripe":
        return _stripe(proof, secret, headers.get("stripe-signature", ""), body, now)
    if proof.kind == "github":
        proof = Proof("hmac", header="x-hub-signature-256", prefix="sha256=")
    return _hmac(proof, secret, headers.get(proof.header.lower(), ""), body)


def _hmac(proof: Proof, secret: str, given: str, body: bytes) -> str | None:
    if not given.startswith(proof.prefix) or given == proof.prefix:
        return f"the header {proof.header} holds no signature"
    digest = hmac.digest(secret.encode(), body, proof.algorithm)
    if proof.encoding == "hex":
        expected, offered = digest.hex(), given.removeprefix(proof.prefix).lower()
    else:
        expected, offered = base64.b64encode(digest).decode(), given.removeprefix(proof.prefix)
    right = hmac.compare_digest(expected.encode(), offered.encode("utf-8", "replace"))
    return None if right else "the signature is not that of this body"


def _stripe(proof: Proof, secret: str, given: str, body: bytes, now: float) -> str | None:
    """`t=1492774577,v1=5257…,v1=…`: the timestamp is signed with the body, and any of the v1 may fit."""
    items = [item.strip().partition("=") for item in given.split(",")]
    stamps = [value for name, _, value in items if name == "t"]
    if len(stamps) != 1 or not _TIMESTAMP.fullmatch(stamps[0]):
        return "the header Stripe-Signature holds no timestamp"
    if abs(now - int(stamps[0])) > proof.tolerance:
        return "the timestamp is too old or too new"
    expected = hmac.digest(secret.encode(), stamps[0].encode() + b"." + body, "sha256").hex().encode()
    offered = [value.encode("utf-8", "replace") for name, _, value in items if name == "v1"]
    return None if any(hmac.compare_digest(expected, one) for one in offered) else "no signature matches"


def proof_of(given: Mapping[str, Any]) -> Proof:
    """Raises Fault."""
    try:
        proof = Proof(**given)
    except TypeError:
        raise Fault("there is no such way to verify") from None
    if proof.kind == "hmac" and not re.fullmatch(r"[A-Za-z0-9-]{1,80}", proof.header):
        raise Fault("the header that holds the signature has to be named", "header")
    if proof.kind == "standard_webhooks" and proof.tolerance != TOLERANCE:
        raise Fault(f"Standard Webhooks has a tolerance of {TOLERANCE} seconds", "tolerance")
    return proof


_NAMED = (("x-github-delivery", "github"), ("webhook-id", "webhook"), ("idempotency-key", "key"))


def external_id(proof: Proof, headers: Mapping[str, str], payload: Any) -> str:
    """What tells a repeat of a call, by the sender's own id of it: empty when there is none."""
    if proof.kind == "stripe" or "stripe-signature" in headers:
        event = payload.get("id") if isinstance(payload, dict) else None
        if isinstance(event, str) and event:
            return f"stripe:{event}"
    return next((f"{source}:{headers[name]}" for name, source in _NAMED if headers.get(name)), "")
