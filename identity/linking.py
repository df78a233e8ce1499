"""The door to linking: one person's identities on several channels become one person, and are taken apart again.

All of it in a transaction of the workspace, under one lock for its links: they are rare, and no two must meet halfway.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from kernel.db import Connection
from kernel.errors import Conflict, NotFound
from kernel.events import publish_many
from kernel.ids import new_id
from kernel.types import Json

MINUTES = 10  # that a code is good for, and that an offer stands

_FACES = """
    SELECT i.identity_id, i.account_id, a.kind AS channel, a.name AS bot, i.external_id, i.username,
        i.created_at,
        coalesce(NULLIF(i.username, ''), NULLIF(u.display_name, ''), i.external_id) AS name,
        (SELECT count(*) FROM messages m
         WHERE m.workspace_id = i.workspace_id AND m.role = 'user'
            AND m.conversation_id IN (SELECT places_of(i.workspace_id, i.identity_id))) AS messages
    FROM identities i JOIN channel_accounts a USING (workspace_id, account_id)
    LEFT JOIN LATERAL (
        SELECT l.from_user FROM identity_links l
        WHERE l.workspace_id = i.workspace_id AND l.identity_id = i.identity_id AND l.unlinked_at IS NULL
        ORDER BY l.link_id LIMIT 1) own ON true
    JOIN users u ON u.workspace_id = i.workspace_id AND u.user_id = coalesce(own.from_user, i.user_id)
    WHERE i.user_id = $1 ORDER BY i.identity_id
"""


class Known(NamedTuple):
    """Somebody on a channel, and the person whom they are taken for."""

    identity_id: str
    user_id: str


class Offered(NamedTuple):
    """What a link would join: identities on the bearer's side and on the issuer's, each with channel, bot, name,
    messages and created_at. `changed` tells that the sides are not what was shown before."""

    here: list[Json]
    there: list[Json]
    changed: bool = False


class Linked(NamedTuple):
    """Two people are one: `gone` was joined to `into`."""

    gone: str
    into: str


Invalid = Literal["invalid"]  # wrong, used, too old, of another workspace: nobody is told which
Same = Literal["same"]  # the code is one's own
Nothing = Literal["nothing"]  # there is no offer to agree to


async def lock(conn: Connection) -> None:
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('link:' || current_workspace(), 0))")


async def known(conn: Connection, account_id: str, external_id: str) -> Known:
    """Raises NotFound."""
    row = await conn.fetchrow(
        "SELECT identity_id, user_id FROM identities WHERE account_id = $1 AND external_id = $2",
        account_id,
        external_id,
    )
    if row is None:
        raise NotFound("there is no such identity")
    return Known(*row)


async def issue(conn: Connection, user_id: str, code_hash: bytes) -> Json:
    """Puts a code into force, and an earlier one of this person out of it. Returns expires_at. Raises NotFound."""
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM users WHERE user_id = $1)", user_id):
        raise NotFound("there is no such user")
    row = await conn.fetchrow(
        """
        INSERT INTO link_codes (workspace_id, user_id, code_hash, expires_at)
        VALUES (current_workspace(), $1, $2, now() + make_interval(mins => $3))
        ON CONFLICT (workspace_id, user_id) DO UPDATE
        SET code_hash = excluded.code_hash, expires_at = excluded.expires_at, created_at = now()
        RETURNING expires_at
        """,
        user_id,
        code_hash,
        MINUTES,
    )
    assert row is not None
    return dict(row)


async def revoke(conn: Connection, code_hash: bytes) -> None:
    """Puts a code out of force that others may have seen."""
    await conn.execute("DELETE FROM link_codes WHERE code_hash = $1", code_hash)


async def redeem(conn: Connection, who: Known, code_hash: bytes) -> Offered | Invalid | Same:
    """Uses a code up. What comes of it is an offer, which its bearer has to agree to.

    The bearer may repeat it while the offer stands, since a turn may be tried again.
    """
    into = await conn.fetchval(
        "SELECT into_user FROM link_offers WHERE identity_id = $1 AND code_hash = $2 AND expires_at > now()",
        who.identity_id,
        code_hash,
    ) or await conn.fetchval("SELECT user_id FROM link_codes WHERE code_hash = $1 AND expires_at > now()", code_hash)
    if into is None:
        return "invalid"
    if into == who.user_id:
        return "same"
    await conn.execute("DELETE FROM link_codes WHERE code_hash = $1", code_hash)
    return await _offer(conn, who, into, code_hash)


async def _offer(conn: Connection, who: Known, into: str, code_hash: bytes, changed: bool = False) -> Offered:
    offered = Offered(await faces(conn, who.user_id), await faces(conn, into), changed)
    await conn.execute(
        """
        INSERT INTO link_offers (workspace_id, identity_id, into_user, code_hash, shown, expires_at)
        VALUES (current_workspace(), $1, $2, $3, $4, now() + make_interval(mins => $5))
        ON CONFLICT (workspace_id, identity_id) DO UPDATE
        SET into_user = excluded.into_user, code_hash = excluded.code_hash, shown = excluded.shown,
            expires_at = excluded.expires_at
        """,
        who.identity_id,
        into,
        code_hash,
        _ids(offered),
        MINUTES,
    )
    return offered


def _ids(offered: Offered) -> list[str]:
    return sorted(face["identity_id"] for face in (*offered.here, *offered.there))


async def faces(conn: Connection, user_id: str) -> list[Json]:
    """A person's identities as they are shown to people: channel, bot, name, messages in private, created_at."""
    return [dict(row) for row in await conn.fetch(_FACES, user_id)]


