"""Minted quotes and collateral, wrong in one way at a time: each is refused for that way.

Everything hangs under a development root, so the same evidence also shows what a development root
does to claims. dcap-qvl judges along wherever it can.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from fakes import dcap_fixtures, dcap_vectors, snp_fixtures
from fakes.dcap_vectors import Held
from fakes.dcap_verification import anchors, check, source, statements, theirs
from fakes.snp_fixtures import NOW, VALIDITY
from sealward_devkit.dcap.collateral import (
    Collateral,
    Level,
    Module,
    SvnLevel,
)
from sealward_devkit.dcap.platform import Tee
from sealward_devkit.dcap.quote import Patch, Shape, raw_signature
from sealward_devkit.dcap.reports import DEBUG, SEPT_VE_DISABLE
from sealward_devkit.pki.revocation import revocation_list
from sealward_devkit.pki.roots import DCAP_ROOT

from sealward.verifier import registry
from sealward.verifier.formats.dcap import (
    attestation_key,
    claims,
    collateral,
    enclave_report,
    evidence,
    quote,
    statement,
    verify,
)
from sealward.verifier.pki import certificate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.distrust import DistrustEntry
from sealward.verifier.rats.errors import (
    Code,
    MalformedEvidence,
    RefusedEvidence,
)
from sealward.verifier.rats.evidence import SGX_EVIDENCE, TDX_EVIDENCE, Record, encode
from sealward.verifier.rats.result import VerdictCode
from sealward.verifier.registry import dcap as registry_dcap

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = list(Shape)


def refused(data: bytes, minted: Collateral, **how: Any) -> RefusedEvidence:  # noqa: ANN401 - of check
    with pytest.raises(RefusedEvidence) as caught:
        check(data, minted, **how)
    return caught.value


def evidence_of(shape: Shape, *patches: Patch, **changes: Any) -> dcap_fixtures.Minted:  # noqa: ANN401
    if shape.tee is Tee.SGX:
        return dcap_fixtures.mint_sgx(None, *patches, **changes)
    return dcap_fixtures.mint_tdx(None, *patches, shape=shape, **changes)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_verifies_and_says_that_its_root_is_a_development_root(shape: Shape) -> None:
    minted = evidence_of(shape)
    verified = check(minted.quote, minted.collateral)
    shown = claims.normalise(verified, now=NOW)
    assert shown.development
    assert [item.code for item in shown.verdicts] == [VerdictCode.DEVELOPMENT_ROOT]
    assert shown.tcb_status == "UpToDate"
    assert shown.platform_id == dcap_fixtures.platform().platform_id


@pytest.mark.parametrize("version", [4, 5])
def test_an_enclave_s_quote_of_a_later_version_is_read_as_well(version: int) -> None:
    """Signed anew by the enclave's own key: the minter makes version 3 alone."""
    minted = dcap_fixtures.mint_sgx()
    parsed = quote.parse(minted.quote)
    header = replace(parsed.header, version=version)
    signed = quote.encode_signed(header, parsed.body)
    signature = raw_signature(signed, dcap_fixtures.enclave(Tee.SGX).key)
    data = quote.encode(replace(parsed, header=header, signed=signed, signature=signature))
    verified = check(data, minted.collateral)
    assert claims.normalise(verified, now=NOW).format_version == version
    with pytest.raises(ValueError, match="must have version 3"):  # dcap-qvl reads no such quote
        theirs(data, minted.collateral)
    refused_unsigned = quote.encode(replace(parsed, header=header, signed=signed))
    assert refused(refused_unsigned, minted.collateral).code is Code.SIGNATURE_INVALID


def test_without_the_development_root_nothing_of_it_is_believed() -> None:
    minted = dcap_fixtures.mint_tdx()
    with pytest.raises(RefusedEvidence) as caught:
        verify.authenticate(
            minted.quote,
            source(minted.collateral),
            anchors=TrustAnchors(),
            now=NOW,
            cache=ChainCache(),
        )
    assert caught.value.code is Code.ROOT_NOT_PINNED


