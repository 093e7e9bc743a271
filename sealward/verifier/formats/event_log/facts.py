"""What a log says about a boot and what ran since, each fact with its standing.

A digest that was extended is as good as the quote that confirms its register. The text beside it is
not: anybody may write any description next to a digest. So a fact says no more than EXTENDED where

    (1) the digest is the hash of exactly what the fact shows or was read from, or the fact is the
        digest itself (a boot application is named by its Authenticode hash);
    (2) a variable stands where only firmware can have put it: in PCR 7, or in RTMR0 or PCR 1, both
        register 1, and before the first separator there. A separator is told by its digest: an
        event's type is extended nowhere, so whoever writes the log can call it something else;
    (3) its register has one separator at most (replay.py, rule 4).

and AUTHENTICATED only where rule 2 applies to it as well: only firmware can have put it there. What
is EXTENDED was put into its register by whoever ran at that point; the log can show another event
under a type that gives no fact, so nothing says that it was the only one, or the one that counts.
A policy that rests on a command line or an application demands the register's value as well.

Everything else is DESCRIBED. The caller MUST drop facts of registers that no quote confirms.

Values are text that an attacker may have chosen: they are kept as they are, control characters
included, and whoever shows them escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sealward.verifier.formats.event_log import runtime
from sealward.verifier.formats.event_log.types import SELF_DESCRIBING, EventType
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire.reader import Reader
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.formats.event_log.log import Event, Log

MAX_FACTS: Final = 512  # every application, command line and runtime event; real logs come to 15
MAX_TEXT: Final = 4096  # one value; a kernel command line on x86 (COMMAND_LINE_SIZE) has 2048
MAX_ALL_TEXT: Final = 64 * 1024  # all values: claims are kept with every attestation

_GLOBAL_VARIABLE: Final = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_SECURITY_DATABASE: Final = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
_SECURE_BOOT: Final = "SecureBoot"
_KEYS: Final = frozenset({(_GLOBAL_VARIABLE, "PK"), (_GLOBAL_VARIABLE, "KEK")}) | frozenset(
    {(_SECURITY_DATABASE, "db"), (_SECURITY_DATABASE, "dbx")}
)
# GRUB's two spellings; it hashes what follows, without the NUL.
_COMMAND_LINES: Final = (b"kernel_cmdline: ", b"grub_kernel_cmdline ")
# PC Client Platform Firmware Profile, EV_SEPARATOR: end of firmware's part (either), and error.
_SEPARATORS: Final = (bytes(4), b"\xff" * 4, b"\x01\0\0\0")
# Those that firmware caps before it starts anything else, whether a log counts PCRs or a CCEL's
# registers: in a CCEL 3 and 4 are software's.
_VARIABLE_REGISTERS: Final = frozenset({1, 7})
_STATES: Final = {b"\x01": "enabled", b"\x00": "disabled"}


@unique
class Standing(StrEnum):
    """How much stands behind a fact."""

    AUTHENTICATED = "authenticated"
    EXTENDED = "extended"
    DESCRIBED = "described"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing said about a boot.

    Attributes:
        name: "secure_boot" (enabled, disabled), "secure_boot_variable" ("PK", "KEK", "db" or "dbx",
            a space and the SHA-256 of its content), "kernel_command_line", "kernel" (the digest in
            the bank that was looked at of the file that the command line begins with; its name is
            a description), "boot_application" (its digest in that bank), "runtime_event" (what
            software extended and logged after the boot; see runtime.py).
        value: in readable form.
        register: where its digest was extended.
        standing: see `Standing`.
    """

    name: str
    value: str
    register: int
    standing: Standing


def describes_itself(event: Event, bank: HashAlg) -> bool:
    """Whether the event's digest is that of its data, for types where it should be."""
    return event.type in SELF_DESCRIBING and event.digest(bank) == bank.digest(event.data)


def extract(log: Log, bank: HashAlg, repeated_separators: tuple[int, ...]) -> tuple[Fact, ...]:
    """Return the facts of a log in its order, digests being looked at in `bank`.

    Raises:
        RefusedEvidence: EVENT_LOG_INVALID when there are more or longer ones than the budgets
            allow: leaving some out would hide what they say.
    """
    facts: list[Fact] = []
    ends = _ends(log, bank)
    files: dict[bytes, Event] = {}
    room = MAX_ALL_TEXT
    for at, event in enumerate(log.events):
        if event.type == EventType.IPL:
            files[event.data.rstrip(b"\0")] = event  # a file's event has its path as data
        early = at < ends.get(event.register, 0)
        hidden = event.register in repeated_separators
        told = _facts_of(event, bank, files, early=early and not hidden, hidden=hidden)
        room -= sum(len(fact.value) for fact in told)
        if any(len(fact.value) > MAX_TEXT for fact in told) or room < 0:
            raise _too_much(f"facts of more than {MAX_TEXT} characters, or {MAX_ALL_TEXT} in all")
        facts += told
        if len(facts) > MAX_FACTS:
            raise _too_much(f"more than {MAX_FACTS} facts")
    return tuple(facts)


