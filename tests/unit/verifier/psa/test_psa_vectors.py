"""Published PSA tokens come out as the manifest of the vectors says, by every way in."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from fakes import arm_vectors
from fakes.arm_vectors import Vector

from sealward.verifier import registry
from sealward.verifier.formats.psa import evidence, token, verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats.errors import Code, RefusedEvidence, VerifierError
from sealward.verifier.rats.evidence import PSA_EVIDENCE, Record, encode

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDS = ("psa-tfm-2.0.0", "psa-veraison-e2e")


@pytest.fixture(scope="module")
def vectors(vectors_dir: Path) -> dict[str, Vector]:
    return {one.id: one for one in arm_vectors.load(vectors_dir, Scheme.PSA)}


def context(*keys: InstanceKey) -> registry.Context:
    return registry.Context(TrustAnchors(), NOW, ChainCache(), keys=keys)


def by_pieces(vector: Vector) -> registry.Verified:
    return registry.authenticate_items(registry.recognise(vector.token), context(vector.key))


def by_envelope(vector: Vector) -> registry.Verified:
    envelope = encode(Record(PSA_EVIDENCE, evidence.encode(vector.token)))
    return registry.authenticate(envelope, context(vector.key_of(vector.expect["256"])))


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
        assert arm_vectors.psa_in_manifest_words(shown) == vector.expect, vector.id
        assert (shown["tag"], shown["algorithm"]) == (18, vector.checked["cose_alg"])


def test_the_claims_are_those_of_the_device(vectors: dict[str, Vector]) -> None:
    for vector in vectors.values():
        claims: dict[str, Any] = by_envelope(vector).claims.to_json()
        told = vector.expect
        assert (claims["tee"], claims["format_version"]) == ("psa", 2)
        assert claims["platform_id"] == f"psa:instance:{told['256']}"
        assert claims["report_data"] == told["10"]
        assert claims["measurements"] == [
            {"name": one["1"], "algorithm": "sha256", "digest": one["2"]} for one in told["2399"]
        ]
        assert (claims["memory_encrypted"], claims["provider_in_tcb"]) == (False, True)
        assert [one["code"] for one in claims["verdicts"]] == ["root_of_trust_only"]


def test_a_key_that_lay_beside_the_token_vouches_for_nothing(vectors: dict[str, Vector]) -> None:
    for vector in vectors.values():
        items = [*registry.recognise(vector.token), *registry.recognise(vector.pem)]
        verified = registry.authenticate_items(items, context())
        codes = {one.code.value for one in verified.claims.verdicts}
        assert codes == {"root_of_trust_only", "key_residency_unproven"}
        assert verified.claims.platform_id is None


def test_no_token_verifies_under_another_ones_key(vectors: dict[str, Vector]) -> None:
    for mine, other in permutations(vectors.values(), 2):
        with pytest.raises(RefusedEvidence) as caught:
            verify.authenticate(mine.token, keys=(other.key,), cache=ChainCache())
        assert caught.value.code is Code.SIGNATURE_INVALID
        with pytest.raises(RefusedEvidence) as caught:
            verify.authenticate(
                mine.token, keys=(mine.key_of(other.expect["256"]),), cache=ChainCache()
            )
        assert caught.value.code is Code.ENDORSEMENT_MISSING


def flipped_everywhere(vector: Vector, masks: tuple[int, ...]) -> None:
    cache, keys = ChainCache(), (vector.key,)
    message = token.parse(vector.token).message
    start = vector.token.index(message.payload)
    header = vector.token.index(message.protected)
    signed = [
        *range(header, header + len(message.protected)),
        *range(start, start + len(message.payload)),
    ]
    outside = [at for at in range(len(vector.token)) if at not in set(signed)]
    for at in (*signed, *outside):
        for mask in masks:
            damaged = bytearray(vector.token)
            damaged[at] ^= mask
            try:
                verify.authenticate(bytes(damaged), keys=keys, cache=cache)
            except VerifierError:
                continue
            pytest.fail(f"{vector.id}: byte {at:#x} xor {mask:#x} was accepted")


@pytest.mark.parametrize("number", range(len(IDS)), ids=IDS)
def test_one_xor_at_every_position_of_a_token_is_refused(
    number: int, vectors: dict[str, Vector]
) -> None:
    flipped_everywhere(vectors[IDS[number]], (1 << number % 8,))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", range(len(IDS)), ids=IDS)
def test_every_xor_at_every_position_of_a_token_is_refused(
    number: int, vectors: dict[str, Vector]
) -> None:
    flipped_everywhere(vectors[IDS[number]], tuple(range(1, 256)))
