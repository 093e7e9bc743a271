"""Layers of policy through the service: a lower one only tightens, and silence denies."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.control_plane import TTL, WORKLOAD, World, create_workload, shipped_files
from fakes.instances import admitted, lease_states, leased
from fakes.policies import ALLOW_ALL, ORGANISATION, release

from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.domain.errors import Code, Refused, Unavailable
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.services.attestation import AttestationService
from sealward.verifier.rats.binding import Purpose

YES = "allow := true\n\nreasons := set()\n"
DENY = """allow := false

obligations := {}

reasons contains {
	"code": "team_freeze",
	"claim": null,
	"expected": null,
	"actual": null,
	"hint": "wait until the freeze is over",
}
"""


def layered(here: World, layer: Layer, body: str) -> None:
    here.activate(
        PolicyKind.RELEASE,
        release(layer, body),
        layer=layer,
        scope=f"{layer}/{WORKLOAD if layer is Layer.WORKLOAD else 'vision'}",
    )
    here.plane.sweeper.run()


@pytest.mark.parametrize("layer", [Layer.TEAM, Layer.WORKLOAD])
def test_a_lower_layer_can_deny_what_the_organisation_allows(here: World, layer: Layer) -> None:
    instance = leased(here)
    layered(here, layer, DENY)
    assert [s[0] for s in lease_states(here, instance).values()] == ["ended"]
    other = admitted(here)
    assert [d.code for d in other.attest(here).denials] == ["policy_denied"]


@pytest.mark.parametrize("layer", [Layer.TEAM, Layer.WORKLOAD])
def test_a_lower_layer_cannot_allow_what_the_organisation_denies(here: World, layer: Layer) -> None:
    layered(here, layer, f"{YES}\nobligations := {{}}\n")
    denial = {
        ".manifest": ORGANISATION,
        "policy.rego": f"package sealward.release\n\nimport rego.v1\n\n{DENY}",
    }
    here.activate(PolicyKind.RELEASE, denial)
    instance = admitted(here)
    assert [d.code for d in instance.attest(here).denials] == ["policy_denied"]


@pytest.mark.parametrize("layer", [Layer.TEAM, Layer.WORKLOAD])
@pytest.mark.parametrize("asked", [10, 100_000])
def test_a_lower_layer_can_shorten_and_not_lengthen(here: World, layer: Layer, asked: int) -> None:
    capped = min(asked, 3600)  # the check refuses what is above the ceiling for all
    layered(here, layer, f'{YES}\nobligations := {{"ttl_seconds": {capped}}}\n')
    instance = admitted(here)
    answer = instance.attest(here)
    (lease,) = instance.verified(answer.terms).terms.leases
    assert lease.ttl_ms == min(timedelta(seconds=asked), TTL) // timedelta(milliseconds=1)
    expected = "ttl of the release policy" if asked < TTL.total_seconds() else "ttl of the workload"
    assert lease.cause == expected


def test_a_workloads_layer_is_asked_about_that_workload_alone(here: World) -> None:
    create_workload(here.plane, here.admin, "other")
    layered(here, Layer.WORKLOAD, DENY)
    instance = admitted(here)
    answer = instance.attest(here, (WORKLOAD, "other"))
    assert [d.workload for d in answer.denials] == [WORKLOAD]
    assert len(instance.held) == 1


# When the engine does not answer.


def with_engine(here: World, engine: EmbeddedEngine) -> AttestationService:
    """The service over an engine with other limits."""
    service = here.plane.attestation
    return replace(
        service,
        appraiser=replace(service.appraiser, engine=engine),
        releaser=replace(service.releaser, engine=engine),
    )


def test_an_engine_that_is_too_slow_grants_nothing_and_recovers(here: World) -> None:
    """A deadline that nothing can meet: no answer; the ordinary engine then gives one."""
    instance = leased(here)
    before = lease_states(here, instance)
    slow = EmbeddedEngine(EngineSettings(deadline_seconds=0.000_001), lambda: 0.0)
    try:
        service = with_engine(here, slow)
        call = instance.attest_call(instance.presented(here, Purpose.ATTEST))
        with pytest.raises(Unavailable) as caught:
            service.attest(call)
        assert caught.value.code is Code.policy_engine_unavailable
        assert lease_states(here, instance) == before  # nothing was taken away either
    finally:
        slow.close()
    instance.held = frozenset()
    answer = instance.attest(here)
    assert answer.denials == ()


def test_a_policy_that_never_ends_is_denied_and_the_others_go_on(here: World) -> None:
    here.activate(PolicyKind.RELEASE, ALLOW_ALL)
    endless = f"""{YES}
obligations := {{"ttl_seconds": 60 + count([1 |
	input.workload.name == "{WORKLOAD}"
	some i in numbers.range(1, 3000)
	some j in numbers.range(1, 3000)
	i < 0
	i == j
])}}
"""
    layered(here, Layer.WORKLOAD, endless)
    create_workload(here.plane, here.admin, "other")
    instance = admitted(here)
    answer = instance.attest(here, (WORKLOAD, "other"))
    assert [d.workload for d in answer.denials] == [WORKLOAD]
    assert len(instance.held) == 1
    # Taking the policy away again is all that is needed.
    layered(here, Layer.WORKLOAD, f"{YES}\nobligations := {{}}\n")
    assert instance.attest(here).denials == ()


def test_a_policy_that_does_not_answer_its_question_is_never_active(here: World) -> None:
    for body in ("allow := 1", "allow := true", "allow := true\nreasons := {}\nobligations := 3"):
        with pytest.raises(Refused) as caught:
            here.activate(
                PolicyKind.RELEASE,
                release(Layer.TEAM, body),
                layer=Layer.TEAM,
                scope="team/vision",
            )
        assert caught.value.code is Code.policy_invalid
    assert admitted(here).attest(here).denials == ()


def test_the_same_revision_may_come_back(here: World) -> None:
    """The book of parsed policies follows the fence, not the digest."""
    instance = leased(here)
    deny = {
        ".manifest": ORGANISATION,
        "policy.rego": f"package sealward.release\n\nimport rego.v1\n\n{DENY}",
    }
    for _ in range(2):
        here.activate(PolicyKind.RELEASE, deny)
        assert [d.code for d in instance.attest(here).denials] == ["policy_denied"]
        here.activate(PolicyKind.RELEASE, shipped_files(PolicyKind.RELEASE))
        assert instance.attest(here).denials == ()
