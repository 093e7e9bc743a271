"""One boot of a machine with a TPM, as a reference set describes it (docs/specs/tpm-node.md 6).

What a register holds means something only beside what the others hold: whoever boots a known loader
with a kernel of his own can write, afterwards, any history into a register that this loader leaves
alone. So a set describes one boot and no more, and says nothing of registers that prove nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sealward.verifier.wire.tcg_hash import HashAlg

# Banks whose values may be promised; nothing can rest on SHA-1.
PCR_BANKS: Final = (HashAlg.SHA256, HashAlg.SHA384, HashAlg.SHA512)
RUNTIME_PCR: Final = 10  # follows the files that a kernel measures: it is no part of a boot

_FIRMWARE_PCRS: Final = 8  # firmware that measures extends at least a separator into PCRs 0 to 7
_PCRS: Final = 24  # of a PC client; what lies above is a maker's own
_RESETTABLE: Final = frozenset({16, 23})  # at any locality, so by whoever reaches the TPM
_LOCALITIES: Final = frozenset(f"{locality:02x}" for locality in range(5))

_SIZES: Final = MappingProxyType({bank.label: bank.size for bank in PCR_BANKS})
_KEY: Final = re.compile(r"(sha256|sha384|sha512)/([12]?[0-9]|3[01])/([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Register:
    """One register of one bank; `value` is lower-case hex."""

    bank: str
    index: int
    value: str

    @property
    def key(self) -> str:
        """As a reference value of kind `pcr` is named: <bank>/<index>/<hex value>."""
        return f"{self.bank}/{self.index}/{self.value}"


def register_of(key: str) -> Register | None:
    """Return the register that a key names; None for what is no such key."""
    found = _KEY.fullmatch(key)
    if found is None or len(found[3]) != 2 * _SIZES[found[1]]:
        return None
    return Register(found[1], int(found[2]), found[3])


def objection(register: Register, *, vouches: bool) -> str | None:
    """Return why a register has no place in the description of a boot, as a clause; else None.

    Args:
        register: as it was read.
        vouches: whether it is to cover a component or the trust configuration.
    """
    what = f"PCR {register.index}"
    if register.index == RUNTIME_PCR:
        return f"{what} follows every file that a kernel measures, and belongs to no boot"
    if register.index in _RESETTABLE:
        return f"{what} can be reset by software, which may then write any history into it"
    if register.index >= _PCRS:
        return f"{what} is none of the registers 0 to {_PCRS - 1}, whose meaning is known"
    nothing = _nothing(register)
    if nothing is None or not (vouches or register.index < _FIRMWARE_PCRS):
        return None
    return f"{what} is {nothing}: nothing was measured into it, and root could write any history"


def mixture(registers: Iterable[Register]) -> str | None:
    """Return why registers are not those of one boot, as a clause; None when they are."""
    values: dict[int, str] = {}
    bank = ""
    for register in registers:
        if register.bank != (bank or register.bank):
            return f"it has values of the banks {bank} and {register.bank}, which are two histories"
        bank = register.bank
        if register.index in values:
            return f"it has two values of PCR {register.index}: make a set for each boot"
        values[register.index] = register.value
    missing = [index for index in range(_FIRMWARE_PCRS) if index not in values]
    if missing:
        return f"it has no value of PCR {missing[0]}: a boot is described by PCRs 0 to 7 at least"
    return None


def _nothing(register: Register) -> str | None:
    """Return what a value is that nobody measured into a register; None for any other."""
    if not register.value.strip("f"):
        return "all ones"
    if not register.value.strip("0"):
        return "all zeros"
    zeros, last = register.value[:-2], register.value[-2:]
    if register.index < _FIRMWARE_PCRS and not zeros.strip("0") and last in _LOCALITIES:
        return "the startup locality alone"
    return None
