"""Machines with a TPM whose kernel measures (IMA), and instances that send its list."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from fakes import tpm_machines
from fakes.control_plane import World
from fakes.ima_kernel import ImaKernel
from fakes.software_tpm import SoftwareTpm, lock_object
from fakes.tpm_machines import Machine, TpmInstance

from sealward.controlplane.services.attestation_call import AttestAnswer
from sealward.controlplane.services.enrollment import EnrollAnswer
from sealward.controlplane.services.evidence import Presented
from sealward.verifier.composite.ima_log import ListPart
from sealward.verifier.rats.binding import Purpose

AGENT = b"the agent's program"
FILES = "installed-files"


@dataclass(frozen=True, kw_only=True)
class MeasuringMachine(Machine):
    """Its kernel has measured the agent; `counts` are resets and restarts of its TPM."""

    kernel: ImaKernel = field(default_factory=lambda: ImaKernel(banks=("sha256",)), compare=False)
    counts: tuple[int, int] = (7, 3)

    def __post_init__(self) -> None:
        if not self.kernel.appended:
            self.kernel.boot(self.lasting["sha256"])
            self.kernel.measure("/usr/bin/sealward-agent", AGENT)

    @property
    def lasting(self) -> dict[str, dict[int, bytes]]:
        """All registers but PCR 10."""
        values = {n: hashlib.sha256(f"{self.boot} {n}".encode()).digest() for n in range(10)}
        return {"sha256": values}

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        return {"sha256": self.lasting["sha256"] | {10: self.kernel.registers["sha256"]}}

    @property
    def quoting(self) -> SoftwareTpm:
        return replace(super().quoting, counts=self.counts)

    @property
    def lock(self) -> bytes:
        unique = hashlib.sha256(self.label.encode()).digest()
        return lock_object(self.lasting)[: -len(unique)] + unique


@dataclass
class MeasuringInstance(TpmInstance):
    """Sends the list from `next` on, as its agent would; `part` sends something else."""

    next: int = 0
    sends_list: bool = True
    part: ListPart | None = None

    @property
    def kernel(self) -> ImaKernel:
        machine = self.machine
        assert isinstance(machine, MeasuringMachine)
        return machine.kernel

    def list_part(self, purpose: Purpose) -> ListPart | None:
        if not self.sends_list:
            return None
        first = 0 if purpose is Purpose.ENROLL else self.next
        part = ListPart(first=first, data=self.kernel.runtime_measurements(first=first))
        return self.part or part

    def presented(self, world: World, purpose: Purpose, **changes: Any) -> Presented:  # noqa: ANN401 - fields of Binding
        shown = super().presented(world, purpose, **changes)
        return replace(shown, runtime_log=self.list_part(purpose))

    def enroll(self, world: World, *, join_token: str = "") -> EnrollAnswer:
        answer = super().enroll(world, join_token=join_token)
        self.next = answer.runtime_log_next
        return answer

    def attest(
        self, world: World, workloads: tuple[str, ...] = ("scanner",), *, lost: bool = False
    ) -> AttestAnswer:
        answer = super().attest(world, workloads, lost=lost)
        if not lost:
            self.next = answer.runtime_log_next
        return answer


def know(world: World, *contents: bytes, set_name: str = FILES) -> None:
    """Import files as a reference set in force."""
    values = [
        {
            "kind": "file",
            "key": hashlib.sha256(content).hexdigest(),
            "value": {"name": f"/usr/bin/{n}"},
        }
        for n, content in enumerate(contents)
    ]
    document = {"name": set_name, "not_after": None, "values": values}
    world.plane.admin.references.import_set(
        world.admin, json.dumps(document).encode(), activate=True
    )


def ready(world: World, machine: MeasuringMachine) -> None:
    """Trust the CA of a machine, expect its registers and its agent, and allow its platform."""
    tpm_machines.trust(world, machine.root)
    expected = Booted(label=machine.label, boot=machine.boot, root=machine.root)
    tpm_machines.expect(world, expected)
    know(world, AGENT)


@dataclass(frozen=True, kw_only=True)
class Booted(Machine):
    """The registers of a measuring machine that can have reference values: all but PCR 10."""

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        return MeasuringMachine(label=self.label, boot=self.boot).lasting


def admitted(world: World, machine: Machine, **how: Any) -> MeasuringInstance:  # noqa: ANN401 - fields of MeasuringInstance
    """An instance on this machine that has just enrolled."""
    instance = MeasuringInstance(world.plane.trust, machine=machine, made=world.clock.now(), **how)
    answer = instance.enroll(world)
    assert answer.code == "", answer
    return instance


def plain(world: World, machine: MeasuringMachine) -> MeasuringInstance:
    """An instance on this machine that has just enrolled, quotes no PCR 10 and sends no list."""
    quiet = Booted(label=machine.label, boot=machine.boot, root=machine.root)
    return admitted(world, quiet, sends_list=False)
