"""Each rule of a CCA token refuses what breaks it, and nothing else does."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest
from fakes import arm_tokens as arm
from fakes.arm_tokens import COMPONENT

from sealward.verifier import registry
from sealward.verifier.formats.cca import claims, evidence, token, verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import CCA_EVIDENCE, Record, encode
from sealward.verifier.rats.result import VerdictCode

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANCHOR = arm.anchor(Scheme.CCA)


def authenticate(
    data: bytes, *keys: InstanceKey, cache: ChainCache | None = None
) -> verify.VerifiedToken:
    return verify.authenticate(data, keys=keys or (ANCHOR,), cache=cache or ChainCache())


def refusal(data: bytes, *keys: InstanceKey, cache: ChainCache | None = None) -> RefusedEvidence:
    with pytest.raises(RefusedEvidence) as caught:
        authenticate(data, *keys, cache=cache)
    return caught.value


@pytest.mark.parametrize("tag", [399, 907])
@pytest.mark.parametrize("legacy", [True, False])
def test_both_forms_verify_with_either_profile(tag: int, *, legacy: bool) -> None:
    verified = authenticate(arm.cca(tag=tag, legacy=legacy))
    assert verified.token.tag == tag
    assert verified.token.realm.profile == (None if legacy else token.REALM_PROFILE)
    assert claims.normalise(verified, now=NOW).format_version == (1 if legacy else 2)


def test_a_platform_may_sign_with_p384_too() -> None:
    key = arm.anchor(Scheme.CCA, curve="secp384r1")
    assert authenticate(arm.cca(platform_curve="secp384r1"), key).anchor is key


def test_a_platform_key_of_another_curve_or_kind_is_refused() -> None:
    p384 = arm.anchor(Scheme.CCA, curve="secp384r1")
    assert refusal(arm.cca(), p384).code is Code.ALGORITHM_FORBIDDEN
    p521 = arm.anchor(Scheme.CCA, curve="secp521r1")
    assert refusal(arm.cca(platform_curve="secp521r1"), p521).code is Code.CERTIFICATE_FORBIDDEN
    junk = InstanceKey(scheme=Scheme.CCA, spki=b"junk")
    assert refusal(arm.cca(), junk).code is Code.CERTIFICATE_FORBIDDEN
    secret = InstanceKey(scheme=Scheme.CCA, secret=arm.SECRET)
    assert refusal(arm.cca(), secret).code is Code.ENDORSEMENT_MISSING


@pytest.mark.parametrize("lifecycle", [0x3000, 0x3001, 0x30FF])
def test_a_secured_platform_is_taken(lifecycle: int) -> None:
    shown = claims.normalise(authenticate(arm.cca(platform_changes={2395: lifecycle})), now=NOW)
    assert (shown.debug, shown.verdicts) == (False, ())


@pytest.mark.parametrize("lifecycle", [0x4000, 0x40FF, 0x5000, 0x50FF])
def test_a_platform_in_debug_is_genuine_and_that_is_held_against_it(lifecycle: int) -> None:
    shown = claims.normalise(authenticate(arm.cca(platform_changes={2395: lifecycle})), now=NOW)
    assert shown.debug is True
    assert [one.code for one in shown.verdicts] == [VerdictCode.DEBUG_ENABLED]


@pytest.mark.parametrize("lifecycle", [0, 0x1000, 0x2FFF, 0x3100, 0x4100, 0x6000, 0xFFFF])
def test_a_platform_in_any_other_state_is_refused(lifecycle: int) -> None:
    error = refusal(arm.cca(platform_changes={2395: lifecycle}))
    assert error.code is Code.LIFECYCLE_FORBIDDEN
    assert error.claim == "cca.lifecycle"


def test_a_realm_key_that_the_platform_does_not_vouch_for_is_refused() -> None:
    other = arm.realm_key(owner="mallory")
    data = arm.cca(realm_changes={44237: other}, realm_signer="mallory")
    assert refusal(data).code is Code.ATTESTATION_KEY_UNPROVEN


def test_a_realm_token_under_another_key_than_its_own_is_refused() -> None:
    assert refusal(arm.cca(realm_signer="mallory")).code is Code.SIGNATURE_INVALID


@pytest.mark.parametrize("name", ["sha-384", "sha-512"])
def test_the_realm_says_how_its_key_was_hashed(name: str) -> None:
    digest = hashlib.new(name.replace("-", ""), arm.realm_key()).digest()
    authenticate(arm.cca(platform_changes={10: digest}, realm_changes={44240: name}))
    wrong = arm.cca(realm_changes={44240: name})
    assert refusal(wrong).code is Code.ATTESTATION_KEY_UNPROVEN


def test_a_digest_of_the_key_by_an_unknown_algorithm_is_refused() -> None:
    for name in ("sha-1", "SHA-256", "md5"):
        data = arm.cca(realm_changes={44240: name})
        assert refusal(data).code is Code.ALGORITHM_FORBIDDEN


def test_a_realm_token_of_another_algorithm_is_refused() -> None:
    public = arm.realm_key()
    parts = {
        44234: arm.sign1(arm.key("maker"), arm.platform(public)),
        44241: arm.sign1(arm.key("realm"), arm.realm(public)),  # P-256
    }
    assert refusal(arm.wrap(parts)).code is Code.ALGORITHM_FORBIDDEN


BAD_KEYS: dict[str, tuple[bytes, type[Exception]]] = {
    "not on the curve": (
        cbor2.dumps({1: 2, -1: 2, -2: b"\x01" * 48, -3: b"\x02" * 48}),
        RefusedEvidence,
    ),
    "the bare point": (arm.realm_key(legacy=True), MalformedEvidence),
    "P-256": (cbor2.dumps({1: 2, -1: 1, -2: bytes(32), -3: bytes(32)}), MalformedEvidence),
    "short": (cbor2.dumps({1: 2, -1: 2, -2: bytes(47), -3: bytes(48)}), MalformedEvidence),
    "compressed": (cbor2.dumps({1: 2, -1: 2, -2: bytes(48), -3: True}), MalformedEvidence),
    "more": (
        cbor2.dumps({1: 2, -1: 2, -2: bytes(48), -3: bytes(48), 3: -35}),
        MalformedEvidence,
    ),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_a_realm_key_of_another_form_is_refused_though_the_platform_vouches_for_it(
    name: str,
) -> None:
    public, error = BAD_KEYS[name]
    parts = {
        44234: arm.sign1(arm.key("maker"), arm.platform(public)),
        44241: arm.sign1(arm.key("realm", "secp384r1"), arm.realm(public)),
    }
    with pytest.raises(error):
        authenticate(arm.wrap(parts))


def test_a_legacy_key_is_one_uncompressed_point() -> None:
    point = arm.realm_key(legacy=True)
    for public in (point[:-1], b"\x02" + point[1:49], b"\x00", b"\x05" + point[1:]):
        parts = {
            44234: arm.sign1(arm.key("maker"), arm.platform(public)),
            44241: arm.sign1(arm.key("realm", "secp384r1"), arm.realm(public, {265: ...})),
        }
        assert refusal(arm.wrap(parts)).code is Code.CERTIFICATE_FORBIDDEN


@pytest.mark.parametrize(
    "changes",
    [
        {265: ...},
        {265: "http://arm.com/psa/2.0.0"},
        {10: bytes(31)},
        {10: "x"},
        {2396: bytes(31)},
        {256: bytes(33)},
        {256: b"\x01" * 32},
        {2401: ...},
        {2395: 0x10000},
        {2395: -1},
        {2395: True},
        {2399: []},
        {2399: ...},
        {2399: {}},
        {2399: [{}]},
        {2399: [COMPONENT] * 65},
        {2399: [{1: "BL", 2: bytes(32)}]},
        {2399: [{2: bytes(20), 5: bytes(32)}]},
        {2399: [COMPONENT | {3: "x"}]},
        {2399: [COMPONENT | {1: 1}]},
        {2400: 7},
        {2402: ...},
        {9999: 1},
    ],
    ids=str,
)
def test_platform_claims_outside_their_profile_are_malformed(changes: dict[int, Any]) -> None:
    with pytest.raises(MalformedEvidence):
        token.parse(arm.cca(platform_changes=changes))


@pytest.mark.parametrize(
    "changes",
    [
        {265: "tag:arm.com,2023:realm#2.0.0"},
        {10: bytes(32)},
        {10: ...},
        {44235: bytes(63)},
        {44238: bytes(20)},
        {44239: [bytes(32)] * 3},
        {44239: [bytes(32)] * 5},
        {44239: [bytes(32)] * 3 + [b""]},
        {44239: bytes(32)},
        {44236: ...},
        {44237: b""},
        {44237: bytes(257)},
        {44240: 1},
        {1: 1},
    ],
    ids=str,
)
def test_realm_claims_outside_their_profile_are_malformed(changes: dict[int, Any]) -> None:
    with pytest.raises(MalformedEvidence):
        token.parse(arm.cca(realm_changes=changes))


def test_another_outer_form_is_malformed() -> None:
    whole = dict(cbor2.loads(arm.cca(tag=399)).value)  # noqa: TID251 - written here
    wrong = [
        cbor2.dumps(whole),
        arm.wrap(whole, 400),
        arm.wrap({44234: whole[44234]}, 399),
        arm.wrap(whole | {1: b""}, 399),
        arm.cca() + b"\0",
        cbor2.dumps(cbor2.CBORTag(907, whole)),
        cbor2.dumps(cbor2.CBORTag(399, {at: [263, one] for at, one in whole.items()})),
        cbor2.dumps(cbor2.CBORTag(907, {at: [264, one] for at, one in whole.items()})),
        cbor2.dumps(cbor2.CBORTag(907, {at: [263, one, 1] for at, one in whole.items()})),
        arm.wrap({at: one[1:] for at, one in whole.items()}, 399),  # without tag 18
        b"",
    ]
    for data in wrong:
        with pytest.raises(MalformedEvidence):
            token.parse(data)
    with pytest.raises(MalformedEvidence, match="at most 16384"):
        token.parse(arm.cca().ljust(16385, b"\0"))


def test_a_remembered_platform_token_vouches_for_its_own_realm_key_only() -> None:
    cache = ChainCache()
    authenticate(arm.cca(), cache=cache)
    authenticate(arm.cca(), cache=cache)
    other = arm.realm_key(owner="mallory")
    forged = arm.cca(realm_changes={44237: other}, realm_signer="mallory")
    assert refusal(forged, cache=cache).code is Code.ATTESTATION_KEY_UNPROVEN
    renamed = arm.cca(realm_changes={44240: "sha-512"})
    assert refusal(renamed, cache=cache).code is Code.ATTESTATION_KEY_UNPROVEN
    stranger = arm.anchor(Scheme.CCA, owner="mallory")
    assert refusal(arm.cca(), stranger, cache=cache).code is Code.SIGNATURE_INVALID


def test_measurements_are_the_rim_and_the_rems_that_are_not_zero() -> None:
    shown = claims.normalise(authenticate(arm.cca()), now=NOW)
    assert [(one.name, one.algorithm) for one in shown.measurements] == [
        ("rim", "sha384"),
        ("rem1", "sha384"),
    ]


@pytest.mark.parametrize("changes", [{44235: b"\x01" * 64}, {44238: b"\x12" * 48}])
def test_a_realm_made_from_something_else_is_another_instance(changes: dict[int, Any]) -> None:
    one = claims.normalise(authenticate(arm.cca()), now=NOW)
    two = claims.normalise(authenticate(arm.cca(realm_changes=changes)), now=NOW)
    again = claims.normalise(authenticate(arm.cca(realm_changes={10: bytes(64)})), now=NOW)
    assert one.platform_id == two.platform_id
    assert one.instance_value == again.instance_value != two.instance_value


def test_an_envelope_is_verified_under_the_tenants_keys_alone() -> None:
    data = encode(Record(CCA_EVIDENCE, evidence.encode(arm.cca())))
    known = registry.Context(TrustAnchors(), NOW, ChainCache(), keys=(ANCHOR,))
    shown = registry.authenticate(data, known).claims
    assert shown.report_data == bytes(range(64)).hex()
    assert shown.collateral.not_after.year == 9999
    unknown = registry.Context(TrustAnchors(), NOW, ChainCache())
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate(data, unknown)
    assert caught.value.code is Code.ENDORSEMENT_MISSING
    assert [one.role.name for one in registry.recognise(data)] == ["EVIDENCE"]


def test_two_tokens_at_once_are_ambiguous() -> None:
    context = registry.Context(TrustAnchors(), NOW, ChainCache(), keys=(ANCHOR,))
    items = [*registry.recognise(arm.cca()), *registry.recognise(arm.cca(tag=399))]
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(items, context)
    assert caught.value.code is Code.EVIDENCE_AMBIGUOUS
