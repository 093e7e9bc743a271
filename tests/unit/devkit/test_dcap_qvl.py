"""What the kit mints is what others read: dcap-qvl 0.7.0 accepts it, and judges it as told.

Its X.509 library refuses every critical extension that it does not know, so it takes the root's
name and key from a twin of the root that lacks the marker. Quotes and collateral carry the real
root.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import dcap_qvl
import pytest
from cryptography import x509
from fakes import dcap_fixtures
from fakes.snp_fixtures import NOW, VALIDITY, without_extension
from sealward_devkit.dcap.collateral import Collateral, Level, SvnLevel, mint_collateral
from sealward_devkit.dcap.platform import Tee
from sealward_devkit.dcap.quote import Patch, Shape
from sealward_devkit.dcap.reports import DEBUG, SEPT_VE_DISABLE
from sealward_devkit.pki.certificates import sign_certificate
from sealward_devkit.pki.extensions import DEVELOPMENT_MARKER_OID
from sealward_devkit.pki.roots import DCAP_ROOT, root_template

if TYPE_CHECKING:
    from datetime import datetime

TDX_SHAPES = [shape for shape in Shape if shape.tee is Tee.TDX]
REPORT_DATA = bytes(range(64))


@cache
def twin() -> bytes:
    key = dcap_fixtures.root_keys().root
    marked = root_template(DCAP_ROOT, key.public_key(), VALIDITY)
    return sign_certificate(without_extension(marked, DEVELOPMENT_MARKER_OID), key)


def judge(quote: bytes, collateral: Collateral, now: datetime = NOW) -> dcap_qvl.VerifiedReport:
    read = dcap_qvl.QuoteCollateralV3.from_json(collateral.to_json())
    return dcap_qvl.verify_with_root_ca(quote, read, twin(), int(now.timestamp()))


def minted(shape: Shape, *patches: Patch, **changes: object) -> dcap_fixtures.Minted:
    if shape.tee is Tee.SGX:
        return dcap_fixtures.mint_sgx(None, *patches, **changes)
    return dcap_fixtures.mint_tdx(None, *patches, shape=shape, **changes)


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_dcap_qvl_accepts_every_shape_and_calls_it_up_to_date(shape: Shape) -> None:
    evidence = minted(shape, report_data=REPORT_DATA)
    verified = judge(evidence.quote, evidence.collateral)
    assert (verified.status, verified.advisory_ids) == ("UpToDate", [])
    assert verified.ppid == dcap_fixtures.platform().facts.ppid


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_dcap_qvl_reads_what_was_written(shape: Shape) -> None:
    parsed = dcap_qvl.parse_quote(minted(shape, report_data=REPORT_DATA).quote)
    assert parsed.header.version == shape.version
    assert parsed.header.tee_type == shape.tee.number
    assert parsed.report.report_data == REPORT_DATA
    if shape.tee is Tee.SGX:
        assert parsed.report.mr_enclave == dcap_fixtures.ENCLAVE.mr_enclave
        assert parsed.report.mr_signer == dcap_fixtures.ENCLAVE.mr_signer
    else:
        assert parsed.report.mr_td == dcap_fixtures.MR_TD
        read = [getattr(parsed.report, f"rt_mr{number}") for number in range(4)]
        assert tuple(read) == dcap_fixtures.TD.rtmrs
    if shape is Shape.TDX_5_TD15:
        assert parsed.report.tee_tcb_svn2 == dcap_fixtures.TD.tee_tcb_svn2


def test_dcap_qvl_reads_the_pck_extension_as_it_was_meant() -> None:
    facts = dcap_fixtures.platform().facts
    read = dcap_qvl.parse_quote(dcap_fixtures.mint_tdx().quote).pck_extension()
    assert read.ppid == facts.ppid
    assert read.fmspc == facts.fmspc
    assert read.cpu_svn == facts.cpu_svn
    assert (read.pce_svn, read.pce_id) == (facts.pce_svn, facts.pce_id)
    assert read.platform_instance_id == facts.platform_instance_id


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
@pytest.mark.parametrize("at", [0x30, 0x60, 0x100, -0x400, -0x800])
def test_dcap_qvl_refuses_a_quote_with_another_byte(shape: Shape, at: int) -> None:
    evidence = minted(shape)
    damaged = bytearray(evidence.quote)
    damaged[at] ^= 0x01
    with pytest.raises(ValueError, match=r".+"):
        judge(bytes(damaged), evidence.collateral)


def test_a_second_generation_judges_the_same_quote_otherwise() -> None:
    """What was up to date becomes out of date by a level above it, and names its advisory."""
    evidence = dcap_fixtures.mint_tdx()
    first = dcap_fixtures.tcb_info()
    better = replace(first.levels[0], sgx=(4, *first.levels[0].sgx[1:]), date=NOW)
    demoted = replace(first.levels[0], status="OutOfDate", advisories=("INTEL-SA-09999",))
    second = replace(
        first,
        issued=first.issued + timedelta(days=1),
        next_update=first.next_update + timedelta(days=1),
        evaluation_number=first.evaluation_number + 1,
        levels=(better, demoted),
    )
    collateral = mint_collateral(dcap_fixtures.hierarchy(), second, dcap_fixtures.qe_identity())
    verified = judge(evidence.quote, collateral)
    assert (verified.status, verified.advisory_ids) == ("OutOfDate", ["INTEL-SA-09999"])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"levels": (SvnLevel(svn=1, date=NOW, status="OutOfDate"),)}, "OutOfDate"),
        ({"levels": (SvnLevel(svn=4, date=NOW),)}, "UpToDate"),
    ],
)
def test_the_quoting_enclave_has_a_status_of_its_own(
    change: dict[str, object], status: str
) -> None:
    evidence = dcap_fixtures.mint_tdx()
    identity = dcap_fixtures.qe_identity(Tee.TDX, **change)
    collateral = mint_collateral(dcap_fixtures.hierarchy(), dcap_fixtures.tcb_info(), identity)
    assert judge(evidence.quote, collateral).status == status


def test_no_level_is_no_verdict() -> None:
    unreached = Level(sgx=(255,) * 16, date=NOW)
    info = dcap_fixtures.tcb_info(levels=(unreached,))
    collateral = mint_collateral(dcap_fixtures.hierarchy(), info, dcap_fixtures.qe_identity())
    with pytest.raises(ValueError, match=r".+"):
        judge(dcap_fixtures.mint_tdx().quote, collateral)


def test_a_revoked_pck_is_refused() -> None:
    serial = x509.load_der_x509_certificate(dcap_fixtures.platform().pck).serial_number
    info, identity = dcap_fixtures.tcb_info(), dcap_fixtures.qe_identity()
    listed = mint_collateral(dcap_fixtures.hierarchy(), info, identity, revoked=(serial,))
    with pytest.raises(ValueError, match=r".+"):
        judge(dcap_fixtures.mint_tdx().quote, listed)
    other = mint_collateral(dcap_fixtures.hierarchy(), info, identity, revoked=(serial + 1,))
    assert judge(dcap_fixtures.mint_tdx().quote, other).status == "UpToDate"


def test_collateral_ends() -> None:
    evidence = dcap_fixtures.mint_tdx()
    with pytest.raises(ValueError, match=r".+"):
        judge(evidence.quote, evidence.collateral, VALIDITY.not_after + timedelta(seconds=1))
    soon = dcap_fixtures.tcb_info(next_update=NOW - timedelta(seconds=1))
    collateral = mint_collateral(dcap_fixtures.hierarchy(), soon, dcap_fixtures.qe_identity())
    with pytest.raises(ValueError, match=r".+"):
        judge(evidence.quote, collateral)


def test_a_debuggable_domain_is_signed_as_it_is_and_refused() -> None:
    evidence = dcap_fixtures.mint_tdx(td_attributes=SEPT_VE_DISABLE | DEBUG)
    with pytest.raises(ValueError, match=r"(?i)debug"):
        judge(evidence.quote, evidence.collateral)


def test_a_patch_is_signed() -> None:
    patched = dcap_fixtures.mint_tdx(None, Patch(0x30 + 520, b"\xfa" * 64))
    parsed = dcap_qvl.parse_quote(patched.quote)
    assert parsed.report.report_data == b"\xfa" * 64
    assert judge(patched.quote, patched.collateral).status == "UpToDate"
