"""The same evidence many times at once over gRPC: one decision, one lease, one audit entry.

Each time on a connection of its own: one connection has a few calls at once only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack

import grpc
import pytest
from fakes import wire_agent as wire
from fakes.control_plane import GOOD, Reachable, chip
from fakes.instances import Instance

from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.decisions import DecisionKind
from sealward.protos import agent_pb2
from sealward.protos.agent_pb2_grpc import AgentStub, EnrollmentStub
from sealward.verifier.rats.binding import Purpose

TIMES = 50


def collected(calls: Iterable[grpc.Future]) -> tuple[list[object], Counter[str]]:
    """Return what was answered and how often each code refused."""
    answers, refusals = [], Counter[str]()
    for call in calls:
        try:
            answers.append(call.result(timeout=wire.DEADLINE_S))
        except grpc.RpcError as error:
            refusals[wire.read_refusal(error)[0]] += 1
    return answers, refusals


def counted(plane: Reachable, instance: Instance, kind: DecisionKind) -> tuple[int, int]:
    """Count the node's decisions of a kind and the audit entries that they committed to."""
    ((decisions, entries),) = plane.world.rows(
        "SELECT count(*), count(DISTINCT e.entry_id) FROM decisions d"
        " JOIN audit_entries e ON e.entry_id = d.entry_id WHERE d.node_id = ? AND d.kind = ?",
        instance.node_id,
        kind.value,
    )
    return int(str(decisions)), int(str(entries))


def entries_about(plane: Reachable, instance: Instance, kind: AuditKind) -> int:
    rows = plane.world.rows(
        "SELECT 1 FROM audit_entries WHERE kind = ? AND body LIKE ?",
        kind.value,
        f"%{instance.node_id}%",
    )
    return len(rows)


@pytest.mark.parametrize("before", [0, 1, 2], ids=["first", "second", "third"])
def test_fifty_attestations_with_one_evidence_are_one(plane: Reachable, before: int) -> None:
    instance = Instance(plane.world.plane.trust)
    wire.enroll(plane, instance)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        for _ in range(before):
            wire.attest(stub, instance)
        request = wire.attest_request(instance, wire.challenge(stub, instance, Purpose.ATTEST))
        with ExitStack() as stack:
            channels = [
                stack.enter_context(wire.agent_channel(plane, instance)) for _ in range(TIMES)
            ]
            calls = [AgentStub(each).Attest.future(request) for each in channels]
            answers, refusals = collected(calls)
        # A node has two attestations under way at most; the others are not even looked at.
        assert set(refusals) <= {"challenge_spent", "rate_limited"}
        assert refusals.total() == TIMES - 1
        (answer,) = answers
        assert isinstance(answer, agent_pb2.AttestResponse)
        assert answer.posture == "compliant"
        instance.take_response(answer)
        assert counted(plane, instance, DecisionKind.attest) == (before + 1, before + 1)
        assert entries_about(plane, instance, AuditKind.node_attested) == before + 1
        leases = plane.world.rows("SELECT state FROM leases WHERE node_id = ?", instance.node_id)
        assert leases == [("active",)]
        assert wire.attest(stub, instance).posture == "compliant"  # nobody was taken for a clone


def test_fifty_enrolments_with_one_evidence_are_one(plane: Reachable) -> None:
    instance = Instance(plane.world.plane.trust)
    with wire.enrollment_channel(plane) as channel:
        stub = EnrollmentStub(channel)
        request = wire.enroll_request(instance, wire.challenge(stub, instance, Purpose.ENROLL))
    with ExitStack() as stack:
        channels = [stack.enter_context(wire.enrollment_channel(plane)) for _ in range(TIMES)]
        calls = [EnrollmentStub(each).Enroll.future(request) for each in channels]
        answers, refusals = collected(calls)
    assert len(answers) == 1
    assert refusals == {"challenge_spent": TIMES - 1}
    assert counted(plane, instance, DecisionKind.enroll) == (1, 1)
    assert entries_about(plane, instance, AuditKind.node_enrolled) == 1


def test_fifty_enrolments_with_one_join_token_admit_one(plane: Reachable) -> None:
    """Fifty different instances on an unknown platform, one token: one is admitted."""
    made = plane.world.plane.admin.join_tokens.create(plane.world.admin)
    strangers = [
        Instance(plane.world.plane.trust, platform=chip("nobody knows it"), measurement=GOOD)
        for _ in range(TIMES)
    ]
    with wire.enrollment_channel(plane) as channel:
        stub = EnrollmentStub(channel)
        requests = []
        for stranger in strangers:
            request = wire.enroll_request(stranger, wire.challenge(stub, stranger, Purpose.ENROLL))
            request.join_token = made.text
            requests.append(request)
    with ExitStack() as stack:
        channels = [stack.enter_context(wire.enrollment_channel(plane)) for _ in range(TIMES)]
        calls = [
            EnrollmentStub(each).Enroll.future(request)
            for each, request in zip(channels, requests, strict=True)
        ]
        answers, refusals = collected(calls)
    assert [a.answer for a in answers] == [agent_pb2.ANSWER_ADMIT]  # type: ignore[attr-defined]  # all are EnrollResponses
    assert refusals == {"join_token_spent": TIMES - 1}
