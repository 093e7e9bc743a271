"""A node at `warning`: a TPM in order holds what its data class allows, anything else nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import cbor2
import pytest
from fakes import tpm_machines
from fakes.control_plane import (
    CREATOR,
    TTL,
    World,
    register,
    shipped_files,
)
from fakes.instances import Instance, lease_states
from fakes.policies import ADMIT_ALL, ALLOW_ALL
from fakes.tpm_machines import BOOT_SET, Machine, TpmInstance
from sealward_devkit.snp.products import Product, Tcb, encode_tcb
from sealward_devkit.snp.report import key_info, mint_report, typical_fields

from sealward.controlplane.domain.decisions import Decision, DecisionKind, Outcome
from sealward.controlplane.domain.nodes import FailureClass, Node
from sealward.controlplane.domain.policies import PolicyKind
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.result import Posture

TOLERANT = {
    ".manifest": '{"roots":["sealward/appraisal"],"rego_version":1}',
    "policy.rego": """package sealward.appraisal

import rego.v1

trust_vector := {
	"instance-identity": "affirming",
	"configuration": "affirming",
	"executables": "warning",
	"file-system": "none",
	"hardware": "affirming",
	"runtime-opaque": "affirming",
	"storage-opaque": "none",
	"sourced-data": "none",
}

