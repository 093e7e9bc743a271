"""Each rule of a PSA token refuses what breaks it, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fakes import arm_tokens as arm
from fakes.arm_tokens import COMPONENT

from sealward.verifier import registry
from sealward.verifier.formats.psa import claims, evidence, token, verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import PSA_EVIDENCE, Record, encode
from sealward.verifier.rats.result import VerdictCode

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANCHOR = arm.anchor(Scheme.PSA)
SECRET = InstanceKey(scheme=Scheme.PSA, secret=arm.SECRET, instance_id=arm.INSTANCE_ID)


def signed(changes: dict[int, Any] | None = None) -> bytes:
    return arm.sign1(arm.key("maker"), arm.psa_claims(changes))


def signed_1(changes: dict[int, Any] | None = None) -> bytes:
    return arm.sign1(arm.key("maker"), arm.psa_claims_1(changes))


def authenticate(data: bytes, key: InstanceKey = ANCHOR) -> verify.VerifiedToken:
    return verify.authenticate(data, keys=(key,), cache=ChainCache())


def refusal(data: bytes, key: InstanceKey = ANCHOR) -> RefusedEvidence:
    with pytest.raises(RefusedEvidence) as caught:
        authenticate(data, key)
    return caught.value


def codes(data: bytes) -> list[VerdictCode]:
    shown = claims.normalise(authenticate(data), now=NOW)
    return [one.code for one in shown.verdicts]


@pytest.mark.parametrize(
    "profile", ["http://arm.com/psa/2.0.0", "tag:psacertified.org,2023:psa#tfm"]
)
def test_profile_2_verifies_under_both_its_names(profile: str) -> None:
    verified = authenticate(signed({265: profile}))
    assert verified.token.profile == profile
    assert claims.normalise(verified, now=NOW).format_version == 2


@pytest.mark.parametrize("changes", [{}, {-75000: ...}])
def test_profile_1_verifies_and_may_leave_its_name_out(changes: dict[int, Any]) -> None:
    verified = authenticate(signed_1(changes))
    assert verified.token.profile == token.PROFILE_1
    assert verified.token.instance_id == arm.INSTANCE_ID
    assert claims.normalise(verified, now=NOW).format_version == 1


def test_profile_1_may_say_that_nothing_was_measured() -> None:
    verified = authenticate(signed_1({-75006: ..., -75007: 1}))
    assert verified.token.components == ()
    assert claims.normalise(verified, now=NOW).measurements == ()


def test_profile_1_components_may_lack_a_signer() -> None:
    (component,) = authenticate(signed_1({-75006: [{2: bytes(32)}]})).token.components
    assert component.signer_id is None


@pytest.mark.parametrize("changes", [{2397: ...}, {2398: ..., 2400: ...}, {2397: bytes(8)}])
def test_what_profile_2_makes_optional_may_be_absent(changes: dict[int, Any]) -> None:
    authenticate(signed(changes))


def test_es384_is_taken_with_a_p384_key() -> None:
    data = arm.sign1(arm.key("maker", "secp384r1"), arm.psa_claims())
    authenticate(data, arm.anchor(Scheme.PSA, curve="secp384r1"))
    assert refusal(data).code is Code.ALGORITHM_FORBIDDEN


@pytest.mark.parametrize("alg", [-35, -36, -8, 5, 0])
def test_an_algorithm_that_is_not_the_keys_is_refused(alg: int) -> None:
    data = arm.sign1(arm.key("maker"), arm.psa_claims(), alg)
    assert refusal(data).code is Code.ALGORITHM_FORBIDDEN


def test_a_mac_is_checked_where_the_tenant_has_the_secret() -> None:
    data = arm.mac0(arm.SECRET, arm.psa_claims())
    assert authenticate(data, SECRET).anchor is SECRET
    other = InstanceKey(scheme=Scheme.PSA, secret=bytes(32), instance_id=arm.INSTANCE_ID)
    assert refusal(data, other).code is Code.SIGNATURE_INVALID
    truncated = arm.mac0(arm.SECRET, arm.psa_claims(), alg=4)
    assert refusal(truncated, SECRET).code is Code.ALGORITHM_FORBIDDEN


def test_a_mac_is_refused_with_a_reason_where_the_tenant_has_none() -> None:
    error = refusal(arm.mac0(arm.SECRET, arm.psa_claims()))
    assert error.code is Code.ENDORSEMENT_MISSING
    assert "MAC" in error.detail
    assert "secret" in (error.hint or "")


def test_a_signed_token_is_not_checked_with_a_secret() -> None:
    assert refusal(signed(), SECRET).code is Code.ENDORSEMENT_MISSING


def test_the_secret_stays_out_of_the_repr() -> None:
    assert repr(arm.SECRET) not in repr(SECRET)


@pytest.mark.parametrize("fields", [{}, {"spki": b"x", "secret": bytes(32)}, {"secret": bytes(31)}])
def test_an_instance_key_is_one_key_of_enough_bytes(fields: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"public key or a secret|at least 32"):
        InstanceKey(scheme=Scheme.PSA, **fields)


@pytest.mark.parametrize("make", [signed, signed_1])
def test_life_cycles_are_taken_held_against_it_or_refused(make: Any) -> None:  # noqa: ANN401
    key = 2395 if make is signed else -75002
    usual = [VerdictCode.ROOT_OF_TRUST_ONLY]
    assert codes(make({key: 0x30AB})) == usual
    for lifecycle in (0x4000, 0x5001):
        assert codes(make({key: lifecycle})) == [*usual, VerdictCode.DEBUG_ENABLED]
    for lifecycle in (0, 0x1000, 0x2000, 0x3100, 0x6000):
        error = refusal(make({key: lifecycle}))
        assert error.code is Code.LIFECYCLE_FORBIDDEN
        assert error.claim == "psa.lifecycle"


@pytest.mark.parametrize(
    "changes",
    [
        {265: "PSA_IOT_PROFILE_1"},
        {265: ...},
        {10: bytes(16)},
        {10: ...},
        {256: bytes(33)},
        {256: b"\x01" * 34},
        {2394: 0},
        {2394: 1 << 31},
        {2394: "1"},
        {2395: ...},
        {2396: bytes(33)},
        {2397: bytes(7)},
        {2397: bytes(33)},
        {2398: 5},
        {2399: []},
        {2399: [{2: bytes(32)}]},
        {2399: [COMPONENT | {7: 1}]},
        {2400: b""},
        {-75001: 1},
        {5: 1},
    ],
    ids=str,
)
def test_claims_outside_profile_2_are_malformed(changes: dict[int, Any]) -> None:
    with pytest.raises(MalformedEvidence):
        token.parse(signed(changes))


@pytest.mark.parametrize(
    "changes",
    [
        {-75000: "http://arm.com/psa/2.0.0"},
        {-75004: ...},
        {-75004: bytes(31)},
        {-75006: ...},
        {-75007: 1},
        {-75006: ..., -75007: 2},
        {-75008: bytes(20)},
        {-75009: ...},
        {10: bytes(32)},
    ],
    ids=str,
)
def test_claims_outside_profile_1_are_malformed(changes: dict[int, Any]) -> None:
    with pytest.raises(MalformedEvidence):
        token.parse(signed_1(changes))


def test_a_message_without_its_tag_or_with_another_is_malformed() -> None:
    for data in (signed()[1:], b"\xd0" + signed()[1:], signed() + b"\0", b""):
        with pytest.raises(MalformedEvidence):
            token.parse(data)


def test_components_without_a_name_of_their_own_are_numbered() -> None:
    parts = [COMPONENT, COMPONENT | {1: "M"}, COMPONENT, {2: bytes(48), 5: bytes(32)}]
    shown = claims.normalise(authenticate(signed({2399: parts})), now=NOW)
    assert [(one.name, one.algorithm) for one in shown.measurements] == [
        ("component0", "sha256"),
        ("M", "sha256"),
        ("component2", "sha256"),
        ("component3", "sha384"),
    ]


def test_a_reboot_is_another_instance_of_the_same_platform() -> None:
    one, two, same = (
        claims.normalise(authenticate(signed(changes)), now=NOW)
        for changes in ({}, {2397: b"\x01" * 32}, {10: bytes(64)})
    )
    assert one.platform_id == two.platform_id
    assert one.instance_value == same.instance_value != two.instance_value


@pytest.mark.parametrize(("nonce", "taken"), [(64, True), (32, True), (48, False)])
def test_an_envelope_needs_a_nonce_that_can_be_a_binding(nonce: int, *, taken: bool) -> None:
    data = encode(Record(PSA_EVIDENCE, evidence.encode(signed({10: bytes(nonce)}))))
    context = registry.Context(TrustAnchors(), NOW, ChainCache(), keys=(ANCHOR,))
    if taken:
        assert registry.authenticate(data, context).claims.report_data == "00" * nonce
        return
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate(data, context)
    assert caught.value.code is Code.BINDING_MISMATCH


def test_a_token_file_of_either_message_is_recognised() -> None:
    for data in (signed(), signed_1(), arm.mac0(arm.SECRET, arm.psa_claims())):
        assert [one.role.name for one in registry.recognise(data)] == ["EVIDENCE"]
