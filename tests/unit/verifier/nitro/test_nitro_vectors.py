"""Real Nitro documents come out as the manifest of the vectors says, by every way in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from fakes import nitro_vectors
from fakes.nitro_vectors import Vector

from sealward.verifier import registry
from sealward.verifier.formats.nitro import document, verify, view
from sealward.verifier.pki import certificate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.errors import Code, RefusedEvidence, VerifierError
from sealward.verifier.wire import pem

ANCHORS = TrustAnchors()
IDS = (
    *("nitro-veracruz", "nitro-dstack-attest", "nitro-dstack-nsm"),
    *("nitro-evervault-ga-debug", "nitro-evervault-beta-debug"),
)


@pytest.fixture(scope="module")
def vectors(vectors_dir: Path) -> tuple[Vector, ...]:
    return nitro_vectors.load(vectors_dir)


@pytest.fixture(scope="module")
def good(vectors: tuple[Vector, ...]) -> dict[str, Vector]:
    return {vector.id: vector for vector in vectors if vector.verifies}


def context(vector: Vector, **changes: Any) -> registry.Context:  # noqa: ANN401 - any field
    usual = registry.Context(ANCHORS, vector.verify_at, ChainCache())
    return replace(usual, **changes)


def by_pieces(vector: Vector) -> registry.Verified:
    items = registry.recognise(vector.document)
    return registry.authenticate_items(items, context(vector))


def test_the_vectors_are_those_we_know(vectors: tuple[Vector, ...], good: dict[str, Vector]):
    assert tuple(good) == IDS
    assert len(vectors) == len(IDS) + 1


def test_the_pinned_root_is_that_of_the_manifest(vectors_dir: Path) -> None:
    manifest = json.loads((vectors_dir / "manifest.json").read_text())  # noqa: TID251 - test data
    entry = manifest["roots"]["aws_nitro_enclaves_root_g1"]
    (pinned,) = (root for root in ANCHORS.pinned if root.vendor is Vendor.AWS)
    assert (pinned.line, pinned.sha256) == ("Nitro", entry["sha256_der"])
    (der,) = pem.decode((vectors_dir / entry["file"]).read_bytes(), what="root", max_bytes=4096)
    assert certificate.parse(der).fingerprint == pinned.sha256


def test_every_verifying_vector_shows_exactly_the_fields_the_manifest_expects(
    good: dict[str, Vector],
) -> None:
    for vector in good.values():
        shown: dict[str, Any] = by_pieces(vector).details()
        ours = nitro_vectors.in_manifest_words(shown["document"], tuple(shown["chain"]))
        assert ours == vector.expect, vector.id


def test_the_vector_that_does_not_verify_still_parses_to_what_the_manifest_expects(
    vectors: tuple[Vector, ...],
) -> None:
    (bad,) = (vector for vector in vectors if not vector.verifies)
    parsed = document.parse(bad.document)
    path = (parsed.certificate, *reversed(parsed.cabundle))
    chain = tuple(certificate.parse(data).subject.text for data in path)
    shown = view.describe_document(parsed)
    assert nitro_vectors.in_manifest_words(shown, chain) == bad.expect
    with pytest.raises(RefusedEvidence) as caught:
        by_pieces(bad)
    assert caught.value.code is Code.SIGNATURE_INVALID


def test_the_leaf_windows_are_those_of_the_manifest(good: dict[str, Vector]) -> None:
    for vector in good.values():
        leaf = certificate.parse(document.parse(vector.document).certificate)
        assert (leaf.not_before, leaf.not_after) == vector.window


def test_the_claims_of_the_vectors_are_those_of_the_enclave(good: dict[str, Vector]) -> None:
    for vector in good.values():
        claims: dict[str, Any] = by_pieces(vector).claims.to_json()
        told = vector.expect
        debug = told["debug_mode"]
        assert claims["tee"] == "nitro"
        assert claims["debug"] is debug
        assert [one["code"] for one in claims["verdicts"]] == (["debug_enabled"] if debug else [])
        assert claims["platform_id"] == f"nitro:instance:{told['module_id'].split('-enc')[0]}"
        assert claims["report_data"] == (told["user_data"] or "")
        assert claims["measurements"] == [
            {"name": f"pcr{at}", "algorithm": "sha384", "digest": told["pcrs"][str(at)]}
            for at in told["pcr_nonzero"]
        ]
        section = claims["nitro"]
        assert section["pcrs"] == told["pcrs"]
        for name, at in (("role", 3), ("instance", 4), ("signing", 8)):
            assert section[name] == (told["pcrs"][str(at)] if at in told["pcr_nonzero"] else None)
        assert (claims["memory_encrypted"], claims["provider_in_tcb"]) == (False, True)
        assert (claims["provider"], claims["development"]) == ("aws", False)
        assert claims["collateral"]["not_after"] == min(claims["collateral"]["limits"].values())
        assert len(claims["collateral"]["limits"]) == 5


def test_an_envelope_is_taken_when_its_user_data_can_be_a_binding(good: dict[str, Vector]) -> None:
    for vector in good.values():
        size = len(vector.expect["user_data"]) // 2
        if size in (32, 64):
            verified = registry.authenticate(vector.envelope(), context(vector))
            assert verified.claims == by_pieces(vector).claims
        else:
            with pytest.raises(RefusedEvidence) as caught:
                registry.authenticate(vector.envelope(), context(vector))
            assert caught.value.code is Code.BINDING_MISMATCH


def test_a_document_is_fresh_from_half_a_minute_before_its_instant_to_five_minutes_after(
    good: dict[str, Vector],
) -> None:
    vector = good["nitro-veracruz"]
    cache = ChainCache()
    moment = timedelta(milliseconds=1)
    for shift, fresh in (
        (-verify.MAX_AHEAD, True),
        (-verify.MAX_AHEAD - moment, False),
        (verify.MAX_AGE, True),
        (verify.MAX_AGE + moment, False),
        (timedelta(hours=1), False),  # its certificates are still valid
        (timedelta(days=3650), False),
    ):
        now = vector.verify_at + shift
        for used in (cache, ChainCache()):  # a cached chain makes nothing fresh
            if fresh:
                verify.authenticate(vector.document, anchors=ANCHORS, now=now, cache=used)
                continue
            with pytest.raises(RefusedEvidence) as caught:
                verify.authenticate(vector.document, anchors=ANCHORS, now=now, cache=used)
            assert caught.value.code is Code.NOT_FRESH
            assert caught.value.claim == "nitro.timestamp"


def test_nothing_of_one_document_verifies_in_another(good: dict[str, Vector]) -> None:
    for mine, other in permutations(good.values(), 2):
        a, b = document.parse(mine.document), document.parse(other.document)
        swaps = (
            (a.message.payload, b.message.payload),
            (a.message.authenticator, b.message.authenticator),
            (a.certificate, b.certificate.ljust(len(a.certificate))[: len(a.certificate)]),
        )
        for theirs, instead in swaps:
            swapped = mine.document.replace(theirs, instead)
            assert swapped != mine.document
            with pytest.raises(VerifierError):
                verify.authenticate(
                    swapped, anchors=ANCHORS, now=mine.verify_at, cache=ChainCache()
                )


def signed_positions(data: bytes) -> list[int]:
    message = document.parse(data).message
    start = data.index(message.payload)
    header = data.index(message.protected)
    return [
        *range(header, header + len(message.protected)),
        *range(start, start + len(message.payload)),
    ]


def flipped_everywhere(vector: Vector, masks: tuple[int, ...]) -> None:
    cache = ChainCache()
    for at in signed_positions(vector.document):
        for mask in masks:
            damaged = bytearray(vector.document)
            damaged[at] ^= mask
            try:
                verify.authenticate(
                    bytes(damaged), anchors=ANCHORS, now=vector.verify_at, cache=cache
                )
            except VerifierError:
                continue
            pytest.fail(f"{vector.id}: byte {at:#x} xor {mask:#x} was accepted")


@pytest.mark.parametrize("number", range(len(IDS)), ids=IDS)
def test_one_xor_at_every_position_of_the_signed_region_is_refused(
    number: int, good: dict[str, Vector]
) -> None:
    flipped_everywhere(good[IDS[number]], (1 << number % 8,))


@pytest.mark.soak
@pytest.mark.timeout(36000)
@pytest.mark.parametrize("number", range(len(IDS)), ids=IDS)
def test_every_xor_at_every_position_of_the_signed_region_is_refused(
    number: int, good: dict[str, Vector]
) -> None:
    flipped_everywhere(good[IDS[number]], tuple(range(1, 256)))


def test_no_byte_outside_the_signed_region_is_free_either(good: dict[str, Vector]) -> None:
    vector = good["nitro-dstack-attest"]
    cache = ChainCache()
    signed = set(signed_positions(vector.document))
    outside = [at for at in range(len(vector.document)) if at not in signed]
    assert len(outside) > 96
    for at in outside:
        damaged = bytearray(vector.document)
        damaged[at] ^= 0x20
        with pytest.raises(VerifierError):
            verify.authenticate(bytes(damaged), anchors=ANCHORS, now=vector.verify_at, cache=cache)