def test_a_development_root_of_another_kind_endorses_no_quote() -> None:
    """The trusted root is an AMD development root; the quote's chain ends in it by fingerprint."""
    root = import_root(dcap_fixtures.hierarchy().root, now=NOW)
    other = TrustAnchors(development_roots=(replace(root, line="Milan"),))
    minted = dcap_fixtures.mint_tdx()
    with pytest.raises(RefusedEvidence) as caught:
        verify.check_signatures(minted.quote, anchors=other, now=NOW, cache=ChainCache())
    assert caught.value.code is Code.ROOT_NOT_PINNED
    assert caught.value.actual == "Milan"
    assert snp_fixtures.NOW == NOW


def test_debug_and_migration_are_held_against_a_td() -> None:
    for changes, expected in (
        ({"td_attributes": SEPT_VE_DISABLE | DEBUG}, VerdictCode.DEBUG_ENABLED),
        ({"td_attributes": SEPT_VE_DISABLE | 1 << 29}, VerdictCode.MIGRATION_ENABLED),
    ):
        minted = dcap_fixtures.mint_tdx(None, **changes)
        shown = claims.normalise(check(minted.quote, minted.collateral), now=NOW)
        assert expected in [item.code for item in shown.verdicts]
    bound = dcap_fixtures.mint_tdx(shape=Shape.TDX_5_TD15, mr_service_td=b"\x01" * 48)
    shown = claims.normalise(check(bound.quote, bound.collateral), now=NOW)
    assert VerdictCode.MIGRATION_ENABLED in [item.code for item in shown.verdicts]
    assert shown.migratable


def test_debug_is_held_against_an_enclave() -> None:
    attributes = bytes.fromhex("0700000000000000e700000000000000")
    minted = dcap_fixtures.mint_sgx(attributes=attributes)
    shown = claims.normalise(check(minted.quote, minted.collateral), now=NOW)
    assert VerdictCode.DEBUG_ENABLED in [item.code for item in shown.verdicts]


def test_a_revoked_tcb_is_a_verdict_and_not_a_refusal() -> None:
    info = dcap_fixtures.tcb_info()
    levels = tuple(replace(level, status="Revoked") for level in info.levels)
    minted = dcap_fixtures.mint_tdx()
    verified = check(minted.quote, statements({"levels": levels}))
    shown = claims.normalise(verified, now=NOW)
    assert shown.tcb_status == "Revoked"
    assert VerdictCode.TCB_REVOKED in [item.code for item in shown.verdicts]


def test_out_of_date_is_a_claim_alone() -> None:
    info = dcap_fixtures.tcb_info()
    levels = (replace(info.levels[0], status="OutOfDate", advisories=("INTEL-SA-00001",)),)
    minted = dcap_fixtures.mint_tdx()
    shown = claims.normalise(check(minted.quote, statements({"levels": levels})), now=NOW)
    assert (shown.tcb_status, shown.advisories) == ("OutOfDate", ("INTEL-SA-00001",))
    assert [item.code for item in shown.verdicts] == [VerdictCode.DEVELOPMENT_ROOT]


def test_a_platform_can_be_distrusted() -> None:
    minted = dcap_fixtures.mint_tdx()
    verified = check(minted.quote, minted.collateral)
    entry = DistrustEntry(reason="key leaked", platform_id=dcap_fixtures.platform().platform_id)
    shown = claims.normalise(verified, now=NOW, distrusted=[entry])
    assert shown.verdicts[-1].code is VerdictCode.DISTRUSTED


def certified(key: bytes | None = None, behind: bytes = bytes(32), **changes: Any) -> bytes:  # noqa: ANN401 - any field of the QE's report
    """A quote whose quoting enclave says something else, signed by the platform all the same."""
    minted = dcap_fixtures.mint_tdx()
    parsed = quote.parse(minted.quote)
    certification = parsed.certification
    key = certification.key if key is None else key
    bound = hashlib.sha256(key + certification.qe_auth_data).digest() + behind
    report = replace(certification.qe_report, **({"report_data": bound} | changes))
    raw = enclave_report.encode(report)
    signature = raw_signature(raw, dcap_fixtures.platform().key)
    made = replace(
        certification, key=key, qe_report=report, qe_report_raw=raw, qe_signature=signature
    )
    return quote.encode(replace(parsed, certification=made))


