"""Attestation results: what they say, until when, for whom; and the life of their keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from fakes.admin_plane import NODE_ID, START, AdminPlane, bearer
from fakes.ear_findings import DIGESTS, GOOD, decision_of, evidence_of, finding_of

from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.domain.keys import RESULT_KEY_LIFE
from sealward.controlplane.domain.nodes import ClockClass, NodeState
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.services.attestation_results import (
    ResultIssuer,
    ResultRequest,
    result_end,
)
from sealward.controlplane.services.lapses import Housekeeper
from sealward.verifier.rats.attestation_result import AttestationResult, InvalidResult, verify
from sealward.verifier.rats.result import Posture, Tier
from sealward.verifier.rats.result_keys import ResultKey, decode_set

BANK = "https://bank.example"
NONCE = bytes(range(8))
_NODE_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
SPKI = _NODE_KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
NODE_KEY = ResultKey.from_spki(SPKI)


def issue(plane: AdminPlane, **changes: Any) -> str:  # noqa: ANN401 - passed on
    issuer = ResultIssuer(plane.keystore, "development.example")
    finding = finding_of(START, SPKI, **changes)
    request = ResultRequest(BANK, NONCE)
    return issuer.issue(finding, request, result_id="0f" * 16, now=START).text


def read(plane: AdminPlane, token: str, now: datetime = START) -> AttestationResult:
    keys = decode_set(plane.services.node_results.key_set())
    return verify(token, keys=keys, audience=BANK, presenter=NODE_KEY, nonce=NONCE, now=now)


def statuses(plane: AdminPlane, **changes: Any) -> dict[str, Tier]:  # noqa: ANN401 - as above
    return {one.label: one.status for one in read(plane, issue(plane, **changes)).appraisals}


def attested(plane: AdminPlane, **changes: Any) -> Principal:  # noqa: ANN401 - as above
    """A node with evidence on record, and an administrator."""
    plane.add_node(tls_spki=SPKI, development=False, clock=ClockClass.protected, **changes)
    plane.database.write(lambda tx: tx.evidence.put(evidence_of(START)))
    plane.database.write(lambda tx: tx.decisions.add(decision_of(START)))
    return plane.administrator().principal


# --- what it says -------------------------------------------------------------------------------


def test_an_independent_library_verifies_and_reads_every_claim(plane: AdminPlane) -> None:
    token = issue(plane)
    key = plane.keystore.result_keys()[0]
    assert jwt.get_unverified_header(token) == {
        "alg": "ES256",
        "typ": "eat+jwt",
        "kid": ResultKey.from_spki(key.spki).key_id,
    }
    public = load_der_public_key(key.spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    skip = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, public, algorithms=["ES256"], audience=BANK, options=skip)
    policy = claims["submods"]["snp"].pop("ear.appraisal-policy-id")
    collateral = claims["ear.sealward"].pop("collateral")
    assert len(collateral) == 64
    assert policy.startswith("sealward:appraisal:sha256:")
    assert claims == {
        "eat_profile": "tag:github.com,2023:veraison/ear",
        "iss": "development.example",
        "sub": NODE_ID,
        "aud": BANK,
        "iat": int(START.timestamp()),
        "exp": int(START.timestamp()) + 300,
        "jti": "0f" * 16,
        "eat_nonce": "AAECAwQFBgc",
        "cnf": {"jkt": NODE_KEY.key_id},
        "ear.verifier-id": {"developer": "sealward", "build": "sealward 0 sha256:03"},
        "submods": {"snp": {"ear.status": "affirming", "ear.trustworthiness-vector": GOOD}},
        "ear.sealward": {
            "development": False,
            "as_of": START.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "evidence": "01" * 32,
            "policies": {
                "appraisal/organisation": DIGESTS["policy:appraisal/organisation"],
                "release/organisation": DIGESTS["policy:release/organisation"],
            },
            "reference": DIGESTS["reference"],
            "trust_anchors": "04" * 32,
        },
    }


def test_a_development_root_is_said_twice(plane: AdminPlane) -> None:
    result = read(plane, issue(plane, vector={**GOOD, "hardware": 96}, development=True))
    assert result.basis.development
    assert result.status is Tier.CONTRAINDICATED


def test_every_device_has_a_vector_and_a_status_of_its_own(plane: AdminPlane) -> None:
    vector = {**GOOD, "submods": {"gpu-0": GOOD, "gpu-1": {**GOOD, "executables": 32}}}
    assert statuses(plane, vector=vector, devices=("gpu-0", "gpu-1")) == {
        "snp": Tier.AFFIRMING,
        "gpu-0": Tier.AFFIRMING,
        "gpu-1": Tier.WARNING,
    }


@pytest.mark.parametrize("posture", [Posture.QUARANTINED, Posture.STALE, Posture.NONCOMPLIANT])
def test_a_node_that_does_not_pass_is_never_called_good(
    plane: AdminPlane, posture: Posture
) -> None:
    assert statuses(plane, posture=posture) == {"snp": Tier.CONTRAINDICATED}


def test_silence_about_a_claim_that_is_required_is_contraindicated(plane: AdminPlane) -> None:
    assert statuses(plane, vector={**GOOD, "executables": 0}) == {"snp": Tier.CONTRAINDICATED}


# --- until when ---------------------------------------------------------------------------------


def test_a_result_never_outlives_what_it_rests_on() -> None:
    def end(*ends: timedelta, clock: ClockClass = ClockClass.protected) -> timedelta:
        limits = [Limit("collateral", START + ends[0])] if ends else []
        leases = [START + one for one in ends[1:]]
        return result_end(as_of=START, clock=clock, limits=limits, lease_ends=leases) - START

    assert end() == timedelta(seconds=300)
    assert end(clock=ClockClass.host) == timedelta(seconds=60)
    assert end(timedelta(seconds=90)) == timedelta(seconds=90)
    assert end(timedelta(days=1), timedelta(seconds=40), timedelta(hours=1)) == timedelta(
        seconds=40
    )


def test_nothing_is_said_that_would_not_hold_for_another_second(plane: AdminPlane) -> None:
    issuer = ResultIssuer(plane.keystore, "development.example")
    finding = replace(finding_of(START, SPKI), until=START + timedelta(milliseconds=999))
    with pytest.raises(Refused) as caught:
        issuer.issue(finding, ResultRequest(BANK), result_id="0f" * 16, now=START)
    assert caught.value.code is Code.horizon_passed


@pytest.mark.parametrize(
    "request_",
    [
        ResultRequest(""),
        ResultRequest("a" * 257),
        ResultRequest("two words"),
        ResultRequest("caf\u00e9"),
        ResultRequest("line\n"),
        ResultRequest(BANK, bytes(7)),
        ResultRequest(BANK, bytes(65)),
    ],
)
def test_a_request_that_no_result_can_answer_is_refused(request_: ResultRequest) -> None:
    with pytest.raises(Refused) as caught:
        request_.require_valid()
    assert caught.value.code is Code.invalid_request


# --- for administrators -------------------------------------------------------------------------


def test_an_administrator_gets_a_result_of_the_evidence_on_record(plane: AdminPlane) -> None:
    alice = attested(plane)
    plane.clock.advance(timedelta(seconds=20))
    issued = plane.services.node_results.issue(alice, NODE_ID, ResultRequest(BANK, NONCE))
    assert issued.expires == START + timedelta(seconds=300)
    result = read(plane, issued.text, plane.clock.now())
    assert (result.result_id, result.status) == (issued.result_id, Tier.AFFIRMING)
    stored = plane.everything_stored()
    assert issued.result_id in stored
    assert issued.text.rpartition(".")[2] not in stored


def test_a_result_follows_what_was_decided_since(plane: AdminPlane) -> None:
    alice = attested(plane, posture=Posture.NONCOMPLIANT)
    issued = plane.services.node_results.issue(alice, NODE_ID, ResultRequest(BANK, NONCE))
    assert read(plane, issued.text).status is Tier.CONTRAINDICATED


def test_evidence_that_is_too_old_gives_no_result(plane: AdminPlane) -> None:
    alice = attested(plane)
    plane.clock.advance(timedelta(seconds=300))
    with pytest.raises(Refused) as caught:
        plane.services.node_results.issue(alice, NODE_ID, ResultRequest(BANK))
    assert caught.value.code is Code.horizon_passed


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": NodeState.pending}, Code.node_pending),
        ({"state": NodeState.retired}, Code.node_retired),
        ({"quarantined": START}, Code.node_quarantined),
    ],
)
def test_only_nodes_that_may_attest_are_spoken_for(
    plane: AdminPlane, changes: dict[str, Any], code: Code
) -> None:
    alice = attested(plane, **changes)
    with pytest.raises(Refused) as caught:
        plane.services.node_results.issue(alice, NODE_ID, ResultRequest(BANK))
    assert caught.value.code is code


def test_a_node_without_evidence_has_no_result(plane: AdminPlane) -> None:
    plane.add_node(tls_spki=SPKI)
    alice = plane.administrator().principal
    with pytest.raises(Refused) as caught:
        plane.services.node_results.issue(alice, NODE_ID, ResultRequest(BANK))
    assert caught.value.code is Code.horizon_passed
    with pytest.raises(NotFound):
        plane.services.node_results.issue(alice, "00" * 32, ResultRequest(BANK))


# --- keys ---------------------------------------------------------------------------------------


def test_a_result_outlives_the_rotation_of_its_key_and_not_its_revocation(
    plane: AdminPlane,
) -> None:
    alice = attested(plane)
    plane.keystore.rotate_result_key(START - timedelta(days=1), keep_previous=False)
    token = issue(plane)
    plane.services.node_results.rotate(alice, revoke=False)
    assert len(decode_set(plane.services.node_results.key_set())) == 2
    read(plane, token)
    plane.services.node_results.rotate(alice, revoke=True)
    with pytest.raises(InvalidResult, match="unknown_key"):
        read(plane, token)


def test_a_key_is_not_replaced_while_results_of_the_one_before_it_are_in_use(
    plane: AdminPlane,
) -> None:
    alice = attested(plane)
    plane.services.node_results.rotate(alice, revoke=True)
    plane.clock.advance(timedelta(minutes=59))
    with pytest.raises(Conflict) as caught:
        plane.services.node_results.rotate(alice, revoke=False)
    assert caught.value.code is Code.state_changed
    plane.clock.advance(timedelta(minutes=1))
    plane.services.node_results.rotate(alice, revoke=False)


def test_housekeeping_replaces_a_key_whose_life_is_over_and_records_it(plane: AdminPlane) -> None:
    house = Housekeeper(plane.database, plane.keystore, plane.clock, bytes)
    plane.keystore.rotate_result_key(START - RESULT_KEY_LIFE, keep_previous=False)
    old = plane.keystore.result_keys()[0]
    house.run()
    fresh, kept = plane.keystore.result_keys()
    assert (fresh.made, kept) == (START, old)
    assert "result_key.replaced" in plane.everything_stored()
    house.run()
    assert plane.keystore.result_keys() == (fresh, kept)


# --- over HTTP ----------------------------------------------------------------------------------


def test_the_keys_are_open_to_anybody(plane: AdminPlane) -> None:
    answer = plane.client.request("GET", "/v1/result-keys")
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "application/jwk-set+json",
    )
    assert [one.key_id for one in decode_set(answer.content)] == [
        ResultKey.from_spki(plane.keystore.result_keys()[0].spki).key_id
    ]


def test_a_result_over_http_is_for_those_with_the_right(plane: AdminPlane) -> None:
    alice = attested(plane)
    body = {"audience": BANK, "nonce": "AAECAwQFBgc"}
    path = f"/v1/nodes/{NODE_ID}/results"
    operator, viewer = (plane.token_for(alice, role) for role in (Role.operator, Role.viewer))
    answer = plane.client.post(path, headers=bearer(operator), json=body)
    assert answer.status_code == 201, answer.text
    assert read(plane, answer.json()["token"]).status is Tier.AFFIRMING
    assert plane.client.post(path, headers=bearer(viewer), json=body).status_code == 403
    wrong = plane.client.post(path, headers=bearer(operator), json={**body, "nonce": "A=="})
    assert wrong.json()["code"] == "invalid_request"
