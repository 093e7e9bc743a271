"""Evidence of NVIDIA GPUs beside that of the machine they are in.

A GPU's report says nothing about the machine that asked for it, so it is never sent alone: this
attester takes another one's evidence, and the GPUs answer the same binding (its digest's first half
is their nonce, docs/specs/evidence-binding.md). Both go into one collection, as the envelope's
specification says in section 10.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters import auto, nvidia_nvml, registry
from sealward.enclave_agent.attesters.nvidia_nvml import NONCE_SIZE, GpuEvidence, Gpus, Obstacle
from sealward.enclave_agent.attesters.port import (
    AttesterUnavailable,
    Availability,
    Evidence,
    require_no_settings,
    require_report_data,
)
from sealward.verifier.rats.evidence import (
    MAX_ENVELOPE_BYTES,
    NVIDIA_EVIDENCE,
    Collection,
    Envelope,
    Record,
    decode,
    encode,
)
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealward.enclave_agent.attesters.port import Attester

NAME: Final = "nvidia"
CPU: Final = "cpu"  # the setting, and the label of the machine's own evidence

_REPORT: Final = 1
_CHAIN: Final = 2
_OVERHEAD: Final = 1024  # labels, media types and heads of a collection of nine


class NvidiaAttester:
    """Collects from the GPUs and from the attester of the machine."""

    kind: Final = NAME

    def __init__(self, gpus: Gpus, cpu: Callable[[], Attester]) -> None:
        """`cpu` makes the machine's attester, or raises AttesterUnavailable; it is kept then."""
        self._gpus: Final = gpus
        self._cpu: Final = functools.cache(cpu)

    def probe(self) -> Availability:
        """Say how many GPUs can be asked, or why none, or that nothing vouches for the machine."""
        try:
            count = self._gpus.count()
        except Obstacle as error:
            return Availability(available=False, why=f"No NVIDIA evidence: {error}.")
        try:
            cpu = self._cpu()
        except AttesterUnavailable:
            return Availability(available=False, why=_alone("any other attester"))
        if not cpu.probe().available:
            return Availability(available=False, why=_alone(f"attester '{cpu.kind}'"))
        return Availability(
            available=True, why=f"{count} GPU(s) answer, beside evidence of '{cpu.kind}'."
        )

    def collect(self, report_data: bytes) -> Evidence:
        """Evidence of machine and GPUs, over `report_data` (64 bytes) and over its first half.

        Raises:
            AttesterUnavailable: no evidence can be had here, of one or the other.
            ValueError: `report_data` is not 64 bytes.
        """
        require_report_data(report_data)
        machine = self._cpu().collect(report_data)
        gpus = self._gpus.collect(report_data[:NONCE_SIZE])
        size = len(machine.cmw) + sum(len(gpu.report) + len(gpu.chain) for gpu in gpus)
        if size + _OVERHEAD > MAX_ENVELOPE_BYTES:
            raise AttesterUnavailable(
                f"Evidence of the machine and of {len(gpus)} GPUs takes {size} bytes, and "
                f"{MAX_ENVELOPE_BYTES} are the most that is sent."
            )
        entries: list[tuple[str, Envelope]] = [(CPU, decode(machine.cmw))]
        entries += [(f"gpu-{index}", _record(gpu)) for index, gpu in enumerate(gpus)]
        return Evidence(encode(Collection(tuple(entries))), machine.lock)


def _record(gpu: GpuEvidence) -> Record:
    return Record(NVIDIA_EVIDENCE, cbor.encode({_REPORT: gpu.report, _CHAIN: gpu.chain}))


def _alone(other: str) -> str:
    return (
        "The GPUs answer, but their evidence is worth something only beside the machine's own, and "
        f"{other} cannot be used here (its own line says why)."
    )


def from_settings(settings: Mapping[str, object]) -> NvidiaAttester:
    """The entry point `nvidia`; its one setting `cpu` names the machine's attester, else `auto`.

    Raises:
        AttesterUnavailable: another setting is given, or `cpu` names no other attester.
    """
    rest = dict(settings)
    cpu = rest.pop(CPU, auto.NAME)
    require_no_settings(rest)
    if not isinstance(cpu, str) or cpu == NAME:
        raise AttesterUnavailable(f"[attester] {CPU} names the attester of the machine itself.")
    gpus = Gpus(nvidia_nvml.installed, sleep=time.sleep)
    return NvidiaAttester(gpus, lambda: registry.load(cpu, {}))