reasons := {{
	"code": "unknown_measurement",
	"claim": null,
	"expected": null,
	"actual": null,
	"hint": "review the image",
}}
""",
}
FLOOR = Tcb(bootloader=3, tee=0, snp=8, microcode=115)  # of the furnished world


@dataclass
class Uncommitted(Instance):
    """A guest on an SNP host whose firmware update is in use and not committed."""

    def evidence(self, encoded: bytes, **changes: Any) -> bytes:  # noqa: ANN401 - fields of the report
        chip = self.platform
        fields = replace(
            typical_fields(chip.product, chip.tcb, version=5, chip_id=chip.chip_id),
            key_info=key_info(chip.signing_key),
            report_data=bindings.digest(encoded),
            measurement=self.measurement,
            host_data=self.trust.digest(),
            report_id=self.report_id,
            committed_tcb=encode_tcb(Product.MILAN, FLOOR),
            **changes,
        )
        report = mint_report(fields, chip.key)
        payload = cbor2.dumps({1: report, 2: [chip.vek, chip.intermediate, chip.root]})
        return envelopes.encode(envelopes.Record(envelopes.SNP_EVIDENCE, payload))


def node_of(here: World, instance: Instance) -> Node:
    return here.plane.database.read(lambda tx: tx.nodes.get(instance.node_id))


def attested(here: World, instance: Instance, code: str) -> Decision:
    """The one attestation of an instance that was decided with this code."""
    decisions = here.plane.admin.explanations.of_node(here.admin, instance.node_id).decisions
    (found,) = (d for d in decisions if d.kind is DecisionKind.attest and d.code == code)
    return found


def reasons(decision: Decision) -> list[dict[str, Any]]:
    """What is on record as its reasons."""
    found: list[dict[str, Any]] = json.loads(decision.reasons)  # noqa: TID251 - our own record
    return found


def workload(here: World, name: str, data_class: str) -> None:
    here.plane.admin.workloads.create(
        here.admin,
        name=name,
        data_class=data_class,
        production=False,
        ttl=TTL,
        max_instances=None,
        creators=(CREATOR.public.encoded,),
    )
    register(here.plane, here.admin, name)


def raise_floor(here: World) -> None:
    """Import a floor between what is committed and what is reported."""
    value = {"bootloader": 4, "tee": 0, "snp": 9, "microcode": 200}
    document = {
        "name": "floors",
        "not_after": None,
        "values": [{"kind": "tcb_floor", "key": "snp/Milan", "value": value}],
    }
    here.plane.admin.references.import_set(here.admin, json.dumps(document).encode(), activate=True)


@pytest.fixture
def node(here: World) -> TpmInstance:
    """An admitted TPM node in order."""
    return tpm_machines.admitted(here, tpm_machines.ready(here))


def test_a_tpm_in_order_comes_to_a_warning_and_holds_a_lease(
    here: World, node: TpmInstance
) -> None:
    answer = node.attest(here)
    assert (answer.posture, answer.code, answer.denials) == (Posture.WARNING, "", ())
    assert len(node.content_keys) == 1
    (lease,) = node.verified(answer.terms).terms.leases
    assert (lease.ttl_ms, lease.cause) == (60_000, "ttl of the release policy")
    recorded = node_of(here, node)
    assert (recorded.posture, recorded.posture_code) == (Posture.WARNING, "tpm_only")
    assert recorded.failure_class is None
    assert dict(recorded.labels_attested)["sealward/tee"] == "tpm"
    assert attested(here, node, "tpm_only").outcome is Outcome.passed


@pytest.mark.parametrize(
    ("data_class", "granted"),
    [("public", True), ("internal", True), ("confidential", False), ("secret", False)],
)
def test_the_data_class_decides(
    here: World, node: TpmInstance, data_class: str, *, granted: bool
) -> None:
    workload(here, "asked", data_class)
    answer = node.attest(here, ("asked",))
    assert bool(node.held) is granted
    assert [d.code for d in answer.denials] == ([] if granted else ["policy_denied"])
    told = {reason["code"] for reason in reasons(attested(here, node, "tpm_only"))}
    assert ("data_class_above_internal" in told) is not granted


def test_a_register_with_another_value_refuses_the_node_by_its_name(
    here: World, node: TpmInstance
) -> None:
    node.attest(here)
    node.machine = replace(node.machine, boot="image 1.0 with another kernel")
    answer = node.attest(here)
    assert (answer.posture, answer.code) == (Posture.NONCOMPLIANT, "unknown_measurement")
    assert answer.content_keys == ()
    assert node.held == frozenset()
    assert [s[1:] for s in lease_states(here, node).values()] == [("unknown_measurement", "open")]
    told = reasons(attested(here, node, "unknown_measurement"))
    (named,) = (r for r in told if r["claim"] == "claims.measurements[pcr7]")
    assert named["code"] == "unknown_measurement"
    assert named["actual"] == node.machine.pcrs["sha256"][7].hex()


def test_a_node_whose_firmware_registers_are_not_quoted_is_rejected(here: World) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Sparse(Machine):
        @property
        def pcrs(self) -> dict[str, dict[int, bytes]]:
            whole = super().pcrs["sha256"]
            return {"sha256": {index: whole[index] for index in (4, 7, 8)}}

    tpm_machines.ready(here)
    instance = TpmInstance(here.plane.trust, machine=Sparse(), made=here.clock.now())
    answer = instance.enroll(here)
    assert (answer.certificate, answer.code) == (None, "register_missing")
    assert "boot_unknown" in str(here.rows("SELECT reasons FROM node_evidence"))


def test_a_withdrawn_register_ends_the_lease_of_the_nodes_that_quoted_it(
    here: World, node: TpmInstance
) -> None:
    newer = Machine(label="machine b", boot="image 2.0")
    tpm_machines.expect(here, newer, set_name="newer-images")
    other = tpm_machines.admitted(here, newer)
    for one in (node, other):
        one.attest(here)
    key = f"sha256/4/{node.machine.pcrs['sha256'][4].hex()}"
    here.plane.admin.references.withdraw(here.admin, BOOT_SET, "pcr", key, reason="a test")
    here.settle()
    assert node_of(here, node).posture is Posture.NONCOMPLIANT
    assert node_of(here, node).posture_code == "unknown_measurement"
    assert list(lease_states(here, node).values()) == [("ended", "unknown_measurement", "open")]
    assert [s[0] for s in lease_states(here, other).values()] == ["active"]


def test_a_sweep_that_finds_nothing_worse_leaves_a_warning_alone(
    here: World, node: TpmInstance
) -> None:
    node.attest(here)
    before = (node_of(here, node), lease_states(here, node))
    here.activate(PolicyKind.RELEASE, ALLOW_ALL)
    here.settle()
    assert (node_of(here, node), lease_states(here, node)) == before
    assert here.rung == []


def test_a_release_policy_that_wants_compliance_ends_what_a_warning_holds(
    here: World, node: TpmInstance
) -> None:
    node.attest(here)
    shipped = shipped_files(PolicyKind.RELEASE)
    strict = {
        ".manifest": shipped[".manifest"],
        "policy.rego": shipped["policy.rego"].replace(
            'input.node.posture == "warning"', 'input.node.posture == "never"'
        ),
    }
    assert strict["policy.rego"] != shipped["policy.rego"]
    here.activate(PolicyKind.RELEASE, strict)
    here.settle()
    assert node_of(here, node).posture is Posture.WARNING
    assert [s[:2] for s in lease_states(here, node).values()] == [("ended", "posture_noncompliant")]


def test_a_warning_that_does_not_renew_goes_stale(here: World, node: TpmInstance) -> None:
    node.attest(here)
    here.clock.advance(timedelta(seconds=60))
    assert here.plane.housekeeper.run() == 1
    assert node_of(here, node).posture is Posture.STALE
    node.attest(here)
    assert node_of(here, node).posture is Posture.WARNING


def test_a_tpm_that_nobody_vouched_for_waits_and_says_for_what(here: World) -> None:
    machine = Machine()
    tpm_machines.ready(here, machine)
    stranger = replace(machine, label="machine c")
    instance = TpmInstance(here.plane.trust, machine=stranger, made=here.clock.now())
    answer = instance.enroll(here)
    assert (str(answer.admission), answer.code) == ("pend", "platform_unknown")
    waiting = node_of(here, instance)
    assert (waiting.posture, waiting.posture_code) == (Posture.WARNING, "platform_unknown")


# --- everything that is not a TPM ----------------------------------------------------------------


def test_an_snp_node_at_a_warning_is_rejected_when_it_enrolls(here: World) -> None:
    raise_floor(here)
    instance = Uncommitted(here.plane.trust)
    answer = instance.enroll(here)
    assert (answer.certificate, answer.code) == (None, "tcb_not_committed")
    assert node_of(here, instance).posture_code == "tcb_not_committed"


def test_an_snp_node_at_a_warning_is_granted_nothing(here: World) -> None:
    instance = Uncommitted(here.plane.trust)
    assert instance.enroll(here).code == ""
    assert instance.attest(here).denials == ()
    assert len(instance.held) == 1
    raise_floor(here)
    answer = instance.attest(here)
    assert answer.posture is Posture.WARNING
    assert [d.code for d in answer.denials] == ["posture_noncompliant"]
    assert answer.content_keys == ()
    assert instance.held == frozenset()
    assert list(lease_states(here, instance).values()) == [
        ("ended", "tcb_not_committed", "bounded")
    ]
    told = {reason["code"] for reason in reasons(attested(here, instance, "tcb_not_committed"))}
    assert {"tcb_not_committed", "posture_not_compliant"} <= told


def test_an_snp_node_that_falls_to_a_warning_loses_its_lease_in_the_sweep(here: World) -> None:
    instance = Uncommitted(here.plane.trust)
    instance.enroll(here)
    instance.attest(here)
    raise_floor(here)
    here.settle()
    fallen = node_of(here, instance)
    assert (fallen.posture, fallen.posture_code) == (Posture.WARNING, "tcb_not_committed")
    assert list(lease_states(here, instance).values()) == [
        ("ended", "tcb_not_committed", "bounded")
    ]
    assert here.rung == [instance.node_id]
    here.settle()
    assert here.rung == [instance.node_id]


def test_an_snp_node_that_was_lowered_is_not_raised_by_a_sweep(here: World) -> None:
    instance = Uncommitted(here.plane.trust)
    instance.enroll(here)
    raise_floor(here)
    here.settle()
    assert node_of(here, instance).posture is Posture.WARNING
    here.plane.admin.references.revoke(here.admin, "floors", reason="a test")
    here.settle()
    assert node_of(here, instance).posture is Posture.WARNING


def test_a_sweep_asks_under_the_posture_on_record_and_not_a_better_one(here: World) -> None:
    here.activate(PolicyKind.RELEASE, ALLOW_ALL)
    instance = Uncommitted(here.plane.trust)
    instance.enroll(here)
    raise_floor(here)
    instance.attest(here)
    here.plane.admin.references.revoke(here.admin, "floors", reason="it would pass now")
    here.activate(PolicyKind.RELEASE, shipped_files(PolicyKind.RELEASE))
    here.settle()
    assert node_of(here, instance).posture is Posture.WARNING
    assert [s[:2] for s in lease_states(here, instance).values()] == [
        ("ended", "posture_noncompliant")
    ]


def test_a_policy_of_ones_own_may_let_a_warning_hold_keys(here: World) -> None:
    """What suffices beside a passing posture is the release policy's to say."""
    here.activate(PolicyKind.RELEASE, ALLOW_ALL)
    instance = Uncommitted(here.plane.trust)
    instance.enroll(here)
    raise_floor(here)
    answer = instance.attest(here)
    assert (answer.posture, answer.code, answer.denials) == (Posture.WARNING, "", ())
    assert len(instance.held) == 1


def test_a_warning_about_the_code_itself_still_exposes_what_it_held(here: World) -> None:
    """F1: an organisation may go on with an unknown image, and knows afterwards what it had."""
    here.activate(PolicyKind.APPRAISAL, TOLERANT)
    here.activate(PolicyKind.RELEASE, ALLOW_ALL)
    here.activate(PolicyKind.ENROLLMENT, ADMIT_ALL)
    instance = Instance(here.plane.trust, measurement=b"\x77" * 48)
    instance.enroll(here)
    assert instance.attest(here).posture is Posture.WARNING
    assert node_of(here, instance).failure_class is FailureClass.integrity
    instance.attest(here, ())
    assert [s[2] for s in lease_states(here, instance).values()] == ["open"]


def test_no_policy_lets_a_refused_node_hold_keys(here: World, node: TpmInstance) -> None:
    here.activate(PolicyKind.RELEASE, ALLOW_ALL)
    node.machine = replace(node.machine, boot="another image")
    answer = node.attest(here)
    assert [d.code for d in answer.denials] == ["posture_noncompliant"]
    assert answer.content_keys == ()
