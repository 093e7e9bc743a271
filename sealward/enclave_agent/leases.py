"""The lease book: which leases this agent holds, and until when. Pure; instants are arguments.

Rules (docs/specs/signed-terms.md, "Rules for the agent"; security-requirements F4, F16):

1. only `VerifiedTerms` enter: signature, pins and identity were checked by `terms.verify`;
2. the sequence is above every one accepted before, grants and revocations alike;
3. a grant answers the nonce that is in flight;
4. a horizon is `sent + ttl` on the boot-time clock, moved by a later grant and by nothing else;
5. content keys are the business of `grants.py`, which asks this book which ids are leased;
6. unknown obligations are refused;
7. a grant names every lease that is active: after it, exactly the leases are held that it granted
   or renewed and that could be obeyed. So an end that a later grant overtook is not lost.

And what keeps time from being turned back: the latest boot-time instant and the latest *signed*
time ever seen are lower bounds. Passing the horizon by either ends a lease, for good: an ended id
is never held again, whatever is signed later. A clock that cannot be believed ends all of them:
`doubt`.

Terms that break rules 2 and 3 are dropped whole. Within accepted terms an *end* is always obeyed,
and a single grant or renewal that cannot be obeyed is refused alone, and ends that lease: one
workload with an obligation that this agent does not know must not take the node's other leases, or
hide an end, and must not go on without the obligation either.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from sealward.enclave_agent.clock import NS_PER_MS, NS_PER_S
from sealward.protos.terms import (
    LeaseTerms,
    LeaseTermsState,
    ModelTerms,
    Obligation,
    Terms,
    TermsKind,
    VerifiedTerms,
)

TTL_OBLIGATION: Final = "ttl_seconds"
# What the control plane enforces by itself and an agent need not act on; known, so not refused.
_KNOWN_COUNT: Final = "max_instances"
_KNOWN_PLACES: Final = "regions"


@unique
class TermsCode(StrEnum):
    """Why terms were dropped whole; the names of the specification."""

    UNTRUSTED = "untrusted_terms"
    STALE = "stale_terms"
    FOREIGN_CHALLENGE = "foreign_challenge"


@unique
class LeaseCode(StrEnum):
    """Why one grant or renewal within accepted terms was not obeyed."""

    UNKNOWN_OBLIGATION = "unknown_obligation"
    LEASE_ENDED = "lease_ended"
    LEASE_NOT_HELD = "lease_not_held"
    HORIZON_PASSED = "horizon_passed"
    NOT_A_GRANT = "not_a_grant"


class TermsRefused(Exception):
    """Terms that change nothing.

    Attributes:
        code: see `TermsCode`.
    """

    def __init__(self, code: TermsCode, detail: str) -> None:
        self.code: Final = code
        super().__init__(f"{code}: {detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A lease as the last accepted terms left it.

    Attributes:
        lease_id: 16 bytes.
        workload: workload name.
        sent_ns: boot-time instant read before the request that was answered was sent.
        horizon_ns: boot-time instant from which nothing of this lease may be used.
        not_after_ms: the same horizon in signed Unix milliseconds, held against signed times only.
        cause: what sets the horizon.
        models: what may be run.
    """

    lease_id: bytes
    workload: str
    sent_ns: int
    horizon_ns: int
    not_after_ms: int
    cause: str
    models: tuple[ModelTerms, ...]


