"""Real TDX and SGX quotes come out as the manifest of the vectors says, by every way in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import dcap_qvl
import pytest
from click.testing import CliRunner
from fakes import dcap_vectors
from fakes.dcap_vectors import Held, Vector

from sealward.controlplane.cli.verify import verify as verify_command
from sealward.verifier import registry
from sealward.verifier.formats.dcap import evidence, quote, tcb, verify, view
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.claims import Json
from sealward.verifier.rats.collateral import NO_COLLATERAL, Key, Kind
from sealward.verifier.rats.errors import (
    Code,
    MalformedEvidence,
    RefusedEvidence,
    VerifierError,
)
from sealward.verifier.rats.evidence import SGX_EVIDENCE, TDX_EVIDENCE, Record, encode

ANCHORS = TrustAnchors()
# Genuine, and held against: what dcap-qvl refuses and we say in a verdict.
DEBUG = ("tdx-v4-coco-debug",)


@pytest.fixture(scope="module")
def vectors(vectors_dir: Path) -> tuple[Vector, ...]:
    return dcap_vectors.load(vectors_dir)


@pytest.fixture(scope="module")
def good(vectors: tuple[Vector, ...]) -> tuple[Vector, ...]:
    """Those that verify whole: with collateral, and a TCB that Intel rates."""
    return tuple(
        vector
        for vector in vectors
        if vector.bundle is not None and (vector.result == "verifies" or vector.id in DEBUG)
    )


def context(vector: Vector, cache: ChainCache | None = None) -> registry.Context:
    return registry.Context(
        ANCHORS, vector.verify_at, cache or ChainCache(), collateral=vector.source
    )


def envelope(vector: Vector) -> bytes:
    found = evidence.Evidence(vector.quote)
    if vector.kind == "sgx":
        return encode(Record(SGX_EVIDENCE, evidence.encode_sgx(found)))
    return encode(Record(TDX_EVIDENCE, evidence.encode_tdx(found)))


def by_envelope(vector: Vector) -> dict[str, Any]:
    verified = registry.authenticate(envelope(vector), context(vector))
    return {"claims": verified.claims.to_json(), **verified.details()}


def by_pieces(vector: Vector) -> dict[str, Any]:
    items = [item for path in vector.paths for item in registry.recognise(path.read_bytes())]
    bare = registry.Context(ANCHORS, vector.verify_at, ChainCache())
    verified = registry.authenticate_items(items, bare)
    return {"claims": verified.claims.to_json(), **verified.details()}


def by_command(vector: Vector) -> dict[str, Any]:
    at = vector.verify_at.isoformat()
    files = [str(path) for path in vector.paths]
    answer = CliRunner().invoke(verify_command, ["--json", "--at", at, *files])
    assert answer.exit_code == 0, answer.output
    document: dict[str, Any] = json.loads(answer.output)  # noqa: TID251 - our own output
    return document


WAYS: dict[str, Callable[[Vector], dict[str, Any]]] = {
    "envelope": by_envelope,
    "pieces": by_pieces,
    "command": by_command,
}


def check(vector: Vector, cache: ChainCache | None = None) -> verify.VerifiedQuote:
    return verify.authenticate(
        vector.quote,
        vector.source,
        anchors=ANCHORS,
        now=vector.verify_at,
        cache=cache or ChainCache(),
    )


def code(action: Callable[[], object]) -> Code:
    with pytest.raises(VerifierError) as caught:
        action()
    return caught.value.code


@pytest.mark.parametrize("way", WAYS)
def test_every_verifying_vector_shows_exactly_the_fields_the_manifest_expects(
    good: tuple[Vector, ...], way: str
) -> None:
    assert len(good) == 5
    for vector in good:
        shown = WAYS[way](vector)
        ours = dcap_vectors.in_manifest_words(shown)
        assert ours == dcap_vectors.expected(vector), vector.id
        assert dcap_vectors.tcb_in_manifest_words(shown["tcb"]) == vector.expect["tcb"]


def test_the_pinned_root_is_that_of_the_manifest(vectors_dir: Path) -> None:
    manifest = json.loads((vectors_dir / "manifest.json").read_text())  # noqa: TID251 - test data
    entry = manifest["roots"]["intel_sgx_root_ca"]
    pinned = [root.sha256 for root in ANCHORS.pinned if root.vendor is Vendor.INTEL]
    assert pinned == [entry["sha256_der"]]


def test_every_vector_s_signatures_and_chain_hold_and_its_fields_are_the_manifest_s(
    vectors: tuple[Vector, ...],
) -> None:
    for vector in vectors:
        now = max(vector.verify_at, vector.window[0])  # one PCK is newer than its collateral
        signed = verify.check_signatures(vector.quote, anchors=ANCHORS, now=now, cache=ChainCache())
        shown: dict[str, Json] = {
            **view.describe_quote(signed.quote),
            "pck": view.describe_pck(signed.endorsed.pck),
            "pck_ca": signed.endorsed.path.pck_ca.value,
        }
        ours = dcap_vectors.in_manifest_words(shown)
        assert ours == dcap_vectors.expected(vector), vector.id
        leaf = signed.endorsed.path.leaf
        assert (leaf.not_before, leaf.not_after) == vector.window


def test_vectors_that_fail_appraisal_fail_for_the_reason_of_the_manifest(
    vectors: tuple[Vector, ...],
) -> None:
    reasons = {
        "error: Verification failed: No matching TCB level found": Code.TCB_LEVEL_UNMATCHED,
    }
    failing = [vector for vector in vectors if vector.reason is not None and vector.id not in DEBUG]
    assert len(failing) == 4
    for vector in failing:
        assert vector.reason is not None
        expected = reasons.get(vector.reason, Code.CERTIFICATE_NOT_YET_VALID)
        assert (expected in reasons.values()) or "CertNotValidYet" in vector.reason
        assert code(lambda v=vector: check(v)) is expected, vector.id


def test_a_pck_newer_than_the_collateral_is_rated_by_it_as_the_manifest_says(
    vectors: tuple[Vector, ...],
) -> None:
    """The dates alone refuse this vector: its TCB under the statements is as expected."""
    vector = next(item for item in vectors if item.id == "tdx-v4-dstack-lite")
    other = next(item for item in vectors if item.id == "tdx-v5-gotdx")
    statements = check(other)
    signed = verify.check_signatures(
        vector.quote, anchors=ANCHORS, now=vector.window[0], cache=ChainCache()
    )
    result = tcb.appraise(statements.info.value, statements.identity.value, signed.tcb)
    shown = view.describe_result(result)
    assert dcap_vectors.tcb_in_manifest_words(shown) == vector.expect["tcb"]


def test_a_vector_without_collateral_is_refused_and_says_what_to_fetch(
    vectors: tuple[Vector, ...],
) -> None:
    without = [vector for vector in vectors if vector.bundle is None]
    assert len(without) == 3
    for vector in without:
        with pytest.raises(RefusedEvidence) as caught:
            registry.authenticate(envelope(vector), context(vector))
        assert caught.value.code is Code.ENDORSEMENT_MISSING
        fmspc = vector.expect["pck"]["fmspc"]
        assert caught.value.needs == (
            Key(Kind.INTEL_TCB_INFO, f"{vector.kind}/{fmspc}"),
            Key(Kind.INTEL_QE_IDENTITY, vector.kind),
            Key(Kind.INTEL_PCK_CRL, vector.expect["pck_ca"]),
            Key(Kind.INTEL_ROOT_CRL, "root"),
        )


def test_only_what_is_missing_is_named(good: tuple[Vector, ...]) -> None:
    vector = good[0]
    for left_out in vector.source.pieces:
        held = Held({k: v for k, v in vector.source.pieces.items() if k != left_out})
        with pytest.raises(RefusedEvidence) as caught:
            verify.authenticate(
                vector.quote, held, anchors=ANCHORS, now=vector.verify_at, cache=ChainCache()
            )
        assert caught.value.needs == (left_out,)


def test_bytes_behind_a_quote_that_are_not_zero_are_refused(vectors: tuple[Vector, ...]) -> None:
    """One vector has 39 of them: nothing signs them, so they may not say anything."""
    marked = [vector for vector in vectors if vector.junk]
    assert [(vector.id, len(vector.junk)) for vector in marked] == [("tdx-v4-spr", 39)]
    with pytest.raises(MalformedEvidence, match="padding behind the quote"):
        quote.parse(marked[0].quote + marked[0].junk)
    assert quote.parse(marked[0].quote + bytes(39)).padding == 39


def test_dcap_qvl_gives_every_quote_that_it_accepts_the_same_status(
    vectors: tuple[Vector, ...],
) -> None:
    agreed = 0
    for vector in vectors:
        if vector.bundle is None:
            continue
        bundle = dcap_qvl.QuoteCollateralV3.from_json(vector.bundle.decode())
        try:
            theirs = dcap_qvl.verify(vector.quote, bundle, int(vector.verify_at.timestamp()))
        except ValueError:
            continue
        ours = check(vector).result
        assert ours.status == theirs.status, vector.id
        assert sorted(ours.advisories) == sorted(theirs.advisory_ids)
        agreed += 1
    assert agreed == 4


def test_the_claims_of_the_vectors_are_those_of_the_hardware(good: tuple[Vector, ...]) -> None:
    for vector in good:
        claims = by_envelope(vector)["claims"]
        told = vector.expect["body"]
        pck = vector.expect["pck"]
        instance = pck.get("platform_instance_id")
        assert claims["platform_id"] == (
            f"intel:piid:{instance}" if instance else f"intel:ppid:{pck['ppid']}"
        )
        assert claims["tcb_status"] == vector.expect["tcb"]["tcb_status"]
        assert claims["advisories"] == vector.expect["tcb"]["advisories"]
        measured = {item["name"]: item["digest"] for item in claims["measurements"]}
        if vector.kind == "tdx":
            names = [f"rtmr{number}" for number in range(4)]
            assert measured == {"mrtd": told["mr_td"], **{name: told[name] for name in names}}
            assert (claims["tee"], claims["clock"]) == ("tdx", "protected")
            version = "1.5" if "tee_tcb_svn2" in told else "1.0"
            assert claims["product"] == f"TDX {version}"
        else:
            assert measured == {"mrenclave": told["mr_enclave"], "mrsigner": told["mr_signer"]}
            assert (claims["tee"], claims["product"], claims["clock"]) == ("sgx", "SGX", "host")
        held = [verdict["code"] for verdict in claims["verdicts"]]
        assert held == (["debug_enabled"] if vector.id in DEBUG else [])
        assert claims["memory_encrypted"] is True
        assert claims["provider_in_tcb"] is False
        assert claims["development"] is False
        assert claims["collateral"]["revocation"] == "checked"


def test_collateral_holds_as_long_as_the_manifest_says(good: tuple[Vector, ...]) -> None:
    for vector in good:
        shown = by_envelope(vector)["claims"]["collateral"]
        # The manifest's window is of collateral alone; a PCK may be the youngest of all.
        assert shown["not_after"] == vector.expect["collateral_window"]["not_after"]
        assert shown["not_after"] == min(shown["limits"].values())
        start = vector.expect["collateral_window"]["not_before"]
        assert shown["not_before"] == max(start, vector.window[0].isoformat()[:19] + "Z")


def test_editions_are_what_floors_and_forecasts_need(good: tuple[Vector, ...]) -> None:
    for vector in good:
        verified = check(vector)
        keys = [edition.key for edition in verified.editions]
        assert keys == list(verified.signed.needs)
        assert all(e.issued <= vector.verify_at <= e.next_update for e in verified.editions)
        assert verified.editions[0].number == verified.info.value.evaluation_number


def test_mr_config_id_is_host_data_where_it_is_a_digest_alone(good: tuple[Vector, ...]) -> None:
    seen = set()
    for vector in good:
        claims = by_envelope(vector)["claims"]
        if vector.kind != "tdx":
            assert claims["host_data"] is None
            continue
        whole = vector.expect["body"]["mr_config_id"]
        digest = None if whole[64:].strip("0") else whole[:64]
        assert claims["host_data"] == digest
        assert claims["intel"]["td"]["mr_config_id"] == whole
        seen.add(digest is None)
    assert seen == {True, False}


def test_an_instant_outside_any_date_is_refused(good: tuple[Vector, ...]) -> None:
    second = timedelta(seconds=1)
    for vector in good:
        cache = ChainCache()
        verified = check(vector, cache)
        ends = min(edition.next_update for edition in verified.editions)
        begins = max(edition.issued for edition in verified.editions)
        for at, expected in (
            (ends + second, Code.COLLATERAL_EXPIRED),
            (begins - second, Code.COLLATERAL_NOT_YET_VALID),
        ):
            for used in (cache, ChainCache()):  # cached collateral is dated like new
                late = registry.Context(ANCHORS, at, used, collateral=vector.source)
                refused = code(lambda c=late, v=vector: registry.authenticate(envelope(v), c))
                assert refused in (expected, Code.CERTIFICATE_NOT_YET_VALID), vector.id
        check(vector, cache)


def test_no_quote_is_rated_by_another_ones_collateral(vectors: tuple[Vector, ...]) -> None:
    stored = [vector for vector in vectors if vector.bundle is not None]
    swaps = 0
    for mine, other in permutations(stored, 2):
        if mine.bundle == other.bundle:
            continue
        for source in (other.source, _renamed(other, mine)):
            for now in (mine.verify_at, other.verify_at):
                with pytest.raises(VerifierError):
                    verify.authenticate(
                        mine.quote, source, anchors=ANCHORS, now=now, cache=ChainCache()
                    )
        swaps += 1
    assert swaps >= 50


def _renamed(other: Vector, mine: Vector) -> Held:
    """The other's collateral under the names that this quote asks for."""
    return Held(dict(zip(mine.source.pieces, other.source.pieces.values(), strict=True)))


