"""Damaged messages over the real listeners: one clear status and code, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from fakes import wire_agent as wire
from fakes.control_plane import Reachable
from fakes.instances import Instance
from google.protobuf.message import DecodeError, Message
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sealward.protos import agent_pb2
from sealward.protos.agent_pb2_grpc import AgentStub, EnrollmentStub
from sealward.verifier.rats.binding import Purpose

SPENT = ("spent_challenges", "attempts")
CLEAR = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
CODES = {
    "invalid_request",
    "unsupported_protocol",
    "payload_too_large",
    "challenge_invalid",
    "evidence_malformed",
    "evidence_refused",
    "purpose_mismatch",
    "audience_mismatch",
    "tenant_mismatch",
    "key_mismatch",
    "challenge_mismatch",
    "binding_mismatch",
    "join_token_invalid",
}
fuzzed = settings(
    max_examples=60,
    deadline=None,  # a shared machine
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A way to damage bytes: cut, extend, flip, overwrite, or lie about a field's type."""
    kind = draw(st.sampled_from(["cut", "extend", "flip", "overwrite", "retype"]))
    share = draw(st.floats(0, 0.999))
    data = draw(st.binary(min_size=1, max_size=16))
    bit = draw(st.integers(0, 7))

    def damaged(whole: bytes) -> bytes:
        at = int(share * len(whole))
        if kind == "cut":
            return whole[:at]
        if kind == "extend":
            return whole + data
        if kind == "overwrite":
            return whole[:at] + data + whole[at + len(data) :]
        if kind == "retype":  # the first tags: another wire type or field number
            at = int(share * min(4, len(whole)))
        return whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]

    return damaged


def says_the_same(
    kind: type[Message], data: bytes, whole: Message, fields: tuple[str, ...]
) -> bool:
    """Whether damaged bytes still are the request: only what nothing rests on was hit."""
    try:
        read: Any = kind.FromString(data)
    except DecodeError:
        return False
    return all(getattr(read, name) == getattr(whole, name) for name in fields)


@pytest.fixture(scope="module")
def node(plane: Reachable) -> Instance:
    instance = Instance(plane.world.plane.trust)
    wire.enroll(plane, instance)
    return instance


@pytest.fixture(scope="module")
def agents(plane: Reachable, node: Instance):
    with wire.agent_channel(plane, node) as channel:
        yield channel


@pytest.fixture(scope="module")
def fresh(plane: Reachable):
    with wire.enrollment_channel(plane) as channel:
        yield channel


def raw(channel: grpc.Channel, method: str) -> Callable[[bytes], object]:
    """The method as bytes in, message out."""
    call = channel.unary_unary(method)
    return lambda data: call(data, timeout=wire.DEADLINE_S)


def require_refused(plane: Reachable, call: Callable[[], object]) -> None:
    before = plane.world.content(without=SPENT)
    code, status = wire.refusal(call)
    assert code in CODES
    assert status in CLEAR
    assert plane.world.content(without=SPENT) == before


@fuzzed
@given(how=damage())
def test_a_damaged_attestation(
    plane: Reachable, node: Instance, agents: grpc.Channel, how: Callable[[bytes], bytes]
) -> None:
    given_challenge = wire.challenge(AgentStub(agents), node, Purpose.ATTEST)
    request = wire.attest_request(node, given_challenge, workloads=())
    data = how(request.SerializeToString(deterministic=True))
    fields = ("protocol_version", "ticket", "binding", "evidence")
    assume(not says_the_same(agent_pb2.AttestRequest, data, request, fields))
    attest = raw(agents, "/sealward.agent.v1.Agent/Attest")
    require_refused(plane, lambda: attest(data))


