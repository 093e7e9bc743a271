"""Arm CCA and PSA nodes live on a key that the tenant vouches for, under shipped policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fakes import arm_tokens, minted_kinds
from fakes.control_plane import World
from fakes.fleet import GpuInstance, fleet
from fakes.hooked_database import HookedDatabase
from fakes.instances import Instance, lease_states, leased

from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.trust_anchors import AnchorKind, TrustAnchor, VouchedInstance
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.binding import Purpose
from sealward.verifier.rats.evidence import Collection, Record
from sealward.verifier.rats.result import Posture

ID = arm_tokens.INSTANCE_ID.hex()
CCA = VouchedInstance(AnchorKind.cca_key, ID)
PSA = VouchedInstance(AnchorKind.psa_key, ID)
OTHER_ID = "01" + "77" * 32
_WHOLE = ("firmware", "kernel", "cmdline", "rootfs", "agent")
_COMPONENT = arm_tokens.COMPONENT
REGISTERS = {
    CCA: (
        f"cca/rim/{'11' * 48}",
        f"cca/rem1/{'22' * 48}",
        f"cca/platform0/{'0b' * 32}",
    ),
    PSA: (f"psa/{_COMPONENT[1]}/{'0b' * 32}",),
}


def node_of(here: World, instance: VouchedInstance) -> Instance:
    """A machine whose tokens its maker's key signs."""
    media, payload = {
        CCA: (envelopes.CCA_EVIDENCE, minted_kinds.cca),
        PSA: (envelopes.PSA_EVIDENCE, minted_kinds.psa),
    }[instance]
    return minted_kinds.Bound(here.plane.trust, media_type=media, payload=payload)


def vouch(here: World, instance: VouchedInstance, owner: str = "maker") -> TrustAnchor:
    return here.plane.admin.trust_anchors.add_key(here.admin, arm_tokens.spki(owner), instance)


def remove(here: World, anchor: TrustAnchor) -> None:
    here.plane.admin.trust_anchors.remove(here.admin, anchor.fingerprint, reason="a test")


def expect(here: World, instance: VouchedInstance) -> None:
    """Allow the machine and describe what it launches."""
    values = [
        {
            "kind": "register",
            "key": key,
            "value": {"name": "arm 1.0", "components": list(_WHOLE), "trust_config": "image"},
        }
        for key in REGISTERS[instance]
    ]
    body = json.dumps({"name": f"{instance.scheme}-1.0", "not_after": None, "values": values})
    here.plane.admin.references.import_set(here.admin, body.encode(), activate=True)
    here.plane.admin.platforms.allow(here.admin, instance.platform_id)


