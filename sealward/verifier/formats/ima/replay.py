"""Replays entries into PCR 10, and finds how far a quoted value proves them.

value = H(value || extension), where the extension is the bank's own hash of the data (Linux 5.8 and
later), or ones for a violation. Older kernels extended the SHA-1 digest padded with zeros into
every bank: `reached_padded` recognises that, and nothing is believed on its ground.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealward.verifier.formats.ima.measurements import Entry
    from sealward.verifier.rats.runtime_log import Measured

REGISTER: Final = 10  # CONFIG_IMA_MEASURE_PCR_IDX
AGGREGATED: Final = range(10)  # PCRs of a boot aggregate, from 5.8 on
AGGREGATED_FIRST: Final = range(8)  # before, and always where the aggregate is by SHA-1
_BANKS: Final = {bank.label: bank for bank in HashAlg} | {
    "sm3": HashAlg.SM3_256,
    "sm3-256": HashAlg.SM3_256,
}


def reached(entries: Iterable[Entry], bank: HashAlg, start: bytes, quoted: bytes) -> int | None:
    """Return after how many entries PCR 10 has the quoted value, or None when it never has.

    The first match is the only one: values of a chain of hashes do not repeat. So nothing behind it
    is hashed.
    """
    return _reached((entry.extends(bank) for entry in entries), bank, start, quoted)


def reached_padded(
    entries: Iterable[Entry], bank: HashAlg, start: bytes, quoted: bytes
) -> int | None:
    """Return the same for a kernel before 5.8, which pads SHA-1 digests with zeros."""
    padded = (entry.extends(HashAlg.SHA1).ljust(bank.size, b"\0") for entry in entries)
    return _reached(padded, bank, start, quoted)


def aggregates(aggregate: Measured, banks: Mapping[HashAlg, Mapping[int, bytes]]) -> frozenset[str]:
    """Return the boot aggregates, lower-case hex, that these PCR values can have.

    Args:
        aggregate: the entry that says by which hash it was made: the bank that was read as well.
        banks: values by bank and register.

    Returns: none when not all of PCRs 0 to 9 (0 to 7 for SHA-1) are there in this bank.
    """
    bank = _BANKS.get(aggregate.algorithm)
    values = {} if bank is None else banks.get(bank, {})
    needed = AGGREGATED_FIRST if bank is HashAlg.SHA1 else AGGREGATED
    if bank is None or not values.keys() >= {*needed}:
        return frozenset()
    return frozenset(
        bank.digest(b"".join(values[register] for register in registers)).hex()
        for registers in (AGGREGATED_FIRST, needed)
    )


def _reached(extensions: Iterable[bytes], bank: HashAlg, start: bytes, quoted: bytes) -> int | None:
    value = start
    if value == quoted:
        return 0
    for count, extension in enumerate(extensions, 1):
        value = bank.digest(value + extension)
        if value == quoted:
            return count
    return None
