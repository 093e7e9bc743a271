"""Real SEV-SNP evidence comes out as the manifest of the vectors says, by every way in."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fakes import snp_vectors
from fakes.snp_vectors import Vector

from sealward.controlplane.cli.verify import verify as verify_command
from sealward.verifier import registry
from sealward.verifier.formats.snp import ghcb, product, report, vek, verify, view
from sealward.verifier.formats.snp.endorsements import EndorsedKey, endorse
from sealward.verifier.pki import algorithms, certificate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.errors import Code, RefusedEvidence, VerifierError
from sealward.verifier.wire import pem

ANCHORS = TrustAnchors()


@pytest.fixture(scope="module")
def vectors(vectors_dir: Path) -> tuple[Vector, ...]:
    return snp_vectors.load(vectors_dir)


@pytest.fixture(scope="module")
def good(vectors: tuple[Vector, ...]) -> tuple[Vector, ...]:
    return tuple(vector for vector in vectors if vector.verifies)


def context(vector: Vector, cache: ChainCache | None = None) -> registry.Context:
    return registry.Context(ANCHORS, vector.verify_at, cache or ChainCache())


def by_envelope(vector: Vector) -> dict[str, Any]:
    verified = registry.authenticate(vector.envelope(), context(vector))
    return {"claims": verified.claims.to_json(), **verified.details()}


def by_pieces(vector: Vector) -> dict[str, Any]:
    items = [item for path in vector.paths for item in registry.recognise(path.read_bytes())]
    verified = registry.authenticate_items(items, context(vector))
    return {"claims": verified.claims.to_json(), **verified.details()}


def by_command(vector: Vector) -> dict[str, Any]:
    at = vector.verify_at.isoformat()
    files = [str(path) for path in vector.paths]
    answer = CliRunner().invoke(verify_command, ["--json", "--at", at, *files])
    assert answer.exit_code == 0, answer.output
    document: dict[str, Any] = json.loads(answer.output)  # noqa: TID251 - our own output
    assert document.pop("verified") is True
    assert document.pop("at") == at.replace("+00:00", "Z")
    return document


def by_command_on_an_envelope(vector: Vector, tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / f"{vector.id}.cmw"
    file.write_bytes(vector.envelope())
    at = vector.verify_at.isoformat()
    answer = CliRunner().invoke(verify_command, ["--json", "--at", at, str(file)])
    assert answer.exit_code == 0, answer.output
    document: dict[str, Any] = json.loads(answer.output)  # noqa: TID251 - our own output
    return {name: document[name] for name in document if name not in ("verified", "at")}


WAYS: dict[str, Callable[[Vector, Path], dict[str, Any]]] = {
    "envelope": lambda vector, _: by_envelope(vector),
    "pieces": lambda vector, _: by_pieces(vector),
    "command": lambda vector, _: by_command(vector),
    "command on an envelope": by_command_on_an_envelope,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_verifying_vector_shows_exactly_the_fields_the_manifest_expects(
    good: tuple[Vector, ...], way: str, tmp_path: Path
) -> None:
    for vector in good:
        shown = WAYS[way](vector, tmp_path)
        ours = snp_vectors.in_manifest_words(
            shown["report"], shown["vek"], int(shown["vek_serial"])
        )
        assert ours == vector.expect, vector.id


def test_vectors_that_do_not_verify_still_parse_to_what_the_manifest_expects(
    vectors: tuple[Vector, ...],
) -> None:
    for vector in vectors:
        leaf = certificate.parse(vector.endorsements.vek)
        extensions = vek.parse(leaf)
        line = product.of_name(extensions.product_name)
        shown = view.describe_report(report.parse(vector.report), line)
        ours = snp_vectors.in_manifest_words(shown, view.describe_vek(extensions), leaf.serial)
        assert ours == vector.expect, vector.id


def test_the_certificate_windows_are_those_of_the_manifest(vectors: tuple[Vector, ...]) -> None:
    for vector in vectors:
        leaf = certificate.parse(vector.endorsements.vek)
        assert (leaf.not_before, leaf.not_after) == vector.window


def outcome(check: Callable[[], object]) -> bool:
    try:
        check()
    except RefusedEvidence:
        return False
    return True


def unendorsed(vector: Vector) -> EndorsedKey:
    """The VEK's own word for itself, so that each later check can be run alone."""
    leaf = certificate.parse(vector.endorsements.vek)
    extensions = vek.parse(leaf)
    if vector.verifies:
        return endorse(
            vector.endorsements, anchors=ANCHORS, now=vector.verify_at, cache=ChainCache()
        )
    key = algorithms.load_public_key(leaf.spki, owner="vector")
    line = product.of_name(extensions.product_name)
    levels = (extensions.bl, extensions.tee, 0, 0, 0, 0, extensions.snp, extensions.ucode)
    genuine = snp_key(vector)
    return EndorsedKey(
        vek=extensions,
        product=line,
        reported_tcb=bytes(levels),
        development=False,
        window=genuine.window,
        serial=leaf.serial,
        chain=(),
        key=key,  # type: ignore[arg-type]  # an EC key: the check below would raise otherwise
    )


