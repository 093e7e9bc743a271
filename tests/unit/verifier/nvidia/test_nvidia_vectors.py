"""Real NVIDIA evidence and manifests come out as the manifest of the vectors says."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest
from fakes import nvidia_vectors
from fakes.nvidia_devices import Store
from fakes.nvidia_vectors import Vector

from sealward.verifier import registry
from sealward.verifier.formats.nvidia_gpu import chain, compare, device, manifest, report, verify
from sealward.verifier.formats.nvidia_gpu.compare import Component, Outcome
from sealward.verifier.pki import certificate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import Code, RefusedEvidence, VerifierError
from sealward.verifier.wire import pem

ANCHORS = TrustAnchors()


@pytest.fixture(scope="module")
def reports(vectors_dir: Path) -> tuple[Vector, ...]:
    return nvidia_vectors.load(vectors_dir, "nvidia")


@pytest.fixture(scope="module")
def rims(vectors_dir: Path) -> tuple[Vector, ...]:
    return nvidia_vectors.load(vectors_dir, "nvidia-rim")


def good(vectors: tuple[Vector, ...]) -> tuple[Vector, ...]:
    return tuple(vector for vector in vectors if vector.verifies)


def authenticate(
    evidence: Vector, other: Vector | None = None, *, cache: ChainCache | None = None
) -> verify.VerifiedReport:
    return verify.authenticate(
        evidence.files["evidence"],
        (other or evidence).files["cert_chain"],
        anchors=ANCHORS,
        now=evidence.verify_at,
        cache=cache or ChainCache(),
    )


def read_rim(vector: Vector, cache: ChainCache | None = None) -> manifest.VerifiedManifest:
    return manifest.authenticate(
        vector.files["rim"], anchors=ANCHORS, now=vector.verify_at, cache=cache or ChainCache()
    )


def test_every_report_has_exactly_the_fields_that_the_manifest_expects(
    reports: tuple[Vector, ...],
) -> None:
    for vector in reports:
        data = vector.files["evidence"]
        endorsed = chain.endorse(
            vector.files["cert_chain"], anchors=ANCHORS, now=vector.verify_at, cache=ChainCache()
        )
        parsed = report.parse(data)
        ours = nvidia_vectors.report_in_manifest_words(parsed, data, endorsed)
        assert ours.keys() == vector.expect.keys(), vector.id
        for name, part in vector.expect.items():
            assert ours[name] == part, (vector.id, name)
        told = parsed.opaque.get(report.opaque.Type.FWID)
        # The manifest says whether the report's own firmware is that of the leaf, where it has one.
        ours_match = None if told is None else told == endorsed.fwid
        assert ours_match == vector.checked.get("fwid_match"), vector.id
        assert (endorsed.window.not_before, endorsed.window.not_after) == vector.window


def test_every_report_verifies_or_fails_as_the_manifest_says(reports: tuple[Vector, ...]) -> None:
    assert len(reports) == 6
    for vector in reports:
        if vector.verifies:
            authenticate(vector)
            continue
        with pytest.raises(RefusedEvidence) as caught:
            authenticate(vector)
        assert caught.value.code is Code.SIGNATURE_INVALID


def test_every_manifest_comes_out_as_the_manifest_of_the_vectors_says(
    rims: tuple[Vector, ...],
) -> None:
    assert len(rims) == 4
    for vector in rims:
        ours = nvidia_vectors.manifest_in_manifest_words(manifest.parse(vector.files["rim"])[0])
        theirs = {
            name: value
            for name, value in vector.expect.items()
            if name not in ("matches_report", "rule")  # the next test's
        }
        assert theirs.keys() - ours.keys() == set()
        assert {name: ours[name] for name in theirs} == theirs, vector.id
        if vector.verifies:
            found = read_rim(vector)
            assert (found.window.not_before, found.window.not_after) == vector.window
            assert not found.development
            continue
        with pytest.raises(RefusedEvidence) as caught:
            read_rim(vector)
        assert caught.value.code is Code.SIGNATURE_INVALID


def test_real_manifests_match_the_real_reports_that_they_are_for(
    reports: tuple[Vector, ...], rims: tuple[Vector, ...]
) -> None:
    by_id = {vector.id: vector for vector in reports}
    pairs = [
        (rim, by_id[rim.expect["matches_report"]]) for rim in rims if "matches_report" in rim.expect
    ]
    assert len(pairs) == 2
    for rim, evidence in pairs:
        verified = authenticate(evidence)
        found = ((Component.VBIOS, read_rim(rim)),)
        outcome = compare.compare(verified, found)
        assert outcome.outcomes == ((Component.VBIOS, Outcome.MATCHED),)
        assert outcome.mismatched == ()


def test_the_ids_of_manifests_are_those_that_nvidia_publishes_them_under(
    reports: tuple[Vector, ...],
) -> None:
    ids = {
        vector.id: [key.name for _, key in compare.wanted(authenticate(vector))]
        for vector in good(reports)
    }
    assert ids["nvidia-hopper-535-rim"] == [
        "NV_GPU_DRIVER_GH100_535.86.09",
        "NV_GPU_VBIOS_1010_0200_882_96005E0001",
    ]
    assert ids["nvidia-blackwell-gb100"] == [
        "NV_GPU_CC_DRIVER_GB100_590.48.01",
        "NV_GPU_VBIOS_G525_0220_886_9700E40011",
    ]
    assert ids["nvidia-nvswitch-ls10"] == ["NV_SWITCH_BIOS_5612_0002_890_9610550001"]


def test_a_real_switch_is_appraised_whole_from_files_and_from_a_source(
    reports: tuple[Vector, ...], rims: tuple[Vector, ...]
) -> None:
    switch = next(item for item in reports if item.id == "nvidia-nvswitch-ls10")
    rim = next(item for item in rims if item.id == "nvidia-rim-vbios-ls10")
    held = Store(
        {Key(Kind.NVIDIA_RIM, "NV_SWITCH_BIOS_5612_0002_890_9610550001"): rim.files["rim"]}
    )
    context = registry.Context(ANCHORS, rim.verify_at, ChainCache(), collateral=held)
    files = [registry.recognise(path.read_bytes()) for path in switch.paths]
    claims = registry.authenticate_items([item for one in files for item in one], context).claims
    files.append(registry.recognise(rim.files["rim"]))
    bare = registry.Context(ANCHORS, rim.verify_at, ChainCache())
    again = registry.authenticate_items([item for one in files for item in one], bare).claims
    assert claims == again
    assert (claims.tee, claims.product) == ("nvidia-switch", "LS10")
    assert [item.code for item in claims.verdicts] == ["device_binding_unproven"]
    assert claims.collateral.revocation == "absent"
    assert claims.collateral.not_after == rim.window[1]


def test_a_report_without_its_manifests_says_which_it_needs(reports: tuple[Vector, ...]) -> None:
    for vector in good(reports):
        verified = authenticate(vector)
        with pytest.raises(RefusedEvidence) as caught:
            device.appraise(
                vector.files["evidence"],
                vector.files["cert_chain"],
                anchors=ANCHORS,
                source=Store(),
                now=vector.verify_at,
                cache=ChainCache(),
            )
        assert caught.value.code is Code.ENDORSEMENT_MISSING
        assert caught.value.needs == tuple(key for _, key in compare.wanted(verified))


def test_no_report_verifies_under_another_ones_chain(reports: tuple[Vector, ...]) -> None:
    cache = ChainCache()
    refused = 0
    for mine, other in permutations(good(reports), 2):
        with pytest.raises(RefusedEvidence):
            authenticate(mine, other, cache=cache)
        refused += 1
    assert refused == 20


def test_no_manifest_is_taken_for_another_device(
    reports: tuple[Vector, ...], rims: tuple[Vector, ...]
) -> None:
    for evidence in good(reports):
        verified = authenticate(evidence)
        for rim in good(rims):
            found = read_rim(rim)
            if evidence.id == rim.expect.get("matches_report"):
                continue
            component = compare.component_of(found.manifest)
            if component is Component.DRIVER and verified.is_switch:
                continue  # a switch names no driver, so no driver's manifest is ever looked up
            with pytest.raises(RefusedEvidence) as caught:
                compare.compare(verified, ((component, found),))
            assert caught.value.code in (Code.COLLATERAL_MISMATCH, Code.FIRMWARE_NEWER_THAN_RIM)


def test_dates_are_checked_at_the_one_instant(
    reports: tuple[Vector, ...], rims: tuple[Vector, ...]
) -> None:
    second = timedelta(seconds=1)
    for vector in good(rims):
        cache = ChainCache()
        read_rim(vector, cache)
        for at, code in (
            (vector.window[0] - second, Code.CERTIFICATE_NOT_YET_VALID),
            (vector.window[1] + second, Code.CERTIFICATE_EXPIRED),
        ):
            for used in (cache, ChainCache()):
                with pytest.raises(RefusedEvidence) as caught:
                    manifest.authenticate(vector.files["rim"], anchors=ANCHORS, now=at, cache=used)
                assert caught.value.code is code
    for vector in good(reports):
        with pytest.raises(RefusedEvidence) as caught:
            verify.authenticate(
                vector.files["evidence"],
                vector.files["cert_chain"],
                anchors=ANCHORS,
                now=vector.window[0] - second,
                cache=ChainCache(),
            )
        assert caught.value.code is Code.CERTIFICATE_NOT_YET_VALID


def report_flips(vector: Vector, masks: tuple[int, ...], positions: range) -> None:
    cache = ChainCache()
    authenticate(vector, cache=cache)
    data = vector.files["evidence"]
    for at in positions:
        for mask in masks:
            damaged = bytearray(data)
            damaged[at] ^= mask
            try:
                verify.authenticate(
                    bytes(damaged),
                    vector.files["cert_chain"],
                    anchors=ANCHORS,
                    now=vector.verify_at,
                    cache=cache,
                )
            except VerifierError:
                continue
            pytest.fail(f"{vector.id}: byte {at:#x} xor {mask:#x} was accepted")


def test_one_xor_at_every_position_of_every_report_is_refused(reports: tuple[Vector, ...]) -> None:
    """The signature's bytes and the padding behind it too."""
    for number, vector in enumerate(good(reports)):
        report_flips(vector, (1 << number,), range(len(vector.files["evidence"])))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_xor_at_every_position_of_every_report_is_refused(
    reports: tuple[Vector, ...],
) -> None:
    for vector in good(reports):
        report_flips(vector, tuple(range(1, 256)), range(len(vector.files["evidence"])))