def test_a_quoting_enclave_that_says_the_same_again_is_believed() -> None:
    assert check(certified(), dcap_fixtures.collateral()).result.status == "UpToDate"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"report_data": bytes(64)}, Code.ATTESTATION_KEY_UNPROVEN),
        ({"behind": bytes(31) + b"\x01"}, Code.ATTESTATION_KEY_UNPROVEN),
        ({"key": b"\x01" * 64}, Code.ATTESTATION_KEY_UNPROVEN),
        ({"mr_signer": bytes(32)}, Code.QE_IDENTITY_MISMATCH),
        ({"isv_prod_id": 1}, Code.QE_IDENTITY_MISMATCH),
        ({"misc_select": b"\x01\0\0\0"}, Code.QE_IDENTITY_MISMATCH),
        ({"attributes": bytes.fromhex("17" + "00" * 15)}, Code.QE_IDENTITY_MISMATCH),
        ({"attributes": bytes(16)}, Code.QE_IDENTITY_MISMATCH),
        ({"isv_svn": 0}, Code.TCB_LEVEL_UNMATCHED),
    ],
    ids=str,
)
def test_a_quoting_enclave_of_another_kind_is_refused(changes: dict[str, Any], code: Code) -> None:
    """A debug enclave among them: a platform's owner can run any, and have it certified."""
    assert refused(certified(**changes), dcap_fixtures.collateral()).code is code


@pytest.mark.parametrize("half", [0, 32])
def test_a_signature_of_zero_or_of_the_order_is_refused(half: int) -> None:
    minted = dcap_fixtures.mint_tdx()
    parsed = quote.parse(minted.quote)
    for value in (0, verify.raw_signature.P256_ORDER):
        signature = bytearray(parsed.signature)
        signature[half : half + 32] = value.to_bytes(32, "big")
        data = quote.encode(replace(parsed, signature=bytes(signature)))
        assert refused(data, minted.collateral).code is Code.SIGNATURE_INVALID


def test_a_pck_is_of_the_kind_that_its_ca_issues() -> None:
    minted = dcap_fixtures.mint_tdx()
    endorsed = check(minted.quote, minted.collateral).signed.endorsed
    attestation_key.check_ca(endorsed.pck, endorsed.path)
    plain = replace(endorsed.pck, platform_instance_id=None)
    other = replace(endorsed.path, role="PCK Processor CA")
    attestation_key.check_ca(plain, other)
    for pck, path in ((plain, endorsed.path), (endorsed.pck, other)):
        with pytest.raises(RefusedEvidence) as caught:
            attestation_key.check_ca(pck, path)
        assert caught.value.code is Code.CHAIN_BROKEN


def serial(der: bytes) -> int:
    return certificate.parse(der).serial


def test_a_revoked_pck_is_refused_and_no_other() -> None:
    minted = dcap_fixtures.mint_tdx()
    number = serial(dcap_fixtures.platform().pck)
    assert refused(minted.quote, statements(revoked=(number,))).code is Code.CERTIFICATE_REVOKED
    other = statements(revoked=(number + 1, number - 1))
    assert check(minted.quote, other).result.status == "UpToDate"


@pytest.mark.parametrize("whose", ["platform_ca", "tcb_signing"])
def test_a_revoked_ca_or_signer_is_refused(whose: str) -> None:
    minted = dcap_fixtures.mint_tdx()
    number = serial(getattr(dcap_fixtures.hierarchy(), whose))
    root_key = dcap_fixtures.root_keys().root
    crl = revocation_list(DCAP_ROOT, root_key, VALIDITY, revoked=(number,))
    held = Held(source(minted.collateral).pieces | {collateral.ROOT_CRL_KEY: crl})
    assert refused(minted.quote, minted.collateral, held=held).code is Code.CERTIFICATE_REVOKED


