"""A fleet that attested at one instant is not asked at one instant again."""

from __future__ import annotations

from fakes import wire_agent as wire
from fakes.control_plane import TTL, Reachable
from fakes.instances import Instance

from sealward.controlplane.rpc.agent_listener import RENEWAL_JITTER
from sealward.controlplane.services.attestation import RENEW_AT
from sealward.protos.agent_pb2_grpc import AgentStub

ATTESTATIONS = 24


def test_each_answer_says_an_instant_of_its_own(plane: Reachable) -> None:
    """Drawn from the last part of the time until renewal is due, and never later than due."""
    instance = Instance(plane.world.plane.trust)
    wire.enroll(plane, instance)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        said = [wire.attest(stub, instance).attest_again_in_ms for _ in range(ATTESTATIONS)]
    due_ms = RENEW_AT * TTL.total_seconds() * 1_000
    assert max(said) <= due_ms
    assert min(said) >= due_ms * (1 - RENEWAL_JITTER) - 1_000  # the lease is a little shorter
    assert len(set(said)) > ATTESTATIONS / 2
    assert max(said) - min(said) > due_ms * RENEWAL_JITTER / 4
