"""Nodes of the kinds beside SNP and TPM, from enrolment to keys, under shipped policies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fakes import google_cas, tdx_world, tpm_machines
from fakes.control_plane import GOOD, WORKLOAD, World
from fakes.fleet import (
    IMAGE,
    AzureInstance,
    NitroInstance,
    TdxInstance,
    fleet,
)
from fakes.instances import Instance, lease_states
from fakes.minted_kinds import Bound, google
from fakes.tpm_machines import Machine
from sealward_devkit.nitro import image as nitro_image

from sealward.controlplane.adapters.evidence_verifier import LibraryVerifier
from sealward.controlplane.domain.errors import Code, Refused
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.result import Posture


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with fleet(tmp_path) as opened:
        yield opened


KINDS: dict[str, Callable[[World], Instance]] = {
    "tdx": lambda here: TdxInstance(here.plane.trust),
    "nitro": lambda here: NitroInstance(here.plane.trust, at=here.clock.now()),
    "azure-snp": lambda here: AzureInstance(here.plane.trust),
}
POSTURES = {"tdx": Posture.COMPLIANT, "nitro": Posture.WARNING, "azure-snp": Posture.WARNING}


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_of_this_kind_enrols_attests_and_gets_keys(here: World, kind: str) -> None:
    node = KINDS[kind](here)
    assert node.enroll(here).code == ""
    answer = node.attest(here)
    assert answer.denials == ()
    assert answer.posture is POSTURES[kind]
    assert len(node.content_keys) == len(node.held) == 1
    assert here.rows("SELECT tee, development FROM nodes") == [(kind, 1)]
    renewed = node.attest(here)
    assert (renewed.content_keys, renewed.denials) == ((), ())


def refused(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def leased(here: World, kind: str) -> Instance:
    node = KINDS[kind](here)
    assert node.enroll(here).code == ""
    assert node.attest(here).denials == ()
    return node


def test_a_nitro_document_that_was_kept_is_refused(here: World) -> None:
    node = leased(here, "nitro")
    assert isinstance(node, NitroInstance)
    node.at -= timedelta(minutes=6)
    error = refused(lambda: node.attest(here))
    assert error.code is Code.evidence_refused
    assert error.detail.startswith("not_fresh: ")
    assert [state for state, _, _ in lease_states(here, node).values()] == ["active"]


def test_a_tdx_node_whose_collateral_has_run_out_is_told_so(here: World) -> None:
    """Nobody fetches here, so nothing newer comes; when something does, the node passes again."""
    soon = here.clock.now() + timedelta(hours=1)
    store = here.plane.collateral.store
    store.import_file(here.admin, tdx_world.generation(21, minutes=10, next_update=soon))
    node = leased(here, "tdx")
    here.clock.advance(timedelta(hours=2))
    here.settle()
    error = refused(lambda: node.attest(here))
    assert error.code is Code.evidence_refused
    assert error.detail.startswith("collateral_expired: ")
    store.import_file(here.admin, tdx_world.generation(22, minutes=20))
    assert node.attest(here).denials == ()


def test_the_end_of_a_lease_names_what_decided_and_no_standing_warning(here: World) -> None:
    """An enclave always warns of its memory; what ended its lease is its withdrawn image."""
    node = leased(here, "nitro")
    pcr0 = nitro_image.measure(IMAGE, here.plane.trust.encode())[0].hex()
    here.plane.admin.references.withdraw(
        here.admin, "enclaves", "register", f"nitro/pcr0/{pcr0}", reason="a test"
    )
    here.settle()
    ((state, cause, exposure),) = lease_states(here, node).values()
    assert (state, cause, exposure) == ("ended", "unknown_measurement", "open")
    answer = node.attest(here)
    assert answer.code == "unknown_measurement"
    explained = here.plane.admin.explanations.of_node(here.admin, node.node_id)
    assert explained.why is not None
    assert explained.why.code == "unknown_measurement"
    assert explained.why.cause is not None
    assert explained.why.cause.finding.code == "unknown_measurement"


def test_a_key_does_not_move_to_another_guest_on_the_same_chip(here: World) -> None:
    node = leased(here, "azure-snp")
    node.report_id = bytes(32)
    assert refused(lambda: node.attest(here)).code is Code.instance_changed


def test_a_paravisor_that_nobody_knows_gets_nothing(here: World) -> None:
    node = leased(here, "azure-snp")
    node.measurement = bytes(48)
    answer = node.attest(here)
    assert (answer.code, node.held) == ("unknown_measurement", frozenset())
    assert [d.workload for d in answer.denials] == [WORKLOAD]


def test_a_guest_of_ours_is_no_paravisor(here: World) -> None:
    """Who starts it could let it report on runtime claims, and so on a TPM, of his own making."""
    node = leased(here, "azure-snp")
    node.measurement = GOOD
    answer = node.attest(here)
    assert (answer.code, node.held) == ("unknown_measurement", frozenset())


def test_a_google_node_is_appraised_and_gets_no_keys_without_a_lock(here: World) -> None:
    """Google says whose key it is, and nothing encrypts the memory: only a lock would do."""
    began = here.clock.now().replace(microsecond=0)
    gate = here.plane.enrollment.gate
    # No development root stands in for Google's: its verifier takes the root of a test as pinned.
    gate._verifier = LibraryVerifier(google_cas.anchors(now=began))  # noqa: SLF001 - the gate in use
    tpm_machines.describe(here, "google-boots", Machine().pcrs["sha256"])
    here.plane.admin.platforms.allow(here.admin, f"google:instance:{(1 << 64) - 1}")
    node = Bound(
        here.plane.trust,
        media_type=envelopes.GOOGLE_EVIDENCE,
        payload=lambda bound: google(bound, began),
    )
    assert node.enroll(here).code == ""
    answer = node.attest(here)
    assert answer.posture is Posture.WARNING
    assert [(d.workload, d.code) for d in answer.denials] == [(WORKLOAD, "tpm_lock_missing")]
    assert here.rows("SELECT tee, development, provider FROM nodes") == [
        ("google-vtpm", 0, "google")
    ]
