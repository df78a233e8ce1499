"""One try of one delivery: open its keys, sign, post, judge."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import aiohttp

from kernel.secrets import KeyRing, SealBroken
from webhooks.claims import Claim, Result, Terms
from webhooks.decide import decide
from webhooks.options import Options, open_options
from webhooks.secrets import open_keys
from webhooks.signing import SigningKey, signed_headers
from webhooks.transport import Outcome, Session, post, timeouts

_CONNECT = 5.0
_REMEMBERED = 4_096


@lru_cache(maxsize=256)
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return timeouts(seconds, min(_CONNECT, seconds))


class Sender:
    """Tries deliveries over one session. `rand` gives numbers in [0, 1), `now` epoch seconds."""

    def __init__(self, keyring: KeyRing, session: Session, rand: Callable[[], float], now: Callable[[], float]) -> None:
        self._keyring = keyring
        self._session = session
        self._rand = rand
        self._now = now
        self._opened: dict[tuple[str, Terms], tuple[list[SigningKey], Options]] = {}

    async def deliver(self, claim: Claim) -> Result:
        """Never raises but for a bug, or when it is cancelled."""
        now = self._now()
        try:
            body = claim.content
        except ValueError as error:
            return self.judge(claim, Outcome(now, 0, None, "event_gone", str(error)))
        try:
            keys, options = self._open(claim)
            headers = signed_headers(keys, claim.event_id, int(now), body)
        except (SealBroken, ValueError):
            return self.judge(
                claim, Outcome(now, 0, None, "secret_unreadable", "the endpoint's secrets cannot be opened")
            )
        headers["content-type"] = "application/json"
        timeout = _timeout(claim.terms.timeout_seconds)
        outcome = await post(self._session, claim.terms.url, headers, body, timeout, options)
        return self.judge(claim, outcome._replace(started_at=now))

    def judge(self, claim: Claim, outcome: Outcome) -> Result:
        return Result(claim, outcome, decide(claim.attempt, outcome, self._now(), self._rand(), claim.schedule))

    def _open(self, claim: Claim) -> tuple[list[SigningKey], Options]:
        """What the endpoint's seals hold, opened once. Raises SealBroken, or ValueError when no key is left."""
        wanted = (claim.webhook_id, claim.terms)
        opened = self._opened.get(wanted)
        if opened is None:
            keys = open_keys(self._keyring, claim.workspace_id, claim.webhook_id, claim.terms.sealed_secrets)
            if not keys:
                raise ValueError("no live secret")
            if len(self._opened) >= _REMEMBERED:
                self._opened.clear()
            options = open_options(self._keyring, claim.workspace_id, claim.webhook_id, claim.terms.sealed_options)
            opened = self._opened[wanted] = (keys, options)
        return opened