async def confirm(conn: Connection, who: Known, origin: str) -> Linked | Offered | Nothing | Same:
    """Joins what was offered. When the sides have changed since, they are offered anew and nothing is joined.

    `origin` is the turn that asks for it: asked again, it hears the same.
    """
    row = await conn.fetchrow(
        "DELETE FROM link_offers WHERE identity_id = $1 AND expires_at > now() RETURNING into_user, code_hash, shown",
        who.identity_id,
    )
    if row is None:
        return await _done_by(conn, who, origin)
    into: str = row["into_user"]
    if into == who.user_id:
        return "same"
    now = Offered(await faces(conn, who.user_id), await faces(conn, into))
    if _ids(now) != row["shown"]:
        return await _offer(conn, who, into, row["code_hash"], changed=True)
    rows = await conn.fetch(
        "SELECT link_people(current_workspace(), $1, $2, $3) AS identity_id", who.user_id, into, origin
    )
    moved = {row["identity_id"] for row in rows}
    await _tell(conn, "identity.linked", [face for face in now.here if face["identity_id"] in moved], into, who.user_id)
    return Linked(who.user_id, into)


async def _done_by(conn: Connection, who: Known, origin: str) -> Linked | Nothing:
    row = await conn.fetchrow(
        "SELECT from_user, into_user FROM identity_links "
        "WHERE identity_id = $1 AND origin = $2 AND unlinked_at IS NULL",
        who.identity_id,
        origin,
    )
    return Linked(row["from_user"], row["into_user"]) if row else "nothing"


async def _tell(conn: Connection, event_type: str, moved: list[Json], now: str, before: str) -> None:
    workspace_id = await conn.fetchval("SELECT current_workspace()")
    about = [{name: face[name] for name in ("identity_id", "channel", "account_id")} for face in moved]
    await publish_many(
        conn, workspace_id, [(event_type, {**one, "user_id": now, "previous_user_id": before}) for one in about]
    )


async def cancel(conn: Connection, who: Known) -> bool:
    """Whether there was an offer to decline."""
    gone = await conn.fetchval(
        "DELETE FROM link_offers WHERE identity_id = $1 AND expires_at > now() RETURNING identity_id", who.identity_id
    )
    return gone is not None


async def unlink(conn: Connection, identity_id: str) -> Json:
    """Gives an identity a person of its own again: the one it had before, or a new one.

    Its conversations go with it. Returns the identity with user_id and previous_user_id. Raises NotFound, and
    Conflict when its person has no other identity.
    """
    before = await conn.fetchval("SELECT user_id FROM identities WHERE identity_id = $1", identity_id)
    if before is None:
        raise NotFound("there is no such identity")
    face = next(face for face in await faces(conn, before) if face["identity_id"] == identity_id)
    others = await conn.fetchval(
        "SELECT count(*) FROM identities WHERE user_id = $1 AND identity_id <> $2", before, identity_id
    )
    if not others:
        raise Conflict("this identity is not linked to any other")
    own = await _own_user(conn, identity_id, before)
    await conn.execute("SELECT move_identity(current_workspace(), $1, $2)", identity_id, own)
    await conn.execute(
        "UPDATE identity_links SET unlinked_at = now() WHERE identity_id = $1 AND unlinked_at IS NULL", identity_id
    )
    await conn.execute("DELETE FROM link_codes WHERE user_id = $1", before)
    await _tell(conn, "identity.unlinked", [face], own, before)
    return {**face, "user_id": own, "previous_user_id": before}


async def _own_user(conn: Connection, identity_id: str, before: str) -> str:
    """The person that the identity was before it was first linked, unless somebody else is that person by now."""
    former: str | None = await conn.fetchval(
        """
        SELECT l.from_user FROM identity_links l
        WHERE l.identity_id = $1 AND l.unlinked_at IS NULL
            AND NOT EXISTS (SELECT FROM identities i WHERE i.user_id = l.from_user)
        ORDER BY l.link_id LIMIT 1
        """,
        identity_id,
    )
    if former:
        return former
    fresh = new_id("usr")
    await conn.execute(
        """
        INSERT INTO users (workspace_id, user_id, display_name, language)
        SELECT workspace_id, $1, display_name, language FROM users WHERE user_id = $2
        """,
        fresh,
        before,
    )
    return fresh


async def stragglers(conn: Connection, linked: Linked) -> None:
    """Gives the person that is left what was begun for the one that is gone while they were being joined."""
    await conn.execute("SELECT move_stragglers(current_workspace(), $1, $2)", linked.gone, linked.into)
