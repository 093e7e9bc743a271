"""A TPM node from its credential to its keys (docs/specs/tpm-node.md), under shipped policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fakes import tpm_machines
from fakes.control_plane import WORKLOAD, World
from fakes.hooked_database import HookedDatabase
from fakes.instances import Instance, lease_states, leased, sha256
from fakes.software_tpm import NOW
from fakes.tpm_cas import OTHER_ROOT, ROOT
from fakes.tpm_machines import Machine, TpmInstance

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.services.attestation_call import AttestAnswer
from sealward.controlplane.services.evidence import Presented
from sealward.protos import terms, tpm_node
from sealward.protos.tpm_node import TpmLockError
from sealward.sealing import hpke
from sealward.verifier.rats.binding import Purpose
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.result import Posture

A = Machine(label="machine a")
B = Machine(label="machine b")


def instance_on(here: World, machine: Machine = A) -> TpmInstance:
    return TpmInstance(here.plane.trust, machine=machine, made=here.clock.now())


def refused(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


# Enrolment.


def test_a_tpm_node_enrols_with_its_credential_and_gets_keys(here: World) -> None:
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    answer = node.attest(here)
    assert answer.denials == ()
    assert answer.posture is Posture.WARNING, "a quote does not show who reads memory"
    assert len(node.content_keys) == len(node.held) == 1
    ((platform, instance_value),) = here.rows("SELECT platform_id, instance_value FROM nodes")
    assert platform == A.platform_id
    assert instance_value == node.machine.quoting_name.hex()


def test_the_node_that_opened_no_credential_is_not_enrolled(here: World) -> None:
    tpm_machines.ready(here, A)
    node = instance_on(here)
    presented = replace(node.presented(here, Purpose.ENROLL), credential_proof=b"")
    call = node.enroll_call(presented)
    assert refused(lambda: here.plane.enrollment.enroll(call)).code is Code.credential_missing
    assert refused(lambda: here.plane.enrollment.enroll(call)).code is Code.challenge_spent


def test_a_quote_relayed_from_a_good_machine_enrols_nobody(here: World) -> None:
    """F8b: whoever has quotes of A made for his own key has no credential opened by A for them."""
    tpm_machines.ready(here, A)
    tpm_machines.allow(here, B)
    thief = instance_on(here, B)
    stolen = instance_on(here, A)
    stolen.keys = thief.keys  # A quotes the thief's binding; the AK in it is A's
    shown = thief.presented(here, Purpose.ENROLL)
    relayed = replace(shown, evidence=stolen.evidence(shown.binding))
    error = refused(lambda: here.plane.enrollment.enroll(thief.enroll_call(relayed)))
    assert error.code is Code.credential_invalid


def test_an_enrolment_counts_once(here: World) -> None:
    tpm_machines.ready(here, A)
    node = instance_on(here)
    call = node.enroll_call(node.presented(here, Purpose.ENROLL))
    assert here.plane.enrollment.enroll(call).code == ""
    assert refused(lambda: here.plane.enrollment.enroll(call)).code is Code.challenge_spent


def test_a_proof_belongs_to_one_enrolment(here: World) -> None:
    tpm_machines.ready(here, A)
    node = instance_on(here)
    first, second = (node.presented(here, Purpose.ENROLL) for _ in range(2))
    moved = replace(second, credential_proof=first.credential_proof)
    error = refused(lambda: here.plane.enrollment.enroll(node.enroll_call(moved)))
    assert error.code is Code.credential_invalid


def test_a_proof_beside_other_evidence_is_no_request(here: World) -> None:
    node = Instance(here.plane.trust)
    presented = replace(node.presented(here, Purpose.ENROLL), credential_proof=bytes(32))
    error = refused(lambda: here.plane.enrollment.enroll(node.enroll_call(presented)))
    assert error.code is Code.invalid_request


def test_a_node_enrols_anew_with_a_new_credential(here: World) -> None:
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    assert node.enroll(here).code == ""


def test_an_instance_key_does_not_move_to_another_attestation_key(here: World) -> None:
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.attest(here)
    node.machine = replace(A, ak="another key")
    assert refused(lambda: node.attest(here)).code is Code.instance_changed
    assert here.rows("SELECT posture FROM nodes") == [("quarantined",)]


def test_without_an_anchor_a_tpm_node_is_told_the_command(here: World) -> None:
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    (anchor,) = here.plane.admin.trust_anchors.page(here.admin, limit=9, after=None).items
    here.plane.admin.trust_anchors.remove(here.admin, anchor.fingerprint, reason="a test")
    error = refused(lambda: node.attest(here))
    assert error.code is Code.evidence_refused
    assert "sealward trust-anchor add" in error.hint


def test_the_root_of_a_software_tpm_marks_all_that_it_endorses(here: World) -> None:
    tpm_machines.ready(here, A)
    tpm_machines.admitted(here, A)
    assert here.rows("SELECT development FROM nodes") == [(1,)]
    ((claims,),) = here.rows("SELECT claims FROM node_evidence")
    assert '"development":true' in str(claims)
    assert ROOT.name in str(here.rows("SELECT subject FROM trust_anchors"))


# The lock.


def locked(here: World, machine: Machine = A) -> tuple[TpmInstance, AttestAnswer]:
    """A node whose answer with keys is on its way."""
    node = tpm_machines.admitted(here, machine)
    answer = node.attest(here, lost=True)
    assert answer.tpm_lock is not None
    assert len(answer.content_keys) == 1
    return node, answer


def test_under_hpke_a_content_key_is_still_locked(here: World) -> None:
    tpm_machines.ready(here, A)
    node, answer = locked(here)
    assert answer.tpm_lock is not None
    digest = node.verified(answer.terms).digest
    (wrapped,) = answer.content_keys
    inner = bytes(hpke.open(node.hpke_key, wrapped, terms.content_key_info(digest)))
    with pytest.raises(MalformedEvidence):
        terms.decode_content_key(inner)
    secret = A.activate(answer.tpm_lock, A.lock)
    assert len(node.opened(digest, answer.content_keys, secret)) == 1
    for other in (bytes(32), secret[::-1]):
        with pytest.raises(TpmLockError):
            node.opened(digest, answer.content_keys, other)
    with pytest.raises(TpmLockError):
        tpm_node.LockKey.derive(secret, digest).open(1, inner)
    with pytest.raises(TpmLockError):
        tpm_node.LockKey.derive(secret, bytes(32)).open(0, inner)


def test_a_lock_opens_in_that_tpm_in_that_state_only(here: World) -> None:
    tpm_machines.ready(here, A)
    _, answer = locked(here)
    assert answer.tpm_lock is not None
    changed = replace(A, boot="image 1.0, and something extended")
    for other, loaded in (
        (B, B.lock),
        (changed, changed.lock),
        (changed, A.lock),
        (A, A.ak_public),
    ):
        with pytest.raises((AssertionError, ValueError)):
            other.activate(answer.tpm_lock, loaded)


def test_every_answer_with_keys_has_a_lock_of_its_own(here: World) -> None:
    tpm_machines.ready(here, A)
    node, first = locked(here)
    second = node.attest(here, lost=True)
    assert first.tpm_lock is not None
    assert second.tpm_lock is not None
    assert A.activate(first.tpm_lock, A.lock) != A.activate(second.tpm_lock, A.lock)


def test_a_renewal_moves_no_key_and_needs_no_lock(here: World) -> None:
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.attest(here)
    renewed = node.attest(here)
    assert (renewed.content_keys, renewed.tpm_lock, renewed.denials) == ((), None, ())
    assert node.ratchet is not None


def test_evidence_of_one_tpm_with_the_lock_of_another_opens_nowhere(here: World) -> None:
    """F8b: quotes of A relayed by a process on B, which wants keys to open in B."""
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.lock_of = B.lock
    answer = node.attest(here, lost=True)
    assert answer.tpm_lock is not None
    with pytest.raises((AssertionError, ValueError)):
        B.activate(answer.tpm_lock, B.lock)  # made for the endorsement key of A
    with pytest.raises(AssertionError):
        A.activate(answer.tpm_lock, B.lock)  # an object of B does not load in A
    with pytest.raises(AssertionError):
        A.activate(answer.tpm_lock, A.lock)  # and it is for no object of A


def test_evidence_with_the_endorsement_key_of_another_tpm_is_refused(here: World) -> None:
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    shown = node.presented(here, Purpose.ATTEST)
    mixed = replace(shown, evidence=node.evidence(shown.binding, m7=B.ek.public))
    error = refused(lambda: here.plane.attestation.attest(node.attest_call(mixed)))
    assert error.code is Code.evidence_refused
    assert error.detail.startswith("key_kind_mismatch: ")


def test_a_lock_for_another_state_than_the_quoted_one_is_refused(here: World) -> None:
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.lock_of = replace(A, boot="a state that the thief will have").lock
    error = refused(lambda: node.attest(here))
    assert error.detail.startswith("lock_invalid: ")


def test_a_tpm_node_without_a_lock_object_is_granted_nothing(here: World) -> None:
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.sends_lock = False
    answer = node.attest(here)
    assert [(d.workload, d.code) for d in answer.denials] == [(WORKLOAD, "tpm_lock_missing")]
    assert (answer.content_keys, answer.tpm_lock, node.held) == ((), None, frozenset())


def test_a_lease_does_not_outlive_the_lock_object(here: World) -> None:
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.attest(here)
    node.sends_lock = False
    node.attest(here)
    assert node.held == frozenset()
    ((state, cause, _),) = lease_states(here, node).values()
    assert (state, cause) == ("ended", "tpm_lock_missing")


def test_a_sweep_does_not_ask_for_the_lock_again(here: World) -> None:
    """What was granted was granted with a lock; recorded claims do not keep it."""
    tpm_machines.ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.attest(here)
    here.plane.admin.platforms.deny(here.admin, B.platform_id, note="a test")
    here.plane.admin.trust_anchors.remove(
        here.admin, tpm_machines.trust(here, OTHER_ROOT), reason="a test"
    )
    here.settle()
    assert [state for state, _, _ in lease_states(here, node).values()] == ["active"]


# Other nodes.


def test_an_snp_node_has_no_lock_and_costs_no_read_more(here: World) -> None:
    tpm_machines.ready(here, A)
    node = leased(here)
    reads = 0

    def count() -> None:
        nonlocal reads
        reads += 1

    hooked = HookedDatabase(here.plane.database, before_read=count)
    gate = here.plane.attestation.gate
    watched = replace(here.plane.tpm_nodes, database=hooked)
    gate._tpm = watched  # noqa: SLF001 - the very gate in use, with its reads counted
    answer = here.plane.attestation.attest(node.attest_call(node.presented(here, Purpose.ATTEST)))
    assert (reads, answer.tpm_lock) == (0, None)
    assert "trust-anchor" not in str(here.rows("SELECT input_digests FROM decisions"))


def test_a_tpm_nodes_decision_names_the_epoch_of_its_anchors(here: World) -> None:
    tpm_machines.ready(here, A)
    tpm_machines.admitted(here, A).attest(here)
    found = here.rows("SELECT input_digests FROM decisions")
    assert len(found) == 2
    assert all('"trust-anchor":0' in str(row) for row in found)


def test_a_decision_names_the_roots_that_it_rests_on(here: World) -> None:
    tpm_machines.ready(here, A)
    roots = [tpm_machines.trust(here, OTHER_ROOT)]
    tpm_machines.admitted(here, A)
    roots += [root for (root,) in here.rows("SELECT fingerprint FROM trust_anchors")]
    digest = sha256("\n".join(sorted(set(map(str, roots)))).encode())
    ((inputs,),) = here.rows("SELECT input_digests FROM decisions")
    assert f'"anchors":"{digest}"' in str(inputs)


def test_presented_evidence_does_not_show_the_proof() -> None:
    presented = Presented(
        purpose=Purpose.ENROLL,
        ticket=b"",
        binding=b"",
        evidence=b"",
        tls_spki=b"",
        received=NOW,
        credential_proof=b"a proof",
    )
    assert "a proof" not in repr(presented)
