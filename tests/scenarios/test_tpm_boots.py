"""A TPM node is in order in one reviewed boot, and in no mixture of what was reviewed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes import tpm_machines
from fakes.control_plane import World
from fakes.instances import lease_states
from fakes.tpm_machines import Machine, TpmInstance

from sealward.controlplane.domain.nodes import ClockClass, FailureClass, Node
from sealward.controlplane.services.attestation_call import AttestAnswer
from sealward.controlplane.services.enrollment import EnrollAnswer
from sealward.verifier.rats.result import Posture


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


FIRMWARE = {index: digest(f"firmware {index}") for index in range(8)}
# A loader that measures kernel and command line, and one image that does so by itself.
GRUB = {**FIRMWARE, 4: digest("shim and grub"), 8: digest("line"), 9: digest("kernel and initrd")}
UKI = {**FIRMWARE, 4: digest("unified image"), 11: digest("sections")}
COVERS = {0: ["firmware"], 8: ["cmdline"], 9: ["kernel", "rootfs", "agent"]}
UKI_COVERS = {0: ["firmware"], 11: ["kernel", "cmdline", "rootfs", "agent"]}


@dataclass(frozen=True, kw_only=True)
class Showing(Machine):
    """A machine whose registers hold what a test says."""

    registers: Mapping[int, bytes] = field(default_factory=dict)
    others: Mapping[str, Mapping[int, bytes]] = field(default_factory=dict)

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        banks = {"sha256": self.registers, **self.others}
        return {bank: dict(sorted(values.items())) for bank, values in banks.items()}


def describe_grub(here: World, name: str = "grub", registers: Mapping[int, bytes] = GRUB) -> None:
    tpm_machines.describe(here, name, registers, covers=COVERS, trusting=9)


@pytest.fixture(autouse=True)
def _trusted(here: World) -> None:
    tpm_machines.trust(here)


def enrolled(here: World, machine: Machine) -> tuple[TpmInstance, EnrollAnswer]:
    tpm_machines.allow(here, machine)
    instance = TpmInstance(here.plane.trust, machine=machine, made=here.clock.now())
    return instance, instance.enroll(here)


def booted(here: World, registers: Mapping[int, bytes], **others: Mapping[int, bytes]) -> str:
    """Why a machine in this state is refused at enrolment; empty when it is admitted."""
    return enrolled(here, Showing(registers=registers, others=others))[1].code


@pytest.fixture
def node(here: World) -> TpmInstance:
    """A node in order that holds a lease, in a world that knows its boot alone."""
    describe_grub(here)
    instance, answer = enrolled(here, Showing(registers=GRUB))
    assert answer.code == ""
    assert instance.attest(here).content_keys
    return instance


def shows(here: World, node: TpmInstance, registers: Mapping[int, bytes]) -> AttestAnswer:
    """The node attests in another state."""
    node.machine = Showing(registers=registers)
    node.held = frozenset()
    return node.attest(here)


def node_of(here: World, instance: TpmInstance) -> Node:
    return here.plane.database.read(lambda tx: tx.nodes.get(instance.node_id))


def reason_of(here: World, instance: TpmInstance, code: str) -> Any:  # noqa: ANN401 - JSON
    """The reason with this code on record."""
    ((recorded,),) = here.rows(
        "SELECT reasons FROM node_evidence WHERE node_id=?", instance.node_id
    )
    (found,) = (r for r in json.loads(recorded) if r["code"] == code)  # noqa: TID251 - our own record
    return found


def test_a_known_loader_cannot_borrow_the_kernel_of_another_fleet(here: World) -> None:
    """PCR 11 is free for whoever boots GRUB: its loader leaves it alone."""
    describe_grub(here)
    tpm_machines.describe(here, "uki", UKI, covers=UKI_COVERS, trusting=11)
    mixed = {**FIRMWARE, 4: GRUB[4], 11: UKI[11]}
    machine = Showing(registers=mixed)
    instance, answer = enrolled(here, machine)
    assert (answer.certificate, answer.code) == (None, "boot_unknown")
    assert node_of(here, instance).failure_class is FailureClass.integrity
    told = reason_of(here, instance, "boot_unknown")
    assert told["expected"].endswith("; grub comes nearest")
    assert told["actual"] == "not described: sha256/11; not quoted: sha256/8 sha256/9"


def test_registers_of_two_versions_are_neither(here: World, node: TpmInstance) -> None:
    newer = {**GRUB, 8: digest("newer line"), 9: digest("newer kernel")}
    describe_grub(here, "newer", newer)
    assert shows(here, node, newer).posture is Posture.WARNING
    answer = shows(here, node, {**GRUB, 9: newer[9]})
    assert (answer.posture, answer.code) == (Posture.NONCOMPLIANT, "boot_unknown")
    assert answer.content_keys == ()
    assert ("ended", "boot_unknown", "open") in lease_states(here, node).values()


def test_a_withdrawn_register_is_not_escaped_by_leaving_it_out(here: World) -> None:
    whole = {**GRUB, 14: digest("a certificate that was stolen")}
    describe_grub(here, "grub", whole)
    instance, _ = enrolled(here, Showing(registers=whole))
    assert instance.attest(here).content_keys
    key = f"sha256/14/{whole[14].hex()}"
    here.plane.admin.references.withdraw(here.admin, "grub", "pcr", key, reason="stolen")
    here.settle()
    assert list(lease_states(here, instance).values()) == [("ended", "unknown_measurement", "open")]
    answer = shows(here, instance, GRUB)
    assert (answer.posture, answer.code) == (Posture.NONCOMPLIANT, "boot_unknown")
    assert answer.content_keys == ()
    assert reason_of(here, instance, "boot_unknown")["actual"] == "not quoted: sha256/14"


def test_a_revoked_set_ends_the_leases_of_its_boot(here: World, node: TpmInstance) -> None:
    describe_grub(here, "newer", {**GRUB, 9: digest("newer kernel")})
    here.plane.admin.references.revoke(here.admin, "grub", reason="a test")
    here.settle()
    assert list(lease_states(here, node).values()) == [("ended", "unknown_measurement", "open")]


def test_a_boot_that_a_second_set_describes_outlives_the_first(
    here: World, node: TpmInstance
) -> None:
    describe_grub(here, "again")
    here.plane.admin.references.revoke(here.admin, "grub", reason="a test")
    here.settle()
    assert [state[0] for state in lease_states(here, node).values()] == ["active"]


def test_registers_of_another_bank_vouch_for_nothing(here: World) -> None:
    """Firmware in one bank, and an agent in another one, which this machine does not extend."""
    describe_grub(here)
    assert booted(here, FIRMWARE | {4: GRUB[4]}) == "boot_unknown"
    other = {8: hashlib.sha384(b"line").digest(), 9: hashlib.sha384(b"kernel").digest()}
    assert booted(here, FIRMWARE | {4: GRUB[4]}, sha384=other) == "unknown_measurement"


def test_no_register_vouches_for_the_clock(here: World, node: TpmInstance) -> None:
    (lease,) = here.rows("SELECT clock FROM nodes WHERE node_id=?", node.node_id)
    assert lease == (ClockClass.host.value,)
    answer = node.attest(here)
    (held,) = node.verified(answer.terms).terms.leases
    assert held.ttl_ms == 60_000


def test_one_more_register_is_another_boot(here: World, node: TpmInstance) -> None:
    tpm_machines.describe(here, "mok", {**UKI, 14: digest("a certificate")}, covers=UKI_COVERS)
    answer = shows(here, node, {**GRUB, 14: digest("a certificate")})
    assert answer.code == "boot_unknown"
    assert reason_of(here, node, "boot_unknown")["actual"] == "not described: sha256/14"