@dataclass(frozen=True, slots=True)
class LeaseRefusal:
    """One grant or renewal that was not obeyed."""

    lease_id: bytes
    workload: str
    code: LeaseCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What accepted terms did.

    Attributes:
        sequence: of the terms.
        ended: leases that were held and are not any more: said to have ended, or, in a grant, not
            granted or renewed.
        held: leases that these terms granted or renewed.
        refused: see `LeaseRefusal`.
    """

    sequence: int
    ended: tuple[HeldLease, ...]
    held: tuple[HeldLease, ...]
    refused: tuple[LeaseRefusal, ...]


class LeaseBook:
    """Every lease of this instance. Holds no key and reads no clock."""

    def __init__(self) -> None:
        self._held: dict[bytes, HeldLease] = {}
        self._ended: set[bytes] = set()  # 16 bytes for each lease of one process's life
        self._floors: dict[tuple[str, str], int] = {}  # by workload and model name
        self._highest_sequence = 0
        self._client_token_keys: tuple[bytes, ...] = ()
        self._reached_ns = 0
        self._signed_ms = 0
        self._in_doubt = ""

    @property
    def in_doubt(self) -> str:
        """Why the boot-time clock cannot be believed, or "" while it can."""
        return self._in_doubt

    @property
    def highest_sequence(self) -> int:
        """The highest sequence of any accepted terms, 0 before the first."""
        return self._highest_sequence

    @property
    def client_token_keys(self) -> tuple[bytes, ...]:
        """Raw Ed25519 keys of the last accepted grant that sign client tokens."""
        return self._client_token_keys

    @property
    def signed_ms(self) -> int:
        """The time ratchet: the latest signed instant seen, Unix milliseconds."""
        return self._signed_ms

    def accept_grant(
        self, verified: VerifiedTerms, *, nonce: bytes, sent_ns: int, now_ns: int
    ) -> Outcome:
        """Apply the answer to the attestation that carried `nonce` and left after `sent_ns`.

        Raises:
            TermsRefused: rules 2 and 3; nothing has changed.
        """
        terms = verified.terms
        if terms.kind is not TermsKind.GRANT or terms.challenge != hashlib.sha256(nonce).digest():
            raise TermsRefused(
                TermsCode.FOREIGN_CHALLENGE, "not the answer to the request in flight"
            )
        self._enter(terms, now_ns)
        self._client_token_keys = terms.client_token_keys
        ended = self._end_said(terms)
        held, refused = [], []
        for said in terms.leases:
            if said.state is LeaseTermsState.ENDED:
                continue
            lease = _held(said, sent_ns)
            code = self._objection(said, lease)
            if code is None:
                self._hold(lease)
                held.append(lease)
            else:
                refused.append(LeaseRefusal(said.lease_id, said.workload, code))
        unnamed = self._end_all_but({lease.lease_id for lease in held})
        return Outcome(
            sequence=terms.sequence,
            ended=(*ended, *unnamed),
            held=tuple(held),
            refused=tuple(refused),
        )

    def accept_revocation(self, verified: VerifiedTerms, *, now_ns: int) -> Outcome:
        """Apply terms that the control plane pushed. They can only take away.

        Raises:
            TermsRefused: rule 2, or a grant that answers nothing; nothing has changed.
        """
        terms = verified.terms
        if terms.kind is not TermsKind.REVOCATION:
            raise TermsRefused(TermsCode.FOREIGN_CHALLENGE, "a grant was pushed, unasked")
        self._enter(terms, now_ns)
        refused = tuple(
            LeaseRefusal(said.lease_id, said.workload, LeaseCode.NOT_A_GRANT)
            for said in terms.leases
            if said.state is not LeaseTermsState.ENDED
        )
        ended = self._end_said(terms)
        return Outcome(sequence=terms.sequence, ended=ended, held=(), refused=refused)

    def expire(self, now_ns: int) -> tuple[HeldLease, ...]:
        """End every lease that has reached its horizon by either clock; return them."""
        self._reach(now_ns)
        return tuple(self._end(lease) for lease in tuple(self._held.values()) if self._over(lease))

    def end_all(self) -> tuple[HeldLease, ...]:
        """End every lease: the agent stops."""
        return tuple(self._end(lease) for lease in tuple(self._held.values()))

    def observe_signed_time(self, unix_ms: int) -> None:
        """Move the time ratchet forward to an instant that a pinned key signed."""
        self._signed_ms = max(self._signed_ms, unix_ms)

    def doubt(self, why: str) -> None:
        """Take note that the boot-time clock erred: every lease is over, and none will be held."""
        self._in_doubt = self._in_doubt or why

    def live(self, now_ns: int) -> tuple[HeldLease, ...]:
        """Return the leases that may be used at `now_ns`."""
        self._reach(now_ns)
        return tuple(lease for lease in self._held.values() if not self._over(lease))

    def live_lease(self, lease_id: bytes, now_ns: int) -> HeldLease | None:
        """Return this lease if it may be used at `now_ns`."""
        self._reach(now_ns)
        lease = self._held.get(lease_id)
        return None if lease is None or self._over(lease) else lease

    def held(self) -> tuple[HeldLease, ...]:
        """Return every lease that has not been ended yet, live or past its horizon."""
        return tuple(self._held.values())

    def may_run(self, workload: str, model: ModelTerms) -> bool:
        """Say whether no later terms forbade so low a version of this workload's model."""
        return model.version >= self._floors.get((workload, model.name), 0)

    def next_horizon_ns(self) -> int | None:
        """Return the earliest horizon of a held lease, boot-time nanoseconds."""
        return min((lease.horizon_ns for lease in self._held.values()), default=None)

    def renewal_due_ns(self, share: float) -> int | None:
        """Return the earliest instant at which `share` of a held lease's time has passed."""
        return min(
            (
                lease.sent_ns + int((lease.horizon_ns - lease.sent_ns) * share)
                for lease in self._held.values()
            ),
            default=None,
        )

    def _enter(self, terms: Terms, now_ns: int) -> None:
        """Check rule 2 and move every lower bound."""
        if terms.sequence <= self._highest_sequence:
            raise TermsRefused(
                TermsCode.STALE,
                f"sequence {terms.sequence} is not above {self._highest_sequence}",
            )
        self._highest_sequence = terms.sequence
        self.observe_signed_time(terms.issued_ms)
        self._reach(now_ns)

    def _end_said(self, terms: Terms) -> tuple[HeldLease, ...]:
        """End what the terms say has ended; return what was held of it."""
        said = {lease.lease_id for lease in terms.leases if lease.state is LeaseTermsState.ENDED}
        self._ended |= said
        return tuple(
            self._end(lease) for lease in tuple(self._held.values()) if lease.lease_id in said
        )

    def _end_all_but(self, named: set[bytes]) -> tuple[HeldLease, ...]:
        """End what an accepted grant did not name, or named in a way that cannot be obeyed.

        What is past its horizon is left to `expire`, which says so.
        """
        return tuple(
            self._end(lease)
            for lease in tuple(self._held.values())
            if lease.lease_id not in named and not self._over(lease)
        )

    def _objection(self, said: LeaseTerms, lease: HeldLease) -> LeaseCode | None:
        """Return why a grant or renewal cannot be obeyed, or None."""
        before = self._held.get(said.lease_id)
        if said.lease_id in self._ended or (before is not None and self._over(before)):
            return LeaseCode.LEASE_ENDED
        if not all(_known(name, value) for name, value in said.obligations.items()):
            return LeaseCode.UNKNOWN_OBLIGATION
        if said.state is LeaseTermsState.RENEWED and before is None:
            return LeaseCode.LEASE_NOT_HELD  # its keys never reached this process
        if self._over(lease):  # the answer took longer than the lease lasts
            self._ended.add(said.lease_id)
            return LeaseCode.HORIZON_PASSED
        return None

    def _hold(self, lease: HeldLease) -> None:
        self._held[lease.lease_id] = lease
        for model in lease.models:
            key = lease.workload, model.name
            self._floors[key] = max(self._floors.get(key, 0), model.min_version)

    def _end(self, lease: HeldLease) -> HeldLease:
        del self._held[lease.lease_id]
        self._ended.add(lease.lease_id)
        return lease

    def _reach(self, now_ns: int) -> None:
        self._reached_ns = max(self._reached_ns, now_ns)

    def _over(self, lease: HeldLease) -> bool:
        late = self._reached_ns >= lease.horizon_ns or self._signed_ms >= lease.not_after_ms
        return late or bool(self._in_doubt)


def _held(said: LeaseTerms, sent_ns: int) -> HeldLease:
    ttl_ns = said.ttl_ms * NS_PER_MS
    limit = said.obligations.get(TTL_OBLIGATION)
    if isinstance(limit, int):
        ttl_ns = min(ttl_ns, limit * NS_PER_S)
    return HeldLease(
        lease_id=said.lease_id,
        workload=said.workload,
        sent_ns=sent_ns,
        horizon_ns=sent_ns + ttl_ns,
        not_after_ms=said.not_after_ms,
        cause=said.cause,
        models=said.models,
    )


def _known(name: str, value: Obligation) -> bool:
    """Say whether this agent knows the obligation and can keep it."""
    if name in (TTL_OBLIGATION, _KNOWN_COUNT):
        return isinstance(value, int) and value >= 1
    return name == _KNOWN_PLACES and isinstance(value, tuple) and len(value) > 0