def snp_key(vector: Vector) -> EndorsedKey:
    """Any endorsed key, for the parts of `EndorsedKey` that the checks do not look at."""
    folder = vector.paths[0].parents[1]
    other = next(item for item in snp_vectors.load(folder) if item.verifies)
    return endorse(other.endorsements, anchors=ANCHORS, now=other.verify_at, cache=ChainCache())


def test_each_single_check_comes_out_as_the_manifest_says(vectors: tuple[Vector, ...]) -> None:
    for vector in vectors:
        parsed = report.parse(vector.report)
        signed = report.signed_region(vector.report)
        endorsed = unendorsed(vector)
        ours = {
            "report_sig_ecdsa_p384_sha384": outcome(
                lambda p=parsed, s=signed, e=endorsed: verify.check_signature(p, s, e.key)
            ),
            "chain_vek_ask_ark_rsa4096_pss_sha384": outcome(
                lambda v=vector: endorse(
                    v.endorsements, anchors=ANCHORS, now=v.verify_at, cache=ChainCache()
                )
            ),
            "reported_tcb_matches_cert": outcome(
                lambda p=parsed, e=endorsed: verify.check_tcb(p, e)
            ),
            "chip_id_matches_cert_hwid": outcome(
                lambda p=parsed, e=endorsed: verify.check_chip(p, e)
            ),
        }
        theirs = {name: _holds(vector, name) for name in vector.checked}
        assert ours == theirs, vector.id


def _holds(vector: Vector, name: str) -> bool:
    said = vector.checked[name]
    if isinstance(said, bool):
        return said
    if said.startswith("n/a (VLEK: csp_id "):  # nothing to compare; but the provider is named
        return vector.expect["vek_extensions"]["csp_id"] in said
    return {"ok": True, "FAIL InvalidSignature": False}[said]


@pytest.mark.parametrize("way", WAYS)
def test_every_failing_vector_is_refused_by_every_way_in(
    vectors: tuple[Vector, ...], way: str, tmp_path: Path
) -> None:
    bad = [vector for vector in vectors if not vector.verifies]
    assert bad
    for vector in bad:
        if way.startswith("command"):
            at = vector.verify_at.isoformat()
            files = [str(path) for path in vector.paths]
            answer = CliRunner().invoke(verify_command, ["--at", at, *files])
            assert answer.exit_code == 1
            assert "signature_invalid" in answer.output
        else:
            with pytest.raises(RefusedEvidence) as caught:
                WAYS[way](vector, tmp_path)
            assert caught.value.code is Code.SIGNATURE_INVALID


def test_the_claims_of_the_vectors_are_those_of_the_hardware(good: tuple[Vector, ...]) -> None:
    for vector in good:
        claims = by_envelope(vector)["claims"]
        told = vector.expect["report"]
        provider = vector.expect["vek_extensions"].get("csp_id")
        hwid = vector.expect["vek_extensions"].get("hwid")
        assert claims["instance_value"] == told["report_id"]
        assert claims["platform_id"] == (f"snp:chip:{hwid}" if hwid else None)
        assert claims["provider"] == provider
        assert claims["measurements"] == [
            {"name": "launch", "algorithm": "sha384", "digest": told["measurement"]}
        ]
        assert claims["debug"] is told["policy_flags"]["debug"]
        codes = [verdict["code"] for verdict in claims["verdicts"]]
        assert codes == (["debug_enabled"] if claims["debug"] else [])
        assert claims["development"] is False
        assert claims["clock"] == "host"


