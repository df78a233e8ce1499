"""What turns may do about the people who take part in them; `identity.people` does it."""

from __future__ import annotations

from typing import Protocol

from kernel.types import Json, Sender


class People(Protocol):
    """Linking, and being let in. Who acts is named by the account and the platform's id of the person.

    An outcome is {"outcome": …} with "invalid" (a code is wrong, used, too old, or too many were tried), "same" (it is
    one's own), "nothing" (no offer stands), "linked", or "offered" with "here" and "there": the identities on both
    sides, each with channel, bot, name, messages and created_at, and "changed" when they are not what was shown before.
    """

    async def issue(self, workspace_id: str, account_id: str, external_id: str) -> str | None:
        """A new code; None when too many were made."""
        ...

    async def redeem(self, workspace_id: str, account_id: str, external_id: str, typed: str) -> Json: ...

    async def revoke(self, workspace_id: str, typed: str) -> None: ...

    async def confirm(self, workspace_id: str, account_id: str, external_id: str, origin: str) -> Json: ...

    async def cancel(self, workspace_id: str, account_id: str, external_id: str) -> bool: ...

    async def unlink(self, workspace_id: str, account_id: str, external_id: str) -> bool:
        """Whether there was anything to take apart."""
        ...

    async def ask_in(self, workspace_id: str, account_id: str, sender: Sender, conversation_id: str) -> str | None:
        """The code with which an operator lets this stranger in; None when too many have asked."""
        ...
