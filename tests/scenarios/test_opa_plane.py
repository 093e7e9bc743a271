"""A control plane whose policies a real OPA evaluates: admission, leases, and its absence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import require_part
from fakes import opa_server
from fakes import wire_agent as wire
from fakes.control_plane import Reachable, open_world, reachable, world
from fakes.instances import Instance
from fakes.opa_server import Opa

from sealward.controlplane.config import OpaServer
from sealward.controlplane.domain.errors import Code, Refused, Unavailable
from sealward.controlplane.domain.policies import PolicyKind
from sealward.protos.agent_pb2_grpc import AgentStub

pytestmark = pytest.mark.integration

# "x" is said by the embedded engine only: in OPA a name without a value inside a negated call takes
# the whole expression along. The sample has the embedded engine's answer.
DIFFERENT = {
    ".manifest": '{"roots":["sealward/release"],"rego_version":1}',
    "policy.rego": """package sealward.release

import rego.v1

allow := count(reasons) == 0

obligations := {}

reasons contains {"code": "x", "claim": null, "expected": 1, "actual": 2, "hint": "none"} if {
	not startswith(input.nothing.at.all, "x")
}
""",
    "samples/one.json": """{"input": {}, "reference": {}, "expected": {"allow": false,
"obligations": {}, "reasons":
[{"code": "x", "claim": null, "expected": 1, "actual": 2, "hint": "none"}]}}""",
}


@pytest.fixture
def opa(tmp_path: Path) -> Iterator[Opa]:
    reason = opa_server.missing()
    if reason:
        require_part(reason)
    with opa_server.running(tmp_path / "opa") as running:
        yield running


def server_of(opa: Opa) -> OpaServer:
    files = opa.endpoint.tls
    assert files is not None
    return OpaServer(
        url=opa.endpoint.url, ca=files.ca, certificate=files.certificate, key=files.key
    )


@pytest.fixture
def plane(opa: Opa, tmp_path: Path) -> Iterator[Reachable]:
    with reachable(tmp_path / "world", opa=server_of(opa)) as opened:
        yield opened


def leases(plane: Reachable, instance: Instance) -> list[tuple[object, ...]]:
    return plane.world.rows("SELECT state FROM leases WHERE node_id = ?", instance.node_id)


def test_a_node_is_admitted_and_leased_by_policies_on_opa(plane: Reachable) -> None:
    instance = Instance(plane.world.plane.trust)
    assert wire.enroll(plane, instance).node_id
    with wire.agent_channel(plane, instance) as channel:
        assert wire.attest(AgentStub(channel), instance).posture == "compliant"
    assert leases(plane, instance) == [("active",)]
    plane.world.withdraw()
    plane.world.settle()
    assert leases(plane, instance) != [("active",)]


def test_without_its_opa_nothing_is_granted_and_nothing_is_taken_away(
    plane: Reachable, opa: Opa
) -> None:
    instance = Instance(plane.world.plane.trust)
    wire.enroll(plane, instance)
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        wire.attest(stub, instance)
        opa.process.kill()
        opa.process.wait()
        code, _ = wire.refusal(lambda: wire.attest(stub, instance))
    assert code == "policy_engine_unavailable"
    assert leases(plane, instance) == [("active",)]


def test_an_upload_that_opa_answers_in_another_way_is_refused(
    plane: Reachable, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=r"samples/one\.json: answers") as refused:
        plane.world.activate(PolicyKind.RELEASE, DIFFERENT)
    assert refused.value.code is Code.policy_invalid
    with world(tmp_path / "embedded") as embedded:
        assert embedded.activate(PolicyKind.RELEASE, DIFFERENT)


def test_an_opa_that_is_not_there_or_not_strict_keeps_the_plane_from_starting(
    opa: Opa, tmp_path: Path
) -> None:
    strict = server_of(opa)
    with (
        opa_server.running(tmp_path / "lax", lax=True) as lax,
        pytest.raises(Unavailable, match="--authentication=tls"),
    ):
        open_world(tmp_path / "first", opa=server_of(lax))
    opa.process.kill()
    opa.process.wait()
    with pytest.raises(Unavailable, match="cannot be reached") as refused:
        open_world(tmp_path / "second", opa=strict)
    assert refused.value.code is Code.policy_engine_unavailable
