"""Minted reports meet the verifier: genuine ones pass, each broken rule has its own refusal.

The minter shares no code with the verifier, so what both agree on is the specification
(evidence-formats section 2), not one author's habit. Chains have their own file,
`test_snp_minted_chain.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import snp_fixtures
from fakes.snp_fixtures import NOW
from fakes.snp_verification import anchors, refusal, verify
from sealward_devkit.platform import vcek_platform
from sealward_devkit.snp.products import FACTS, Cpuid, Product, Tcb, encode_tcb
from sealward_devkit.snp.report import DEFAULT_POLICY, Patch, Policy, SigningKey, key_info

from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.result import VerdictCode

if TYPE_CHECKING:
    from sealward_devkit.platform import Platform

EVERY_PRODUCT = pytest.mark.parametrize("product", Product)
HOST_REQUESTED = 0xFFFFFFFF
P384_ORDER = 2**384 - int("389cb27e0bc8d220a7e5f24db74f58851313e695333ad68d", 16)


def chip_of(product: Product, key: SigningKey) -> Platform:
    if key is SigningKey.VCEK:
        return snp_fixtures.platform(product)
    return snp_fixtures.provider_platform(product)


@EVERY_PRODUCT
@pytest.mark.parametrize("version", range(2, 6))
@pytest.mark.parametrize("key", [SigningKey.VCEK, SigningKey.VLEK], ids=str)
def test_a_genuine_report_of_every_version_product_and_key_verifies(
    product: Product, version: int, key: SigningKey
) -> None:
    chip = chip_of(product, key)
    claims = verify(snp_fixtures.mint(chip, version=version, report_data=bytes(range(64)), vmpl=1))
    assert (claims.product, claims.format_version) == (product.value, version)
    assert claims.platform_id == chip.platform_id
    assert claims.provider == (snp_fixtures.CSP_ID if key is SigningKey.VLEK else None)
    assert claims.measurements[0].digest == snp_fixtures.MEASUREMENT.hex()
    assert claims.report_data == bytes(range(64)).hex()
    assert (claims.vmpl, claims.debug, claims.migratable) == (1, False, False)
    assert claims.development
    assert [item.code for item in claims.verdicts] == [VerdictCode.DEVELOPMENT_ROOT]


@EVERY_PRODUCT
def test_the_four_tcbs_are_read_apart_and_by_the_layout_of_the_product(product: Product) -> None:
    base = FACTS[product].default_tcb
    later = replace(base, bootloader=base.bootloader + 1, snp=base.snp + 2)
    latest = replace(later, tee=later.tee + 3, microcode=0xFF)
    claims = verify(
        snp_fixtures.mint(
            snp_fixtures.platform(product),
            committed_tcb=encode_tcb(product, later),
            current_tcb=encode_tcb(product, latest),
        )
    )
    found = {item.name: dict(item.components) for item in claims.tcb}
    for name, tcb in (
        ("reported", base),
        ("launch", base),
        ("committed", later),
        ("current", latest),
    ):
        expected = {
            "bootloader": tcb.bootloader,
            "tee": tcb.tee,
            "snp": tcb.snp,
            "microcode": tcb.microcode,
        }
        if product is Product.TURIN:
            expected["fmc"] = tcb.fmc
        assert found[name] == expected


def test_every_optional_field_reaches_its_claim() -> None:
    claims = verify(
        snp_fixtures.mint(
            guest_svn=7,
            family_id=b"f" * 16,
            image_id=b"i" * 16,
            host_data=b"h" * 32,
            id_key_digest=b"k" * 48,
            author_key_digest=b"a" * 48,
            key_info=key_info(SigningKey.VCEK, author_key=True),
            report_id=b"r" * 32,
            policy=DEFAULT_POLICY | Policy.SINGLE_SOCKET | Policy.CIPHERTEXT_HIDING_DRAM,
            platform_info=0x67,
            launch_mit_vector=5,
            current_mit_vector=2**63,
        )
    )
    assert (claims.guest_svn, claims.host_data) == (7, "68" * 32)
    assert (claims.family_id, claims.image_id) == ("66" * 16, "69" * 16)
    assert (claims.id_key_digest, claims.author_key_digest) == ("6b" * 48, "61" * 48)
    assert claims.instance_value == "72" * 32
    set_bits = {name for name, on in claims.launch_policy if on}
    assert set_bits == {"smt_allowed", "single_socket", "ciphertext_hiding"}
    assert {name for name, on in claims.platform if on} == {
        "smt_enabled",
        "tsme_enabled",
        "ecc_enabled",
        "alias_check_complete",
    }
    assert dict(claims.mitigations) == {"launch": 5, "current": 2**63}


# What is held against a genuine report, whatever a policy says (F20b).


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"policy": DEFAULT_POLICY | Policy.DEBUG}, VerdictCode.DEBUG_ENABLED),
        ({"policy": DEFAULT_POLICY | Policy.MIGRATE_MA}, VerdictCode.MIGRATION_ENABLED),
        ({"report_id_ma": b"\x01" * 32}, VerdictCode.MIGRATION_ENABLED),
        ({"vmpl": HOST_REQUESTED}, VerdictCode.VMPL_UNEXPECTED),
    ],
)
def test_debug_migration_and_a_host_requested_report_are_held_against_it(
    changes: dict[str, Any], code: VerdictCode
) -> None:
    claims = verify(snp_fixtures.mint(**changes))
    assert {item.code for item in claims.verdicts} == {code, VerdictCode.DEVELOPMENT_ROOT}


# Values the format does not have.

RESERVED = (
    *range(0x04C, 0x050),
    *range(0x18B, 0x1A0),
    0x1EB,
    0x1EF,
    *range(0x208, 0x2A0),
    *range(0x330, 0x4A0),
)


def test_a_bit_in_any_reserved_byte_is_refused_though_properly_signed() -> None:
    for offset in RESERVED:
        minted = snp_fixtures.mint(None, Patch(offset, b"\x80"))
        with pytest.raises(MalformedEvidence, match="reserved"):
            verify(minted)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": 1},
        {"version": 6},
        {"policy": DEFAULT_POLICY & ~Policy.MUST_BE_ONE},
        *({"policy": DEFAULT_POLICY | 1 << bit} for bit in (26, 40, 63)),
        {"vmpl": 4},
        {"vmpl": HOST_REQUESTED - 1},
        {"signature_algorithm": 0},
        {"signature_algorithm": 2},
        *({"key_info": kind << 2} for kind in range(2, 7)),
        {"key_info": 1 << 5},
        {"author_key_digest": b"\x01" * 48},
        {"version": 2, "cpuid": Cpuid(0x19, 0x01, 0x01)},
        {"version": 4, "launch_mit_vector": 1},
        {"version": 3, "current_mit_vector": 1},
    ],
    ids=str,
)
def test_a_signed_report_with_a_value_the_format_does_not_have_is_malformed(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(MalformedEvidence):
        verify(snp_fixtures.mint(**changes))


@pytest.mark.parametrize("part", [0x2A0, 0x2E8])
def test_a_signature_number_longer_than_the_curve_is_refused(part: int) -> None:
    minted = snp_fixtures.mint(None, Patch(part + 48, b"\x01"))
    assert refusal(minted).code is Code.SIGNATURE_INVALID


@pytest.mark.parametrize("part", [0x2A0, 0x2E8])
def test_a_signature_number_of_zero_is_refused(part: int) -> None:
    assert refusal(snp_fixtures.mint(None, Patch(part, bytes(72)))).code is Code.SIGNATURE_INVALID


@pytest.mark.parametrize("part", [0x2A0, 0x2E8])
def test_a_signature_number_increased_by_the_order_of_the_group_is_refused(part: int) -> None:
    """It is congruent to the genuine one, so only the range check tells them apart."""
    genuine = snp_fixtures.mint()
    number = int.from_bytes(genuine.report[part : part + 72], "little") + P384_ORDER
    report = genuine.report[:part] + number.to_bytes(72, "little") + genuine.report[part + 72 :]
    assert refusal(replace(genuine, report=report)).code is Code.SIGNATURE_INVALID


# The report against its endorsement key.


@pytest.mark.parametrize(
    ("product", "component"),
    [
        (product, component)
        for product in Product
        for component in ("fmc", "bootloader", "tee", "snp", "microcode")
        if component != "fmc" or product is Product.TURIN
    ],
)
@pytest.mark.parametrize("step", [1, -1])
def test_a_reported_tcb_above_or_below_that_of_the_key_is_refused(
    product: Product, component: str, step: int
) -> None:
    tcb = replace(FACTS[product].default_tcb, tee=1)
    hierarchy = snp_fixtures.hierarchy(product)
    chip = vcek_platform(hierarchy, snp_fixtures.stream("tcb"), tcb=tcb)
    other = replace(tcb, **{component: getattr(tcb, component) + step})
    minted = snp_fixtures.mint(chip, reported_tcb=encode_tcb(product, other))
    assert refusal(minted).code is Code.TCB_MISMATCH
    assert verify(snp_fixtures.mint(chip)).product == product.value


@EVERY_PRODUCT
@pytest.mark.parametrize("field", ["reported", "current", "committed", "launch"])
def test_a_tcb_that_uses_bytes_its_product_does_not_have_is_refused(
    product: Product, field: str
) -> None:
    chip = snp_fixtures.platform(product)
    level = encode_tcb(product, chip.tcb)
    for unused in (4, 5) if product is not Product.TURIN else (4, 5, 6):
        changed = level[:unused] + b"\x01" + level[unused + 1 :]
        changes: dict[str, Any] = {f"{field}_tcb": changed}
        minted = snp_fixtures.mint(chip, **changes)
        assert refusal(minted).code is Code.TCB_MISMATCH


def test_spls_above_7f_take_two_bytes_and_match_all_the_same() -> None:
    tcb = Tcb(bootloader=0x80, tee=0xFF, snp=0x7F, microcode=0xDB)
    hierarchy = snp_fixtures.hierarchy()
    chip = vcek_platform(hierarchy, snp_fixtures.stream("high"), tcb=tcb)
    assert verify(snp_fixtures.mint(chip)).product == "Milan"


@EVERY_PRODUCT
@pytest.mark.parametrize("at", [0, 7])
def test_another_chip_id_than_the_keys_is_refused(product: Product, at: int) -> None:
    chip = snp_fixtures.platform(product)
    wrong = chip.chip_id[:at] + bytes((chip.chip_id[at] ^ 1,)) + chip.chip_id[at + 1 :]
    assert refusal(snp_fixtures.mint(chip, chip_id=wrong)).code is Code.CHIP_MISMATCH


@pytest.mark.parametrize("at", [8, 63])
def test_a_turin_chip_id_with_anything_behind_its_eight_bytes_is_refused(at: int) -> None:
    chip = snp_fixtures.platform(Product.TURIN)
    wrong = chip.chip_id[:at] + b"\x01" + chip.chip_id[at + 1 :]
    assert refusal(snp_fixtures.mint(chip, chip_id=wrong)).code is Code.CHIP_MISMATCH


@pytest.mark.parametrize("product", list(Product))
def test_a_masked_chip_is_the_platform_that_its_key_is_certified_for(product: Product) -> None:
    """A host cannot leave its platform by masking CHIP_ID: the key that signed names the chip."""
    chip = snp_fixtures.platform(product)
    shown, masked = (
        verify(snp_fixtures.mint(chip, chip_id=each)) for each in (chip.chip_id, bytes(64))
    )
    assert masked.platform_id == shown.platform_id == chip.platform_id
    assert (shown.platform_masked, masked.platform_masked) == (False, True)


def test_a_chip_id_under_a_providers_key_proves_no_platform() -> None:
    """Nothing certifies it: a VLEK names a provider, so a chip id beside it is hearsay."""
    minted = snp_fixtures.mint(snp_fixtures.provider_platform(), chip_id=b"\x05" * 64)
    assert verify(minted).platform_id is None


@pytest.mark.parametrize(
    ("product", "other"), [(a, b) for a in Product for b in Product if a is not b]
)
def test_a_report_that_names_another_product_than_its_key_is_refused(
    product: Product, other: Product
) -> None:
    minted = snp_fixtures.mint(snp_fixtures.platform(product), cpuid=FACTS[other].cpuid)
    assert refusal(minted).code is Code.PRODUCT_MISMATCH


@pytest.mark.parametrize(
    "cpuid",
    [Cpuid(0, 0, 0), Cpuid(0x17, 1, 0), Cpuid(0x19, 0x20, 0), Cpuid(0x1A, 0x12, 0)],
    ids=str,
)
def test_a_processor_nobody_knows_is_refused(cpuid: Cpuid) -> None:
    assert refusal(snp_fixtures.mint(cpuid=cpuid)).code is Code.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("key", [SigningKey.VLEK, SigningKey.NONE])
def test_a_report_that_names_another_kind_of_key_than_its_certificate_is_refused(
    key: SigningKey,
) -> None:
    minted = snp_fixtures.mint(key_info=key_info(key))
    assert refusal(minted).code is Code.KEY_KIND_MISMATCH


def test_a_providers_report_may_not_claim_a_chips_key() -> None:
    minted = snp_fixtures.mint(snp_fixtures.provider_platform(), key_info=key_info(SigningKey.VCEK))
    assert refusal(minted).code is Code.KEY_KIND_MISMATCH


def test_a_report_under_another_chips_key_is_refused_even_with_the_chip_id_of_the_key() -> None:
    mine, other = snp_fixtures.platform(), snp_fixtures.platform(name="second")
    forged = snp_fixtures.mint(mine, chip_id=other.chip_id)
    swapped = replace(forged, vek=other.vek)
    assert refusal(swapped).code is Code.SIGNATURE_INVALID


def test_every_changed_byte_of_a_report_is_refused_with_a_documented_error() -> None:
    genuine = snp_fixtures.mint(vmpl=0)
    trusted, cache = anchors(), ChainCache()
    verify(genuine, trusted=trusted, cache=cache)
    for at in range(len(genuine.report)):
        report = bytearray(genuine.report)
        report[at] ^= 0x01
        with pytest.raises((MalformedEvidence, RefusedEvidence)):
            verify(replace(genuine, report=bytes(report)), trusted=trusted, cache=cache)


@pytest.mark.parametrize("size", [0, 1, 0x29F, 0x2A0, 0x49F])
def test_a_cut_report_is_malformed(size: int) -> None:
    genuine = snp_fixtures.mint()
    with pytest.raises(MalformedEvidence):
        verify(replace(genuine, report=genuine.report[:size]))


def test_a_report_with_a_byte_behind_it_is_malformed() -> None:
    genuine = snp_fixtures.mint()
    with pytest.raises(MalformedEvidence):
        verify(replace(genuine, report=genuine.report + b"\0"))


def test_the_instant_of_verification_is_the_instant_of_the_claims() -> None:
    assert verify(snp_fixtures.mint()).as_of == NOW
