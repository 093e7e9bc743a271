"""The Intel-shaped hierarchy, read by `cryptography`, and what the minter refuses to write."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from fakes import dcap_fixtures
from fakes.snp_fixtures import NOW, VALIDITY, stream
from sealward_devkit.dcap import hierarchy as minter
from sealward_devkit.dcap.platform import Tee, new_platform
from sealward_devkit.dcap.quote import Shape, mint_quote
from sealward_devkit.dcap.reports import (
    ENCLAVE_REPORT_SIZE,
    TD_REPORT_10_SIZE,
    TD_REPORT_15_SIZE,
    encode_enclave_report,
    encode_td_report_10,
    encode_td_report_15,
)
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.pki.extensions import DEVELOPMENT_MARKER_OID

from sealward.verifier.pki.development import import_root


def load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def test_the_chain_of_a_platform_holds() -> None:
    machine = dcap_fixtures.platform()
    pck, ca, root = load(machine.pck), load(machine.platform_ca), load(machine.root)
    pck.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    load(dcap_fixtures.hierarchy().tcb_signing).verify_directly_issued_by(root)
    for certificate in (pck, ca, root):
        assert certificate.not_valid_before_utc == VALIDITY.not_before
        assert certificate.not_valid_after_utc == VALIDITY.not_after


def test_the_root_is_a_development_root_and_only_the_root_is_marked() -> None:
    assert import_root(dcap_fixtures.hierarchy().root, now=NOW).line == "DCAP"
    machine = dcap_fixtures.platform()
    marker = x509.ObjectIdentifier(DEVELOPMENT_MARKER_OID)
    for der in (machine.pck, machine.platform_ca, dcap_fixtures.hierarchy().tcb_signing):
        assert marker not in {extension.oid for extension in load(der).extensions}


def test_the_lists_are_signed_by_whom_they_name_and_revoke_what_they_were_told() -> None:
    made, held = dcap_fixtures.hierarchy(), dcap_fixtures.collateral()
    root_list = x509.load_der_x509_crl(held.root_ca_crl)
    pck_list = x509.load_der_x509_crl(held.pck_crl)
    for revocation, issuer in ((root_list, load(made.root)), (pck_list, load(made.platform_ca))):
        key = issuer.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert revocation.is_signature_valid(key)
        assert revocation.issuer == issuer.subject
        assert len(list(revocation)) == 0
    listed = dcap_fixtures.mint_collateral(
        made, dcap_fixtures.tcb_info(), dcap_fixtures.qe_identity(), revoked=(5, 1 << 70)
    )
    again = x509.load_der_x509_crl(listed.pck_crl)
    assert [entry.serial_number for entry in again] == [5, 1 << 70]


def test_machines_differ_in_what_names_them() -> None:
    one, two = dcap_fixtures.platform("one"), dcap_fixtures.platform("two")
    assert one.platform_id != two.platform_id
    assert one.facts.ppid != two.facts.ppid
    assert load(one.pck).serial_number != load(two.pck).serial_number
    assert one.platform_id == f"intel:piid:{one.facts.platform_instance_id.hex()}"


def test_no_key_and_no_ppid_is_shown() -> None:
    machine = dcap_fixtures.platform()
    assert machine.facts.ppid.hex() not in repr(machine)
    assert repr(machine.facts.ppid) not in repr(machine)
    for shown in (repr(machine), repr(dcap_fixtures.hierarchy()), repr(dcap_fixtures.root_keys())):
        assert "PrivateKey" not in shown


def test_bodies_have_the_size_of_their_structure() -> None:
    assert len(encode_td_report_10(dcap_fixtures.TD)) == TD_REPORT_10_SIZE
    assert len(encode_td_report_15(dcap_fixtures.TD)) == TD_REPORT_15_SIZE
    assert len(encode_enclave_report(dcap_fixtures.ENCLAVE)) == ENCLAVE_REPORT_SIZE


@pytest.mark.parametrize(
    "change",
    [{"mr_td": bytes(32)}, {"rtmrs": (bytes(48),) * 3}, {"report_data": bytes(63)}],
)
def test_a_field_of_another_size_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_td_report_10(replace(dcap_fixtures.TD, **change))


@pytest.mark.parametrize(
    ("shape", "report"),
    [(Shape.SGX_3, dcap_fixtures.TD), (Shape.TDX_4, dcap_fixtures.ENCLAVE)],
)
def test_a_quote_carries_the_report_of_its_own_kind(shape: Shape, report: object) -> None:
    with pytest.raises(ValueError, match="another kind of report"):
        mint_quote(shape, report, dcap_fixtures.platform(), dcap_fixtures.enclave(Tee.TDX))


def test_what_is_no_platform_is_not_made() -> None:
    with pytest.raises(ValueError, match="FMSPC"):
        new_platform(dcap_fixtures.hierarchy(), stream("x"), fmspc=bytes(5))
    with pytest.raises(ValueError, match="16 components"):
        new_platform(dcap_fixtures.hierarchy(), stream("x"), svns=(1, 2))
    week = Validity(NOW, NOW + timedelta(days=7, seconds=1))
    with pytest.raises(ValueError, match="7 days"):
        minter.mint_hierarchy(dcap_fixtures.root_keys(), week)
