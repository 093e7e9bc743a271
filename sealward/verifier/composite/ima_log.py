"""The kernel's measurement list beside a quote of PCR 10: which entries the quote proves.

Numbered procedure of `confirm` (docs/specs/ima-claims.md):

    (1) the part of the list that came along parses (formats/ima/measurements.py), and all of it is
        for PCR 10;
    (2) the quote has PCR 10 in at least one bank;
    (3) the part begins at the first entry, or where the state of this boot ends. A state is of this
        boot when both counts of the quote are the state's, and it has every bank quoted. The counts
        are compared and never read: a TPM shifts them by a constant of the attestation key;
    (4) the entries are proven up to the one after which the replay is the quoted value, the same
        one in every bank. Later ones are from after the quote and are dropped;
    (5) the boot aggregate is compared with the PCRs quoted beside.

The list needs no binding of its own: nobody finds another one with the same PCR 10. What it proves
is what this kernel measured, and that it measured at all is for reference values of the boot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealward.verifier.formats.ima import measurements, replay
from sealward.verifier.formats.ima import state as states
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.runtime_log import BootAggregate, RuntimeLog
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.ima.keys import FileKey
    from sealward.verifier.formats.ima.measurements import Entry
    from sealward.verifier.formats.ima.state import State
    from sealward.verifier.formats.tpm.quote import VerifiedQuote


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPart:
    """What an attester sends of its list.

    Attributes:
        first: number of entries before the first one in `data`; 0 for the whole list.
        data: entries as the kernel writes them.
        template_hash: the hash that this list has of its template data.
    """

    first: int
    data: bytes = field(repr=False)
    template_hash: HashAlg = HashAlg.SHA1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedList:
    """Claims, and the state to keep for this instance's next evidence."""

    log: RuntimeLog
    state: State = field(repr=False)


def confirm(
    part: ListPart,
    verified: VerifiedQuote,
    *,
    before: State | None,
    now: datetime,
    keys: tuple[FileKey, ...] = (),
) -> ConfirmedList:
    """Run the procedure above.

    Args:
        part: what came along with the quote.
        verified: the quote, authenticated and bound.
        before: what this returned for the instance's last evidence, or None.
        now: the instant of the appraisal, aware UTC: the claims' `as_of`.
        keys: that the tenant trusts to sign files. What was proven before was looked at with those
            of then: send the whole list to have a new one count.

    Raises:
        MalformedEvidence: the list does not parse.
        RefusedEvidence: EVENT_LOG_INVALID or EVENT_LOG_MISMATCH.
    """
    entries = measurements.parse(part.data, part.template_hash)  # (1)
    _require_register(entries)
    quoted = _quoted(verified)  # (2)
    start = _start(part, verified, before, tuple(bank for bank, _ in quoted))  # (3)
    proven = _proven(entries, start, quoted)  # (4)
    state = states.advance(start, entries[:proven], quoted, keys)
    log = RuntimeLog(
        as_of=now,
        banks=tuple(bank.label for bank, _ in quoted),
        entries=state.entries,
        violations=state.violations,
        not_proven=len(entries) - proven,
        boot_aggregate=_aggregate(state, verified),  # (5)
        measured=state.measured,
    )
    return ConfirmedList(log=log, state=state)


def next_entry(before: State | None, verified: VerifiedQuote) -> int:
    """Return where a list beside this quote may begin, other than at 0: step 3."""
    banks = tuple(bank for bank, _ in _quoted(verified))
    return before.entries if before is not None and _continues(before, verified, banks) else 0


def stopped(before: State, *, now: datetime) -> RuntimeLog:
    """Return the claim of an instance that sent a list before, and none beside its quote of `now`.

    It tells what was proven then, in no bank: this quote proves none of it.
    """
    return RuntimeLog(
        as_of=now,
        banks=(),
        entries=before.entries,
        violations=before.violations,
        not_proven=0,
        boot_aggregate=BootAggregate.NOT_QUOTED,
        measured=before.measured,
    )


def _require_register(entries: tuple[Entry, ...]) -> None:
    others = {entry.register for entry in entries} - {replay.REGISTER}
    if others:
        raise RefusedEvidence(
            Code.EVENT_LOG_INVALID,
            "the measurement list has entries for other PCRs than 10",
            claim="ima",
            expected=str(replay.REGISTER),
            actual=", ".join(str(register) for register in sorted(others)),
            hint="remove pcr= from the rules of the kernel's IMA policy",
        )


def _quoted(verified: VerifiedQuote) -> tuple[tuple[HashAlg, bytes], ...]:
    """Return PCR 10 by bank, ascending by identifier."""
    found = [
        (item.bank, value)
        for item in verified.pcrs
        for register, value in item.values
        if register == replay.REGISTER
    ]
    if not found:
        raise RefusedEvidence(
            Code.EVENT_LOG_MISMATCH,
            "a measurement list came along, and PCR 10 was not quoted",
            claim="ima",
            hint="add PCR 10 to the PCRs that the attester quotes",
        )
    return tuple(sorted(found))


def _continues(before: State, verified: VerifiedQuote, banks: tuple[HashAlg, ...]) -> bool:
    counts = verified.attest.reset_count, verified.attest.restart_count
    return (before.reset_count, before.restart_count) == counts and {*banks} <= {
        bank for bank, _ in before.registers
    }


def _start(
    part: ListPart, verified: VerifiedQuote, before: State | None, banks: tuple[HashAlg, ...]
) -> State:
    attest = verified.attest
    if part.first == 0:
        return states.beginning(attest.reset_count, attest.restart_count, banks)
    if before is not None and part.first == before.entries and _continues(before, verified, banks):
        return before
    expected = next_entry(before, verified)
    raise RefusedEvidence(
        Code.EVENT_LOG_MISMATCH,
        "the measurement list does not begin where the proven part of this boot ends",
        claim="ima",
        expected=f"entry {expected}, or 0" if expected else "entry 0",
        actual=f"entry {part.first}",
        hint="send the whole list of the running system",
    )


def _proven(
    entries: tuple[Entry, ...], start: State, quoted: tuple[tuple[HashAlg, bytes], ...]
) -> int:
    before = dict(start.registers)
    counts = {replay.reached(entries, bank, before[bank], value) for bank, value in quoted}
    (count, *others) = counts
    if count is not None and not others:
        return count
    padded = any(
        replay.reached_padded(entries, bank, before[bank], value) is not None
        for bank, value in quoted
        if bank is not HashAlg.SHA1
    )
    raise RefusedEvidence(
        Code.EVENT_LOG_MISMATCH,
        "no part of the measurement list replays to the quoted PCR 10",
        claim="ima",
        expected="; ".join(f"{bank.label}: {value.hex()}" for bank, value in quoted),
        actual="SHA-1 digests padded with zeros" if padded else None,
        hint=_PADDED if padded else _STALE,
    )


_PADDED = (
    "this kernel extends no digests of the bank's own hash (it is older than 5.8, or lacks the"
    " hash): update it, or quote another bank"
)
_STALE = (
    "quote first and read the list afterwards; send the whole list of the running system; after"
    " hibernation only a boot helps"
)


def _aggregate(state: State, verified: VerifiedQuote) -> BootAggregate:
    if state.aggregate is None:
        return BootAggregate.ABSENT
    values = {item.bank: dict(item.values) for item in verified.pcrs}
    possible = replay.aggregates(state.aggregate, values)
    if not possible:
        return BootAggregate.NOT_QUOTED
    if state.aggregate.digest in possible:
        return BootAggregate.CONFIRMED
    return BootAggregate.CONTRADICTED
