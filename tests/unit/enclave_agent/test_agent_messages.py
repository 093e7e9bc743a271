"""What the control plane says is read strictly; nothing but the documented error escapes."""

from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fakes.fake_control_plane import Plane, node_chain
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.certificate import read_certificate
from sealward.enclave_agent.messages import (
    Admission,
    ProtocolViolation,
    read_attestation,
    read_challenge,
    read_digest,
    read_enrollment,
)
from sealward.protos import agent_pb2

NODE = b"\x07" * 32
TICKET = b"t" * 64


def challenge(**changes: object) -> agent_pb2.Challenge:
    fields = {"nonce": bytes(32), "ticket": TICKET, "expires_in_ms": 30_000} | changes
    return agent_pb2.Challenge(**fields)


def test_a_challenge_ends_in_time() -> None:
    assert read_challenge(challenge(), now_ns=5).expires_ns == 5 + 30_000_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": bytes(31)},
        {"nonce": b""},
        {"ticket": b""},
        {"ticket": bytes(513)},
        {"expires_in_ms": 0},
        {"expires_in_ms": 30_001},
    ],
)
def test_a_challenge_outside_its_bounds_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ProtocolViolation):
        read_challenge(challenge(**changes), now_ns=0)


@pytest.mark.parametrize(
    "answer",
    [
        agent_pb2.EnrollResponse(),
        agent_pb2.EnrollResponse(answer=99),
        agent_pb2.EnrollResponse(answer=agent_pb2.ANSWER_ADMIT),
        agent_pb2.EnrollResponse(answer=agent_pb2.ANSWER_PEND, certificate_chain=[b"x"]),
        agent_pb2.EnrollResponse(answer=agent_pb2.ANSWER_PEND, node_id="00" * 32),
        agent_pb2.EnrollResponse(
            answer=agent_pb2.ANSWER_REJECT, denial=agent_pb2.Denial(code="Not A Code")
        ),
        agent_pb2.EnrollResponse(
            answer=agent_pb2.ANSWER_REJECT,
            denial=agent_pb2.Denial(code="no", correlation_id="\x1b[31m"),
        ),
        agent_pb2.EnrollResponse(answer=agent_pb2.ANSWER_ADMIT, certificate_chain=[b"x"] * 9),
        agent_pb2.EnrollResponse(answer=agent_pb2.ANSWER_ADMIT, certificate_chain=[bytes(20_000)]),
    ],
    ids=itertools.count(),
)
def test_an_enrolment_answer_outside_the_contract_is_refused(
    answer: agent_pb2.EnrollResponse,
) -> None:
    with pytest.raises(ProtocolViolation):
        read_enrollment(answer, node=NODE, sent_ns=0)


def test_a_pending_answer_carries_its_reason_and_delay() -> None:
    answer = agent_pb2.EnrollResponse(
        answer=agent_pb2.ANSWER_PEND,
        node_id=NODE.hex(),
        denial=agent_pb2.Denial(code="platform_unknown", correlation_id="c-1"),
        retry_after_ms=1_500,
    )
    read = read_enrollment(answer, node=NODE, sent_ns=0)
    assert read.admission is Admission.PEND
    assert read.denial is not None
    assert read.denial.code == "platform_unknown"
    assert read.retry_after_s == 1.5


@pytest.mark.parametrize(
    "answer",
    [
        agent_pb2.AttestResponse(terms=bytes(262_145)),
        agent_pb2.AttestResponse(content_keys=[agent_pb2.WrappedSecret()]),
        agent_pb2.AttestResponse(ratchet=agent_pb2.WrappedSecret(ciphertext=bytes(5_000))),
        agent_pb2.AttestResponse(posture="\n"),
        agent_pb2.AttestResponse(
            refused=[
                agent_pb2.LeaseDenial(
                    workload="\x1b", denial=agent_pb2.Denial(code="policy_denied")
                )
            ]
        ),
        agent_pb2.AttestResponse(refused=[agent_pb2.LeaseDenial()] * 257),
    ],
    ids=itertools.count(),
)
def test_an_attestation_answer_outside_the_contract_is_refused(
    answer: agent_pb2.AttestResponse,
) -> None:
    with pytest.raises(ProtocolViolation):
        read_attestation(answer)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_a_protocol_violation(data: bytes) -> None:
    for kind, read in (
        (agent_pb2.Challenge, lambda m: read_challenge(m, now_ns=0)),
        (agent_pb2.EnrollResponse, lambda m: read_enrollment(m, node=NODE, sent_ns=0)),
        (agent_pb2.AttestResponse, read_attestation),
    ):
        try:
            message = kind.FromString(data)
        except DecodeError:
            continue
        try:
            read(message)
        except ProtocolViolation:
            continue


def test_a_recorded_statement_is_named_by_32_bytes() -> None:
    assert read_digest(bytes(32)) == bytes(32)
    with pytest.raises(ProtocolViolation):
        read_digest(b"")


def test_a_certificate_is_for_this_key_and_no_other() -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(2))
    chain = tuple(node_chain(Plane(), key))
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (
        read_certificate(chain, tls_spki=spki, sent_ns=0).chain_pem.count(b"BEGIN CERTIFICATE") == 2
    )
    foreign = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ProtocolViolation, match="another key"):
        read_certificate(chain, tls_spki=foreign, sent_ns=0)
    for broken in ((b"",), (chain[0][:-1],), (b"\x30\x00", chain[1]), ()):
        with pytest.raises(ProtocolViolation):
            read_certificate(broken, tls_spki=spki, sent_ns=0)
