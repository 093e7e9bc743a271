"""A TPM node over its real connections: GetCredential, Enroll, and an answer with its lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from fakes import tpm_machines, wire_agent
from fakes.control_plane import Reachable
from fakes.tpm_machines import Machine, TpmInstance
from fakes.wire_agent import DEADLINE_S

from sealward.controlplane.rpc.calls import MAX_SPKI
from sealward.protos import agent_pb2, agent_pb2_grpc, tpm_node
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.rats.binding import Purpose

A = Machine(label="machine a")


@pytest.fixture(scope="module")
def trusting(plane: Reachable) -> Reachable:
    tpm_machines.ready(plane.world, A)
    return plane


@pytest.fixture
def node(trusting: Reachable) -> TpmInstance:
    world = trusting.world
    return TpmInstance(world.plane.trust, machine=A, made=world.clock.now())


@pytest.fixture
def stub(trusting: Reachable) -> Iterator[agent_pb2_grpc.EnrollmentStub]:
    with wire_agent.enrollment_channel(trusting) as channel:
        yield agent_pb2_grpc.EnrollmentStub(channel)


def request(
    node: TpmInstance,
    given: agent_pb2.Challenge,
    **changes: Any,  # noqa: ANN401 - fields of CredentialRequest
) -> agent_pb2.CredentialRequest:
    fields: dict[str, Any] = {
        "protocol_version": 1,
        "ticket": given.ticket,
        "tls_spki": node.keys.tls_spki,
        "ak_public": node.machine.ak_public,
        "ek_public": node.machine.ek.public,
        "ek_certificate": node.machine.ek_certificate(node.made),
    }
    return agent_pb2.CredentialRequest(**(fields | changes))


def enroll(stub: agent_pb2_grpc.EnrollmentStub, node: TpmInstance) -> agent_pb2.EnrollResponse:
    given = wire_agent.challenge(stub, node, Purpose.ENROLL)
    made = stub.GetCredential(request(node, given), timeout=DEADLINE_S)
    secret = node.machine.activate(
        Credential(made.id_object, made.encrypted_secret), node.machine.ak_public
    )
    call = wire_agent.enroll_request(node, given)
    call.credential_proof = tpm_node.credential_proof(
        secret, nonce=given.nonce, binding=call.binding
    )
    response = stub.Enroll(call, timeout=DEADLINE_S)
    node.chain = tuple(response.certificate_chain)
    return response


def test_the_whole_life_of_a_tpm_node(
    trusting: Reachable, stub: agent_pb2_grpc.EnrollmentStub, node: TpmInstance
) -> None:
    assert enroll(stub, node).answer == agent_pb2.ANSWER_ADMIT
    with wire_agent.agent_channel(trusting, node) as channel:
        agent = agent_pb2_grpc.AgentStub(channel)
        first = wire_agent.attest(agent, node)
        assert first.posture == "warning"
        assert first.HasField("tpm_lock")
        assert len(node.content_keys) == 1
        assert not wire_agent.attest(agent, node).HasField("tpm_lock")


def test_enrolling_without_a_credential_is_told_by_its_code(
    stub: agent_pb2_grpc.EnrollmentStub, node: TpmInstance
) -> None:
    given = wire_agent.challenge(stub, node, Purpose.ENROLL)
    refusal = wire_agent.refusal(
        lambda: stub.Enroll(wire_agent.enroll_request(node, given), timeout=DEADLINE_S)
    )
    assert refusal == ("credential_missing", grpc.StatusCode.PERMISSION_DENIED)


REFUSALS: dict[str, tuple[dict[str, Any], str, grpc.StatusCode]] = {
    "protocol": (
        {"protocol_version": 2},
        "unsupported_protocol",
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "no key": ({"tls_spki": b""}, "invalid_request", grpc.StatusCode.INVALID_ARGUMENT),
    "large key": (
        {"tls_spki": bytes(MAX_SPKI + 1)},
        "invalid_request",
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "another key": ({"tls_spki": b"?"}, "key_mismatch", grpc.StatusCode.PERMISSION_DENIED),
    "no ticket": ({"ticket": b""}, "challenge_invalid", grpc.StatusCode.INVALID_ARGUMENT),
    "large ticket": (
        {"ticket": bytes(1 << 20)},
        "payload_too_large",
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "no ak": ({"ak_public": b""}, "evidence_malformed", grpc.StatusCode.INVALID_ARGUMENT),
    "large certificate": (
        {"ek_certificate": bytes(16 << 10)},
        "evidence_malformed",
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "very large certificate": (
        {"ek_certificate": bytes(1 << 20)},
        "payload_too_large",
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "another ek": (
        {"ek_public": Machine(label="machine b").ek.public},
        "evidence_refused",
        grpc.StatusCode.PERMISSION_DENIED,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bad_request_for_a_credential_gets_a_code_and_changes_nothing(
    trusting: Reachable, stub: agent_pb2_grpc.EnrollmentStub, node: TpmInstance, case: str
) -> None:
    changes, code, status = REFUSALS[case]
    given = wire_agent.challenge(stub, node, Purpose.ENROLL)
    before = trusting.world.content()
    refusal = wire_agent.refusal(
        lambda: stub.GetCredential(request(node, given, **changes), timeout=DEADLINE_S)
    )
    assert refusal == (code, status)
    assert trusting.world.content() == before


def test_a_request_beyond_the_size_of_any_message_is_not_read(
    stub: agent_pb2_grpc.EnrollmentStub, node: TpmInstance
) -> None:
    given = wire_agent.challenge(stub, node, Purpose.ENROLL)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetCredential(request(node, given, ek_certificate=bytes(5 << 20)), timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
