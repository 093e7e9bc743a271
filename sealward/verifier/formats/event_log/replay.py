"""Replays a log into registers: value = H(value || digest), event by event, for every bank.

Rules, with the reason where one is not obvious:

    (1) EV_NO_ACTION is never extended;
    (2) a "StartupLocality" event makes PCR 0 start at that locality instead of 0 (0 or 3, and 4
        after a hardware CRTM); it stands in PCR 0, before anything was extended there, and once;
    (3) all other registers start at zero. PCRs 17 to 22 are all ones until a dynamic launch sets
        them to zero; only after that is anything of ours logged there;
    (4) a second EV_SEPARATOR in a register is reported: the separator ends what firmware measured,
        and firmware known to write two let code hide between them.

What a log says of a register that a quote does not confirm is nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.event_log.types import EventType
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.formats.event_log.log import Event, Log

STARTUP_LOCALITY: Final = b"StartupLocality\0"
_LOCALITIES: Final = (0, 3, 4)


@dataclass(frozen=True, slots=True)
class Replay:
    """Registers after a log.

    Attributes:
        banks: (bank, ((register, value), ...)), registers ascending; only those that a log extends,
            and PCR 0 where a startup locality was logged.
        repeated_separators: registers with more than one EV_SEPARATOR, ascending.
    """

    banks: tuple[tuple[HashAlg, tuple[tuple[int, bytes], ...]], ...]
    repeated_separators: tuple[int, ...]

    def value(self, bank: HashAlg, register: int) -> bytes | None:
        """Return the value of a register, or None when the log says nothing of it."""
        return dict(dict(self.banks).get(bank, ())).get(register)


def extend(bank: HashAlg, value: bytes, digest: bytes) -> bytes:
    """Return a register's next value."""
    return bank.digest(value + digest)


def replay(log: Log) -> Replay:
    """Run a log.

    Raises:
        RefusedEvidence: EVENT_LOG_INVALID for a startup locality against rule 2.
    """
    locality = _startup_locality(log)
    separators = Counter(item.register for item in log.events if item.type == EventType.SEPARATOR)
    return Replay(
        tuple((bank, _run(log, bank, locality)) for bank in log.banks),
        tuple(sorted(register for register, count in separators.items() if count > 1)),
    )


def _run(log: Log, bank: HashAlg, locality: int | None) -> tuple[tuple[int, bytes], ...]:
    values: dict[int, bytes] = {}
    if locality is not None:
        values[0] = bytes((locality,)).rjust(bank.size, b"\0")
    for event in log.events:
        digest = event.digest(bank)
        if event.type != EventType.NO_ACTION and digest is not None:
            before = values.get(event.register, bytes(bank.size))
            values[event.register] = extend(bank, before, digest)
    return tuple(sorted(values.items()))


def _startup_locality(log: Log) -> int | None:
    found: int | None = None
    extended = False
    for event in log.events:
        if event.type != EventType.NO_ACTION:
            extended = extended or event.register == 0
        elif event.data.startswith(STARTUP_LOCALITY):
            if event.register != 0 or extended or found is not None:
                raise _invalid("it is not the first event of PCR 0")
            found = _locality(event)
    return found


def _locality(event: Event) -> int:
    tail = event.data.removeprefix(STARTUP_LOCALITY)
    if len(tail) != 1 or tail[0] not in _LOCALITIES:
        raise _invalid("the locality is none that a TPM starts at")
    return tail[0]


def _invalid(why: str) -> RefusedEvidence:
    return RefusedEvidence(
        Code.EVENT_LOG_INVALID,
        f"the event log's startup locality cannot be: {why}",
        expected="at most one StartupLocality event, 0, 3 or 4, before PCR 0 is extended",
    )
