"""What this machine can prove, what it cannot, and what to switch on.

Judged from this very process: an agent under systemd has other rights and limits than a shell, so
run the probe as the agent runs (docs/run-an-agent.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters import auto, registry
from sealward.enclave_agent.attesters.port import Attester, AttesterUnavailable
from sealward.enclave_agent.hardening import Applied, Measure

if TYPE_CHECKING:
    from sealward.verifier.wire.json import Canonical

_SWAPS: Final = Path("/proc/swaps")
_IN_MEMORY: Final = "/dev/zram"  # compressed memory of the guest itself: as protected as the rest


@unique
class Subject(StrEnum):
    """What a finding is about."""

    CLOCK = "clock source"
    MEMORY = "memory locking"
    SWAP = "swap"
    CORE_DUMPS = "core dumps"
    TRACING = "tracing"


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether an attester can be used, and one sentence why."""

    name: str
    available: bool
    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One property of the machine; `advice` is empty where all is well."""

    subject: Subject
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All there is to say.

    Attributes:
        proofs: one for each attester.
        findings: the machine's other properties.
    """

    proofs: tuple[Proof, ...]
    findings: tuple[Finding, ...]

    def json(self) -> dict[str, Canonical]:
        """Return the report as JSON."""
        return {
            "attesters": [
                {"name": proof.name, "available": proof.available, "why": proof.why}
                for proof in self.proofs
            ],
            "machine": [
                {
                    "subject": finding.subject.value,
                    "found": finding.found,
                    "good": not finding.advice,
                    "advice": finding.advice,
                }
                for finding in self.findings
            ],
        }

    def lines(self) -> tuple[str, ...]:
        """Return the report as text."""
        lines: list[str] = []
        for proof in self.proofs:
            word = "available" if proof.available else "not available"
            lines.append(f"{proof.name:<14} {word}: {proof.why}")
        for finding in self.findings:
            advice = f" -> {finding.advice}" if finding.advice else ""
            lines.append(f"{finding.subject:<14} {finding.found}{advice}")
        return tuple(lines)


def installed() -> tuple[Proof, ...]:
    """Probe every installed attester, without settings; last comes what `auto` would take."""
    proofs = tuple(_probe(name) for name in registry.installed() if name != auto.NAME)
    usable = {proof.name for proof in proofs if proof.available}
    chosen = next((name for name in auto.ORDER if name in usable), None)
    why = f"It would take {chosen}." if chosen else f"Of {', '.join(auto.ORDER)} none can be used."
    return (*proofs, Proof(auto.NAME, available=chosen is not None, why=why))


def of(attester: Attester) -> Proof:
    """Probe one attester."""
    availability = attester.probe()
    return Proof(attester.kind, availability.available, availability.why)


def report(
    proofs: tuple[Proof, ...],
    *,
    clock_source: str,
    hardening: Iterable[Applied],
    swaps: str | None,
) -> Report:
    """Say what these observations mean.

    Args:
        proofs: of attesters.
        clock_source: the kernel's name of it.
        hardening: what this process could take from itself.
        swaps: the content of /proc/swaps, or None where it cannot be read.
    """
    why_not = {applied.measure: applied.why_not for applied in hardening}
    findings = (
        _clock(clock_source),
        _measure(
            Subject.MEMORY,
            why_not[Measure.MEMORY_LOCKED],
            good="the agent's memory is locked into RAM",
            bad="keys may be swapped out",
        ),
        _swap(swaps),
        _measure(
            Subject.CORE_DUMPS,
            why_not[Measure.NO_CORE_DUMP],
            good="none are written",
            bad="keys may end in a core dump",
        ),
        _measure(
            Subject.TRACING,
            why_not[Measure.NOT_DUMPABLE],
            good="closed to other processes of the same user",
            bad="other processes of the same user may read the agent's memory",
        ),
    )
    return Report(proofs, findings)


def read_swaps(path: Path = _SWAPS) -> str | None:
    """Return what the kernel says of swap, or None where it does not."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _probe(name: str) -> Proof:
    try:
        availability = registry.load(name, {}).probe()
    except AttesterUnavailable as error:
        return Proof(name, available=False, why=str(error))
    return Proof(name, availability.available, availability.why)


def _clock(source: str) -> Finding:
    if source == "tsc":
        return Finding(
            Subject.CLOCK,
            "tsc: protected in TDX and in SEV-SNP with Secure TSC, else in the hands of the host",
        )
    return Finding(
        Subject.CLOCK,
        f"{source}: in the hands of the host, so leases last 60 s at most",
        "use a guest with Secure TSC or TDX and the kernel parameter clocksource=tsc",
    )


def _swap(swaps: str | None) -> Finding:
    if swaps is None:
        return Finding(Subject.SWAP, "not told by the kernel", "mount /proc for the agent")
    rows = [row.split()[0] for row in swaps.splitlines()[1:] if row.strip()]
    outside = [row for row in rows if not row.startswith(_IN_MEMORY)]
    if outside:
        return Finding(
            Subject.SWAP,
            f"on: {', '.join(outside)}",
            "swapoff -a, or MemorySwapMax=0 for the agent, whose models are not locked",
        )
    return Finding(Subject.SWAP, "in memory only (zram)" if rows else "off")


def _measure(subject: Subject, why_not: str, *, good: str, bad: str) -> Finding:
    return Finding(subject, bad, why_not) if why_not else Finding(subject, good)
