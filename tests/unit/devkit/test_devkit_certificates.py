"""Minted certificates, read by `cryptography` and compared with AMD's real ones."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.utils import CryptographyDeprecationWarning
from fakes import snp_fixtures
from sealward_devkit.pki.certificates import Extension, Validity, sign_certificate
from sealward_devkit.pki.extensions import DEVELOPMENT_MARKER_OID
from sealward_devkit.snp import hierarchy as minter
from sealward_devkit.snp.products import Product, Tcb

if TYPE_CHECKING:
    from pathlib import Path

EVERY_PRODUCT = pytest.mark.parametrize("product", Product)


def load_vek(certificate: bytes) -> x509.Certificate:
    """A VEK has serial number 0, which `cryptography` accepts with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return x509.load_der_x509_certificate(certificate)


def extensions_of(certificate: x509.Certificate) -> dict[str, bytes]:
    values = {}
    for extension in certificate.extensions:
        assert isinstance(extension.value, x509.UnrecognizedExtension)
        values[extension.oid.dotted_string] = extension.value.value
    return values


@EVERY_PRODUCT
def test_each_product_has_a_chain_whose_signatures_names_and_dates_hold(product: Product) -> None:
    evidence = snp_fixtures.mint(snp_fixtures.platform(product))
    vek, ask = load_vek(evidence.vek), x509.load_der_x509_certificate(evidence.intermediate)
    ark = x509.load_der_x509_certificate(evidence.root)
    vek.verify_directly_issued_by(ask)
    ask.verify_directly_issued_by(ark)
    ark.verify_directly_issued_by(ark)
    for certificate in (vek, ask, ark):
        assert certificate.not_valid_before_utc == snp_fixtures.VALIDITY.not_before
        assert certificate.not_valid_after_utc == snp_fixtures.VALIDITY.not_after


@EVERY_PRODUCT
def test_a_vlek_chains_through_the_asvk_and_not_through_the_ask(product: Product) -> None:
    platform = snp_fixtures.provider_platform(product)
    vlek, hierarchy = load_vek(platform.vek), snp_fixtures.hierarchy(product)
    assert platform.intermediate == hierarchy.asvk
    vlek.verify_directly_issued_by(x509.load_der_x509_certificate(hierarchy.asvk))
    ask = x509.load_der_x509_certificate(hierarchy.ask)
    with pytest.raises(InvalidSignature):
        ask_key_verify(ask, vlek)


def ask_key_verify(issuer: x509.Certificate, issued: x509.Certificate) -> None:
    """The signature alone: `verify_directly_issued_by` would stop at the names."""
    key = snp_fixtures.hierarchy(Product.MILAN).ask_key.public_key()
    assert issuer.issuer != issuer.subject
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
    key.verify(issued.signature, issued.tbs_certificate_bytes, pss, hashes.SHA384())


def test_the_signature_is_pss_with_sha384_and_a_salt_of_48() -> None:
    vek = load_vek(snp_fixtures.platform().vek)
    parameters = vek.signature_algorithm_parameters
    assert vek.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSASSA_PSS
    assert isinstance(vek.signature_hash_algorithm, hashes.SHA384)
    assert isinstance(parameters, padding.PSS)
    assert parameters._salt_length == 48  # noqa: SLF001 - no public accessor


def test_a_vek_has_serial_zero_a_p384_key_and_no_ca_extensions() -> None:
    vek = load_vek(snp_fixtures.platform().vek)
    key = vek.public_key()
    with pytest.warns(CryptographyDeprecationWarning):
        assert vek.serial_number == 0
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP384R1)
    assert not any(oid.startswith("2.5.29.") for oid in extensions_of(vek))


def test_roots_and_intermediates_carry_the_critical_marker_and_no_vendor_name() -> None:
    made = snp_fixtures.hierarchy()
    for der, name in ((made.ark, "ARK"), (made.ask, "ASK"), (made.asvk, "ASVK")):
        certificate = x509.load_der_x509_certificate(der)
        marker = certificate.extensions.get_extension_for_oid(
            x509.ObjectIdentifier(DEVELOPMENT_MARKER_OID)
        )
        assert marker.critical
        assert certificate.subject.rfc4514_string() == f"CN=Sealward Development {name} Milan"


