"""When to ask for a challenge. Normally never: the control plane pushes one when renewal is due."""

from __future__ import annotations

from typing import Final

from sealward.enclave_agent.backoff import Backoff
from sealward.enclave_agent.clock import NS_PER_S
from sealward.enclave_agent.leases import LeaseBook

ASK_SHARE: Final = 0.9  # the control plane pushes at about 0.8 of the horizon
SHORT_NS: Final = NS_PER_S // 4  # a lease that is due sooner is not worth a renewal by itself
ANSWER_NS: Final = 5 * NS_PER_S  # how long a challenge that was asked for may take


class Pacing:
    """Instants, from the lease book and from what the last attestations came to. Pure."""

    def __init__(self, book: LeaseBook, backoff: Backoff) -> None:
        self._book: Final = book
        self._backoff: Final = backoff
        self._not_before_ns = 0
        self._unsettled = False

    def ask_at_ns(self) -> int:
        """Return the boot-time instant at which to ask: at once when no lease is held."""
        due = None if self._unsettled else self._book.renewal_due_ns(ASK_SHARE)
        return max(0 if due is None else due, self._not_before_ns)

    def asked(self, now_ns: int) -> None:
        """A challenge was asked for; give it time to come."""
        self._not_before_ns = max(self._not_before_ns, now_ns + ANSWER_NS)

    def granted(self, now_ns: int) -> None:
        """An attestation was answered with leases, and all of them are held.

        Leases that would have to be renewed at once are no reason to ask without a pause: an input
        of their horizon is about to end.
        """
        self._unsettled = False
        due_ns = self._book.renewal_due_ns(ASK_SHARE)
        if due_ns is None or due_ns < now_ns + SHORT_NS:
            self.failed(now_ns)
            return
        self._backoff.reset()
        self._not_before_ns = 0

    def failed(self, now_ns: int, *, again_s: float = 0.0) -> None:
        """An attestation was denied, or came to nothing: wait, longer each time.

        Args:
            now_ns: boot-time instant.
            again_s: when the control plane means to push the next challenge, seconds.
        """
        delay = self._backoff.delay(at_least=again_s)
        self._not_before_ns = now_ns + int(delay * NS_PER_S)

    def at_once(self) -> None:
        """What leases rest on may not be so any more: ask as soon as no pause forbids it."""
        self._unsettled = True

    def unsettled(self, now_ns: int) -> None:
        """An answer was lost, dropped, or could not be obeyed in full: ask again soon.

        However long the leases are that are held: the control plane may believe in others.
        """
        self.failed(now_ns)
        self._unsettled = True
