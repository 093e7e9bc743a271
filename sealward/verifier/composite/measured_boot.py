"""An event log beside the registers that evidence proved: what of the log can be believed.

Numbered procedure of `confirm`, for the PCRs of a quote:

    (1) the log parses and replays (formats/event_log);
    (2) log and quote have at least one bank in common;
    (3) a register is confirmed when its replayed value is the quoted one in every common bank, and
        contradicted when it differs in any;
    (4) PCRs 0 to 7 are firmware's alone (PC Client Platform Firmware Profile 3.3.4): a log that
        does not explain one that was quoted is not the log of this boot, and is refused. Later
        registers may have been extended by software that keeps logs of its own;
    (5) facts come from confirmed registers only, looked at in the longest common bank.

`hold` is the same for any registers: td_boot.py has those of confidential guests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.event_log import facts as boot_facts
from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.formats.event_log import replay as replays
from sealward.verifier.rats.claims import BootFact, BootLog
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealward.verifier.formats.event_log.log import Log
    from sealward.verifier.formats.event_log.replay import Replay
    from sealward.verifier.formats.tpm.pcr import PcrBank
    from sealward.verifier.wire.tcg_hash import HashAlg


@dataclass(frozen=True, slots=True)
class Registers:
    """How registers of one kind are named, and which of them firmware alone extends."""

    firmware: range
    name: Callable[[int], str]


_PCRS: Final = Registers(range(8), lambda register: f"PCR {register}")


def confirm(data: bytes, pcrs: tuple[PcrBank, ...]) -> BootLog:
    """Run the procedure above on a log, beside authenticated PCR values.

    Raises:
        MalformedEvidence: the log does not parse.
        RefusedEvidence: EVENT_LOG_INVALID or EVENT_LOG_MISMATCH.
    """
    return hold(logs.parse(data), {item.bank: dict(item.values) for item in pcrs}, _PCRS)


def hold(log: Log, proven: Mapping[HashAlg, Mapping[int, bytes]], registers: Registers) -> BootLog:
    """Run (1) to (5) on a parsed log, beside authenticated values of registers by bank.

    Raises:
        RefusedEvidence: EVENT_LOG_INVALID or EVENT_LOG_MISMATCH.
    """
    replay = replays.replay(log)  # (1)
    common = [bank for bank in log.banks if bank in proven]
    if not common:  # (2)
        raise RefusedEvidence(
            Code.EVENT_LOG_MISMATCH,
            "the event log has no bank that was quoted",
            claim="boot",
            expected=", ".join(bank.label for bank in proven),
            actual=", ".join(bank.label for bank in log.banks) or "none that is known",
            hint="quote a bank in which firmware logs",
        )
    values = {bank: proven[bank] for bank in common}
    confirmed, contradicted = _compare(replay, values, registers)  # (3), (4)
    bank = max(common, key=lambda one: one.size)
    found = tuple(
        BootFact(fact.name, fact.value, fact.register, fact.standing.value)
        for fact in boot_facts.extract(log, bank, replay.repeated_separators)
        if fact.register in confirmed
    )
    return BootLog(
        bank=bank.label,
        confirmed=confirmed,
        contradicted=contradicted,
        repeated_separators=replay.repeated_separators,
        facts=found,
    )


def _compare(
    replay: Replay, proven: Mapping[HashAlg, Mapping[int, bytes]], registers: Registers
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    agrees: dict[int, bool] = {}
    for bank, values in proven.items():
        for register, value in values.items():
            replayed = replay.value(bank, register)
            if replayed is None and register in registers.firmware:
                replayed = bytes(bank.size)  # nothing measured there, says the log
            if replayed is not None:
                agrees[register] = agrees.get(register, True) and replayed == value
    wrong = tuple(sorted(register for register, same in agrees.items() if not same))
    if any(register in registers.firmware for register in wrong):
        raise RefusedEvidence(
            Code.EVENT_LOG_MISMATCH,
            "the event log does not replay to the proven values of firmware's registers",
            claim="boot",
            expected="the log of this boot",
            actual="it differs in " + ", ".join(map(registers.name, wrong)),
            hint="send the whole log of the running system, or none",
        )
    return tuple(sorted(register for register, same in agrees.items() if same)), wrong