def test_roots_and_intermediates_have_the_ca_extensions_of_their_role() -> None:
    made = snp_fixtures.hierarchy()
    ark, ask = x509.load_der_x509_certificate(made.ark), x509.load_der_x509_certificate(made.ask)
    for certificate, path_length, crl_sign in ((ark, None, True), (ask, 0, False)):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert (constraints.critical, usage.critical) == (True, True)
        assert (constraints.value.ca, constraints.value.path_length) == (True, path_length)
        assert (usage.value.key_cert_sign, usage.value.crl_sign) == (True, crl_sign)
        assert not usage.value.digital_signature


def test_a_root_that_would_live_longer_than_seven_days_is_not_minted() -> None:
    start = snp_fixtures.NOW
    longer = Validity(start, start + timedelta(days=7, seconds=1))
    with pytest.raises(ValueError, match="7 days"):
        minter.mint_hierarchy(Product.MILAN, snp_fixtures.root_keys(), longer)


@pytest.mark.parametrize(
    ("vector", "product", "tcb"),
    [
        ("snp-milan-v2-virtee.vcek", Product.MILAN, Tcb(bootloader=3, tee=0, snp=8, microcode=115)),
        ("snp-genoa-v3-tsm.vcek", Product.GENOA, Tcb(bootloader=10, tee=0, snp=23, microcode=84)),
        ("snp-turin-v5-oak.vcek", Product.TURIN, Tcb(bootloader=1, tee=0, snp=2, microcode=71)),
    ],
)
def test_vcek_extensions_equal_those_of_a_real_chip_byte_for_byte(
    vectors_dir: Path, vector: str, product: Product, tcb: Tcb
) -> None:
    real = load_vek((vectors_dir / "sev-snp" / f"{vector}.der").read_bytes())
    hw_id = extensions_of(real)[minter.vek_oid("4")]
    template = minter.vcek_template(
        product, snp_fixtures.platform().key.public_key(), tcb, hw_id, snp_fixtures.VALIDITY
    )
    minted = load_vek(sign_certificate(template, snp_fixtures.hierarchy().ask_key))
    assert extensions_of(minted) == extensions_of(real)
    assert not any(extension.critical for extension in minted.extensions)
    assert minted.signature_algorithm_oid == real.signature_algorithm_oid


def test_vlek_extensions_equal_those_of_a_real_provider_byte_for_byte(vectors_dir: Path) -> None:
    real = load_vek((vectors_dir / "sev-snp" / "snp-milan-v3-vlek-aws.vlek.der").read_bytes())
    template = minter.vlek_template(
        Product.MILAN,
        snp_fixtures.platform().key.public_key(),
        Tcb(bootloader=4, tee=0, snp=24, microcode=217),
        "CN=cc-us-east-2.amazonaws.com",
        snp_fixtures.VALIDITY,
    )
    minted = load_vek(sign_certificate(template, snp_fixtures.hierarchy().asvk_key))
    assert extensions_of(minted) == extensions_of(real)


def test_a_template_can_be_made_wrong_in_one_place() -> None:
    template = minter.ark_template(
        Product.MILAN, snp_fixtures.root_keys().ark.public_key(), snp_fixtures.VALIDITY
    )
    extra = Extension("1.2.3", b"\x05\x00", critical=True)
    changed = replace(template, extensions=(*template.extensions, extra))
    certificate = x509.load_der_x509_certificate(
        sign_certificate(changed, snp_fixtures.root_keys().ark)
    )
    found = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.2.3"))
    assert found.critical


def test_private_keys_do_not_show_in_representations() -> None:
    shown = repr(snp_fixtures.hierarchy()) + repr(snp_fixtures.platform())
    shown += repr(snp_fixtures.root_keys())
    assert "PrivateKey" not in shown
