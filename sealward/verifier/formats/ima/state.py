"""What a verifier keeps of a list between two attestations: a value, kept by the caller.

It grows by the entries that a quote proved and forgets none of what was measured, so that a
reference value withdrawn later still finds the nodes that ran the file. Encoded, it is

    [ 1, reset count, restart count, entries, violations, [ + [ bank, PCR 10 ] ],
      aggregate: measured / null, [ * measured ] ]
    measured = [ path, algorithm, digest: bstr, "file" / "buffer", signer: bstr / null ]

in deterministic CBOR, banks ascending by identifier, measurements distinct.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeGuard

from sealward.verifier.formats.ima import signature
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.runtime_log import Kind, Measured
from sealward.verifier.wire import cbor
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sealward.verifier.formats.ima.keys import FileKey
    from sealward.verifier.formats.ima.measurements import Entry
    from sealward.verifier.formats.ima.templates import Reading
    from sealward.verifier.wire.cbor import Value

MAX_MEASURED: Final = 65_536  # distinct; as many as one list may bring
MAX_PATHS: Final = 8 * 1024 * 1024  # bytes of their paths, twice the usual 64 for each
MAX_STATE_BYTES: Final = 20 * 1024 * 1024  # paths, and 160 bytes for the rest of each
BOOT_AGGREGATE: Final = "boot_aggregate"
_VERSION: Final = 1
_COUNTS: Final = 5  # version, resets, restarts, entries, violations
_WHAT: Final = "measurement state"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The proven part of a list, in one boot of one TPM.

    Attributes:
        reset_count, restart_count: of the quote that proved it.
        entries: how many.
        violations: among them.
        registers: PCR 10 after them, for each bank that was quoted, ascending by identifier.
        aggregate: entry 0, when it is the boot aggregate.
        measured: distinct measurements, in order of appearance.
    """

    reset_count: int
    restart_count: int
    entries: int
    violations: int
    registers: tuple[tuple[HashAlg, bytes], ...]
    aggregate: Measured | None
    measured: tuple[Measured, ...] = field(repr=False)


def beginning(reset_count: int, restart_count: int, banks: Iterable[HashAlg]) -> State:
    """Return the state of a boot before the first entry: PCR 10 is zero in all banks."""
    return State(
        reset_count=reset_count,
        restart_count=restart_count,
        entries=0,
        violations=0,
        registers=tuple((bank, bytes(bank.size)) for bank in sorted(banks)),
        aggregate=None,
        measured=(),
    )


def advance(
    state: State,
    entries: tuple[Entry, ...],
    registers: tuple[tuple[HashAlg, bytes], ...],
    keys: tuple[FileKey, ...],
) -> State:
    """Return the state after proven entries.

    A file may be called boot_aggregate too (the kernel falls back to bare names). So only entry 0
    is one; a later one is the same again, after kexec, or a file like any other.

    Args:
        state: before them.
        entries: those that the quote proved.
        registers: PCR 10 as quoted, ascending by identifier.
        keys: trusted to sign files.

    Raises:
        RefusedEvidence: EVENT_LOG_INVALID, more distinct measurements than are kept.
    """
    if not entries:
        return replace(state, registers=registers)
    found = [None if entry.reading is None else _judged(entry.reading, keys) for entry in entries]
    aggregate = state.aggregate
    if state.entries == 0 and found and found[0] is not None and found[0].path == BOOT_AGGREGATE:
        aggregate = found[0]
    distinct = dict.fromkeys(state.measured)
    distinct |= dict.fromkeys(item for item in found if item is not None and item != aggregate)
    _require_room(distinct)
    return replace(
        state,
        entries=state.entries + len(entries),
        violations=state.violations + found.count(None),
        registers=registers,
        aggregate=aggregate,
        measured=tuple(distinct),
    )


def encode(state: State) -> bytes:
    """Return the bytes that parse to `state`."""
    return cbor.encode(
        [
            _VERSION,
            state.reset_count,
            state.restart_count,
            state.entries,
            state.violations,
            [[int(bank), value] for bank, value in state.registers],
            None if state.aggregate is None else _pack(state.aggregate),
            [_pack(item) for item in state.measured],
        ]
    )


def parse(data: bytes) -> State:
    """Read a state that was kept.

    Raises:
        MalformedEvidence: not what `encode` writes, or beyond the budgets.
    """
    match cbor.decode(data, what=_WHAT, max_bytes=MAX_STATE_BYTES):
        case [*counts, list(registers), aggregate, list(measured)] if len(counts) == _COUNTS:
            version, resets, restarts, entries, violations = (_count(item) for item in counts)
            state = State(
                reset_count=resets,
                restart_count=restarts,
                entries=entries,
                violations=violations,
                registers=_registers(registers),
                aggregate=None if aggregate is None else _measured(aggregate),
                measured=tuple(_measured(item) for item in measured),
            )
        case _:
            raise _malformed("not an array of its eight members")
    if version != _VERSION or len(set(state.measured)) != len(state.measured):
        raise _malformed("another version, or a measurement twice")
    return state


def _judged(reading: Reading, keys: tuple[FileKey, ...]) -> Measured:
    signer = signature.signer(reading.signature, reading.algorithm, reading.digest, keys)
    return Measured(
        path=reading.path,
        algorithm=reading.algorithm,
        digest=reading.digest.hex(),
        kind=reading.kind,
        signer=None if signer is None else signer.sha256,
    )


def _require_room(measured: Collection[Measured]) -> None:
    paths = sum(len(item.path.encode()) for item in measured)
    if len(measured) > MAX_MEASURED or paths > MAX_PATHS:
        raise RefusedEvidence(
            Code.EVENT_LOG_INVALID,
            "the measurement list names more different files than are kept",
            claim="ima",
            expected=f"at most {MAX_MEASURED} and {MAX_PATHS} bytes of paths",
            actual=f"{len(measured)} and {paths} bytes",
            hint="leave what changes all the time out of the kernel's IMA policy (dont_measure)",
        )


def _pack(item: Measured) -> list[cbor.Encodable]:
    signer = None if item.signer is None else bytes.fromhex(item.signer)
    return [item.path, item.algorithm, bytes.fromhex(item.digest), item.kind.value, signer]


def _measured(value: Value) -> Measured:
    match value:
        case [str(path), str(algorithm), bytes(digest), str(kind), None | bytes() as by] if (
            kind in tuple(Kind)
        ):
            signer = None if by is None else by.hex()
            return Measured(path, algorithm, digest.hex(), Kind(kind), signer)
        case _:
            raise _malformed("a measurement is [path, algorithm, digest, kind, signer]")


def _registers(values: list[Value]) -> tuple[tuple[HashAlg, bytes], ...]:
    found: list[tuple[HashAlg, bytes]] = []
    for item in values:
        match item:
            case [int(bank), bytes(value)] if _is_value(bank, value):
                found.append((HashAlg(bank), value))
            case _:
                raise _malformed("a register is [bank, value]")
    if any(a >= b for (a, _), (b, _) in pairwise(found)):
        raise _malformed("banks are not strictly ascending")
    return tuple(found)


def _is_value(bank: int, value: bytes) -> bool:
    return bank in tuple(HashAlg) and len(value) == HashAlg(bank).size


def _count(value: Value) -> int:
    if not _is_count(value):
        raise _malformed("a count is an unsigned integer")
    return value


def _is_count(value: Value) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _malformed(what: str) -> MalformedEvidence:
    return MalformedEvidence(0, f"{_WHAT}: {what}")