def refused(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def states(here: World, node: Instance) -> list[tuple[str, str, str]]:
    return list(lease_states(here, node).values())


@dataclass(frozen=True)
class Ready:
    """A node that holds a lease, and the anchor under it."""

    node: Instance
    anchor: TrustAnchor


def ready(here: World, instance: VouchedInstance = CCA) -> Ready:
    expect(here, instance)
    anchor = vouch(here, instance)
    node = node_of(here, instance)
    assert node.enroll(here).code == ""
    answer = node.attest(here)
    assert (answer.denials, len(node.held)) == ((), 1)
    here.settle()  # no sweep of what was set up is left that could find what a later one misses
    return Ready(node, anchor)


POSTURES = {CCA: Posture.COMPLIANT, PSA: Posture.WARNING}


@pytest.mark.parametrize("instance", POSTURES, ids=lambda one: one.scheme)
def test_a_node_whose_key_is_an_anchor_enrols_attests_and_gets_keys(
    here: World, instance: VouchedInstance
) -> None:
    node = ready(here, instance).node
    answer = node.attest(here)
    assert (answer.denials, answer.posture) == ((), POSTURES[instance])
    assert len(node.content_keys) == 1
    query = "SELECT tee, platform_id, development FROM nodes"
    assert here.rows(query) == [(instance.scheme, instance.platform_id, 0)]


@pytest.mark.parametrize("instance", POSTURES, ids=lambda one: one.scheme)
def test_without_its_anchor_a_node_is_refused_and_told_which_command_adds_it(
    here: World, instance: VouchedInstance
) -> None:
    expect(here, instance)
    vouch(here, replace(instance, instance_id=OTHER_ID))
    error = refused(lambda: node_of(here, instance).enroll(here))
    assert error.code is Code.evidence_refused
    assert error.detail.startswith("endorsement_missing: ")
    assert f"trust-anchor add KEY.pem --kind {instance.kind} --instance-id {ID}" in error.hint
    assert here.rows("SELECT count(*) FROM nodes") == [(0,)]


def test_an_anchor_of_one_kind_is_none_of_the_other(here: World) -> None:
    expect(here, CCA)
    vouch(here, PSA)
    error = refused(lambda: node_of(here, CCA).enroll(here))
    assert error.detail.startswith("endorsement_missing: ")


def test_the_key_of_another_machine_verifies_nothing(here: World) -> None:
    expect(here, CCA)
    vouch(here, CCA, owner="somebody else")
    error = refused(lambda: node_of(here, CCA).enroll(here))
    assert error.detail.startswith("signature_invalid: ")


def test_an_anchor_may_name_the_implementation_too(here: World) -> None:
    expect(here, CCA)
    anchor = vouch(here, replace(CCA, implementation_id="ee" * 32))
    error = refused(lambda: node_of(here, CCA).enroll(here))
    assert error.detail.startswith("endorsement_missing: ")
    remove(here, anchor)
    here.settle()
    vouch(here, replace(CCA, implementation_id=arm_tokens.IMPLEMENTATION_ID.hex()))
    assert node_of(here, CCA).enroll(here).code == ""


@pytest.mark.parametrize("instance", POSTURES, ids=lambda one: one.scheme)
def test_the_lease_ends_with_the_anchor_and_nowhere_else(
    here: World, instance: VouchedInstance
) -> None:
    life = ready(here, instance)
    guest = leased(here)
    here.rung.clear()
    remove(here, life.anchor)
    here.settle()
    assert states(here, life.node) == [("ended", "trust_anchor_removed", "open")]
    assert [state for state, _, _ in states(here, guest)] == ["active"]
    assert here.rung == [life.node.node_id]
    query = "SELECT posture, posture_code, failure_class FROM nodes WHERE node_id = ?"
    expected = ("noncompliant", "trust_anchor_removed", "integrity")
    assert here.rows(query, life.node.node_id) == [expected]
    ((reasons,),) = here.rows("SELECT reasons FROM decisions WHERE kind = 'reappraise'")
    assert '"claim":"claims.platform_id"' in str(reasons)


def test_the_removal_of_another_instances_key_ends_nothing(here: World) -> None:
    life = ready(here)
    others = [vouch(here, PSA), vouch(here, replace(CCA, instance_id=OTHER_ID))]
    for anchor in others:
        remove(here, anchor)
    here.settle()
    assert [state for state, _, _ in states(here, life.node)] == ["active"]


def test_a_node_attests_no_more_until_its_anchor_is_back(here: World) -> None:
    life = ready(here)
    remove(here, life.anchor)
    here.settle()
    error = refused(lambda: life.node.attest(here))
    assert error.detail.startswith("endorsement_missing: ")
    vouch(here, CCA)
    life.node.held = frozenset()
    assert life.node.attest(here).denials == ()


def test_another_key_of_the_instance_does_not_hide_nodes_from_the_sweep(here: World) -> None:
    """They rest on the removed one, whatever has been added since."""
    life = ready(here)
    remove(here, life.anchor)
    with pytest.raises(Conflict) as caught:
        vouch(here, CCA, owner="its next key")
    assert caught.value.code is Code.state_changed
    here.settle()
    assert [state for state, _, _ in states(here, life.node)] == ["ended"]
    vouch(here, CCA, owner="its next key")
    error = refused(lambda: life.node.attest(here))
    assert error.detail.startswith("signature_invalid: ")


@pytest.mark.parametrize("when", ["before_read", "before_write"])
def test_no_lease_is_granted_under_an_anchor_removed_meanwhile(here: World, when: str) -> None:
    """F16: between verification and commit, before or after the decision's own reading."""
    expect(here, CCA)
    anchors = [vouch(here, CCA)]
    node = node_of(here, CCA)
    assert node.enroll(here).code == ""

    def hook() -> None:
        if anchors:
            remove(here, anchors.pop())

    service = replace(
        here.plane.attestation, database=HookedDatabase(here.plane.database, **{when: hook})
    )
    call = node.attest_call(node.presented(here, Purpose.ATTEST))
    assert refused(lambda: service.attest(call)).code is Code.evidence_refused
    assert states(here, node) == []


@pytest.mark.parametrize("when", ["before_read", "before_write"])
def test_no_node_is_admitted_under_an_anchor_removed_meanwhile(here: World, when: str) -> None:
    expect(here, CCA)
    anchors = [vouch(here, CCA)]
    node = node_of(here, CCA)

    def hook() -> None:
        if anchors:
            remove(here, anchors.pop())

    service = replace(
        here.plane.enrollment, database=HookedDatabase(here.plane.database, **{when: hook})
    )
    call = node.enroll_call(node.presented(here, Purpose.ENROLL))
    assert refused(lambda: service.enroll(call)).code is Code.evidence_refused
    assert here.rows("SELECT count(*) FROM nodes") == [(0,)]


class CcaGpuInstance(GpuInstance):
    """A realm with GPUs."""

    def evidence(self, encoded: bytes, **guest: object) -> bytes:
        whole = envelopes.decode(super().evidence(encoded, **guest))
        assert isinstance(whole, Collection)
        realm = Record(envelopes.CCA_EVIDENCE, minted_kinds.cca(bindings.digest(encoded)))
        devices = (entry for entry in whole.entries if entry[0] != "cpu")
        return envelopes.encode(Collection((("cpu", realm), *devices)))


def test_a_realm_with_gpus_rests_on_its_anchor_whenever_it_is_verified(tmp_path: Path) -> None:
    """Also when its recorded evidence is verified again, for newer collateral of its GPUs."""
    with fleet(tmp_path) as here:
        expect(here, CCA)
        anchor = vouch(here, CCA)
        node = CcaGpuInstance(here.plane.trust)
        assert node.enroll(here).code == ""
        answer = node.attest(here)
        assert (answer.denials, answer.posture) == ((), Posture.WARNING)
        reverifier = here.plane.collateral.forecasts.reverifier
        recorded = here.plane.database.read(lambda tx: tx.evidence.find(node.node_id))
        assert recorded is not None
        again = reverifier.again(recorded, here.clock.now())
        assert again is not None
        assert again.refusal is None
        remove(here, anchor)
        again = reverifier.again(recorded, here.clock.now())
        assert again is not None
        assert again.tcb_status == "endorsement_missing"
