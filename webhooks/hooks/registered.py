"""The door to `hooks`: addresses at which other systems call, each with a template, a target and a way to verify.

A token is `prl_hook_` and 43 letters and digits (256 random bits). Only a keyed hash is kept, by which it is found.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from kernel.db import Connection
from kernel.errors import InvalidRequest, NotFound
from kernel.ids import new_id
from kernel.secrets import KeyRing, place
from kernel.types import Json
from webhooks.hooks.paths import Fault
from webhooks.hooks.recipe import Recipe, compile_recipe
from webhooks.hooks.verify import Proof, new_secret, proof_of, secret_fault

PATTERN = r"prl_hook_[0-9A-Za-z]{43}"
_TOKEN = re.compile(PATTERN, re.ASCII)
_LETTERS = string.ascii_letters + string.digits
_SEES = """hook_id, name, example, template, target, verify, sealed_secret IS NOT NULL AS has_secret, status,
    created_at, updated_at,
    (SELECT c.created_at FROM hook_calls c WHERE c.workspace_id = hooks.workspace_id AND c.hook_id = hooks.hook_id
     ORDER BY c.call_id DESC LIMIT 1) AS last_call_at"""


@dataclass(frozen=True, slots=True)
class Hook:
    """An enabled hook, as a call needs it."""

    workspace_id: str
    hook_id: str
    recipe: Recipe
    proof: Proof
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Made:
    """What is shown once. `secret` is None when the caller brought it, or there is none."""

    hook_id: str
    token: str = field(repr=False)
    secret: str | None = field(repr=False)


def mint() -> str:
    return "prl_hook_" + "".join(secrets.choice(_LETTERS) for _ in range(43))


def _hash(ring: KeyRing, token: str) -> bytes:
    return hmac.digest(ring.derive("hook-tokens"), token.encode(), "sha256")


def _where(workspace_id: str, hook_id: str) -> bytes:
    return place(workspace_id, "hooks", "sealed_secret", hook_id)


async def find(conn: Connection, ring: KeyRing, token: str) -> Hook | None:
    """The hook that a call names, in whatever workspace; None when there is none, or it is disabled."""
    if not _TOKEN.fullmatch(token):
        return None
    row = await conn.fetchrow("SELECT * FROM find_hook($1)", _hash(ring, token))
    if row is None:
        return None
    sealed = row["sealed_secret"]
    return Hook(
        row["workspace_id"],
        row["hook_id"],
        compile_recipe(row["template"], row["target"]),
        proof_of(row["verify"]),
        ring.open(sealed, _where(row["workspace_id"], row["hook_id"])).decode() if sealed else None,
    )


async def create(
    conn: Connection,
    ring: KeyRing,
    workspace_id: str,
    *,
    name: str,
    template: Json,
    target: Json,
    verify: Json,
    secret: str | None,
    example: str = "",
) -> Made:
    """Raises InvalidRequest."""
    proof = _checked(template, target, verify, secret)
    made = Made(new_id("hook"), mint(), None if secret else new_secret(proof.kind))
    await conn.execute(
        """
        INSERT INTO hooks (workspace_id, hook_id, name, token_hash, template, target, verify, sealed_secret, example)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        workspace_id,
        made.hook_id,
        name,
        _hash(ring, made.token),
        template,
        target,
        asdict(proof),
        _sealed(ring, workspace_id, made.hook_id, secret or made.secret),
        example,
    )
    return made


def _sealed(ring: KeyRing, workspace_id: str, hook_id: str, secret: str | None) -> bytes | None:
    return ring.seal(secret.encode(), _where(workspace_id, hook_id)) if secret else None


def _checked(template: Json, target: Json, verify: Json, secret: str | None) -> Proof:
    try:
        compile_recipe(template, target)
    except Fault as fault:
        raise _invalid(fault) from None
    try:
        proof = proof_of(verify)
    except Fault as fault:
        raise _invalid(fault.under("verify")) from None
    if secret is not None and (why := secret_fault(proof.kind, secret)):
        raise _invalid(Fault(why, "secret"))
    return proof


