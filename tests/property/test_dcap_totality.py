"""Every parser of Intel's formats: a value or one documented error, and one encoding per value."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

from fakes import dcap_fixtures, dcap_vectors
from fakes.dcap_vectors import Held
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from property import strategies
from sealward_devkit.dcap.platform import Tee
from sealward_devkit.dcap.quote import Shape

from sealward.verifier import registry
from sealward.verifier.formats.dcap import collateral, evidence, pck, quote, statement, tcb_info
from sealward.verifier.formats.dcap import verify as dcap
from sealward.verifier.pki import certificate, crl
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence

EXAMPLES = settings(
    max_examples=int(os.environ.get("SEALWARD_EXAMPLES", "60")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@cache
def quotes() -> tuple[bytes, ...]:
    tdx = [dcap_fixtures.mint_tdx(shape=shape).quote for shape in Shape if shape.tee is Tee.TDX]
    return (*tdx, dcap_fixtures.mint_sgx().quote, tdx[0] + bytes(70))


@cache
def bundles() -> tuple[bytes, ...]:
    return tuple(dcap_fixtures.collateral(tee).to_json().encode() for tee in Tee)


@cache
def pieces() -> tuple[bytes, ...]:
    return tuple(piece for bundle in bundles() for piece in dcap_vectors.pieces(bundle).values())


@cache
def anchors() -> TrustAnchors:
    root = import_root(dcap_fixtures.hierarchy().root, now=dcap_fixtures.NOW)
    return TrustAnchors(development_roots=(root,))


@EXAMPLES
@given(data=st.data())
def test_a_quote_that_is_read_is_its_fields(data: DataObject) -> None:
    drawn = data.draw(strategies.hostile(quotes()))
    try:
        parsed = quote.parse(drawn)
    except MalformedEvidence:
        return
    assert quote.encode(parsed) == drawn
    assert quote.encode_signed(parsed.header, parsed.body) == parsed.signed


@EXAMPLES
@given(data=st.data())
def test_collateral_is_read_or_malformed(data: DataObject) -> None:
    drawn = data.draw(strategies.hostile(pieces()))
    for read in (collateral.key_of, collateral.edition_of, statement.split, crl.parse):
        try:
            assert read(drawn)
        except MalformedEvidence:
            continue
    assert crl.looks_like(drawn) in (True, False)


@EXAMPLES
@given(data=st.data())
def test_the_text_of_a_statement_is_read_or_malformed(data: DataObject) -> None:
    """Without a signature in the way, mutations reach every member."""
    texts = tuple(statement.split(piece).text for piece in pieces() if statement.looks_like(piece))
    drawn = data.draw(strategies.hostile(texts))
    for read in (tcb_info.parse_tcb_info, tcb_info.parse_qe_identity):
        try:
            assert read(drawn).evaluation_number >= 0
        except MalformedEvidence:
            continue


@EXAMPLES
@given(data=st.data())
def test_a_bundle_is_taken_apart_or_malformed(data: DataObject) -> None:
    drawn = data.draw(strategies.hostile(bundles()))
    try:
        assert collateral.bundle(drawn).tcb_info
    except MalformedEvidence:
        return


@EXAMPLES
@given(data=st.data())
def test_a_pck_extension_is_read_or_malformed(data: DataObject) -> None:
    leaf = certificate.parse(dcap_fixtures.platform().pck)
    seed = leaf.extension(pck.OID)
    assert seed is not None
    drawn = data.draw(strategies.hostile((seed.value,)))
    others = tuple(item for item in leaf.extensions if item.oid != pck.OID)
    try:
        found = pck.parse(replace(leaf, extensions=(*others, replace(seed, value=drawn))))
    except MalformedEvidence:
        return
    assert len(found.components) == pck.COMPONENTS


@EXAMPLES
@given(data=st.data())
def test_payloads_are_read_or_malformed(data: DataObject) -> None:
    seeds = (
        evidence.encode_tdx(evidence.Evidence(quotes()[0], b"log")),
        evidence.encode_sgx(evidence.Evidence(quotes()[3])),
    )
    drawn = data.draw(strategies.hostile(seeds))
    for read, write in (
        (evidence.parse_tdx, evidence.encode_tdx),
        (evidence.parse_sgx, evidence.encode_sgx),
    ):
        try:
            found = read(drawn)
        except MalformedEvidence:
            continue
        assert write(found) == drawn


@EXAMPLES
@given(data=st.data())
def test_authentication_raises_nothing_but_the_documented_errors(data: DataObject) -> None:
    """A damaged quote or a damaged piece of collateral: only what was minted, whole, is taken."""
    held = dcap_vectors.pieces(bundles()[1])
    whole = quotes()[0]
    key = data.draw(st.sampled_from([None, *held]))
    drawn = whole
    if key is None:
        drawn = data.draw(strategies.hostile((whole,)))
    else:
        held[key] = data.draw(strategies.hostile((held[key],)))
    try:
        verified = dcap.authenticate(
            drawn,
            Held(held),
            anchors=anchors(),
            now=dcap_fixtures.NOW,
            cache=ChainCache(),
        )
    except (MalformedEvidence, RefusedEvidence):
        return
    # Padding, the armour of PEM and the signature's form are nobody's word.
    assert verified.signed.quote.signed == quote.parse(whole).signed


@EXAMPLES
@given(data=st.data())
def test_recognising_raises_nothing_but_the_documented_errors(data: DataObject) -> None:
    drawn = data.draw(strategies.hostile((*quotes(), *pieces(), *bundles())))
    try:
        items = registry.recognise(drawn)
    except (MalformedEvidence, RefusedEvidence):
        return
    assert all(item.data for item in items)
