"""Fence, then sweep: what a newer piece of collateral takes away, and from whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.control_plane import World
from fakes.instances import lease_states, leased
from fakes.tdx_world import TdxInstance, generation, machine, tdx_world

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.nodes import FailureClass, Node
from sealward.verifier.rats.result import Posture


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with tdx_world(tmp_path) as opened:
        yield opened


def import_generation(here: World, *args: object, **how: object) -> None:
    store = here.plane.collateral.store
    store.import_file(here.admin, generation(*args, **how))


def holding(here: World, name: str = "first") -> TdxInstance:
    """A trust domain on that machine, with a lease."""
    instance = TdxInstance(here.plane.trust, machine=machine(name))
    assert instance.enroll(here).code == ""
    assert instance.attest(here).denials == ()
    return instance


def node(here: World, instance: TdxInstance) -> Node:
    return here.plane.database.read(lambda tx: tx.nodes.get(instance.node_id))


def ends(here: World, instance: TdxInstance) -> list[tuple[str, str, str]]:
    return list(lease_states(here, instance).values())


def test_a_tcb_recovery_ends_the_leases_of_the_platforms_that_it_rates_down(here: World) -> None:
    import_generation(here)
    instance = holding(here)
    here.settle()
    assert ends(here, instance) == [("active", "", "bounded")]
    import_generation(here, 21, "OutOfDate", minutes=5)
    here.settle()
    assert ends(here, instance) == [("ended", "tcb_out_of_date", "bounded")]
    assert node(here, instance).posture is Posture.NONCOMPLIANT
    assert instance.node_id in here.rung


def test_a_newer_generation_that_rates_alike_takes_nothing_away(here: World) -> None:
    import_generation(here)
    instance = holding(here)
    import_generation(here, 21, minutes=5)
    here.settle()
    assert ends(here, instance) == [("active", "", "bounded")]
    assert node(here, instance).posture is Posture.COMPLIANT


def test_a_revocation_list_ends_what_rests_on_the_revoked_chain_alone(here: World) -> None:
    import_generation(here)
    broken, other = holding(here, "first"), holding(here, "second")
    amd = leased(here)
    import_generation(here, 21, revoked=(machine("first"),), minutes=5)
    here.settle()
    assert ends(here, broken) == [("ended", "certificate_revoked", "open")]
    assert node(here, broken).failure_class is FailureClass.integrity
    assert ends(here, other) == [("active", "", "bounded")]
    assert ends(here, amd) == [("active", "", "bounded")]
    with pytest.raises(Refused) as caught:
        broken.attest(here)
    assert caught.value.code is Code.evidence_refused


def test_a_sweep_never_raises_a_posture(here: World) -> None:
    """F17: only fresh evidence does."""
    import_generation(here)
    instance = holding(here)
    import_generation(here, 21, "OutOfDate", minutes=5)
    here.settle()
    import_generation(here, 22, "UpToDate", minutes=10)
    here.settle()
    assert node(here, instance).posture is Posture.NONCOMPLIANT
    instance.held = frozenset()
    instance.attest(here)
    assert node(here, instance).posture is Posture.COMPLIANT


def test_a_sweep_looks_at_the_nodes_of_its_key_and_at_no_others(here: World) -> None:
    import_generation(here)
    holding(here)
    amd = leased(here)
    here.settle()
    asked: list[str] = []
    sweeper = here.plane.sweeper

    class Listening:
        def again(self, evidence: object, now: object, proposed: object = None) -> object:
            asked.append(evidence.node_id)
            return sweeper.reverifier.again(evidence, now, proposed)

    import_generation(here, 21, minutes=5)
    replace(sweeper, reverifier=Listening()).run()
    assert asked
    assert amd.node_id not in asked


def test_leases_end_at_the_first_thing_that_ends_by_its_name(here: World) -> None:
    """F33: the horizon names the collateral that sets it."""
    import_generation(here)
    instance = holding(here)
    recorded = here.plane.database.read(lambda tx: tx.evidence.find(instance.node_id))
    limits = here.plane.attestation.gate._verifier.verify(  # noqa: SLF001 - the very verifier in use
        recorded.cmw, here.clock.now(), None, here.plane.collateral.desk.view()
    ).limits
    assert {"tcb_info", "qe_identity", "pck_crl", "root_crl"} <= {limit.cause for limit in limits}
