"""Roles are recognised by content, and a heap of files is refused unless it has one reading."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from uuid import UUID

import pytest
from fakes import snp_fixtures
from sealward_devkit.snp.products import Product

from sealward.verifier import registry
from sealward.verifier.formats.snp import evidence as snp_evidence
from sealward.verifier.formats.snp import ghcb
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.distrust import DistrustEntry
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import (
    SNP_EVIDENCE,
    Record,
    encode,
)
from sealward.verifier.registry import Item, Role
from sealward.verifier.registry.snp import SnpRole
from sealward.verifier.wire import base64

MINTED = snp_fixtures.mint()
ROLES = [SnpRole.REPORT, SnpRole.VEK, Role.INTERMEDIATE, Role.ROOT]


def armoured(*certificates: bytes) -> bytes:
    text = ""
    for data in certificates:
        body = base64.encode(data)
        lines = [body[at : at + 64] for at in range(0, len(body), 64)]
        text += "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----\n"])
    return text.encode()


def table(*rows: tuple[UUID, bytes]) -> bytes:
    offset = 24 * (len(rows) + 1)
    entries = []
    for guid, data in rows:
        entries.append(ghcb.Entry(guid, offset, data))
        offset += len(data)
    return ghcb.encode(ghcb.Table(offset, tuple(entries)))


def envelope(*certificates: bytes) -> bytes:
    payload = snp_evidence.encode(snp_evidence.Evidence(MINTED.report, certificates))
    return encode(Record(SNP_EVIDENCE, payload))


def with_table(blob: bytes) -> bytes:
    payload = snp_evidence.encode(snp_evidence.Evidence(MINTED.report, (), blob))
    return encode(Record(SNP_EVIDENCE, payload))


def roles(data: bytes) -> list[StrEnum]:
    return [item.role for item in registry.recognise(data)]


def context(*certificates: bytes) -> registry.Context:
    root = import_root(MINTED.root, now=snp_fixtures.NOW)
    anchors = TrustAnchors(development_roots=(root,))
    return registry.Context(anchors, snp_fixtures.NOW, ChainCache(), certificates)


def items(*parts: bytes) -> list[Item]:
    return [item for part in parts for item in registry.recognise(part)]


def refusal(found: list[Item], *own: bytes) -> RefusedEvidence:
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(found, context(*own))
    return caught.value


def test_every_kind_of_file_is_recognised() -> None:
    assert roles(MINTED.report) == [SnpRole.REPORT]
    assert [roles(part)[0] for part in MINTED.certificates] == ROLES[1:]
    assert roles(armoured(*MINTED.certificates)) == ROLES[1:]
    assert roles(envelope(*MINTED.certificates)) == ROLES
    rows = [(ghcb.VCEK, MINTED.vek), (ghcb.ASK, armoured(MINTED.intermediate))]
    assert roles(table(*rows, (ghcb.CRL, b"a list"))) == [SnpRole.VEK, Role.INTERMEDIATE]


@pytest.mark.parametrize("data", [b"", b"\x00" * 1184, b"text", b"{}", b"\x83\x01\x02\x03"])
def test_anything_else_is_refused_as_one_or_the_other(data: bytes) -> None:
    with pytest.raises((RefusedEvidence, MalformedEvidence)) as caught:
        registry.recognise(data)
    assert caught.value.code in (Code.UNSUPPORTED_FORMAT, Code.MALFORMED)


@pytest.mark.parametrize(
    "other",
    [
        Record("application/eat+cwt", b"x"),
        Record("application/vnd.sealward.next-evidence+cbor", b"\xa1\x01\x40"),
    ],
)
def test_evidence_of_another_kind_is_unsupported_and_named(other: Record) -> None:
    for read in (registry.recognise, lambda data: registry.authenticate(data, context())):
        with pytest.raises(RefusedEvidence) as caught:
            read(encode(other))
        assert caught.value.code is Code.UNSUPPORTED_FORMAT
        assert caught.value.actual == other.media_type


def test_an_attester_may_leave_out_what_we_have_ourselves() -> None:
    own = (MINTED.intermediate, MINTED.root)
    for sent in (MINTED.certificates, MINTED.certificates[:2], MINTED.certificates[:1]):
        verified = registry.authenticate(envelope(*sent), context(*own))
        assert verified.claims.development
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate(envelope(MINTED.vek), context())
    assert caught.value.code is Code.ENDORSEMENT_MISSING


def test_the_certificate_table_of_a_host_is_taken_as_it_is() -> None:
    """In any order, DER or PEM, whole or not; what else a host puts there is not looked at."""
    own = (MINTED.intermediate, MINTED.root)
    whole = table(
        (ghcb.ARK, armoured(MINTED.root)),
        (ghcb.CRL, b"a list"),
        (ghcb.ASK, MINTED.intermediate),
        (ghcb.VCEK, MINTED.vek),
    )
    assert registry.authenticate(with_table(whole), context()).claims.product == "Milan"
    assert roles(with_table(whole)) == [ROLES[0], *reversed(ROLES[1:])]
    part = with_table(table((ghcb.VCEK, MINTED.vek)))
    assert registry.authenticate(part, context(*own)).claims.product == "Milan"
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate(with_table(b""), context(*own))
    assert caught.value.code is Code.ENDORSEMENT_MISSING
    for damaged in (b"\x00", bytes(23), whole + b"\x01"):
        with pytest.raises(MalformedEvidence):
            registry.authenticate(with_table(damaged), context(*own))


def test_the_order_of_files_and_their_repetition_do_not_matter() -> None:
    parts = (*reversed(MINTED.certificates), MINTED.report, MINTED.report, MINTED.vek)
    assert registry.authenticate_items(items(*parts), context()).claims.product == "Milan"


def test_certificates_of_other_products_do_not_disturb() -> None:
    other = snp_fixtures.hierarchy(Product.TURIN)
    found = items(MINTED.report, *MINTED.certificates, other.ask, other.ark)
    assert registry.authenticate_items(found, context()).claims.product == "Milan"


def test_a_heap_without_a_report_or_with_two_is_refused() -> None:
    assert refusal(items(*MINTED.certificates)).code is Code.EVIDENCE_MISSING
    second = snp_fixtures.mint(report_data=b"\x07" * 64)
    found = items(MINTED.report, second.report, *MINTED.certificates)
    assert refusal(found).code is Code.EVIDENCE_AMBIGUOUS


def test_a_heap_without_a_link_is_refused_and_says_where_to_get_it() -> None:
    error = refusal(items(MINTED.report))
    assert error.code is Code.ENDORSEMENT_MISSING
    error = refusal(items(MINTED.report, MINTED.vek, MINTED.root))
    assert error.code is Code.ENDORSEMENT_MISSING
    assert error.hint is not None
    assert "https://" in error.hint


def test_a_heap_with_two_candidates_is_refused() -> None:
    other = snp_fixtures.platform(name="second")
    found = items(MINTED.report, *MINTED.certificates, other.vek)
    assert refusal(found).code is Code.EVIDENCE_AMBIGUOUS


def test_the_expected_levels_reach_the_claims() -> None:
    narrow = replace(context(), expected_vmpl=frozenset({3}))
    claims = registry.authenticate(envelope(*MINTED.certificates), narrow).claims
    assert claims.verdicts[0].claim == "vmpl"


def test_a_distrust_list_reaches_the_claims() -> None:
    chip = registry.authenticate_items(
        items(MINTED.report, *MINTED.certificates), context()
    ).claims.platform_id
    listed = registry.Context(
        context().anchors,
        snp_fixtures.NOW,
        ChainCache(),
        distrusted=(DistrustEntry(reason="known break", platform_id=chip),),
    )
    claims = registry.authenticate(envelope(*MINTED.certificates), listed).claims
    assert claims.verdicts[-1].actual == "known break"