def _invalid(fault: Fault) -> InvalidRequest:
    return InvalidRequest(f"{fault.field}: {fault.message}", details=[{"field": fault.field, "message": fault.message}])


async def change(
    conn: Connection, ring: KeyRing, workspace_id: str, hook_id: str, changes: Mapping[str, Any]
) -> str | None:
    """Changes name, template, target, verify, secret or status, whichever are given. Raises NotFound, InvalidRequest.

    Returns a secret that was made anew, because another way to verify was chosen: the old one is forgotten then.
    """
    held = await conn.fetchrow(
        "SELECT template, target, verify FROM hooks WHERE workspace_id = $1 AND hook_id = $2 FOR UPDATE",
        workspace_id,
        hook_id,
    )
    if held is None:
        raise NotFound("there is no such hook")
    template, target = changes.get("template", held["template"]), changes.get("target", held["target"])
    secret = changes.get("secret")
    proof = _checked(template, target, changes.get("verify", held["verify"]), secret)
    other = proof.kind != held["verify"]["kind"]
    made = new_secret(proof.kind) if other and secret is None else None
    await conn.execute(
        """
        UPDATE hooks SET name = coalesce($3, name), template = $4, target = $5, verify = $6,
            sealed_secret = CASE WHEN $7 THEN $8 ELSE sealed_secret END, status = coalesce($9, status),
            example = CASE WHEN $10 THEN '' ELSE example END, updated_at = now()
        WHERE workspace_id = $1 AND hook_id = $2
        """,
        workspace_id,
        hook_id,
        changes.get("name"),
        template,
        target,
        asdict(proof),
        other or secret is not None,
        _sealed(ring, workspace_id, hook_id, secret or made),
        changes.get("status"),
        template != held["template"],
    )
    return made


async def rotate(conn: Connection, ring: KeyRing, workspace_id: str, hook_id: str) -> str:
    """A new token; the one before reaches nothing from the commit on. Raises NotFound."""
    token = mint()
    done = await conn.execute(
        "UPDATE hooks SET token_hash = $3, updated_at = now() WHERE workspace_id = $1 AND hook_id = $2",
        workspace_id,
        hook_id,
        _hash(ring, token),
    )
    if done == "UPDATE 0":
        raise NotFound("there is no such hook")
    return token


async def list_hooks(
    conn: Connection, workspace_id: str, *, cursor: str = "", limit: int = 50
) -> tuple[list[Json], str | None]:
    """Hooks, newest first, without their secrets, and the cursor of the next page."""
    rows = await conn.fetch(
        f"""
        SELECT {_SEES} FROM hooks WHERE workspace_id = $1 AND ($2 = '' OR hook_id < $2)
        ORDER BY hook_id DESC LIMIT $3 + 1
        """,  # noqa: S608
        workspace_id,
        cursor,
        limit,
    )
    page = [dict(row) for row in rows[:limit]]
    return page, page[-1]["hook_id"] if len(rows) > limit else None


async def get(conn: Connection, workspace_id: str, hook_id: str) -> Json:
    """Raises NotFound."""
    row = await conn.fetchrow(
        f"SELECT {_SEES} FROM hooks WHERE workspace_id = $1 AND hook_id = $2",  # noqa: S608
        workspace_id,
        hook_id,
    )
    if row is None:
        raise NotFound("there is no such hook")
    return dict(row)


async def delete(conn: Connection, workspace_id: str, hook_id: str) -> None:
    """Removes a hook and what is known of its calls. Raises NotFound."""
    done = await conn.execute("DELETE FROM hooks WHERE workspace_id = $1 AND hook_id = $2", workspace_id, hook_id)
    if done == "DELETE 0":
        raise NotFound("there is no such hook")