def _ends(log: Log, bank: HashAlg) -> dict[int, int]:
    """Return where firmware's part ends, for the registers that it caps with a separator."""
    digests = {bank.digest(data) for data in _SEPARATORS}
    found: dict[int, int] = {}
    for at, event in enumerate(log.events):
        # What is not extended ends nothing (replay.py, rule 1). Later ones need be no separators:
        # a variable that holds four zeros, which Google's firmware measures, has the same digest.
        extended = event.type != EventType.NO_ACTION and event.digest(bank) in digests
        if extended and event.register in _VARIABLE_REGISTERS:
            found.setdefault(event.register, at)
    return found


def _facts_of(
    event: Event,
    bank: HashAlg,
    files: dict[bytes, Event],
    *,
    early: bool,
    hidden: bool,
) -> list[Fact]:
    if event.type == EventType.EFI_VARIABLE_DRIVER_CONFIG:
        return _variable(event, genuine=early and describes_itself(event, bank))
    if event.type == EventType.IPL:
        return _command_line(event, bank, files, hidden=hidden)
    if event.type == EventType.EFI_BOOT_SERVICES_APPLICATION:
        return _digest("boot_application", event, bank, _extended(genuine=not hidden))
    said = runtime.text(event)
    if said is None:
        return []
    value, exact = said
    standing = _extended(genuine=exact and not hidden and describes_itself(event, bank))
    return [Fact("runtime_event", value, event.register, standing)]


def _digest(name: str, event: Event, bank: HashAlg, standing: Standing) -> list[Fact]:
    digest = event.digest(bank)
    return [] if digest is None else [Fact(name, digest.hex(), event.register, standing)]


def _variable(event: Event, *, genuine: bool) -> list[Fact]:
    """Return what a UEFI_VARIABLE_DATA says; nothing for variables we do not name."""
    reader = Reader(event.data)
    what = "UEFI_VARIABLE_DATA"
    try:
        vendor = UUID(bytes_le=reader.take(16, what))
        name_size, size = 2 * reader.le(8, what), reader.le(8, what)
        name = reader.take(name_size, what).decode("utf-16-le")
        content = reader.take(size, what)
        reader.finish()
    except (MalformedEvidence, UnicodeDecodeError):
        return []  # firmware's own dialect: we say nothing of it rather than refuse the boot
    standing = _standing(genuine=genuine)
    if (vendor, name) == (_GLOBAL_VARIABLE, _SECURE_BOOT) and content in _STATES:
        return [Fact("secure_boot", _STATES[content], event.register, standing)]
    if (vendor, name) in _KEYS:
        value = f"{name} {HashAlg.SHA256.digest(content).hex()}"
        return [Fact("secure_boot_variable", value, event.register, standing)]
    return []


def _command_line(
    event: Event, bank: HashAlg, files: dict[bytes, Event], *, hidden: bool
) -> list[Fact]:
    """Return a command line, and before it the kernel whose path it begins with."""
    for prefix in _COMMAND_LINES:
        if event.data.startswith(prefix):
            line = event.data.removeprefix(prefix).rstrip(b"\0")
            break
    else:
        return []
    text, exact = runtime.readable(line)
    genuine = exact and not hidden and event.digest(bank) == bank.digest(line)
    loaded = files.get(line.partition(b" ")[0])
    # What ties the file's digest to its path, and so to being the kernel, is the log's text alone.
    kernel = [] if loaded is None else _digest("kernel", loaded, bank, Standing.DESCRIBED)
    told = Fact("kernel_command_line", text, event.register, _extended(genuine=genuine))
    return [*kernel, told]


def _standing(*, genuine: bool) -> Standing:
    return Standing.AUTHENTICATED if genuine else Standing.DESCRIBED


def _extended(*, genuine: bool) -> Standing:
    return Standing.EXTENDED if genuine else Standing.DESCRIBED


def _too_much(what: str) -> RefusedEvidence:
    return RefusedEvidence(
        Code.EVENT_LOG_INVALID,
        f"the event log tells too much: {what}",
        hint="send the log of firmware and boot loader; have the application log less at run time",
    )
