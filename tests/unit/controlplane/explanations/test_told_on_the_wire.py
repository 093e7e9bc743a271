"""Over the wire a node learns one word and a number; the number finds the whole explanation."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from fakes import wire_agent as wire
from fakes.control_plane import Reachable, chip, reachable
from fakes.instances import Instance

from sealward.protos.agent_pb2 import Denial
from sealward.protos.agent_pb2_grpc import AgentStub, EnrollmentStub
from sealward.verifier.rats.binding import Purpose


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reachable]:
    folder: Path = tmp_path_factory.mktemp("told")
    with reachable(folder) as opened:
        yield opened


def cause(plane: Reachable, correlation_id: str) -> str:
    here = plane.world
    explained = here.plane.admin.explanations.of_correlation(here.admin, correlation_id)
    return explained.cause.finding.code


def denial(plane: Reachable, instance: Instance) -> Denial:
    return wire.enroll(plane, instance).denial


def test_an_enrolment_that_waits(plane: Reachable) -> None:
    told = denial(plane, Instance(plane.world.plane.trust, platform=chip("a basement")))
    assert told.code == "node_pending"
    assert cause(plane, told.correlation_id) == "platform_unknown"


def test_an_enrolment_that_is_rejected(plane: Reachable) -> None:
    unknown = Instance(plane.world.plane.trust, measurement=secrets.token_bytes(48))
    told = denial(plane, unknown)
    assert told.code == "node_rejected"
    assert cause(plane, told.correlation_id) == "unknown_measurement"


def test_a_workload_that_is_not_granted(plane: Reachable) -> None:
    instance = Instance(plane.world.plane.trust)
    wire.enroll(plane, instance)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        given = wire.challenge(stub, instance, Purpose.ATTEST)
        response = stub.Attest(wire.attest_request(instance, given, workloads=("nothing",)))
    (refused,) = response.refused
    assert (refused.workload, refused.denial.code) == ("nothing", "policy_denied")
    assert not response.HasField("denial")
    assert cause(plane, refused.denial.correlation_id) == "workload_unknown"


def test_evidence_that_does_not_verify(plane: Reachable) -> None:
    instance = Instance(plane.world.plane.trust)
    with wire.enrollment_channel(plane) as channel:
        stub = EnrollmentStub(channel)
        request = wire.enroll_request(instance, wire.challenge(stub, instance, Purpose.ENROLL))
        broken = bytearray(request.evidence)
        broken[0x90 + 40] ^= 1
        request.evidence = bytes(broken)
        with pytest.raises(grpc.RpcError) as refusal:
            stub.Enroll(request)
    metadata = dict(refusal.value.trailing_metadata())
    assert refusal.value.details() == metadata["sealward-code"] == "evidence_refused"
    assert cause(plane, metadata["sealward-correlation-id"]) == "signature_invalid"