def test_an_instant_outside_the_chain_is_refused(good: tuple[Vector, ...]) -> None:
    second = timedelta(seconds=1)
    for vector in good:
        cache = ChainCache()
        registry.authenticate(vector.envelope(), context(vector, cache))
        for at, code in (
            (vector.window[0] - second, Code.CERTIFICATE_NOT_YET_VALID),
            (vector.window[1] + second, Code.CERTIFICATE_EXPIRED),
        ):
            for used in (cache, ChainCache()):  # a cached chain is dated like a new one
                late = registry.Context(ANCHORS, at, used)
                with pytest.raises(RefusedEvidence) as caught:
                    registry.authenticate(vector.envelope(), late)
                assert caught.value.code is code


def test_no_vector_verifies_under_another_ones_key(good: tuple[Vector, ...]) -> None:
    cache = ChainCache()
    swaps = list(permutations(good, 2))
    assert len(swaps) >= 42
    for mine, other in swaps:
        with pytest.raises(RefusedEvidence):
            verify.authenticate(
                mine.report,
                other.endorsements,
                anchors=ANCHORS,
                now=other.verify_at,
                cache=cache,
            )


def flipped_everywhere(vector: Vector, masks: tuple[int, ...], cache: ChainCache) -> None:
    for at in range(report.SIGNED_SIZE):
        for mask in masks:
            damaged = bytearray(vector.report)
            damaged[at] ^= mask
            try:
                verify.authenticate(
                    bytes(damaged),
                    vector.endorsements,
                    anchors=ANCHORS,
                    now=vector.verify_at,
                    cache=cache,
                )
            except VerifierError:
                continue
            pytest.fail(f"{vector.id}: byte {at:#x} xor {mask:#x} was accepted")


def test_one_xor_at_every_position_of_the_signed_region_is_refused(
    good: tuple[Vector, ...],
) -> None:
    cache = ChainCache()
    for number, vector in enumerate(good):
        flipped_everywhere(vector, (1 << number % 8,), cache)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_xor_at_every_position_of_the_signed_region_is_refused(
    good: tuple[Vector, ...],
) -> None:
    cache = ChainCache()
    for vector in good:
        flipped_everywhere(vector, tuple(range(1, 256)), cache)


def test_every_byte_behind_the_signed_region_counts_too(good: tuple[Vector, ...]) -> None:
    """The signature's own bytes, and the unsigned rest that must be zero."""
    cache = ChainCache()
    vector = good[0]
    for at in range(report.SIGNED_SIZE, report.REPORT_SIZE, 5):
        damaged = bytearray(vector.report)
        damaged[at] ^= 0x80
        with pytest.raises(VerifierError):
            verify.authenticate(
                bytes(damaged),
                vector.endorsements,
                anchors=ANCHORS,
                now=vector.verify_at,
                cache=cache,
            )


def test_the_certificate_table_of_a_real_host_holds_its_whole_chain(
    good: tuple[Vector, ...],
) -> None:
    tables = [vector for vector in good if vector.auxblob is not None]
    assert tables
    for vector in tables:
        assert vector.auxblob is not None
        table = ghcb.parse(vector.auxblob)
        assert ghcb.encode(table) == vector.auxblob
        assert [entry.guid for entry in table.entries] == [ghcb.ARK, ghcb.ASK, ghcb.VCEK]
        pieces = (
            *registry.recognise(vector.report),
            *registry.recognise(vector.auxblob),
            *registry.recognise(vector.endorsements.vek),  # again, and in DER: still one VEK
        )
        verified = registry.authenticate_items(pieces, context(vector))
        assert verified.claims.product == "Genoa"


def test_pinned_roots_are_those_of_the_manifest(vectors_dir: Path) -> None:
    manifest = json.loads((vectors_dir / "manifest.json").read_text())  # noqa: TID251 - test data
    for root in ANCHORS.pinned:
        if root.vendor is not Vendor.AMD:
            continue
        entry = manifest["roots"][f"amd_ark_{root.line.lower()}"]
        assert entry["sha256_der"] == root.sha256
        data = (vectors_dir / entry["file"]).read_bytes()
        parsed = certificate.parse(pem.decode(data, what="root", max_bytes=1 << 16)[0])
        assert parsed.fingerprint == root.sha256
        assert hex(parsed.serial) == entry["serial"]


def test_every_root_and_certificate_of_the_vectors_is_read_without_a_warning(
    vectors_dir: Path,
) -> None:
    files = [*vectors_dir.glob("roots/*.pem"), *vectors_dir.glob("*/*.der")]
    assert len(files) > 25
    for file in files:
        data = file.read_bytes()
        blocks = (
            pem.decode(data, what=file.name, max_bytes=1 << 16) if pem.looks_like(data) else (data,)
        )
        for block in blocks:
            assert certificate.parse(block).der == block
