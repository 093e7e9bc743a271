"""A runtime log over the real connections: first, next, gap, and the largest that is taken."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from fakes import measuring_machines, wire_agent
from fakes.control_plane import Reachable
from fakes.measuring_machines import AGENT, MeasuringInstance, MeasuringMachine
from fakes.wire_agent import DEADLINE_S

from sealward.enclave_agent.session import RUNTIME_LOG_GAP
from sealward.protos import agent_pb2, agent_pb2_grpc, tpm_node
from sealward.protos.tpm_node import MAX_RUNTIME_LOG
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.rats.binding import Purpose


@pytest.fixture
def node(own_plane: Reachable) -> MeasuringInstance:
    """An instance that has enrolled with its list."""
    world, machine = own_plane.world, MeasuringMachine()
    measuring_machines.ready(world, machine)
    node = MeasuringInstance(world.plane.trust, machine=machine, made=world.clock.now())
    with wire_agent.enrollment_channel(own_plane) as channel:
        stub = agent_pb2_grpc.EnrollmentStub(channel)
        given = wire_agent.challenge(stub, node, Purpose.ENROLL)
        asked = agent_pb2.CredentialRequest(
            protocol_version=1,
            ticket=given.ticket,
            tls_spki=node.keys.tls_spki,
            ak_public=machine.ak_public,
            ek_public=machine.ek.public,
            ek_certificate=machine.ek_certificate(node.made),
        )
        made = stub.GetCredential(asked, timeout=DEADLINE_S)
        secret = machine.activate(
            Credential(made.id_object, made.encrypted_secret), machine.ak_public
        )
        call = wire_agent.enroll_request(node, given)
        call.credential_proof = tpm_node.credential_proof(
            secret, nonce=given.nonce, binding=call.binding
        )
        call.runtime_log.data = node.kernel.runtime_measurements()
        response = stub.Enroll(call, timeout=DEADLINE_S)
    assert response.answer == agent_pb2.ANSWER_ADMIT
    assert response.runtime_log_next == 2
    node.chain, node.next = tuple(response.certificate_chain), response.runtime_log_next
    return node


@pytest.fixture
def agent(own_plane: Reachable, node: MeasuringInstance) -> Iterator[agent_pb2_grpc.AgentStub]:
    with wire_agent.agent_channel(own_plane, node) as channel:
        yield agent_pb2_grpc.AgentStub(channel)


def request(
    agent: agent_pb2_grpc.AgentStub, node: MeasuringInstance, first: int, data: bytes
) -> agent_pb2.AttestRequest:
    made = wire_agent.attest_request(node, wire_agent.challenge(agent, node, Purpose.ATTEST))
    made.runtime_log.first, made.runtime_log.data = first, data
    return made


def test_an_increment_and_a_gap_over_the_wire(
    agent: agent_pb2_grpc.AgentStub, node: MeasuringInstance
) -> None:
    node.kernel.measure("/usr/bin/again", AGENT)
    more = node.kernel.runtime_measurements(first=2)
    response = agent.Attest(request(agent, node, 2, more), timeout=DEADLINE_S)
    node.take_response(response)
    assert (response.posture, response.runtime_log_next) == ("warning", 3)
    late = request(agent, node, 2, more)
    refusal = wire_agent.refusal(lambda: agent.Attest(late, timeout=DEADLINE_S))
    assert refusal == (RUNTIME_LOG_GAP, grpc.StatusCode.PERMISSION_DENIED)


@pytest.mark.parametrize(
    ("size", "code"),
    [(MAX_RUNTIME_LOG, "evidence_malformed"), (MAX_RUNTIME_LOG + 1, "payload_too_large")],
)
def test_the_largest_list_reaches_the_verifier_and_a_larger_one_is_told_so(
    agent: agent_pb2_grpc.AgentStub, node: MeasuringInstance, size: int, code: str
) -> None:
    large = request(agent, node, 0, bytes(size))
    refusal = wire_agent.refusal(lambda: agent.Attest(large, timeout=DEADLINE_S))
    assert refusal == (code, grpc.StatusCode.INVALID_ARGUMENT)
