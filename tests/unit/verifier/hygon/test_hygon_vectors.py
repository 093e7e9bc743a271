"""The real Hygon report comes out as the manifest of the vectors says, by every way in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import hygon_machines, hygon_vectors
from fakes.hygon_vectors import Vector

from sealward.verifier import registry
from sealward.verifier.formats.hygon_csv import verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.errors import Code, RefusedEvidence, VerifierError

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ANCHORS = TrustAnchors()


@pytest.fixture(scope="module")
def vector(vectors_dir: Path) -> Vector:
    (only,) = hygon_vectors.load(vectors_dir)
    return only


def context() -> registry.Context:
    return registry.Context(ANCHORS, NOW, ChainCache())


def by_pieces(vector: Vector) -> registry.Verified:
    items = [item for data in vector.files() for item in registry.recognise(data)]
    return registry.authenticate_items(items, context())


def test_the_vector_is_the_one_we_know(vector: Vector) -> None:
    assert (vector.id, vector.result) == ("csv-hygon-v1", "verifies")


def test_the_pinned_root_is_that_of_the_manifest(vector: Vector, vectors_dir: Path) -> None:
    manifest = json.loads((vectors_dir / "manifest.json").read_text())  # noqa: TID251 - test data
    (entry,) = (one for one in manifest["vectors"] if one["id"] == vector.id)
    (pinned,) = (root for root in ANCHORS.pinned if root.vendor is Vendor.HYGON)
    assert (pinned.line, pinned.sha256) == ("CSV", entry["files"]["root"]["sha256"])


def test_the_vector_shows_exactly_the_fields_the_manifest_expects(vector: Vector) -> None:
    shown = by_pieces(vector).details()
    report = shown["report"]
    assert isinstance(report, dict)
    assert hygon_vectors.in_manifest_words(report) == vector.expect
    assert shown["chain"] == [f"HYGON-SSD-{role}" for role in ("PEK", "CEK", "HSK", "HRK")]


def test_an_envelope_gives_the_same_claims_as_the_files(vector: Vector) -> None:
    verified = registry.authenticate(vector.envelope(), context())
    assert verified.claims == by_pieces(vector).claims


def test_the_file_that_hygon_gives_is_both_of_its_certificates(vector: Vector) -> None:
    hsk, cek = registry.recognise(vector.hsk + vector.cek)
    assert (hsk.data, cek.data) == (vector.hsk, vector.cek)
    assert hsk.role != cek.role


def test_the_claims_are_those_of_a_guest_that_may_be_sent_and_not_debugged(
    vector: Vector,
) -> None:
    claims = by_pieces(vector).claims
    assert (claims.debug, claims.migratable, claims.provider_in_tcb) == (False, True, True)
    assert [one.code.value for one in claims.verdicts] == ["migration_enabled"]
    (measurement,) = claims.measurements
    assert (measurement.algorithm, measurement.digest) == ("sm3_256", vector.expect["measure"])
    assert claims.report_data == vector.expect["report_data"]
    assert (claims.development, claims.collateral.revocation) == (False, "absent")


def flipped_everywhere(vector: Vector, positions: range, masks: tuple[int, ...]) -> None:
    """The chain is verified once: what changes the PEK is no hit of the cache."""
    cache = ChainCache()
    verify.authenticate(vector.report, vector.endorsements, anchors=ANCHORS, cache=cache)
    for at in positions:
        for mask in masks:
            damaged = bytearray(vector.report)
            damaged[at] ^= mask
            try:
                verify.authenticate(
                    bytes(damaged), vector.endorsements, anchors=ANCHORS, cache=cache
                )
            except VerifierError:
                continue
            pytest.fail(f"byte {at} xor {mask:#x} was accepted")


def test_one_xor_at_every_position_of_the_report_is_refused(vector: Vector) -> None:
    """Of the signed region and of all else: mask, signature, PEK, serial number, mac."""
    flipped_everywhere(vector, range(len(vector.report)), (0x04,))


@pytest.mark.soak
@pytest.mark.timeout(36000)
def test_every_xor_at_every_position_of_the_report_is_refused(vector: Vector) -> None:
    flipped_everywhere(vector, range(len(vector.report)), tuple(range(1, 256)))


@pytest.mark.parametrize("name", ["cek", "hsk", "hrk"])
def test_one_xor_at_every_position_of_a_certificate_is_refused(vector: Vector, name: str) -> None:
    above = {"cek": vector.cek, "hsk": vector.hsk, "hrk": vector.root}
    for at in range(len(above[name])):
        damaged = bytearray(above[name])
        damaged[at] ^= 0x04
        changed = type(vector.endorsements)(**(above | {name: bytes(damaged)}))
        with pytest.raises(VerifierError):
            verify.authenticate(vector.report, changed, anchors=ANCHORS, cache=ChainCache())


def test_nothing_of_another_machine_verifies_in_the_vector(vector: Vector) -> None:
    other = hygon_machines.standard()
    theirs = other.endorsements()
    anchors = TrustAnchors((*ANCHORS.pinned, *other.anchors().pinned))
    for report, above in (
        (vector.report, theirs),
        (other.report(), vector.endorsements),
        (vector.report, type(theirs)(cek=theirs.cek, hsk=vector.hsk, hrk=vector.root)),
        (vector.report, type(theirs)(cek=vector.cek, hsk=theirs.hsk, hrk=vector.root)),
        (vector.report, type(theirs)(cek=vector.cek, hsk=vector.hsk, hrk=theirs.hrk)),
        (vector.report[:336] + other.report()[336:], vector.endorsements),
        (other.report()[:336] + vector.report[336:], vector.endorsements),
    ):
        with pytest.raises(VerifierError):
            verify.authenticate(report, above, anchors=anchors, cache=ChainCache())


def test_another_mask_shows_another_measurement(vector: Vector) -> None:
    """What the format leaves open (README): a known measurement is what closes it."""
    again = hygon_machines.masked_anew(vector.report, b"\x9a\x42\x91\x12")
    found = verify.authenticate(again, vector.endorsements, anchors=ANCHORS, cache=ChainCache())
    assert found.report.policy == 0x40000000  # debugging, as it would seem
    assert found.report.measure.hex() != vector.expect["measure"]
    assert found.report.report_data.hex() != vector.expect["report_data"]


def test_the_root_is_trusted_where_it_is_pinned_and_nowhere_else(vector: Vector) -> None:
    without = TrustAnchors(tuple(one for one in ANCHORS.pinned if one.vendor is not Vendor.HYGON))
    with pytest.raises(RefusedEvidence) as caught:
        verify.authenticate(vector.report, vector.endorsements, anchors=without, cache=ChainCache())
    assert caught.value.code is Code.ROOT_NOT_PINNED
