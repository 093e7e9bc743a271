"""The event log of a confidential guest beside the run-time registers that its quote proved.

The procedure of measured_boot.py, with these differences:

    (1) the log is a CCEL, or the JSON log of dstack guests; both have the SHA-384 bank alone, and
        count RTMR0 as register 1;
    (4) RTMR0 and RTMR1 are firmware's (UEFI 2.10 section 38: PCRs 1 and 7, and 2 to 6): a log that
        does not explain them is refused. RTMR2 and RTMR3 may be extended by software that keeps
        logs of its own, and are then contradicted, which the claims say.

A register of which the log says nothing and that has been extended is neither confirmed nor
contradicted where software may have extended it. The claims name registers as the log does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealward.verifier.composite import measured_boot
from sealward.verifier.composite.measured_boot import Registers
from sealward.verifier.formats.event_log import ccel, dstack
from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.rats.claims import Scope, Scopes
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.rats.claims import BootLog, Claims

COUNT: Final = 4
_BANK: Final = HashAlg.SHA384
_FIRST: Final = 1  # register 0 of a log is the launch measurement, which no log extends


def _name(register: int) -> str:
    return (ccel.register_name(register) or str(register)).upper()


_RTMRS: Final = Registers(range(_FIRST, 3), _name)
_NAMES: Final = tuple(f"rtmr{index}" for index in range(COUNT))


def confirm(data: bytes, rtmrs: tuple[bytes, ...]) -> BootLog:
    """Run the procedure above on a log, beside authenticated RTMR0 to RTMR3 (48 bytes each).

    Raises:
        MalformedEvidence: the log does not parse.
        RefusedEvidence: EVENT_LOG_INVALID or EVENT_LOG_MISMATCH.
    """
    log = dstack.parse(data) if dstack.looks_like(data) else logs.parse(data)
    proven = {_BANK: dict(enumerate(rtmrs, _FIRST))}
    return measured_boot.hold(log, proven, _RTMRS)


def explain(claims: Claims, data: bytes) -> Claims:
    """Return the claims of a verified TD quote with what its event log says, as `boot`.

    Args:
        claims: of formats/dcap, with measurements "rtmr0" to "rtmr3".
        data: the log as it came.

    Raises:
        MalformedEvidence: the log does not parse.
        RefusedEvidence: EVENT_LOG_INVALID or EVENT_LOG_MISMATCH, also for claims without the four
            registers (an SGX enclave has no log).
    """
    found = {item.name: bytes.fromhex(item.digest) for item in claims.measurements}
    if any(name not in found for name in _NAMES):
        raise RefusedEvidence(
            Code.EVENT_LOG_MISMATCH,
            "there is an event log, and no run-time registers that it could explain",
            claim="boot",
            expected=", ".join(_NAMES),
            actual=", ".join(found),
        )
    boot = confirm(data, tuple(found[name] for name in _NAMES))
    return replace(claims, boot=boot, scopes=_scopes(claims.scopes))


def _scopes(scopes: Scopes) -> Scopes:
    if "boot" in scopes.held:
        return scopes
    return Scopes({**scopes.held, "boot": Scope.BOOT})
