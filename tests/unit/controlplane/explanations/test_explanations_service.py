"""A denial explains itself: what was expected, what comes nearest, when it last passed (F26)."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes import tpm_machines
from fakes.control_plane import GOOD, IMAGES, OTHER, World, chip, create_workload, image
from fakes.instances import Instance, admitted, leased
from fakes.tpm_machines import BOOT_SET, Machine

from sealward.controlplane.domain.errors import Code, NotFound, Refused
from sealward.controlplane.domain.explanations import Finding, Source
from sealward.controlplane.domain.nearest import Neighbourhood, Standing
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.services.explanations import READINGS, NodeExplanation
from sealward.controlplane.services.nearby import Surroundings
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.binding import Purpose


def explained(here: World, instance: Instance) -> NodeExplanation:
    return here.plane.admin.explanations.of_node(here.admin, instance.node_id)


def principal(here: World, role: Role) -> Principal:
    issued = here.plane.admin.principals.create(
        here.admin, name=f"a-{role}".replace("_", "-"), roles=(role,), lifetime=timedelta(days=1)
    )
    return here.plane.admin.principals.authenticate(issued.text)


def test_an_unknown_image_is_told_from_those_that_are_known(here: World) -> None:
    unknown = secrets.token_bytes(48)
    instance = Instance(here.plane.trust, measurement=unknown)
    instance.enroll(here)
    why = explained(here, instance).why
    cause = why.cause
    assert (why.step, why.outcome, why.code) == ("enroll", "refused", "unknown_measurement")
    assert cause.finding.claim == "claims.measurements[launch]"
    assert cause.finding.actual == unknown.hex()
    assert {one.value for one in cause.near.accepted} >= {GOOD.hex(), OTHER.hex()}
    assert cause.near.nearest.set_name == IMAGES
    assert "reference set" in cause.mend
    assert (cause.passed.at, cause.passed.decisions) == (None, 0)


def test_a_withdrawn_image_is_its_own_nearest_and_passed_before(here: World) -> None:
    instance = leased(here)
    passed = here.clock.now()
    here.clock.advance(timedelta(seconds=10))
    here.withdraw()
    here.settle()
    why = explained(here, instance).why
    assert why.step == "reappraise"
    nearest = why.cause.near.nearest
    assert (nearest.value, nearest.standing) == (GOOD.hex(), Standing.withdrawn)
    assert (nearest.same, nearest.note) == (True, "a test")
    assert why.cause.passed.at == passed
    assert why.passed_since is None


def test_a_staged_set_is_nearest_and_says_what_is_missing(here: World) -> None:
    unknown = secrets.token_bytes(48)
    document = {"name": "next", "not_after": None, "values": [image(unknown)]}
    here.plane.admin.references.import_set(
        here.admin, json.dumps(document).encode(), activate=False
    )
    instance = Instance(here.plane.trust, measurement=unknown)
    instance.enroll(here)
    nearest = explained(here, instance).why.cause.near.nearest
    assert (nearest.set_name, nearest.standing) == ("next", Standing.staged)


def test_a_node_that_came_back_says_since_when(here: World) -> None:
    instance = leased(here)
    here.withdraw()
    here.settle()
    here.plane.admin.references.reinstate(
        here.admin, IMAGES, "measurement", GOOD.hex(), reason="a test"
    )
    here.clock.advance(timedelta(seconds=10))
    instance.attest(here)
    why = explained(here, instance).why
    assert why.cause.finding.code == "unknown_measurement"
    assert why.passed_since == here.clock.now()


def test_a_register_is_told_from_the_boot_that_agrees_most(here: World) -> None:
    good = tpm_machines.ready(here)
    tpm_machines.describe(
        here, "another", {n: secrets.token_bytes(32) for n in range(9)}, covers={}, trusting=99
    )
    bad = _Rebooted(label=good.label)
    instance = tpm_machines.TpmInstance(here.plane.trust, machine=bad, made=here.clock.now())
    assert instance.enroll(here).code == "unknown_measurement"
    cause = explained(here, instance).why.cause
    assert cause.finding.claim == "claims.measurements[pcr8]"
    assert cause.near.nearest.set_name == BOOT_SET
    assert cause.near.nearest.value == good.pcrs["sha256"][8].hex()
    assert cause.near.nearest.agreeing == 8


class _Rebooted(Machine):
    """The reviewed boot but for what its loader measured: another kernel command line."""

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        return {"sha256": Machine(label=self.label).pcrs["sha256"] | {8: bytes(31) + b"\x08"}}


def test_a_level_is_told_from_the_floor_of_its_component(here: World) -> None:
    document = {
        "name": "floors",
        "not_after": None,
        "values": [{"kind": "tcb_floor", "key": "snp/Milan", "value": {"snp": 200}}],
    }
    here.plane.admin.references.import_set(here.admin, json.dumps(document).encode(), activate=True)
    instance = Instance(here.plane.trust)
    instance.enroll(here)
    cause = explained(here, instance).why.cause
    assert cause.finding.code == "tcb_below_floor"
    assert cause.finding.claim == "claims.tcb.reported.snp"
    assert {one.value for one in cause.near.accepted} == {">= 8", ">= 200"}


def test_a_workload_that_is_refused_beside_a_good_posture_is_a_denial(here: World) -> None:
    create_workload(here.plane, here.admin, "lonely", max_instances=1)
    first, second = admitted(here), admitted(here)
    first.attest(here, ("lonely",))
    second.attest(here, ("lonely",))
    why = explained(here, second).why
    assert (why.outcome, why.cause.finding.workload) == ("passed", "lonely")
    assert why.cause.finding.code == "too_many_instances"
    assert why.cause.passed.at is None


def test_a_node_that_waits_is_told_what_it_waits_for(here: World) -> None:
    instance = Instance(here.plane.trust, platform=chip("basement"))
    instance.enroll(here)
    why = explained(here, instance).why
    assert (why.outcome, why.cause.finding.code) == ("pended", "platform_unknown")
    assert "allow-list" in why.cause.mend


def test_a_node_in_order_has_nothing_held_against_it(here: World) -> None:
    instance = admitted(here)
    here.clock.advance(timedelta(seconds=1))
    instance.attest(here)
    found = explained(here, instance)
    assert found.why is None
    assert [d.kind for d in found.decisions] == ["attest", "enroll"]


def test_the_newest_of_decisions_and_attempts_is_why(here: World) -> None:
    instance = leased(here)
    thief = instance.copy()
    for _ in range(2):
        here.clock.advance(timedelta(seconds=5))
        instance.attest(here)
    with pytest.raises(Refused):
        thief.attest(here)
    why = explained(here, instance).why
    assert (why.code, why.cause.finding.code) == ("clone_detected", "clone_detected")


# Who may read, and what is left of it.


def test_a_reading_is_in_the_log_before_its_answer(here: World) -> None:
    instance = admitted(here)
    explained(here, instance)
    entries = here.rows("SELECT body FROM audit_entries WHERE kind = 'explanation.read'")
    (body,) = (json.loads(str(row[0])) for row in entries)  # noqa: TID251 - our own record
    assert body == {
        "by": {"id": here.admin.principal_id, "name": here.admin.name},
        "node": instance.node_id,
    }


def test_readings_are_limited_for_each_principal(here: World) -> None:
    instance = admitted(here)
    auditor = principal(here, Role.auditor)
    for _ in range(READINGS):
        here.plane.admin.explanations.of_node(auditor, instance.node_id)
    with pytest.raises(Refused) as caught:
        here.plane.admin.explanations.of_node(auditor, instance.node_id)
    assert caught.value.code is Code.rate_limited
    explained(here, instance)  # another's allowance is his own
    here.clock.advance(timedelta(seconds=1))
    here.plane.admin.explanations.of_node(auditor, instance.node_id)


@pytest.mark.parametrize("quote", ["", "a" * 65, "a b", "../x", "\x1b[31m"])
def test_what_is_no_correlation_id_is_refused(here: World, quote: str) -> None:
    with pytest.raises(Refused) as caught:
        here.plane.admin.explanations.of_correlation(here.admin, quote)
    assert caught.value.code is Code.invalid_request


def test_a_correlation_id_that_nobody_quoted_is_not_found(here: World) -> None:
    with pytest.raises(NotFound):
        here.plane.admin.explanations.of_correlation(here.admin, "0123456789abcdef")


def test_a_set_that_the_reader_may_not_read_is_not_told(here: World) -> None:
    """F26: nearest only within what the reader may read."""
    instance = Instance(here.plane.trust, measurement=secrets.token_bytes(48))
    instance.enroll(here)
    finding = explained(here, instance).why.cause.finding

    def near(*, readable: bool) -> object:
        return here.plane.database.read(
            lambda tx: Surroundings(
                tx=tx,
                claims={},
                now=here.clock.now(),
                readable=lambda name: readable and name == IMAGES,
            ).near(finding)
        )

    assert near(readable=True).nearest.set_name == IMAGES
    hidden = near(readable=False)
    assert (hidden.nearest, hidden.accepted, hidden.more, hidden.hidden) == (None, (), 0, True)


def test_an_attempt_names_no_reference_value(here: World) -> None:
    instance = admitted(here)
    shown = instance.presented(here, Purpose.ATTEST)
    call = replace(instance.attest_call(replace(shown, binding=b"")), correlation_id="quote")
    with pytest.raises(Refused):
        here.plane.attestation.attest(call)
    cause = here.plane.admin.explanations.of_correlation(here.admin, "quote").cause
    assert cause.finding.code == "malformed"
    assert (cause.near.nearest, cause.near.hidden) == (None, False)


def test_a_register_of_a_guest_is_told_by_its_own_name(here: World) -> None:
    """TDX: RTMRs are compared with values of the same RTMR, of the set that agrees most."""
    good = {name: secrets.token_hex(48) for name in ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")}
    values = [
        {
            "kind": "register",
            "key": f"tdx/{name}/{digest}",
            "value": {"name": f"td 1.0, {name}", "components": [], "trust_config": None},
        }
        for name, digest in good.items()
    ]
    document = {"name": "trust-domains", "not_after": None, "values": values}
    here.plane.admin.references.import_set(here.admin, json.dumps(document).encode(), activate=True)
    found = good | {"rtmr2": "ee" * 48}
    measured = [{"name": n, "algorithm": "sha384", "digest": d} for n, d in found.items()]
    facts = [{"name": "kernel_command_line", "value": "quiet", "register": 2, "standing": "x"}]
    claims = {"tee": "tdx", "product": "TDX", "measurements": measured, "boot": {"facts": facts}}
    one = Finding(
        code="unknown_measurement",
        source=Source.policy,
        rule="sealward.appraisal",
        layer="organisation",
        claim="claims.measurements[rtmr2]",
        expected=None,
        actual=found["rtmr2"],
    )

    def read(tx: Transaction) -> tuple[Neighbourhood, tuple[str, ...]]:
        around = Surroundings(
            tx=tx, claims=claims, now=here.clock.now(), readable=lambda _name: True
        )
        return around.near(one), around.events(one)

    near, events = here.plane.database.read(read)
    assert (near.nearest.value, near.nearest.agreeing) == (good["rtmr2"], 4)
    assert [one.name for one in near.accepted] == ["td 1.0, rtmr2"]
    assert events == ("kernel_command_line = quiet (x)",)