def test_lists_of_other_issuers_are_refused() -> None:
    """The root's list where the PCK CA's should be, and the other way round."""
    minted = dcap_fixtures.mint_tdx()
    pieces = source(minted.collateral).pieces
    pck_key, root_key = [key for key in pieces if "crl" in key.kind]
    for changed in ({pck_key: pieces[root_key]}, {root_key: pieces[pck_key]}):
        held = Held(pieces | changed)
        assert refused(minted.quote, minted.collateral, held=held).code is Code.CHAIN_BROKEN


@pytest.mark.parametrize(
    ("info", "identity", "code"),
    [
        ({"fmspc": bytes(6)}, {}, Code.COLLATERAL_MISMATCH),
        ({"pce_id": b"\x01\x00"}, {}, Code.COLLATERAL_MISMATCH),
        ({"next_update": NOW - timedelta(seconds=1)}, {}, Code.COLLATERAL_EXPIRED),
        ({"issued": NOW + timedelta(seconds=1)}, {}, Code.COLLATERAL_NOT_YET_VALID),
        ({}, {"next_update": NOW - timedelta(seconds=1)}, Code.COLLATERAL_EXPIRED),
        ({}, {"issued": NOW + timedelta(seconds=1)}, Code.COLLATERAL_NOT_YET_VALID),
        ({}, {"signer": bytes(32)}, Code.QE_IDENTITY_MISMATCH),
        ({"levels": (Level(sgx=(255,) * 16, date=NOW),)}, {}, Code.TCB_LEVEL_UNMATCHED),
        ({"levels": (Level(pce_svn=999, date=NOW),)}, {}, Code.TCB_LEVEL_UNMATCHED),
        ({}, {"levels": (SvnLevel(svn=99, date=NOW),)}, Code.TCB_LEVEL_UNMATCHED),
        ({"modules": ()}, {}, Code.TDX_MODULE_MISMATCH),
        (
            {"modules": (Module(major=1, levels=(SvnLevel(svn=1, date=NOW),), signer=b"\1" * 48),)},
            {},
            Code.TDX_MODULE_MISMATCH,
        ),
    ],
)
def test_each_wrong_statement_has_its_own_code(
    info: dict[str, Any], identity: dict[str, Any], code: Code
) -> None:
    minted = dcap_fixtures.mint_tdx()
    held = Held(
        dict(
            zip(
                source(minted.collateral).pieces,
                dcap_vectors.pieces(statements(info, identity).to_json().encode()).values(),
                strict=True,
            )
        )
    )
    assert refused(minted.quote, minted.collateral, held=held).code is code


def test_statements_about_the_other_tee_are_refused() -> None:
    minted, sgx = dcap_fixtures.mint_tdx(), dcap_fixtures.collateral(Tee.SGX)
    pieces = zip(source(minted.collateral).pieces, source(sgx).pieces.values(), strict=True)
    held = Held(dict(pieces))
    assert refused(minted.quote, sgx, held=held).code is Code.COLLATERAL_MISMATCH


@pytest.mark.parametrize(
    ("at", "value"),
    [(64, b"\x01"), (112, b"\x01")],
    ids=["signer of the module", "attributes of the module"],
)
def test_a_module_that_is_not_intel_s_is_refused(at: int, value: bytes) -> None:
    minted = dcap_fixtures.mint_tdx(None, Patch(48 + at, value))
    assert refused(minted.quote, minted.collateral).code is Code.TDX_MODULE_MISMATCH
    old = dcap_fixtures.mint_tdx(None, Patch(48 + at, value), tee_tcb_svn=bytes((9,) + (0,) * 15))
    assert refused(old.quote, old.collateral).code is Code.TDX_MODULE_MISMATCH


def test_who_signs_statements_may_not_certify_platforms_and_the_other_way_round() -> None:
    """The chains of the PCK CA and of the TCB signer, each in the other's place."""
    minted = dcap_fixtures.mint_tdx()
    parsed = quote.parse(minted.quote)
    signer_chain = minted.collateral.tcb_info_issuer_chain.encode()
    swapped = replace(parsed.certification, pck_chain=signer_chain)
    data = quote.encode(replace(parsed, certification=swapped))
    assert refused(data, minted.collateral).code is Code.CHAIN_BROKEN
    pieces = source(minted.collateral).pieces
    (key, whole) = next(iter(pieces.items()))
    framed = statement.split(whole)
    body = whole[: len(whole) - len(framed.chain)]
    for chain in (minted.collateral.pck_crl_issuer_chain.encode(), parsed.certification.pck_chain):
        held = Held(pieces | {key: body + chain})
        assert refused(minted.quote, minted.collateral, held=held).code is Code.CHAIN_BROKEN


