"""The settings of the attester `tpm`, read strictly.

    [attester]
    name = "tpm"
    device = "/dev/tpmrm0"           # or, for a TPM in software: socket = "127.0.0.1:2321"
    pcrs = "sha256:0,1,2,3,4,5,6,7"  # as tpm2-tools write it: banks joined by +
    event_log = "/sys/kernel/security/tpm0/binary_bios_measurements"
    ima = "/sys/kernel/security/ima/binary_runtime_measurements"
    key = "ecc-p256"                 # or "rsa-2048": what signs quotes
    endorsement_key = "ecc-p384"     # which one, where the TPM has certificates of several

Each has a default but `ima`, without which no list of what the kernel measured is sent; the default
of `endorsement_key` is the first that has a certificate. With `ima` PCR 10 is quoted too.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.enclave_agent.attesters.tpm import event_log, measurement_list, transport
from sealward.enclave_agent.attesters.tpm.codec import PCR_COUNT, HashAlg, PcrSelection
from sealward.enclave_agent.attesters.tpm.keys import AttestationKeyKind, EndorsementKeyKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

# What a PC measures at boot (TCG PC Client Platform Firmware Profile 2.3.4; systemd and GRUB 8, 9,
# 11 to 14). Not 10, which says nothing without the kernel's list, and not 16 and above, which may
# be reset while the machine runs.
DEFAULT_PCRS: Final = "sha256:0,1,2,3,4,5,6,7,8,9,11,12,13,14"
_KNOWN: Final = frozenset(
    {"device", "socket", "pcrs", "event_log", "ima", "key", "endorsement_key"}
)
_BANK: Final = re.compile(r"([a-z0-9_]{1,16}):([0-9]{1,2}(?:,[0-9]{1,2})*)")
_SOCKET: Final = re.compile(r"(?:([0-9.]{7,15})|\[([0-9a-f:]{2,39})\]):([0-9]{1,5})")
_MAX_PORT: Final = 65_535
_BANKS: Final = {bank.name.lower(): bank for bank in HashAlg}

Kind = TypeVar("Kind", bound="StrEnum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator decides.

    Attributes:
        device: path of the kernel's device; not used where there is a socket.
        socket: address and port of a TPM in software, or None.
        selections: the PCRs to quote, banks ascending by identifier.
        event_log: where the firmware's log is.
        ima: where the kernel's measurement list is; None to send none.
        key: what signs quotes.
        endorsement_key: None for the first that has a certificate.
    """

    device: str
    socket: tuple[str, int] | None
    selections: tuple[PcrSelection, ...]
    event_log: Path
    ima: Path | None
    key: AttestationKeyKind
    endorsement_key: EndorsementKeyKind | None

    @property
    def where(self) -> str:
        """Which TPM, for people."""
        return self.device if self.socket is None else "{} port {}".format(*self.socket)


def read(table: Mapping[str, object]) -> Settings:
    """Read the table `[attester]` without its `name`.

    Raises:
        AttesterUnavailable: a setting is unknown, of the wrong type, or cannot be used.
    """
    if unknown := sorted(set(table) - _KNOWN):
        names = ", ".join(ascii(name) for name in unknown)
        raise AttesterUnavailable(f"[attester] has unknown settings: {names}.")
    if {"device", "socket"} <= set(table):
        raise AttesterUnavailable("[attester] has both device and socket: give one of them.")
    endorsement = _text(table, "endorsement_key", "")
    ima = _path(table, "ima", measurement_list.PATH) if "ima" in table else None
    selections = _selections(_text(table, "pcrs", DEFAULT_PCRS))
    return Settings(
        device=str(_path(table, "device", transport.PATH)),
        socket=_socket(_text(table, "socket", "")) if "socket" in table else None,
        selections=selections if ima is None else _with_list(selections),
        event_log=_path(table, "event_log", event_log.PATH),
        ima=ima,
        key=_kind(AttestationKeyKind, "key", _text(table, "key", AttestationKeyKind.ECC_P256)),
        endorsement_key=(
            _kind(EndorsementKeyKind, "endorsement_key", endorsement)
            if "endorsement_key" in table
            else None
        ),
    )


def _text(table: Mapping[str, object], name: str, default: str) -> str:
    value = table.get(name, default)
    if not isinstance(value, str):
        raise AttesterUnavailable(f"[attester] {name} must be text.")
    return value


def _path(table: Mapping[str, object], name: str, default: str) -> Path:
    path = Path(_text(table, name, default))
    if not path.is_absolute() or "\0" in str(path):
        raise AttesterUnavailable(f"[attester] {name} must be an absolute path.")
    return path


def _kind(kinds: type[Kind], name: str, text: str) -> Kind:
    try:
        return kinds(text)
    except ValueError:
        known = ", ".join(kinds)
        raise AttesterUnavailable(f"[attester] {name} must be one of {known}.") from None


def _socket(text: str) -> tuple[str, int]:
    """Read an address on this machine: what passes is neither encrypted nor authenticated."""
    found = _SOCKET.fullmatch(text)
    if found is not None and 1 <= int(found[3]) <= _MAX_PORT:
        with suppress(ValueError):
            address = ipaddress.ip_address(found[1] or found[2])
            if address.is_loopback:
                return str(address), int(found[3])
    raise AttesterUnavailable(
        "[attester] socket must be an address of this machine and a port, as 127.0.0.1:2321."
    )


def _selections(text: str) -> tuple[PcrSelection, ...]:
    found = [_selection(part) for part in text.split("+")]
    found.sort(key=lambda item: item.bank)  # the order in which evidence names them
    if len({item.bank for item in found}) != len(found):
        raise AttesterUnavailable("[attester] pcrs must name each bank once.")
    if {index for item in found for index in item.indices} <= {measurement_list.REGISTER}:
        raise AttesterUnavailable(
            "[attester] pcrs must name another PCR than 10, which locks keys."
        )
    return tuple(found)


def _with_list(selections: tuple[PcrSelection, ...]) -> tuple[PcrSelection, ...]:
    """Select PCR 10 too: in every bank, unless some has it: a kernel may not know all banks."""
    register = measurement_list.REGISTER
    if any(register in item.indices for item in selections):
        return selections
    return tuple(
        PcrSelection(item.bank, tuple(sorted((*item.indices, register)))) for item in selections
    )


def _selection(text: str) -> PcrSelection:
    found = _BANK.fullmatch(text)
    if found is not None and found[1] in _BANKS:
        indices = tuple(int(index) for index in found[2].split(","))
        if indices[-1] < PCR_COUNT:
            with suppress(ValueError):  # not ascending
                return PcrSelection(_BANKS[found[1]], indices)
    raise AttesterUnavailable(
        "[attester] pcrs must be banks with their PCRs, 0 to 23 and ascending, as "
        "sha256:0,1,7+sha384:0."
    )