@fuzzed
@given(how=damage())
def test_a_damaged_enrolment(
    plane: Reachable, fresh: grpc.Channel, how: Callable[[bytes], bytes]
) -> None:
    instance = Instance(plane.world.plane.trust)
    given_challenge = wire.challenge(EnrollmentStub(fresh), instance, Purpose.ENROLL)
    request = wire.enroll_request(instance, given_challenge)
    data = how(request.SerializeToString(deterministic=True))
    fields = ("protocol_version", "ticket", "binding", "evidence", "proof", "join_token")
    assume(not says_the_same(agent_pb2.EnrollRequest, data, request, fields))
    enroll = raw(fresh, "/sealward.agent.v1.Enrollment/Enroll")
    require_refused(plane, lambda: enroll(data))


@fuzzed
@given(
    which=st.sampled_from(["binding", "evidence", "ticket", "proof"]),
    how=damage(),
)
def test_a_damaged_part_of_an_enrolment(
    plane: Reachable, fresh: grpc.Channel, which: str, how: Callable[[bytes], bytes]
) -> None:
    """Sound protobuf around damaged statements, which the proof may even be about."""
    instance = Instance(plane.world.plane.trust)
    given_challenge = wire.challenge(EnrollmentStub(fresh), instance, Purpose.ENROLL)
    request = wire.enroll_request(instance, given_challenge)
    whole = getattr(request, which)
    setattr(request, which, how(whole))
    assume(getattr(request, which) != whole)
    if which == "binding":
        request.proof = instance.keys.prove(given_challenge.nonce, request.binding)
    require_refused(plane, lambda: EnrollmentStub(fresh).Enroll(request))


@fuzzed
@given(data=st.binary(max_size=64))
def test_any_bytes_to_any_method(
    plane: Reachable, agents: grpc.Channel, fresh: grpc.Channel, data: bytes
) -> None:
    """What happens to be a whole request for a challenge may be answered: that writes nothing."""
    before = plane.world.content()
    for channel, service, method in (
        (fresh, "Enrollment", "Enroll"),
        (fresh, "Enrollment", "GetChallenge"),
        (fresh, "Enrollment", "GetCredential"),
        (agents, "Agent", "Attest"),
        (agents, "Agent", "GetChallenge"),
    ):
        try:
            raw(channel, f"/sealward.agent.v1.{service}/{method}")(data)
        except grpc.RpcError as error:
            code, status = wire.read_refusal(error)
            assert (code in CODES, status in CLEAR) == (True, True)
        else:
            assert method == "GetChallenge"
    assert plane.world.content() == before


HELLO = agent_pb2.AgentMessage(hello=agent_pb2.Hello(protocol_version=1))


@fuzzed
@given(first=st.booleans(), data=st.binary(min_size=1, max_size=64))
def test_any_bytes_on_the_open_stream(
    plane: Reachable, agents: grpc.Channel, *, first: bool, data: bytes
) -> None:
    try:
        said = agent_pb2.AgentMessage.FromString(data).WhichOneof("message")
    except DecodeError:
        said = None
    assume(said not in {"challenge_wanted", "hello"})
    before = plane.world.content()
    watch = agents.stream_stream("/sealward.agent.v1.Agent/Watch")
    messages = [data] if first else [HELLO.SerializeToString(), data]
    call = watch(iter(messages), timeout=wire.DEADLINE_S)
    code, status = wire.refusal(lambda: [None for _ in call])
    assert code in CODES
    assert status in CLEAR
    assert plane.world.content() == before


@pytest.mark.parametrize("sequence", [2**63, 2**64 - 1])
def test_a_sequence_that_we_never_gave_is_refused(
    plane: Reachable, agents: grpc.Channel, sequence: int
) -> None:
    hello = agent_pb2.AgentMessage(
        hello=agent_pb2.Hello(protocol_version=1, highest_sequence=sequence)
    )
    before = plane.world.content()
    call = AgentStub(agents).Watch(iter([hello]), timeout=wire.DEADLINE_S)
    assert wire.refusal(lambda: next(call)) == (
        "invalid_request",
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    assert plane.world.content() == before


def test_the_plane_is_none_the_worse(plane: Reachable, node: Instance) -> None:
    """After all of the above the same node attests and gets its key."""
    with wire.agent_channel(plane, node) as channel:
        assert wire.attest(AgentStub(channel), node).posture == "compliant"
    assert len(node.content_keys) == 1