def signed_end(data: bytes) -> int:
    """Where the certificates of a manifest begin: nothing signs their text, only their DER."""
    return data.index(b"<ds:KeyInfo>")


def rim_flips(vector: Vector, masks: tuple[int, ...], positions: range) -> None:
    data = vector.files["rim"]
    for at in positions:
        for mask in masks:
            damaged = bytearray(data)
            damaged[at] ^= mask
            try:
                parsed, signed = manifest.parse(bytes(damaged))
                signed.verify(manifest._key(signed.certificates[0]))  # noqa: SLF001 - without the chain
            except VerifierError:
                continue
            # White space inside a tag is in no canonical form: it says nothing.
            assert parsed == manifest.parse(data)[0]
            assert chr(data[at]) in " \n"
            assert chr(damaged[at]) in " \n"


def test_one_xor_at_every_61st_position_of_every_manifest_is_refused_or_says_nothing(
    rims: tuple[Vector, ...],
) -> None:
    for number, vector in enumerate(good(rims)):
        rim_flips(vector, (1,), range(number, signed_end(vector.files["rim"]), 61))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_xor_at_every_position_of_every_manifest_is_refused_or_says_nothing(
    rims: tuple[Vector, ...],
) -> None:
    for vector in good(rims):
        rim_flips(vector, tuple(range(1, 256)), range(signed_end(vector.files["rim"])))


