"""Published CCA tokens come out as the manifest of the vectors says, by every way in."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from fakes import arm_vectors
from fakes.arm_vectors import Vector

from sealward.verifier import registry
from sealward.verifier.formats.cca import evidence, token, verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats.errors import Code, RefusedEvidence, VerifierError
from sealward.verifier.rats.evidence import CCA_EVIDENCE, Record, encode

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDS = (
    *("cca-coco-fvp", "cca-veraison-e2e", "cca-veraison-armcca"),
    *("cca-907-new-profile", "cca-399-new-profile"),
)


@pytest.fixture(scope="module")
def vectors(vectors_dir: Path) -> dict[str, Vector]:
    return {one.id: one for one in arm_vectors.load(vectors_dir, Scheme.CCA)}


def context(*keys: InstanceKey) -> registry.Context:
    return registry.Context(TrustAnchors(), NOW, ChainCache(), keys=keys)


def by_pieces(vector: Vector) -> registry.Verified:
    return registry.authenticate_items(registry.recognise(vector.token), context(vector.key))


def by_envelope(vector: Vector) -> registry.Verified:
    envelope = encode(Record(CCA_EVIDENCE, evidence.encode(vector.token)))
    instance = vector.expect["platform"]["256"]
    return registry.authenticate(envelope, context(vector.key_of(instance)))


def test_the_vectors_are_those_we_know(vectors: dict[str, Vector]) -> None:
    assert tuple(vectors) == IDS
    assert all(vector.verifies for vector in vectors.values())


@pytest.mark.parametrize("way", [by_pieces, by_envelope])
def test_every_vector_shows_exactly_the_fields_the_manifest_expects(
    vectors: dict[str, Vector],
    way: Any,  # noqa: ANN401 - either way
) -> None:
    for vector in vectors.values():
        shown = way(vector).details()["token"]
        assert arm_vectors.cca_in_manifest_words(shown) == vector.expect, vector.id
        form = "cose-key" if shown["realm"]["profile"] else "raw-point"
        assert (shown["tag"], form) == (vector.checked["outer_tag"], vector.checked["rak_form"])
        assert shown["platform"]["algorithm"] == vector.checked["platform_alg"]
        assert shown["realm"]["algorithm"] == vector.checked["realm_alg"]
        assert shown["realm"]["key_hash_algorithm"] == vector.checked["rak_hash_alg"]


def test_the_claims_are_those_of_realm_and_platform(vectors: dict[str, Vector]) -> None:
    for vector in vectors.values():
        claims: dict[str, Any] = by_envelope(vector).claims.to_json()
        platform, realm = vector.expect["platform"], vector.expect["realm"]
        assert claims["tee"] == "cca"
        assert claims["format_version"] == (1 if "CCA-SSD" in platform["265"] else 2)
        assert claims["platform_id"] == f"cca:instance:{platform['256']}"
        assert claims["report_data"] == realm["10"]
        measured = {one["name"]: one["digest"] for one in claims["measurements"]}
        rems = {f"rem{at}": rem for at, rem in enumerate(realm["44239"]) if rem.strip("0")}
        assert measured == {"rim": realm["44238"]} | rems
        assert claims["cca"]["lifecycle_state"] == "secured"
        assert (claims["memory_encrypted"], claims["provider_in_tcb"]) == (True, False)
        assert claims["verdicts"] == []


def test_realms_of_different_vectors_are_different_instances(vectors: dict[str, Vector]) -> None:
    found = {by_pieces(vector).claims.instance_value for vector in vectors.values()}
    # The two forms of the new profile, and the token of the e2e tests, hold one realm and platform.
    assert len(found) == 3


def test_a_key_that_lay_beside_the_token_vouches_for_nothing(vectors: dict[str, Vector]) -> None:
    for vector in vectors.values():
        items = [*registry.recognise(vector.pem), *registry.recognise(vector.token)]
        verified = registry.authenticate_items(items, context())
        assert [one.code.value for one in verified.claims.verdicts] == ["key_residency_unproven"]
        assert verified.claims.platform_id is None
        assert verified.claims.collateral.not_after == NOW


def test_a_trust_anchor_is_not_replaced_by_a_key_beside_the_token(
    vectors: dict[str, Vector],
) -> None:
    mine, other = vectors["cca-coco-fvp"], vectors["cca-veraison-e2e"]
    items = [*registry.recognise(mine.pem), *registry.recognise(mine.token)]
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(items, context(other.key))
    assert caught.value.code is Code.ALGORITHM_FORBIDDEN


def test_a_key_of_another_instance_implementation_or_scheme_is_no_key(
    vectors: dict[str, Vector],
) -> None:
    vector = vectors["cca-veraison-e2e"]
    spki = vector.key.spki
    instance = bytes.fromhex(vector.expect["platform"]["256"])
    implementation = bytes.fromhex(vector.expect["platform"]["2396"])
    fits = InstanceKey(
        scheme=Scheme.CCA, spki=spki, instance_id=instance, implementation_id=implementation
    )
    verify.authenticate(vector.token, keys=(fits,), cache=ChainCache())
    for keys in (
        (),
        (InstanceKey(scheme=Scheme.PSA, spki=spki),),
        (InstanceKey(scheme=Scheme.CCA, spki=spki, instance_id=b"\x01" * 33),),
        (
            InstanceKey(
                scheme=Scheme.CCA, spki=spki, instance_id=instance, implementation_id=b"\x01" * 32
            ),
        ),
    ):
        with pytest.raises(RefusedEvidence) as caught:
            verify.authenticate(vector.token, keys=keys, cache=ChainCache())
        assert caught.value.code is Code.ENDORSEMENT_MISSING
    with pytest.raises(RefusedEvidence) as caught:
        verify.authenticate(vector.token, keys=(fits, vector.key), cache=ChainCache())
    assert caught.value.code is Code.EVIDENCE_AMBIGUOUS


def test_no_part_of_one_token_verifies_in_another(vectors: dict[str, Vector]) -> None:
    forms = [one for one in vectors.values() if token.parse(one.token).tag == token.LEGACY_TAG]
    for mine, other in permutations(forms, 2):
        a, b = token.parse(mine.token), token.parse(other.token)
        if a.platform_bytes == b.platform_bytes:
            continue
        start = mine.token.index(a.platform_bytes) + len(a.platform_bytes)
        theirs = other.token.index(b.platform_bytes) + len(b.platform_bytes)
        mixed = mine.token[:start] + other.token[theirs:]
        same = a.realm.public_key == b.realm.public_key and (
            a.realm.key_hash_algorithm == b.realm.key_hash_algorithm
        )
        if same:  # one platform boot, two tokens: not a mixture that anybody could tell
            continue
        with pytest.raises(RefusedEvidence) as caught:
            verify.authenticate(mixed, keys=(mine.key,), cache=ChainCache())
        assert caught.value.code is Code.ATTESTATION_KEY_UNPROVEN


def signed_positions(data: bytes) -> list[int]:
    parsed = token.parse(data)
    found: list[int] = []
    for message in (parsed.platform_message, parsed.realm_message):
        start = data.index(message.payload)
        header = data.rindex(message.protected, 0, start)
        found += range(header, header + len(message.protected))
        found += range(start, start + len(message.payload))
    return found


def flipped_everywhere(vector: Vector, masks: tuple[int, ...]) -> None:
    cache, keys = ChainCache(), (vector.key,)
    for at in signed_positions(vector.token):
        for mask in masks:
            damaged = bytearray(vector.token)
            damaged[at] ^= mask
            try:
                verify.authenticate(bytes(damaged), keys=keys, cache=cache)
            except VerifierError:
                continue
            pytest.fail(f"{vector.id}: byte {at:#x} xor {mask:#x} was accepted")


@pytest.mark.parametrize("number", range(len(IDS)), ids=IDS)
def test_one_xor_at_every_position_of_the_signed_regions_is_refused(
    number: int, vectors: dict[str, Vector]
) -> None:
    flipped_everywhere(vectors[IDS[number]], (1 << number % 8,))


@pytest.mark.soak
@pytest.mark.timeout(36000)
@pytest.mark.parametrize("number", range(len(IDS)), ids=IDS)
def test_every_xor_at_every_position_of_the_signed_regions_is_refused(
    number: int, vectors: dict[str, Vector]
) -> None:
    flipped_everywhere(vectors[IDS[number]], tuple(range(1, 256)))


def test_no_byte_outside_the_signed_regions_is_free_either(vectors: dict[str, Vector]) -> None:
    for vector in vectors.values():
        cache, keys = ChainCache(), (vector.key,)
        signed = set(signed_positions(vector.token))
        for at in range(len(vector.token)):
            if at in signed:
                continue
            damaged = bytearray(vector.token)
            damaged[at] ^= 0x40
            with pytest.raises(VerifierError):
                verify.authenticate(bytes(damaged), keys=keys, cache=cache)