def test_a_statement_without_its_signer_is_not_enough() -> None:
    minted = dcap_fixtures.mint_tdx()
    pieces = source(minted.collateral).pieces
    (key, whole) = next(iter(pieces.items()))
    framed = statement.split(whole)
    held = Held(pieces | {key: whole[: len(whole) - len(framed.chain)]})
    assert refused(minted.quote, minted.collateral, held=held).code is Code.ENDORSEMENT_MISSING


def test_a_development_root_rates_no_hardware(vectors_dir: Path) -> None:
    """Real collateral's place taken by statements under a development root."""
    vector = next(item for item in dcap_vectors.load(vectors_dir) if item.id == "tdx-v4-dcap-qvl")
    fmspc = bytes.fromhex(vector.expect["pck"]["fmspc"])
    now = vector.verify_at
    held_from = (now - timedelta(days=1), now + timedelta(days=1))
    info = {"fmspc": fmspc, "issued": held_from[0], "next_update": held_from[1]}
    real = verify.check_signatures(
        vector.quote, anchors=TrustAnchors(), now=now, cache=ChainCache()
    )
    ours = statements(info)
    parsed = collateral.read_qe_identity(
        source(dcap_fixtures.collateral()).pieces[
            collateral.keys(real.tee, fmspc, real.endorsed.path.pck_ca)[1]
        ],
        anchors=anchors(),
        now=NOW,
        cache=ChainCache(),
    )
    tcb = collateral.read_tcb_info(
        source(statements({"fmspc": fmspc})).pieces[real.needs[0]],
        anchors=anchors(),
        now=NOW,
        cache=ChainCache(),
    )
    assert ours.tcb_info
    with pytest.raises(RefusedEvidence) as caught:
        verify.check_root(real, tcb, parsed)
    assert caught.value.code is Code.COLLATERAL_MISMATCH


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_an_envelope_of_minted_evidence_is_authenticated_by_its_media_type(shape: Shape) -> None:
    minted = evidence_of(shape)
    found = evidence.Evidence(minted.quote)
    tdx = shape.tee is Tee.TDX
    right = Record(TDX_EVIDENCE, evidence.encode_tdx(found)) if tdx else None
    right = right or Record(SGX_EVIDENCE, evidence.encode_sgx(found))
    context = registry.Context(anchors(), NOW, ChainCache(), collateral=source(minted.collateral))
    assert registry.authenticate(encode(right), context).claims.tee == ("tdx" if tdx else "sgx")
    wrong = (
        Record(SGX_EVIDENCE, evidence.encode_sgx(found))
        if tdx
        else Record(TDX_EVIDENCE, evidence.encode_tdx(found))
    )
    with pytest.raises(MalformedEvidence, match="holds a"):
        registry.authenticate(encode(wrong), context)


def test_collateral_that_is_given_goes_before_what_is_held_and_must_be_of_one_instant() -> None:
    minted = dcap_fixtures.mint_tdx()
    items = registry.recognise(minted.quote)
    good, bad = statements(), statements({"levels": (Level(sgx=(255,) * 16, date=NOW),)})
    given = registry.recognise(good.to_json().encode())
    context = registry.Context(anchors(), NOW, ChainCache(), collateral=source(bad))
    verified = registry.authenticate_items((*items, *given), context)
    assert verified.claims.tcb_status == "UpToDate"
    both = (*items, *given, *registry.recognise(bad.to_json().encode()))
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(both, context)
    assert caught.value.code is Code.EVIDENCE_AMBIGUOUS
    two = (*items, *registry.recognise(dcap_fixtures.mint_tdx(report_data=b"\1" * 64).quote))
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(two, context)
    assert caught.value.code is Code.EVIDENCE_AMBIGUOUS