def test_pinned_roots_are_those_of_the_manifest(vectors_dir: Path) -> None:
    listed = json.loads((vectors_dir / "manifest.json").read_text())["roots"]  # noqa: TID251 - test data
    pinned = {root.line: root.sha256 for root in ANCHORS.pinned}
    for line, name in (("GPU", "nvidia_device_identity_root"), ("RIM", "nvidia_rim_root")):
        assert pinned[line] == listed[name]["sha256_der"]
        data = (vectors_dir / listed[name]["file"]).read_bytes()
        parsed = certificate.parse(pem.decode(data, what="root", max_bytes=1 << 16)[0])
        assert parsed.fingerprint == pinned[line]


def test_neither_root_of_nvidia_vouches_for_what_is_the_others(
    reports: tuple[Vector, ...], vectors_dir: Path
) -> None:
    """A chain for devices that ends in the root for manifests is refused before its signatures."""
    vector = reports[0]
    other = (vectors_dir / "roots" / "nvidia_rim_root.pem").read_bytes()
    blocks = vector.files["cert_chain"].split(b"-----BEGIN")
    mixed = b"-----BEGIN".join(blocks[:-1]) + other
    with pytest.raises(RefusedEvidence) as caught:
        chain.endorse(mixed, anchors=ANCHORS, now=vector.verify_at, cache=ChainCache())
    assert caught.value.code is Code.ROOT_NOT_PINNED
