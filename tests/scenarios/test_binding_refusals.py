"""Evidence not exactly for this call, over the real listeners: refused, each with its own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from fakes import wire_agent as wire
from fakes.control_plane import Reachable
from fakes.instances import Instance

from sealward.protos import agent_pb2
from sealward.protos.agent_pb2_grpc import AgentStub, EnrollmentStub
from sealward.sealing import hpke
from sealward.verifier.rats.binding import Purpose

SPENT = ("spent_challenges", "attempts")


def enrolled(plane: Reachable, **how: Any) -> Instance:  # noqa: ANN401 - fields of Instance
    instance = Instance(plane.world.plane.trust, **how)
    response = wire.enroll(plane, instance)
    assert response.answer == agent_pb2.ANSWER_ADMIT
    return instance


Change = Callable[[Instance, Reachable], dict]
BINDINGS: dict[str, tuple[Change, str]] = {
    "another trust domain": (
        lambda i, _: {
            "audience": replace(i.trust.audience(), trust_domain="development.elsewhere")
        },
        "audience_mismatch",
    ),
    "another server root": (
        lambda i, _: {"audience": replace(i.trust.audience(), pin=bytes(32))},
        "audience_mismatch",
    ),
    "another tenant": (lambda *_: {"tenant": "other"}, "tenant_mismatch"),
    "another nonce": (lambda *_: {"nonce": bytes(32)}, "challenge_mismatch"),
    "a client's purpose": (lambda *_: {"purpose": Purpose.CLIENT}, "purpose_mismatch"),
    "a receipt's purpose": (lambda *_: {"purpose": Purpose.RECEIPT}, "purpose_mismatch"),
    "an HPKE key of an unknown suite": (lambda *_: {"hpke_suite": 7}, "evidence_malformed"),
    "an HPKE key cut short": (lambda *_: {"hpke_public": bytes(31)}, "evidence_malformed"),
    "an HPKE key of small order": (
        lambda *_: {"hpke_suite": hpke.Suite.X25519.id, "hpke_public": bytes(32)},
        "evidence_malformed",
    ),
}


@pytest.mark.parametrize("name", BINDINGS)
def test_an_attestation_bound_to_something_else_changes_nothing(
    plane: Reachable, name: str
) -> None:
    change, code = BINDINGS[name]
    instance = enrolled(plane)
    before = plane.world.content(without=SPENT)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        given = wire.challenge(stub, instance, Purpose.ATTEST)
        fields = {"nonce": given.nonce, "purpose": Purpose.ATTEST} | change(instance, plane)
        nonce, purpose = fields.pop("nonce"), fields.pop("purpose")
        encoded = instance.binding(purpose, nonce, **fields).encode()
        request = agent_pb2.AttestRequest(
            protocol_version=1,
            ticket=given.ticket,
            binding=encoded,
            evidence=instance.evidence(encoded),
        )
        assert wire.refusal(lambda: stub.Attest(request))[0] == code
        assert plane.world.content(without=SPENT) == before
        # The challenge is spent although nothing was decided; the instance is none the worse.
        assert wire.refusal(lambda: stub.Attest(request))[0] == "challenge_spent"
        assert wire.attest(stub, instance).posture == "compliant"


@pytest.mark.parametrize("name", BINDINGS)
def test_an_enrolment_bound_to_something_else_changes_nothing(plane: Reachable, name: str) -> None:
    change, code = BINDINGS[name]
    instance = Instance(plane.world.plane.trust)
    before = plane.world.content(without=SPENT)
    with wire.enrollment_channel(plane) as channel:
        stub = EnrollmentStub(channel)
        given = wire.challenge(stub, instance, Purpose.ENROLL)
        fields = {"nonce": given.nonce, "purpose": Purpose.ENROLL} | change(instance, plane)
        nonce, purpose = fields.pop("nonce"), fields.pop("purpose")
        encoded = instance.binding(purpose, nonce, **fields).encode()
        request = agent_pb2.EnrollRequest(
            protocol_version=1,
            ticket=given.ticket,
            binding=encoded,
            evidence=instance.evidence(encoded),
            proof=instance.keys.prove(given.nonce, encoded),
        )
        assert wire.refusal(lambda: stub.Enroll(request))[0] == code
    assert plane.world.content(without=SPENT) == before


def test_evidence_counts_once(plane: Reachable) -> None:
    instance = enrolled(plane)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        request = wire.attest_request(instance, wire.challenge(stub, instance, Purpose.ATTEST))
        assert stub.Attest(request).posture == "compliant"
        before = plane.world.content(without=("attempts",))
        assert wire.refusal(lambda: stub.Attest(request)) == (
            "challenge_spent",
            grpc.StatusCode.PERMISSION_DENIED,
        )
        assert plane.world.content(without=("attempts",)) == before


def test_old_evidence_is_a_replay_and_not_a_clone(plane: Reachable) -> None:
    """Within its thirty seconds, after the ratchet has moved on: spent is the first thing said."""
    instance = enrolled(plane)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        sent = []
        for _ in range(4):
            given = wire.challenge(stub, instance, Purpose.ATTEST)
            sent.append(wire.attest_request(instance, given))
            instance.take_response(stub.Attest(sent[-1]))
        before = plane.world.content(without=("attempts",))
        for request in sent:
            assert wire.refusal(lambda: stub.Attest(request))[0] == "challenge_spent"  # noqa: B023 - called at once
        assert plane.world.content(without=("attempts",)) == before
        assert wire.attest(stub, instance).posture == "compliant"


def test_an_enrolment_counts_once(plane: Reachable) -> None:
    instance = Instance(plane.world.plane.trust)
    with wire.enrollment_channel(plane) as channel:
        stub = EnrollmentStub(channel)
        request = wire.enroll_request(instance, wire.challenge(stub, instance, Purpose.ENROLL))
        assert stub.Enroll(request).answer == agent_pb2.ANSWER_ADMIT
        before = plane.world.content(without=("attempts",))
        assert wire.refusal(lambda: stub.Enroll(request))[0] == "challenge_spent"
        assert plane.world.content(without=("attempts",)) == before


def test_a_challenge_lives_thirty_seconds(own_plane: Reachable) -> None:
    plane = own_plane
    instance = enrolled(plane)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        given = wire.challenge(stub, instance, Purpose.ATTEST)
        assert given.expires_in_ms == 30_000
        request = wire.attest_request(instance, given)
        before = plane.world.content(without=("attempts",))
        plane.world.clock.advance(timedelta(seconds=30))
        assert wire.refusal(lambda: stub.Attest(request))[0] == "challenge_expired"
        assert plane.world.content(without=("attempts",)) == before


def test_one_node_cannot_speak_with_the_evidence_of_another(plane: Reachable) -> None:
    a, b = enrolled(plane), enrolled(plane)
    before = plane.world.content(without=SPENT)
    with wire.agent_channel(plane, a) as at_a, wire.agent_channel(plane, b) as at_b:
        for_a = wire.challenge(AgentStub(at_a), a, Purpose.ATTEST)
        relayed = wire.attest_request(a, for_a)
        assert wire.refusal(lambda: AgentStub(at_b).Attest(relayed))[0] == "key_mismatch"
        for_b = wire.challenge(AgentStub(at_b), b, Purpose.ATTEST)
        relayed = wire.attest_request(a, for_b)  # genuine evidence of A over the nonce of B
        assert wire.refusal(lambda: AgentStub(at_b).Attest(relayed))[0] == "key_mismatch"
        assert plane.world.content(without=SPENT) == before
        # The first one was never spent: it was not B's to spend.
        assert AgentStub(at_a).Attest(wire.attest_request(a, for_a)).posture == "compliant"


def test_a_challenge_for_enrolment_is_none_for_attestation_and_the_reverse(
    plane: Reachable,
) -> None:
    instance = enrolled(plane)
    with wire.agent_channel(plane, instance) as agents, wire.enrollment_channel(plane) as fresh:
        to_attest = wire.challenge(AgentStub(agents), instance, Purpose.ATTEST)
        to_enroll = wire.challenge(EnrollmentStub(fresh), instance, Purpose.ENROLL)
        before = plane.world.content(without=("attempts",))
        attest = wire.attest_request(instance, to_enroll)
        assert wire.refusal(lambda: AgentStub(agents).Attest(attest))[0] == "purpose_mismatch"
        enroll = wire.enroll_request(instance, to_attest)
        assert wire.refusal(lambda: EnrollmentStub(fresh).Enroll(enroll))[0] == "purpose_mismatch"
        assert plane.world.content(without=("attempts",)) == before


def test_a_binding_for_one_purpose_is_no_evidence_for_the_other(plane: Reachable) -> None:
    instance = enrolled(plane)
    before = plane.world.content(without=SPENT)
    with wire.agent_channel(plane, instance) as agents, wire.enrollment_channel(plane) as fresh:
        given = wire.challenge(AgentStub(agents), instance, Purpose.ATTEST)
        enrolment = wire.enroll_request(instance, given)
        shown = agent_pb2.AttestRequest(
            protocol_version=1,
            ticket=given.ticket,
            binding=enrolment.binding,
            evidence=enrolment.evidence,
        )
        assert wire.refusal(lambda: AgentStub(agents).Attest(shown))[0] == "purpose_mismatch"
        given = wire.challenge(EnrollmentStub(fresh), instance, Purpose.ENROLL)
        attestation = wire.attest_request(instance, given)
        back = agent_pb2.EnrollRequest(
            protocol_version=1,
            ticket=given.ticket,
            binding=attestation.binding,
            evidence=attestation.evidence,
            proof=instance.keys.prove(given.nonce, attestation.binding),
        )
        assert wire.refusal(lambda: EnrollmentStub(fresh).Enroll(back))[0] == "purpose_mismatch"
    assert plane.world.content(without=SPENT) == before


def test_evidence_has_to_carry_the_binding_beside_it(plane: Reachable) -> None:
    instance = enrolled(plane)
    before = plane.world.content(without=SPENT)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        given = wire.challenge(stub, instance, Purpose.ATTEST)
        request = wire.attest_request(instance, given)
        request.evidence = instance.evidence(b"another binding")
        assert wire.refusal(lambda: stub.Attest(request))[0] == "binding_mismatch"
    assert plane.world.content(without=SPENT) == before


MALFORMED = {
    "ticket": ("", "challenge_invalid"),
    "binding": ("", "evidence_malformed"),
    "evidence": ("", "evidence_malformed"),
}


@pytest.mark.parametrize("field", MALFORMED)
@pytest.mark.parametrize("damage", ["empty", "cut", "longer", "flipped", "huge"])
def test_a_damaged_part_has_one_clear_code(plane: Reachable, field: str, damage: str) -> None:
    instance = enrolled(plane)
    before = plane.world.content(without=SPENT)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        request = wire.attest_request(instance, wire.challenge(stub, instance, Purpose.ATTEST))
        whole = getattr(request, field)
        damaged = {
            "empty": b"",
            "cut": whole[:-1],
            "longer": whole + b"\0",
            "flipped": bytes([whole[0] ^ 0x40]) + whole[1:],
            "huge": whole * (1 + (1 << 20) // len(whole)),
        }[damage]
        setattr(request, field, damaged)
        code, status = wire.refusal(lambda: stub.Attest(request))
        expected = {MALFORMED[field][1] if damage != "huge" else "payload_too_large"}
        if field == "evidence":
            expected.add("evidence_refused")
        assert code in expected
        assert status in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED}
    assert plane.world.content(without=SPENT) == before


def test_an_enrolment_without_the_private_key_is_refused(plane: Reachable) -> None:
    victim, thief = Instance(plane.world.plane.trust), Instance(plane.world.plane.trust)
    before = plane.world.content(without=SPENT)
    with wire.enrollment_channel(plane) as channel:
        stub = EnrollmentStub(channel)
        for proof in ("thief's", "another nonce's", "another binding's", "none", "no signature"):
            given = wire.challenge(stub, victim, Purpose.ENROLL)
            request = wire.enroll_request(victim, given)
            request.proof = {
                "thief's": thief.keys.prove(given.nonce, request.binding),
                "another nonce's": victim.keys.prove(bytes(32), request.binding),
                "another binding's": victim.keys.prove(given.nonce, b"another"),
                "none": b"",
                "no signature": b"\x30\x06\x02\x01\x01\x02\x01\x01",
            }[proof]
            assert wire.refusal(lambda: stub.Enroll(request))[0] == "key_mismatch", proof  # noqa: B023 - called at once
    assert plane.world.content(without=SPENT) == before


def test_only_p256_keys_are_enrolled(plane: Reachable) -> None:
    """A proven key of another curve cannot be certified, so nothing about it is kept."""
    instance = Instance(plane.world.plane.trust)
    other = ec.generate_private_key(ec.SECP384R1())
    spki = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    before = plane.world.content(without=SPENT)
    with wire.enrollment_channel(plane) as channel:
        stub = EnrollmentStub(channel)
        asked = agent_pb2.ChallengeRequest(
            protocol_version=1, purpose=agent_pb2.PURPOSE_ENROLL, tls_spki=spki
        )
        given = stub.GetChallenge(asked)
        request = wire.enroll_request(instance, given, tls_spki=spki)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(request.binding)
        message = b"sealward/enroll-proof/v1" + given.nonce + digest.finalize()
        request.proof = other.sign(message, ec.ECDSA(hashes.SHA256()))
        assert wire.refusal(lambda: stub.Enroll(request))[0] == "evidence_refused"
    assert plane.world.content(without=SPENT) == before


@pytest.mark.parametrize("listener", ["enrollment", "agents"])
def test_each_listener_serves_its_own_purpose(plane: Reachable, listener: str) -> None:
    instance = enrolled(plane)
    before = plane.world.content(without=("attempts",))
    with wire.enrollment_channel(plane) as fresh, wire.agent_channel(plane, instance) as agents:
        stub = EnrollmentStub(fresh) if listener == "enrollment" else AgentStub(agents)
        wrong = Purpose.ATTEST if listener == "enrollment" else Purpose.ENROLL
        assert wire.refusal(lambda: wire.challenge(stub, instance, wrong))[0] == "purpose_mismatch"
        unspecified = agent_pb2.ChallengeRequest(
            protocol_version=1, tls_spki=instance.keys.tls_spki
        )
        assert wire.refusal(lambda: stub.GetChallenge(unspecified))[0] == "purpose_mismatch"
        # Nor does it know the other one's methods.
        other = (
            AgentStub(fresh).Attest if listener == "enrollment" else EnrollmentStub(agents).Enroll
        )
        request = (
            agent_pb2.AttestRequest() if listener == "enrollment" else agent_pb2.EnrollRequest()
        )
        with pytest.raises(grpc.RpcError) as caught:
            other(request)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert plane.world.content(without=("attempts",)) == before


def test_an_expired_certificate_ends_an_open_connection(own_plane: Reachable) -> None:
    plane = own_plane
    instance = enrolled(plane)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        request = wire.attest_request(instance, wire.challenge(stub, instance, Purpose.ATTEST))
        plane.world.clock.advance(timedelta(minutes=10))
        before = plane.world.content(without=("attempts",))
        for call in (
            lambda: wire.challenge(stub, instance, Purpose.ATTEST),
            lambda: stub.Attest(request),
            lambda: next(stub.Watch(iter([agent_pb2.AgentMessage()]))),
        ):
            assert wire.refusal(call) == ("unauthenticated", grpc.StatusCode.UNAUTHENTICATED)
        assert plane.world.content(without=("attempts",)) == before


def test_the_agent_listener_takes_certificates_of_the_node_root_only(plane: Reachable) -> None:
    """TLS itself refuses: no handler of ours is reached."""
    instance = enrolled(plane)
    stranger = ec.generate_private_key(ec.SECP256R1())
    genuine = x509.load_der_x509_certificate(instance.chain[0])
    forged = (
        x509.CertificateBuilder()
        .subject_name(genuine.subject)
        .issuer_name(genuine.issuer)
        .public_key(load_der_public_key(instance.keys.tls_spki))  # type: ignore[arg-type]  # a P-256 key
        .serial_number(genuine.serial_number)
        .not_valid_before(genuine.not_valid_before_utc)
        .not_valid_after(genuine.not_valid_after_utc)
        .sign(stranger, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    for chain in ((forged,), (forged, instance.chain[1]), ()):
        with wire.agent_channel(plane, instance, chain) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                wire.challenge(AgentStub(channel), instance, Purpose.ATTEST)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_without_a_node_behind_it_gets_nothing(plane: Reachable) -> None:
    """F19b: whoever holds the node CA's key still has no content key."""
    instance = Instance(plane.world.plane.trust)
    authority = plane.world.plane.enrollment.certificates
    issued = authority.issue(instance.keys.tls_spki, instance.node_id, now=plane.world.clock.now())
    instance.chain = issued.chain
    before = plane.world.content(without=SPENT)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        request = wire.attest_request(instance, wire.challenge(stub, instance, Purpose.ATTEST))
        assert wire.refusal(lambda: stub.Attest(request)) == (
            "node_unknown",
            grpc.StatusCode.NOT_FOUND,
        )
        hello = agent_pb2.AgentMessage(hello=agent_pb2.Hello(protocol_version=1))
        assert wire.refusal(lambda: next(stub.Watch(iter([hello]))))[0] == "node_unknown"
    assert plane.world.content(without=SPENT) == before


def test_another_protocol_version_is_refused(plane: Reachable) -> None:
    instance = enrolled(plane)
    with wire.agent_channel(plane, instance) as agents, wire.enrollment_channel(plane) as fresh:
        for call in (
            lambda: AgentStub(agents).GetChallenge(agent_pb2.ChallengeRequest(protocol_version=2)),
            lambda: AgentStub(agents).Attest(agent_pb2.AttestRequest()),
            lambda: EnrollmentStub(fresh).Enroll(agent_pb2.EnrollRequest(protocol_version=99)),
        ):
            assert wire.refusal(call) == (
                "unsupported_protocol",
                grpc.StatusCode.INVALID_ARGUMENT,
            )
