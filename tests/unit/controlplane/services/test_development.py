"""F29: what is development stays apart from production, whatever any policy says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.control_plane import (
    TRUST_DOMAIN,
    WORKLOAD,
    World,
    activate,
    chip,
    create_workload,
    furnish,
    settings,
)
from fakes.instances import Instance, admitted
from fakes.policies import ALLOW_ALL
from fakes.state import ManualClock

from sealward.controlplane import bootstrap
from sealward.controlplane.adapters.system_clock import SystemClock
from sealward.controlplane.config import Address, InvalidSettings, Settings
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.policies import PolicyKind
from sealward.verifier.rats.binding import Purpose

ANYWHERE = Address("0.0.0.0", 8443)  # noqa: S104 - what must be refused


def production(data: Path) -> Settings:
    return settings(data, None, "prod.example")


def development(tmp_path: Path) -> Settings:
    root = tmp_path / "root.der"
    root.write_bytes(chip().root)
    return settings(tmp_path / "plane", root)


@pytest.mark.parametrize("first", ["development", "production"])
def test_a_database_never_changes_kind(tmp_path: Path, first: str) -> None:
    kinds = {"development": development(tmp_path), "production": production(tmp_path / "plane")}
    bootstrap.build(kinds.pop(first), ring=lambda _: None).close()
    (other,) = kinds.values()
    with pytest.raises(Refused) as caught:
        bootstrap.build(other, ring=lambda _: None)
    assert caught.value.code is Code.wrong_database


def test_a_database_never_changes_its_trust_domain(tmp_path: Path) -> None:
    bootstrap.build(production(tmp_path / "plane"), ring=lambda _: None).close()
    other = replace(production(tmp_path / "plane"), trust_domain="other.example")
    with pytest.raises(Refused) as caught:
        bootstrap.build(other, ring=lambda _: None)
    assert caught.value.code is Code.wrong_database


def test_a_production_installation_refuses_minted_evidence(tmp_path: Path) -> None:
    clock = ManualClock(SystemClock().now())
    plane = bootstrap.build(production(tmp_path / "plane"), ring=lambda _: None, clock=clock)
    try:
        admin, token = furnish(plane)
        here = World(plane=plane, clock=clock, admin=admin, token=token)
        before = here.content(without=("spent_challenges", "attempts"))
        with pytest.raises(Refused) as caught:
            Instance(plane.trust).enroll(here)
        assert caught.value.code is Code.evidence_refused
        assert "root" in caught.value.detail
        assert here.content(without=("spent_challenges", "attempts")) == before
    finally:
        plane.close()


def test_no_policy_gives_a_production_workload_to_a_development_node(here: World) -> None:
    create_workload(here.plane, here.admin, "serious", production=True)
    activate(here.plane, here.admin, PolicyKind.RELEASE, ALLOW_ALL)
    instance = admitted(here)
    answer = instance.attest(here, (WORKLOAD, "serious"))
    assert [(d.workload, d.code) for d in answer.denials] == [("serious", "development_refused")]
    assert len(instance.held) == 1  # the policy does allow all that it may


def test_every_record_about_a_development_node_says_so(here: World) -> None:
    instance = admitted(here)
    instance.attest(here)
    assert here.plane.trust.development
    assert here.plane.trust.trust_domain.startswith("development.")
    bodies = here.rows(
        "SELECT body FROM audit_entries WHERE kind IN ('node.enrolled', 'node.attested')"
    )
    assert len(bodies) == 2
    assert all('"development":true' in str(body) for (body,) in bodies)
    decisions = here.plane.admin.explanations.of_node(here.admin, instance.node_id).decisions
    assert all('"development_root"' in decision.reasons for decision in decisions)
    assert all('"hardware":' in decision.trust_vector for decision in decisions)


def test_the_hardware_of_a_development_node_is_contraindicated(here: World) -> None:
    """F20b: an appraisal policy cannot lift the verifier's own verdict."""
    instance = admitted(here)
    presented = instance.presented(here, Purpose.ATTEST)
    here.plane.attestation.attest(instance.attest_call(presented))
    (vector,) = here.rows(
        "SELECT trust_vector FROM node_evidence WHERE node_id = ?", instance.node_id
    )
    assert '"hardware":96' in str(vector[0])


# Settings.


def test_a_development_installation_listens_on_loopback_only(tmp_path: Path) -> None:
    made = development(tmp_path)
    made.require_servable(listen_anywhere=False)
    for field in ("rest", "enrollment", "agents"):
        exposed = replace(made, **{field: ANYWHERE})
        with pytest.raises(InvalidSettings, match="--development-listen-anywhere"):
            exposed.require_servable(listen_anywhere=False)
        exposed.require_servable(listen_anywhere=True)
    replace(production(tmp_path), rest=ANYWHERE).require_servable(listen_anywhere=False)


def test_settings_that_must_never_run_are_refused(tmp_path: Path) -> None:
    prod, dev = production(tmp_path), development(tmp_path)
    for wrong in (
        replace(prod, trust_domain=TRUST_DOMAIN),
        replace(dev, trust_domain="prod.example"),
        replace(prod, development_roots=dev.development_roots),
        replace(prod, trust_domain="Upper.example"),
        replace(prod, trust_domain=""),
        replace(prod, names=()),
    ):
        with pytest.raises(InvalidSettings):
            wrong.require_servable(listen_anywhere=True)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [("127.0.0.1:0", True), ("127.9.9.9:65535", True), ("[::1]:8443", True), ("0.0.0.0:80", False)],
)
def test_an_address_reads_back(text: str, *, loopback: bool) -> None:
    address = Address.parse(text)
    assert str(address) == text
    assert address.loopback == loopback


@pytest.mark.parametrize(
    "text",
    ["", "localhost:80", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x", "::1"],
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(InvalidSettings):
        Address.parse(text)


def test_a_development_root_file_must_hold_development_roots(tmp_path: Path) -> None:
    (tmp_path / "vcek.der").write_bytes(chip().vek)
    with pytest.raises(Exception, match="root"):
        bootstrap.build(settings(tmp_path / "plane", tmp_path / "vcek.der"), ring=lambda _: None)
