"""The service's verifier and `sealward verify` read the same evidence the same way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fakes.control_plane import World, chip, masked_chip
from fakes.instances import Instance

from sealward.controlplane.cli.verify import verify
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.services.evidence import MAX_EVIDENCE_BYTES
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats.binding import Binding, Purpose
from sealward.verifier.wire import json


def shown(file: Path, root: Path, here: World) -> dict[str, Any]:
    """What the command shows of an envelope in a file."""
    at = here.clock.now().isoformat()
    how = [str(file), "--json", "--at", at, "--development-root", str(root)]
    result = CliRunner().invoke(verify, how)
    value = json.decode(result.output.encode(), what="output", max_bytes=1 << 20)
    assert isinstance(value, dict)
    assert value["verified"] is (result.exit_code == 0)
    return value


@pytest.mark.parametrize("masked", [False, True], ids=["VCEK", "masked"])
@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_the_same_claims_on_both_ways(
    here: World, tmp_path: Path, version: int, *, masked: bool
) -> None:
    instance = Instance(here.plane.trust, platform=masked_chip() if masked else chip())
    envelope = instance.evidence(b"a binding", report_version=version)
    gate = here.plane.attestation.gate
    authenticated = gate._verifier.verify(envelope, here.clock.now())  # noqa: SLF001 - the very verifier in use
    (tmp_path / "evidence").write_bytes(envelope)
    command = shown(tmp_path / "evidence", tmp_path / "root.der", here)
    # The instant is in both: provenance names when each claim was attested.
    assert command["claims"] == _as_json(authenticated.claims.to_json())
    assert authenticated.bound == bindings.digest(b"a binding")
    ends = {limit.cause: limit.until for limit in authenticated.limits}
    assert ends["certificate of the platform"] == authenticated.claims.collateral.not_after


def _as_json(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return json.decode(json.canonical(value), what="claims", max_bytes=1 << 20)


@pytest.mark.parametrize("damage", ["report", "certificate", "root"])
def test_the_same_refusal_on_both_ways(here: World, tmp_path: Path, damage: str) -> None:
    instance = Instance(here.plane.trust)
    presented = instance.presented(here, Purpose.ENROLL)
    whole = presented.evidence
    at = {"report": 300, "certificate": 1700, "root": len(whole) - 100}[damage]
    envelope = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    (tmp_path / "evidence").write_bytes(envelope)
    command = shown(tmp_path / "evidence", tmp_path / "root.der", here)
    call = instance.enroll_call(_with(presented, envelope))
    with pytest.raises(Refused) as caught:
        here.plane.enrollment.enroll(call)
    assert command["verified"] is False
    if damage == "root":  # the command has the root that it was given beside the damaged one
        assert caught.value.code is Code.evidence_refused
    elif caught.value.code is Code.evidence_refused:
        assert caught.value.detail.startswith(f"{command['error']['code']}: ")
    else:
        assert (caught.value.code, command["error"]["code"]) == (
            Code.evidence_malformed,
            "malformed",
        )


def _with(presented: Any, envelope: bytes) -> Any:  # noqa: ANN401 - Presented
    return replace(presented, evidence=envelope)


def test_the_checks_come_in_order_of_cost(here: World) -> None:
    """F30: what is wrong with the binding is said before any signature of evidence is looked at."""
    instance = Instance(here.plane.trust)
    presented = instance.presented(here, Purpose.ENROLL, tenant="other")
    call = instance.enroll_call(_with(presented, b"no evidence"))
    with pytest.raises(Refused) as caught:
        here.plane.enrollment.enroll(call)
    assert caught.value.code is Code.tenant_mismatch
    too_large = _with(instance.presented(here, Purpose.ENROLL), bytes(MAX_EVIDENCE_BYTES + 1))
    with pytest.raises(Refused) as caught:
        here.plane.enrollment.enroll(instance.enroll_call(too_large))
    assert caught.value.code is Code.payload_too_large


def test_a_tickets_key_may_rotate_once_while_it_is_on_its_way(here: World) -> None:
    instance = Instance(here.plane.trust)
    first = instance.presented(here, Purpose.ENROLL)
    keystore: Any = here.plane.enrollment.keystore
    keystore.rotate_challenge_mac()
    assert here.plane.enrollment.enroll(instance.enroll_call(first)).code == ""
    second = instance.presented(here, Purpose.ENROLL)
    keystore.rotate_challenge_mac()
    keystore.rotate_challenge_mac()
    with pytest.raises(Refused) as caught:
        here.plane.enrollment.enroll(instance.enroll_call(second))
    assert caught.value.code is Code.challenge_invalid


def test_asking_for_a_challenge_writes_nothing(here: World) -> None:
    """F10."""
    instance = Instance(here.plane.trust)
    before = here.content()
    tickets = {
        here.plane.challenges.issue(Purpose.ENROLL, instance.keys.tls_spki).ticket
        for _ in range(50)
    }
    assert len(tickets) == 50
    assert all(len(ticket) <= 512 for ticket in tickets)
    assert here.content() == before


def test_a_spent_challenge_is_forgotten_only_when_nobody_can_redeem_it(here: World) -> None:
    instance = Instance(here.plane.trust)
    presented = instance.presented(here, Purpose.ENROLL)
    here.plane.enrollment.enroll(instance.enroll_call(presented))
    here.clock.advance(timedelta(seconds=29))
    here.plane.housekeeper.run()
    assert here.rows("SELECT count(*) FROM spent_challenges") == [(1,)]
    here.clock.advance(timedelta(seconds=5))
    here.plane.housekeeper.run()
    assert here.rows("SELECT count(*) FROM spent_challenges") == [(0,)]
    late = _received(presented, here)
    with pytest.raises(Refused) as caught:
        here.plane.enrollment.enroll(instance.enroll_call(late))
    assert caught.value.code is Code.challenge_expired
    assert Binding.decode(late.binding).nonce


def _received(presented: Any, here: World) -> Any:  # noqa: ANN401 - Presented
    return replace(presented, received=here.clock.now())
