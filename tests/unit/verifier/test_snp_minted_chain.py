"""Minted endorsement chains meet the verifier: each broken rule has its own refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from fakes import snp_fixtures
from fakes.snp_fixtures import NOW, VALIDITY, Minted, with_extension, without_extension
from fakes.snp_verification import anchors, anchors_of, refusal, verify
from sealward_devkit.attesters.snp import SoftwareAttester
from sealward_devkit.directories import save_platform
from sealward_devkit.guest import Guest
from sealward_devkit.pki import der_writer as der
from sealward_devkit.pki.certificates import (
    Extension,
    Template,
    sign_certificate,
    subject_public_key_info,
)
from sealward_devkit.platform import vcek_platform
from sealward_devkit.snp import hierarchy as minter
from sealward_devkit.snp.ghcb import ARK, ASK, VCEK, mint_certificate_table
from sealward_devkit.snp.products import FACTS, Product

from sealward.verifier.formats.snp import evidence, ghcb
from sealward.verifier.formats.snp.selection import select
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats import evidence as envelope
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence

if TYPE_CHECKING:
    from pathlib import Path

Change = Callable[[Template], Template]

EVERY_PRODUCT = pytest.mark.parametrize("product", Product)
BASIC_CONSTRAINTS, KEY_USAGE = "2.5.29.19", "2.5.29.15"
DAY = timedelta(days=1)


def with_vek(change: Change, product: Product = Product.MILAN, *, version: int = 5) -> Minted:
    """Genuine evidence but for one change in the VCEK, signed by the ASK all the same."""
    chip, hierarchy = snp_fixtures.platform(product), snp_fixtures.hierarchy(product)
    hw_id = chip.chip_id[: FACTS[product].hw_id_size]
    template = minter.vcek_template(product, chip.key.public_key(), chip.tcb, hw_id, VALIDITY)
    vek = sign_certificate(change(template), hierarchy.ask_key)
    return replace(snp_fixtures.mint(chip, version=version), vek=vek)


def with_ask(change: Change) -> Minted:
    """Genuine evidence but for one change in the ASK, signed by the ARK all the same."""
    keys = snp_fixtures.root_keys()
    template = minter.ask_template(
        Product.MILAN, keys.ask.public_key(), keys.ark.public_key(), VALIDITY
    )
    intermediate = sign_certificate(change(template), keys.ark)
    return replace(snp_fixtures.mint(), intermediate=intermediate)


def unchanged(template: Template) -> Template:
    return template


def setting(suffix: str, value: bytes) -> Change:
    """Replace or add the VEK extension of this suffix."""
    return lambda vek: with_extension(vek, Extension(minter.vek_oid(suffix), value))


def lacking(suffix: str) -> Change:
    return lambda vek: without_extension(vek, minter.vek_oid(suffix))


def test_the_helpers_of_this_file_change_nothing_by_themselves() -> None:
    assert verify(with_vek(unchanged)).product == "Milan"
    assert verify(with_vek(unchanged, Product.TURIN)).product == "Turin"
    assert verify(with_ask(unchanged)).product == "Milan"


# Roots.


@EVERY_PRODUCT
def test_development_evidence_is_refused_where_no_development_root_was_imported(
    product: Product,
) -> None:
    minted = snp_fixtures.mint(snp_fixtures.platform(product))
    assert refusal(minted, trusted=TrustAnchors()).code is Code.ROOT_NOT_PINNED


def test_another_development_root_vouches_for_nothing() -> None:
    minted = snp_fixtures.mint()
    assert refusal(minted, trusted=anchors(Product.GENOA)).code is Code.ROOT_NOT_PINNED


def test_a_root_of_the_same_name_with_another_key_is_another_root() -> None:
    stranger = minter.mint_hierarchy(Product.MILAN, minter.generate_root_keys(), VALIDITY)
    chip = vcek_platform(stranger, snp_fixtures.stream("stranger"))
    theirs, ours = snp_fixtures.mint(chip), snp_fixtures.mint()
    assert verify(theirs).development
    assert refusal(theirs, trusted=anchors()).code is Code.ROOT_NOT_PINNED
    # Under our root, neither their intermediate nor their leaf holds.
    assert refusal(replace(theirs, root=ours.root)).code is Code.SIGNATURE_INVALID
    mixed = replace(theirs, root=ours.root, intermediate=ours.intermediate)
    assert refusal(mixed).code is Code.SIGNATURE_INVALID


def test_several_development_roots_each_vouch_for_their_own_line() -> None:
    trusted = anchors_of(*(snp_fixtures.hierarchy(product).ark for product in Product))
    for product in Product:
        minted = snp_fixtures.mint(snp_fixtures.platform(product))
        assert verify(minted, trusted=trusted).product == product.value


# Dates.


def test_a_chain_holds_from_its_first_to_its_last_second_and_not_beyond() -> None:
    minted, second = snp_fixtures.mint(), timedelta(seconds=1)
    trusted = anchors()
    for instant in (VALIDITY.not_before, VALIDITY.not_after):
        assert verify(minted, trusted=trusted, now=instant).as_of == instant
    early = refusal(minted, trusted=trusted, now=VALIDITY.not_before - second)
    late = refusal(minted, trusted=trusted, now=VALIDITY.not_after + second)
    assert (early.code, late.code) == (Code.CERTIFICATE_NOT_YET_VALID, Code.CERTIFICATE_EXPIRED)


@pytest.mark.parametrize("build", [with_vek, with_ask])
def test_one_expired_or_early_member_spoils_the_chain(build: Callable[[Change], Minted]) -> None:
    expired = build(lambda template: replace(template, not_after=NOW - timedelta(seconds=1)))
    early = build(lambda template: replace(template, not_before=NOW + timedelta(seconds=1)))
    assert refusal(expired).code is Code.CERTIFICATE_EXPIRED
    assert refusal(early).code is Code.CERTIFICATE_NOT_YET_VALID


def test_a_cached_chain_expires_all_the_same() -> None:
    minted, trusted, cache = snp_fixtures.mint(), anchors(), ChainCache()
    assert verify(minted, trusted=trusted, cache=cache).development
    with pytest.raises(RefusedEvidence) as caught:
        verify(minted, trusted=trusted, cache=cache, now=NOW + 7 * DAY)
    assert caught.value.code is Code.CERTIFICATE_EXPIRED


def test_a_chain_cached_under_one_trust_is_not_found_under_another() -> None:
    minted, cache = snp_fixtures.mint(), ChainCache()
    assert verify(minted, trusted=anchors(), cache=cache).development
    with pytest.raises(RefusedEvidence) as caught:
        verify(minted, trusted=TrustAnchors(), cache=cache)
    assert caught.value.code is Code.ROOT_NOT_PINNED


# Intermediates.


@pytest.mark.parametrize(
    "change",
    [
        lambda ask: without_extension(ask, BASIC_CONSTRAINTS),
        lambda ask: without_extension(ask, KEY_USAGE),
        lambda ask: with_extension(
            ask, Extension(BASIC_CONSTRAINTS, der.sequence(), critical=True)
        ),
        lambda ask: with_extension(
            ask, Extension(KEY_USAGE, der.bit_string(b"\x80", unused_bits=7), critical=True)
        ),
        lambda ask: with_extension(ask, Extension("1.2.3", der.null(), critical=True)),
    ],
    ids=["no constraints", "no key usage", "not a CA", "not for certificates", "unknown critical"],
)
def test_an_intermediate_that_may_not_issue_is_refused(change: Change) -> None:
    assert refusal(with_ask(change)).code is Code.CERTIFICATE_FORBIDDEN


@pytest.mark.parametrize(
    "name", ["SEV-Milan", "Sealward Development ASK Genoa", "Sealward Development ASVK Milan"]
)
def test_an_intermediate_by_another_name_is_refused(name: str) -> None:
    assert refusal(with_ask(lambda ask: replace(ask, subject=name))).code is Code.CHAIN_BROKEN


def test_the_root_may_not_stand_in_for_the_intermediate() -> None:
    keys, minted = snp_fixtures.root_keys(), snp_fixtures.mint()
    chip = snp_fixtures.platform()
    template = minter.vcek_template(
        Product.MILAN, chip.key.public_key(), chip.tcb, chip.chip_id, VALIDITY
    )
    direct = replace(template, issuer="Sealward Development ARK Milan")
    short = replace(minted, vek=sign_certificate(direct, keys.ark), intermediate=minted.root)
    assert refusal(short).code is Code.CHAIN_BROKEN
    # Nor may it sign in the name of the intermediate.
    signed = replace(minted, vek=sign_certificate(template, keys.ark))
    assert refusal(signed).code is Code.SIGNATURE_INVALID


def test_the_intermediate_of_providers_endorses_no_chip() -> None:
    hierarchy, minted = snp_fixtures.hierarchy(), snp_fixtures.mint()
    chip = snp_fixtures.platform()
    template = minter.vcek_template(
        Product.MILAN, chip.key.public_key(), chip.tcb, chip.chip_id, VALIDITY
    )
    renamed = replace(template, issuer="Sealward Development ASVK Milan")
    vek = sign_certificate(renamed, hierarchy.asvk_key)
    crossed = replace(minted, vek=vek, intermediate=hierarchy.asvk)
    assert refusal(crossed).code is Code.CHAIN_BROKEN


def test_the_intermediate_of_chips_endorses_no_provider() -> None:
    hierarchy, host = snp_fixtures.hierarchy(), snp_fixtures.provider_platform()
    template = minter.vlek_template(
        Product.MILAN, host.key.public_key(), host.tcb, snp_fixtures.CSP_ID, VALIDITY
    )
    renamed = replace(template, issuer="Sealward Development ASK Milan")
    vek = sign_certificate(renamed, hierarchy.ask_key)
    crossed = replace(snp_fixtures.mint(host), vek=vek, intermediate=hierarchy.ask)
    assert refusal(crossed).code is Code.CHAIN_BROKEN


@pytest.mark.parametrize(
    ("scheme", "digest"),
    [
        (padding.PKCS1v15(), hashes.SHA384()),
        (padding.PKCS1v15(), hashes.SHA256()),
        (padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32), hashes.SHA256()),
        (padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=32), hashes.SHA384()),
    ],
    ids=["PKCS1 SHA-384", "PKCS1 SHA-256", "PSS SHA-256", "PSS with a short salt"],
)
def test_an_intermediate_signed_in_another_way_than_amds_is_refused(
    scheme: padding.PSS | padding.PKCS1v15, digest: hashes.SHA256 | hashes.SHA384
) -> None:
    """Built by `cryptography`, so that the minter needs no way to sign as AMD does not."""
    genuine = x509.load_der_x509_certificate(snp_fixtures.hierarchy().ask)
    builder = x509.CertificateBuilder(
        genuine.issuer,
        genuine.subject,
        genuine.public_key(),
        genuine.serial_number,
        genuine.not_valid_before_utc.replace(tzinfo=None),
        genuine.not_valid_after_utc.replace(tzinfo=None),
        list(genuine.extensions),
    )
    signed = builder.sign(snp_fixtures.root_keys().ark, digest, rsa_padding=scheme)
    intermediate = signed.public_bytes(serialization.Encoding.DER)
    minted = replace(snp_fixtures.mint(), intermediate=intermediate)
    assert refusal(minted).code is Code.ALGORITHM_FORBIDDEN


# Endorsement keys.


@pytest.mark.parametrize("suffix", ["1", "2", "3.1", "3.2", "3.3", "3.5", "3.6", "3.7", "3.8", "4"])
@EVERY_PRODUCT
def test_an_endorsement_key_that_lacks_an_extension_is_refused(
    product: Product, suffix: str
) -> None:
    with pytest.raises((MalformedEvidence, RefusedEvidence)):
        verify(with_vek(lacking(suffix), product))


@pytest.mark.parametrize(
    "change",
    [
        setting("3.1", der.integer(256)),
        setting("3.1", b"\x02\x01\xff"),
        setting("3.1", b"\x02\x02\x00\x01"),
        setting("3.1", der.octet_string(b"\x04")),
        setting("3.1", der.integer(4) + b"\0"),
        setting("2", der.utf8_string("Milan-B0")),
        setting("2", der.ia5_string("")),
        setting("4", der.octet_string(bytes(64))),
        setting("4", bytes(63)),
        setting("4", b""),
        setting("5", der.ia5_string(snp_fixtures.CSP_ID)),
    ],
    ids=[
        "level above 255",
        "negative level",
        "padded level",
        "level of another type",
        "bytes behind a level",
        "product name of another type",
        "empty product name",
        "hwID in an OCTET STRING",
        "short hwID",
        "empty hwID",
        "a chip and a provider",
    ],
)
def test_an_extension_that_is_not_as_amd_writes_it_is_malformed(change: Change) -> None:
    with pytest.raises(MalformedEvidence):
        verify(with_vek(change))


@pytest.mark.parametrize("suffix", ["3.1", "3.2", "3.3", "3.8"])
@EVERY_PRODUCT
def test_a_key_made_for_another_level_than_reported_is_refused(
    product: Product, suffix: str
) -> None:
    """An old key signs for an old TCB: it may not vouch for a newer one."""
    assert refusal(with_vek(setting(suffix, der.integer(99)), product)).code is Code.TCB_MISMATCH


@pytest.mark.parametrize("suffix", ["3.4", "3.5", "3.6", "3.7"])
@EVERY_PRODUCT
def test_a_reserved_level_above_zero_is_refused(product: Product, suffix: str) -> None:
    assert refusal(with_vek(setting(suffix, der.integer(1)), product)).code is Code.TCB_MISMATCH


def test_only_turin_has_a_level_for_the_fmc_and_it_must() -> None:
    assert refusal(with_vek(lacking("3.9"), Product.TURIN)).code is Code.TCB_MISMATCH
    assert refusal(with_vek(setting("3.9", der.integer(2)), Product.TURIN)).code is (
        Code.TCB_MISMATCH
    )
    for product in (Product.MILAN, Product.GENOA):
        for level in (0, 1):
            change = setting("3.9", der.integer(level))
            assert refusal(with_vek(change, product)).code is Code.TCB_MISMATCH


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (setting("2", der.ia5_string("Genoa")), Code.PRODUCT_MISMATCH),
        (setting("1", der.integer(1)), Code.PRODUCT_MISMATCH),
        (setting("2", der.ia5_string("Venice")), Code.UNSUPPORTED_FORMAT),
        (setting("2", der.ia5_string("milan")), Code.UNSUPPORTED_FORMAT),
        (setting("4", bytes(8)), Code.CHIP_MISMATCH),
        (setting("4", bytes(64)), Code.CHIP_MISMATCH),
    ],
    ids=["other product", "other version", "unknown", "other case", "Turin hwID", "other hwID"],
)
def test_a_key_for_another_product_or_chip_is_refused(change: Change, code: Code) -> None:
    assert refusal(with_vek(change)).code is code


def test_the_product_of_a_key_is_that_of_its_root_even_where_the_report_names_none() -> None:
    """Version 2 has no CPUID, and Milan and Genoa share a TCB layout: only the root can tell."""
    minted = with_vek(setting("2", der.ia5_string("Genoa")), version=2)
    assert refusal(minted).code is Code.PRODUCT_MISMATCH
    assert verify(with_vek(unchanged, version=2)).product == "Milan"


def test_a_turin_key_with_a_chip_id_of_64_bytes_is_refused() -> None:
    chip = snp_fixtures.platform(Product.TURIN)
    minted = with_vek(setting("4", chip.chip_id), Product.TURIN)
    assert refusal(minted).code is Code.CHIP_MISMATCH


@pytest.mark.parametrize(
    "key",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()).public_key(),
        lambda: ec.generate_private_key(ec.SECP521R1()).public_key(),
        lambda: snp_fixtures.root_keys().ask.public_key(),  # noqa: PLW0108 - lazy on purpose
    ],
    ids=["P-256", "P-521", "RSA"],
)
def test_an_endorsement_key_that_is_not_p384_is_refused(
    key: Callable[[], ec.EllipticCurvePublicKey],
) -> None:
    minted = with_vek(lambda vek: replace(vek, public_key=subject_public_key_info(key())))
    assert refusal(minted).code is Code.CERTIFICATE_FORBIDDEN


def test_a_key_of_the_right_kind_that_did_not_sign_is_refused() -> None:
    other = snp_fixtures.platform(name="second").key.public_key()
    minted = with_vek(lambda vek: replace(vek, public_key=subject_public_key_info(other)))
    assert refusal(minted).code is Code.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "name", ["SEV-VCEK", "Sealward Development VLEK Milan", "Sealward Development VCEK Genoa"]
)
def test_an_endorsement_key_by_another_name_is_refused(name: str) -> None:
    assert refusal(with_vek(lambda vek: replace(vek, subject=name))).code is Code.CHAIN_BROKEN


def test_an_endorsement_key_with_an_unknown_critical_extension_is_refused() -> None:
    extension = Extension("1.2.3", der.null(), critical=True)
    minted = with_vek(lambda vek: with_extension(vek, extension))
    assert refusal(minted).code is Code.CERTIFICATE_FORBIDDEN


@pytest.mark.parametrize("member", ["vek", "intermediate", "root"])
def test_changed_bytes_of_a_certificate_are_refused_with_a_documented_error(member: str) -> None:
    genuine, trusted = snp_fixtures.mint(), anchors()
    certificate: bytes = getattr(genuine, member)
    for at in range(len(certificate)):
        damaged = certificate[:at] + bytes((certificate[at] ^ 0x01,)) + certificate[at + 1 :]
        with pytest.raises((MalformedEvidence, RefusedEvidence)):
            verify(replace(genuine, **{member: damaged}), trusted=trusted)


# The ways in which evidence arrives.


def test_the_software_attesters_envelope_verifies_end_to_end(tmp_path: Path) -> None:
    save_platform(snp_fixtures.platform(), tmp_path / "chip")
    guest = Guest(measurement=snp_fixtures.MEASUREMENT, host_data=b"\x0d" * 32)
    attester = SoftwareAttester(tmp_path / "chip", guest, snp_fixtures.stream("guest"))
    record = envelope.decode(attester.collect(bytes(range(64))).cmw)
    assert isinstance(record, envelope.Record)
    assert record.media_type == envelope.SNP_EVIDENCE
    payload = evidence.parse(record.value)
    assert evidence.encode(payload) == record.value
    chain = select(payload.certificates)
    claims = verify(
        Minted(
            report=payload.report, vek=chain.vek, intermediate=chain.intermediate, root=chain.root
        ),
        trusted=anchors(),
    )
    assert claims.report_data == bytes(range(64)).hex()
    assert claims.host_data == "0d" * 32
    assert claims.platform_id == snp_fixtures.platform().platform_id


def test_a_certificate_table_verifies_end_to_end() -> None:
    minted = snp_fixtures.mint()
    blob = mint_certificate_table(
        (VCEK, minted.vek), (ASK, minted.intermediate), (ARK, minted.root)
    )
    table = ghcb.parse(blob)
    assert ghcb.encode(table) == blob
    chain = select(entry.data for entry in table.entries)
    assert (chain.vek, chain.intermediate, chain.root) == minted.certificates
