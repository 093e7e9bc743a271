"""What the host asks policies is what the shipped schemas promise their authors."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.control_plane import World, chip
from fakes.instances import Instance, leased
from fakes.policy_schemas import read, violations

from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.policy_engine import LayerPolicy
from sealward.verifier.wire import json

Asked = list[tuple[PolicyKind, Any, Any]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Every question to the real engine, which answers as always."""
    seen: Asked = []
    evaluate = EmbeddedEngine.evaluate

    def recording(
        self: EmbeddedEngine, policy: LayerPolicy, document: bytes, reference: bytes = b"{}"
    ) -> bytes:
        read_back = [json.decode(part, what="question", max_bytes=1 << 20)
                     for part in (document, reference)]  # fmt: skip
        seen.append((policy.kind, *read_back))
        return evaluate(self, policy, document, reference)

    monkeypatch.setattr(EmbeddedEngine, "evaluate", recording)
    return seen


def everything(here: World) -> None:
    """Let a node go all the way, one be refused, one pend, and one come with a token."""
    leased(here)
    here.settle()
    Instance(here.plane.trust, measurement=b"\x77" * 48).enroll(here)
    Instance(here.plane.trust, platform=chip("unlisted")).enroll(here)
    token = here.plane.admin.join_tokens.create(here.admin)
    Instance(here.plane.trust, platform=chip("unlisted")).enroll(here, join_token=token.text)
    here.withdraw()
    here.settle()


def test_every_question_is_one_that_the_schemas_describe(here: World, asked: Asked) -> None:
    everything(here)
    assert {kind for kind, _, _ in asked} == set(PolicyKind)
    for kind, document, reference in asked:
        assert violations(document, read(kind.value), kind.value) == []
        assert violations(reference, read("reference"), "reference") == []
    # Each shape that a schema leaves open was met at least once.
    enrollments = [document for kind, document, _ in asked if kind is PolicyKind.ENROLLMENT]
    assert {one["join_token"] is None for one in enrollments} == {True, False}
    assert {one["platform"]["known"] for one in enrollments} == {True, False}
    assert any(one["reasons"] for one in enrollments)
    assert {bool(reference["measurement"]) for _, _, reference in asked} == {True, False}