def test_pieces_of_collateral_are_recognised_one_by_one() -> None:
    minted = dcap_fixtures.mint_tdx()
    pieces = source(minted.collateral).pieces
    items = [item for data in pieces.values() for item in registry.recognise(data)]
    assert {item.data for item in items} == set(pieces.values())
    bare = registry.Context(anchors(), NOW, ChainCache())
    verified = registry.authenticate_items((*registry.recognise(minted.quote), *items), bare)
    assert verified.claims.tcb_status == "UpToDate"


def test_tds_of_one_image_share_an_instance_value_and_others_do_not() -> None:
    def value(minted: dcap_fixtures.Minted) -> str:
        return claims.normalise(check(minted.quote, minted.collateral), now=NOW).instance_value

    first = value(dcap_fixtures.mint_tdx())
    assert value(dcap_fixtures.mint_tdx(report_data=b"\1" * 64)) == first
    others = (
        dcap_fixtures.mint_tdx(mr_td=b"\1" * 48),
        dcap_fixtures.mint_tdx(mr_config_id=b"\1" * 48),
        dcap_fixtures.mint_tdx(mr_owner=b"\1" * 48),
        dcap_fixtures.mint_tdx(dcap_fixtures.platform("second")),
    )
    values = {value(minted) for minted in others}
    assert len(values) == len(others)
    assert first not in values


def with_log(folder: Path) -> tuple[dcap_fixtures.Minted, bytes]:
    """A minted quote with the registers of a real TD, and that TD's event log."""
    vector = next(item for item in dcap_vectors.load(folder) if item.id == "tdx-v4-gcp-cos113")
    rtmrs = tuple(bytes.fromhex(vector.expect["body"][f"rtmr{n}"]) for n in range(4))
    area = (folder / "tdx" / "tdx-v4-gcp-cos113.ccel.bin").read_bytes()
    return dcap_fixtures.mint_tdx(rtmrs=rtmrs), area.rstrip(b"\xff").rstrip(b"\0")


def test_an_event_log_is_held_against_the_registers_by_every_way_in(vectors_dir: Path) -> None:
    minted, log = with_log(vectors_dir)
    context = registry.Context(anchors(), NOW, ChainCache(), collateral=source(minted.collateral))
    payload = evidence.encode_tdx(evidence.Evidence(minted.quote, log))
    envelope = encode(Record(TDX_EVIDENCE, payload))
    by_envelope = registry.authenticate(envelope, context).claims
    by_items = registry.authenticate_items(registry.recognise(envelope), context).claims
    files = (*registry.recognise(minted.quote), *registry.recognise(log))
    for claims_of in (by_envelope, by_items, registry.authenticate_items(files, context).claims):
        assert claims_of.boot is not None
        assert set(claims_of.boot.confirmed) >= {1, 2}
    other = dcap_fixtures.mint_tdx(rtmrs=(b"\x01" * 48,) * 4)
    payload = evidence.encode_tdx(evidence.Evidence(other.quote, log))
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate(encode(Record(TDX_EVIDENCE, payload)), context)
    assert caught.value.code is Code.EVENT_LOG_MISMATCH
    two = (*files, *registry.recognise(log + bytes(64)))
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(two, context)
    assert caught.value.code is Code.EVIDENCE_AMBIGUOUS


def test_pieces_that_are_not_intel_s_are_left_to_others() -> None:
    """A list of another vendor is no collateral; certificates beside a quote do no harm."""
    key = dcap_fixtures.root_keys().root
    foreign = revocation_list("ARK-Milan", key, VALIDITY)
    assert registry_dcap.KIND.recognise(foreign) is None
    minted = dcap_fixtures.mint_tdx()
    pck_items = registry.recognise(dcap_fixtures.platform().pck)
    assert [item.role for item in pck_items] == [registry_dcap.DcapRole.PCK]
    items = (*registry.recognise(minted.quote), *pck_items)
    context = registry.Context(anchors(), NOW, ChainCache(), collateral=source(minted.collateral))
    assert registry.authenticate_items(items, context).claims.tcb_status == "UpToDate"