def test_no_quote_verifies_under_another_ones_certification(good: tuple[Vector, ...]) -> None:
    """The key's certification swapped whole, and its parts swapped one by one."""
    cache = ChainCache()
    parts = ("key", "qe_signature", "qe_auth_data", "pck_chain", "qe_report_raw")
    for mine, other in permutations(good, 2):
        ours, theirs = quote.parse(mine.quote), quote.parse(other.quote)
        swapped = [quote.encode(replace(ours, certification=theirs.certification))]
        for part in parts:
            value = getattr(theirs.certification, part)
            if value == getattr(ours.certification, part):
                continue
            mixed = replace(ours.certification, **{part: value})
            swapped.append(quote.encode(replace(ours, certification=mixed)))
        for data in swapped:
            with pytest.raises(VerifierError):
                verify.authenticate(
                    data, mine.source, anchors=ANCHORS, now=mine.verify_at, cache=cache
                )


def flipped(vector: Vector, positions: range, masks: tuple[int, ...], cache: ChainCache) -> None:
    source = vector.source
    for at in positions:
        for mask in masks:
            damaged = bytearray(vector.quote)
            damaged[at] ^= mask
            try:
                verify.authenticate(
                    bytes(damaged), source, anchors=ANCHORS, now=vector.verify_at, cache=cache
                )
            except VerifierError:
                continue
            pytest.fail(f"{vector.id}: byte {at} xor {mask:#x} was accepted")


