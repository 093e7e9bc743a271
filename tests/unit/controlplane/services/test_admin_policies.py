"""Policy revisions are content; activations replace what they name, and fence."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.admin_plane import AdminPlane
from fakes.admin_requests import POLICY

from sealward.controlplane.domain.activations import ActivationMode, ActivationState, PolicyRevision
from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.services.policies import decode_bundle, encode_bundle


def upload(plane: AdminPlane, alice: Principal, **changes: Any) -> PolicyRevision:  # noqa: ANN401 - passed on
    how = {
        "kind": PolicyKind.RELEASE,
        "layer": Layer.ORGANISATION,
        "name": "release",
        "files": POLICY["files"],
        **changes,
    }
    return plane.services.policies.upload(alice, **how)


def with_text(text: str) -> dict[str, str]:
    return {**POLICY["files"], "policy.rego": text}


def epoch(plane: AdminPlane) -> int:
    scope = "policy/release"
    return plane.database.read(lambda tx: tx.epochs.read([scope])[scope])


def test_a_revision_is_addressed_by_its_content(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    revision = upload(plane, alice)
    again = upload(plane, alice, name="other")
    assert again == revision
    bundle = decode_bundle(revision.bundle)
    assert bundle.digest == revision.digest
    assert encode_bundle(bundle) == revision.bundle
    entries = plane.database.read(lambda tx: tx.audit.page(limit=100)).items
    assert [e.kind for e in entries].count("policy.uploaded") == 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"policy.rego": "package sealward.release\n"},
        {**POLICY["files"], "run.sh": "#!/bin/sh\n"},
        {**POLICY["files"], "../up.rego": "package sealward.release\n"},
        {**POLICY["files"], "/etc/x.rego": "package sealward.release\n"},
        {**POLICY["files"], ".manifest": '{"roots":["sealward"]}'},
        {**POLICY["files"], ".manifest": "{"},
        {**POLICY["files"], "data.json": '{"reference":{}}'},
        with_text("package sealward.appraisal\n"),
        with_text("package sealward.release\nx := \ud800\n"),
        with_text(""),
        {**POLICY["files"], **{f"f{n}.rego": "package sealward.release\n" for n in range(64)}},
    ],
)
def test_what_is_not_a_bundle_of_its_place_is_refused(
    plane: AdminPlane, files: dict[str, str]
) -> None:
    alice = plane.administrator().principal
    before = plane.row_counts()
    with pytest.raises(Refused) as caught:
        upload(plane, alice, files=files)
    assert caught.value.code is Code.policy_invalid
    assert plane.row_counts() == before


def test_what_the_check_refuses_is_not_kept(plane: AdminPlane) -> None:
    alice = plane.administrator().principal

    def no(*_: object) -> None:
        raise Refused(Code.policy_invalid, "policy.rego:3:1: no")

    before = plane.row_counts()
    policies = type(plane.services.policies)(plane.services.policies.on, no)
    with pytest.raises(Refused, match=r"policy\.rego:3:1"):
        policies.upload(
            alice,
            kind=PolicyKind.RELEASE,
            layer=Layer.ORGANISATION,
            name="release",
            files=POLICY["files"],
        )
    assert plane.row_counts() == before


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", b'{".manifest":1}', b"\xff", b"null"])
def test_stored_bytes_that_are_no_bundle_are_refused(stored: bytes) -> None:
    with pytest.raises(Refused):
        decode_bundle(stored)


def test_activation_replaces_what_it_names_and_fences_its_kind(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    policies = plane.services.policies
    first = policies.activate(alice, upload(plane, alice).digest, replaces=None)
    changed = upload(plane, alice, files=with_text("package sealward.release\n\nallow := false\n"))
    second = policies.activate(alice, changed.digest, replaces=first.activation_id)
    assert [a.activation_id for a in policies.active(alice)] == [second.activation_id]
    assert epoch(plane) == 2
    assert plane.wake.calls == 2
    kept = plane.database.read(lambda tx: tx.policies.activations(limit=9)).items
    assert {each.activation_id: each.state for each in kept} == {
        first.activation_id: ActivationState.ended,
        second.activation_id: ActivationState.active,
    }
    for stale in (None, first.activation_id, "f" * 32):
        with pytest.raises(Conflict) as caught:
            policies.activate(alice, changed.digest, replaces=stale)
        assert caught.value.code is Code.activation_replaced
    assert epoch(plane) == 2


@pytest.mark.parametrize("mode", [ActivationMode.shadow, ActivationMode.canary])
def test_a_mode_that_nothing_evaluates_is_refused(plane: AdminPlane, mode: ActivationMode) -> None:
    alice = plane.administrator().principal
    digest = upload(plane, alice).digest
    with pytest.raises(Refused, match="mode"):
        plane.services.policies.activate(alice, digest, mode=mode, replaces=None)
    assert plane.services.policies.active(alice) == ()


def test_an_unknown_revision_is_not_activated(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    with pytest.raises(NotFound):
        plane.services.policies.activate(alice, "00" * 32, replaces=None)


@pytest.mark.parametrize(
    ("layer", "scope", "stored"),
    [
        (Layer.ORGANISATION, None, "organisation"),
        (Layer.TEAM, "team/vision", "team/vision"),
        (Layer.WORKLOAD, "workload/scoring", "workload/scoring"),
        (Layer.ORGANISATION, "team/vision", None),
        (Layer.TEAM, None, None),
        (Layer.TEAM, "workload/scoring", None),
        (Layer.TEAM, "team/../x", None),
        (Layer.WORKLOAD, "workload/", None),
    ],
)
def test_a_scope_is_one_of_its_layer(
    plane: AdminPlane, layer: Layer, scope: str | None, stored: str | None
) -> None:
    alice = plane.administrator().principal
    root = "sealward/release" if layer is Layer.ORGANISATION else f"sealward/{layer}/release"
    files = {
        ".manifest": f'{{"roots":["{root}"]}}',
        "policy.rego": f"package {root.replace('/', '.')}\n\nallow := true\n",
    }
    digest = upload(plane, alice, layer=layer, files=files).digest
    if stored is None:
        with pytest.raises(Refused):
            plane.services.policies.activate(alice, digest, scope=scope, replaces=None)
    else:
        made = plane.services.policies.activate(alice, digest, scope=scope, replaces=None)
        assert made.scope == stored


def test_a_kind_is_missing_until_the_organisation_enforces_a_policy_of_it(
    plane: AdminPlane,
) -> None:
    alice = plane.administrator().principal
    services = plane.services
    files = {
        ".manifest": '{"roots":["sealward/workload/release"]}',
        "policy.rego": "package sealward.workload.release\n",
    }
    narrow = upload(plane, alice, layer=Layer.WORKLOAD, files=files)
    services.policies.activate(alice, narrow.digest, scope="workload/scoring", replaces=None)
    assert PolicyKind.RELEASE in services.status.report(alice).missing_policies
    services.policies.activate(alice, upload(plane, alice).digest, replaces=None)
    assert PolicyKind.RELEASE not in services.status.report(alice).missing_policies
