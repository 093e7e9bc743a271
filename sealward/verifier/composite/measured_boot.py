"""An event log beside the PCR values that a quote proved: what of the log can be believed.

Numbered procedure of `confirm`:

    (1) the log parses and replays (formats/event_log);
    (2) log and quote have at least one bank in common;
    (3) a register is confirmed when its replayed value is the quoted one in every common bank, and
        contradicted when it differs in any;
    (4) PCRs 0 to 7 are firmware's alone (PC Client Platform Firmware Profile 3.3.4): a log that
        does not explain one that was quoted is not the log of this boot, and is refused. Later
        registers may have been extended by software that keeps logs of its own;
    (5) facts come from confirmed registers only, looked at in the longest common bank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.event_log import facts as boot_facts
from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.formats.event_log import replay as replays
from sealward.verifier.rats.claims import BootFact, BootLog
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.formats.event_log.replay import Replay
    from sealward.verifier.formats.tpm.pcr import PcrBank

MAX_FACTS: Final = 512  # every application and command line of a boot; real logs come to 10
_FIRMWARE: Final = range(8)


def confirm(data: bytes, pcrs: tuple[PcrBank, ...]) -> BootLog:
    """Run the procedure above on a log, beside authenticated PCR values.

    Raises:
        MalformedEvidence: the log does not parse.
        RefusedEvidence: EVENT_LOG_INVALID or EVENT_LOG_MISMATCH.
    """
    log = logs.parse(data)
    replay = replays.replay(log)  # (1)
    quoted = {item.bank: dict(item.values) for item in pcrs}
    common = [bank for bank in log.banks if bank in quoted]
    if not common:  # (2)
        raise RefusedEvidence(
            Code.EVENT_LOG_MISMATCH,
            "the event log has no bank that was quoted",
            expected=", ".join(bank.label for bank in quoted),
            actual=", ".join(bank.label for bank in log.banks),
            hint="quote a bank in which firmware logs",
        )
    confirmed, contradicted = _compare(replay, {bank: quoted[bank] for bank in common})  # (3), (4)
    bank = max(common, key=lambda one: one.size)
    found = tuple(
        BootFact(fact.name, fact.value, fact.register, fact.standing.value)
        for fact in boot_facts.extract(log, bank, replay.repeated_separators)
        if fact.register in confirmed
    )
    if len(found) > MAX_FACTS:
        raise RefusedEvidence(Code.EVENT_LOG_INVALID, f"the log tells more than {MAX_FACTS} facts")
    return BootLog(
        bank=bank.label,
        confirmed=confirmed,
        contradicted=contradicted,
        repeated_separators=replay.repeated_separators,
        facts=found,
    )


def _compare(
    replay: Replay, quoted: dict[HashAlg, dict[int, bytes]]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    agrees: dict[int, bool] = {}
    for bank, values in quoted.items():
        for register, value in values.items():
            replayed = replay.value(bank, register)
            if replayed is None and register in _FIRMWARE:
                replayed = bytes(bank.size)  # nothing measured there, says the log
            if replayed is not None:
                agrees[register] = agrees.get(register, True) and replayed == value
    wrong = tuple(sorted(register for register, same in agrees.items() if not same))
    if any(register in _FIRMWARE for register in wrong):
        raise RefusedEvidence(
            Code.EVENT_LOG_MISMATCH,
            "the event log does not replay to the quoted values of firmware's PCRs",
            claim="tpm.event_log",
            expected="the log of this boot",
            actual="it differs in PCR " + ", ".join(str(register) for register in wrong),
            hint="send the whole log of the running system, or none",
        )
    return tuple(sorted(register for register, same in agrees.items() if same)), wrong
