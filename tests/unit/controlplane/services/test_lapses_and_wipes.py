"""What the clock ends, and what agents say that they did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fakes.control_plane import TTL, WORKLOAD, World, create_workload, image
from fakes.instances import Instance, admitted, lease_states, leased
from fakes.policies import ALLOW_ALL

from sealward.controlplane.domain.errors import Code, NotFound, Refused
from sealward.controlplane.domain.policies import PolicyKind
from sealward.protos.wipe import WipeCause, WipeStatement
from sealward.verifier.rats.result import Posture
from sealward.verifier.wire import json


def node_of(here: World, instance: Instance):
    return here.plane.database.read(lambda tx: tx.nodes.get(instance.node_id))


def test_a_lease_lapses_at_its_horizon_and_not_before(here: World) -> None:
    instance = leased(here)
    here.clock.advance(TTL - timedelta(milliseconds=1))
    assert here.plane.housekeeper.run() == 0
    here.clock.advance(timedelta(milliseconds=1))
    assert here.plane.housekeeper.run() == 1
    assert here.plane.housekeeper.run() == 0
    (state,) = lease_states(here, instance).values()
    assert state == ("ended", "horizon passed", "bounded")
    assert node_of(here, instance).posture is Posture.STALE


def test_a_lapsed_lease_is_not_renewed_but_granted_anew(here: World) -> None:
    instance = leased(here)
    before = instance.held
    here.clock.advance(TTL)
    instance.attest(here)
    assert len(lease_states(here, instance)) == 2
    (now,) = instance.held - before
    assert lease_states(here, instance)[now.hex()][0] == "active"


def test_a_clock_of_the_host_gets_a_minute(here: World) -> None:
    """F4, through the service: no policy can give more, whatever the workload's ttl."""
    digest = bytes([7]) * 48
    document = {"name": "host", "not_after": None, "values": [image(digest, clock=None)]}
    here.plane.admin.references.import_set(here.admin, json.canonical(document), activate=True)  # type: ignore[arg-type]  # plain JSON
    here.activate(PolicyKind.RELEASE, ALLOW_ALL)
    instance = admitted(here, measurement=digest)
    answer = instance.attest(here)
    (lease,) = instance.verified(answer.terms).terms.leases
    assert (lease.ttl_ms, lease.cause) == (60_000, "host-controlled clock")


def test_a_lease_does_not_outlive_the_set_that_its_image_stands_in(here: World) -> None:
    digest = bytes([8]) * 48
    ends = (here.clock.now() + timedelta(seconds=90)).replace(microsecond=0)
    text = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {"name": "short", "not_after": text, "values": [image(digest)]}
    here.plane.admin.references.import_set(here.admin, json.canonical(document), activate=True)  # type: ignore[arg-type]  # plain JSON
    instance = admitted(here, measurement=digest)
    answer = instance.attest(here)
    (lease,) = instance.verified(answer.terms).terms.leases
    assert lease.cause == "reference set short"
    assert lease.not_after_ms == int(ends.timestamp() * 1000)


def test_a_lease_does_not_outlive_the_certificate_of_its_connection(here: World) -> None:
    create_workload(here.plane, here.admin, "long", ttl=timedelta(seconds=3600))
    instance = admitted(here)
    answer = instance.attest(here, ("long",))
    (lease,) = instance.verified(answer.terms).terms.leases
    assert lease.ttl_ms <= 3_600_000
    assert lease.cause in {"ceiling", "ttl of the workload", "node certificate"}


def a_statement(instance: Instance, **changes: Any) -> WipeStatement:  # noqa: ANN401 - fields of WipeStatement
    fields = {
        "node": instance.keys.node,
        "sequence": 1,
        "cause": WipeCause.REVOKED,
        "leases": tuple(instance.held) or (bytes(16),),
        "items": (),
        "elapsed_ms": 5,
        "unknown": (),
    }
    return WipeStatement(**(fields | changes))


def signed(instance: Instance, said: WipeStatement) -> bytes:
    return said.sign(instance.keys.signing_public, instance.keys.sign)


def test_a_wipe_statement_is_recorded_once_and_shown_as_claimed(here: World) -> None:
    """F3: it shortens no horizon and closes no exposure."""
    instance = leased(here)
    before = lease_states(here, instance)
    statement = signed(instance, a_statement(instance))
    digest = here.plane.wipes.record(instance.node_id, statement)
    assert here.plane.wipes.record(instance.node_id, statement) == digest
    assert here.rows("SELECT status FROM wipe_statements") == [("claimed",)]
    assert len(here.rows("SELECT 1 FROM audit_entries WHERE kind LIKE '%wipe%'")) == 1
    assert lease_states(here, instance) == before


def test_only_the_node_itself_says_what_it_wiped(here: World) -> None:
    mine, yours = leased(here), leased(here)
    before = here.content()
    for node_id, statement in (
        (mine.node_id, signed(yours, a_statement(mine))),
        (mine.node_id, signed(mine, a_statement(yours))),
        (yours.node_id, signed(mine, a_statement(mine))),
        (mine.node_id, b""),
        (mine.node_id, signed(mine, a_statement(mine)) + b"\0"),
    ):
        with pytest.raises(Refused) as caught:
            here.plane.wipes.record(node_id, statement)
        assert caught.value.code in {Code.evidence_malformed, Code.evidence_refused}
    with pytest.raises(NotFound):
        here.plane.wipes.record("00" * 32, signed(mine, a_statement(mine)))
    assert here.content() == before


def test_only_what_was_asked_for_can_be_held(here: World) -> None:
    """Claiming to hold the lease of another node gives nothing but a lease of one's own."""
    mine, yours = leased(here), admitted(here)
    yours.held = mine.held
    answer = yours.attest(here, (WORKLOAD,))
    assert len(answer.content_keys) == 1
    assert len(lease_states(here, yours)) == 1
    assert [s[0] for s in lease_states(here, mine).values()] == ["active"]