def test_one_xor_at_every_position_of_the_signed_region_is_refused(
    good: tuple[Vector, ...],
) -> None:
    cache = ChainCache()
    for number, vector in enumerate(good):
        size = len(quote.parse(vector.quote).signed)
        flipped(vector, range(size), (1 << number,), cache)


def test_one_xor_at_every_position_of_the_qe_report_is_refused(good: tuple[Vector, ...]) -> None:
    cache = ChainCache()
    for number, vector in enumerate((good[0], good[3])):  # SGX, and TDX of version 5
        start = vector.quote.index(quote.parse(vector.quote).certification.qe_report_raw)
        flipped(vector, range(start, start + 384), (0x80 >> number,), cache)


def test_the_rest_of_the_signature_data_counts_too(good: tuple[Vector, ...]) -> None:
    """Signatures, key, sizes, certificates: a sample; the very text of PEM is armour."""
    vector = good[1]
    parsed = quote.parse(vector.quote)
    chain = vector.quote.index(parsed.certification.pck_chain)
    cache = ChainCache()
    flipped(vector, range(len(parsed.signed), chain, 3), (0x10,), cache)
    leaf = parsed.certification.pck_chain.index(b"\n") + 1
    flipped(vector, range(chain + leaf, chain + leaf + 1500, 41), (0x01,), cache)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_xor_at_every_position_of_the_signed_region_is_refused(
    good: tuple[Vector, ...],
) -> None:
    cache = ChainCache()
    for vector in good:
        size = len(quote.parse(vector.quote).signed)
        flipped(vector, range(size), tuple(range(1, 256)), cache)


def test_one_changed_letter_in_any_piece_of_collateral_is_refused(
    good: tuple[Vector, ...],
) -> None:
    for vector in (good[0], good[3]):
        for key, data in vector.source.pieces.items():
            for at in range(0, len(data), 97):
                damaged = bytearray(data)
                damaged[at] ^= 0x01
                held = Held(vector.source.pieces | {key: bytes(damaged)})
                try:
                    verify.authenticate(
                        vector.quote,
                        held,
                        anchors=ANCHORS,
                        now=vector.verify_at,
                        cache=ChainCache(),
                    )
                except VerifierError:
                    continue
                pytest.fail(f"{key}: byte {at} was changed and nobody noticed")


def test_what_a_quote_needs_is_asked_of_the_source_alone(good: tuple[Vector, ...]) -> None:
    vector = good[0]
    assert (
        code(
            lambda: verify.authenticate(
                vector.quote,
                NO_COLLATERAL,
                anchors=ANCHORS,
                now=vector.verify_at,
                cache=ChainCache(),
            )
        )
        is Code.ENDORSEMENT_MISSING
    )
