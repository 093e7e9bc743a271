"""Minted reports: the layout reproduces real reports, and the signature holds."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from fakes import snp_fixtures
from sealward_devkit.snp.ghcb import ASK, VCEK, mint_certificate_table
from sealward_devkit.snp.products import Cpuid, Product, Tcb, encode_tcb
from sealward_devkit.snp.report import (
    REPORT_SIZE,
    SIGNED_SIZE,
    FirmwareVersion,
    Patch,
    ReportFields,
    SigningKey,
    development_measurement,
    key_info,
    mint_report,
)

if TYPE_CHECKING:
    from pathlib import Path

REAL_REPORTS = (
    "snp-milan-v2-coco",
    "snp-milan-v2-virtee",
    "snp-milan-v2-debug",
    "snp-milan-v3-dstack",
    "snp-milan-v3-vlek-aws",
    "snp-genoa-v3-tsm",
    "snp-turin-v5-oak",
)


def fields_of(expect: dict[str, Any]) -> ReportFields:
    """The manifest's account of a real report, in the minter's words."""

    def raw(name: str) -> bytes:
        return bytes.fromhex(expect[name])

    def firmware(name: str) -> FirmwareVersion:
        major, minor, build = (int(part) for part in expect[name].split("."))
        return FirmwareVersion(major=major, minor=minor, build=build)

    def level(name: str) -> bytes:
        return bytes.fromhex(expect[name]["raw"])

    cpuid = None
    if "cpuid_fam_id" in expect:
        cpuid = Cpuid(*(expect[f"cpuid_{part}"] for part in ("fam_id", "mod_id", "step")))
    return ReportFields(
        version=expect["version"],
        guest_svn=expect["guest_svn"],
        policy=int(expect["policy"], 16),
        family_id=raw("family_id"),
        image_id=raw("image_id"),
        vmpl=expect["vmpl"],
        signature_algorithm=expect["signature_algo"],
        current_tcb=level("current_tcb"),
        platform_info=int(expect["platform_info"], 16),
        key_info=key_info(
            SigningKey[expect["signing_key"].upper()],
            author_key=expect["author_key_en"],
            mask_chip_key=expect["mask_chip_key"],
        ),
        report_data=raw("report_data"),
        measurement=raw("measurement"),
        host_data=raw("host_data"),
        id_key_digest=raw("id_key_digest"),
        author_key_digest=raw("author_key_digest"),
        report_id=raw("report_id"),
        report_id_ma=raw("report_id_ma"),
        reported_tcb=level("reported_tcb"),
        cpuid=cpuid,
        chip_id=raw("chip_id"),
        committed_tcb=level("committed_tcb"),
        current_firmware=firmware("current_version"),
        committed_firmware=firmware("committed_version"),
        launch_tcb=level("launch_tcb"),
        launch_mit_vector=int(expect.get("launch_mit_vector", "0x0"), 16),
        current_mit_vector=int(expect.get("current_mit_vector", "0x0"), 16),
    )


@pytest.mark.parametrize("vector", REAL_REPORTS)
def test_the_fields_of_a_real_report_encode_to_its_signed_bytes(
    vectors_dir: Path, vector: str
) -> None:
    text = (vectors_dir / "manifest.json").read_bytes()
    manifest = json.loads(text)  # noqa: TID251 - our own manifest, and no code of the verifier here
    entry = next(item for item in manifest["vectors"] if item["id"] == vector)
    real = (vectors_dir / entry["files"]["report"]["path"]).read_bytes()
    minted = mint_report(fields_of(entry["expect"]["report"]), snp_fixtures.platform().key)
    assert minted[:SIGNED_SIZE].hex() == real[:SIGNED_SIZE].hex()


def test_the_signature_is_two_little_endian_integers_over_the_signed_bytes() -> None:
    chip = snp_fixtures.platform()
    report = snp_fixtures.mint(chip).report
    r, s = (
        int.from_bytes(report[at : at + 72], "little") for at in (SIGNED_SIZE, SIGNED_SIZE + 72)
    )
    assert max(r, s).bit_length() <= 384
    signature, algorithm = utils.encode_dss_signature(r, s), ec.ECDSA(hashes.SHA384())
    chip.key.public_key().verify(signature, report[:SIGNED_SIZE], algorithm)
    with pytest.raises(InvalidSignature):
        chip.key.public_key().verify(signature, b"\xff" + report[1:SIGNED_SIZE], algorithm)
    assert not any(report[SIGNED_SIZE + 144 :])


@pytest.mark.parametrize("version", range(2, 6))
def test_every_version_has_its_size_and_its_regions(version: int) -> None:
    vector = 0 if version < 5 else 0x1122334455667788
    report = snp_fixtures.mint(version=version, current_mit_vector=vector).report
    assert len(report) == REPORT_SIZE
    assert report[:4] == bytes((version, 0, 0, 0))
    assert any(report[0x188:0x18B]) == (version >= 3)
    assert any(report[0x1F8:0x208]) == (version >= 5)


def test_every_field_moves_bytes_of_its_own() -> None:
    """Changing any one field changes the report, and no two fields share a byte."""
    base = replace(
        fields_of_zero(),
        cpuid=Cpuid(0, 0, 0),
        current_firmware=FirmwareVersion(major=0, minor=0, build=0),
        committed_firmware=FirmwareVersion(major=0, minor=0, build=0),
    )
    key = snp_fixtures.platform().key
    blank = mint_report(base, key)[:SIGNED_SIZE]
    taken: set[int] = set()
    for field in fields(ReportFields):
        changed = mint_report(replace(base, **{field.name: filled(base, field.name)}), key)
        moved = {at for at in range(SIGNED_SIZE) if changed[at] != blank[at]}
        assert moved, field.name
        assert not moved & taken, field.name
        taken |= moved
    # Reserved: 04C..04F, 18B..19F, 1EB, 1EF, 208..29F; nothing else is left over.
    reserved = {*range(0x4C, 0x50), *range(0x18B, 0x1A0), 0x1EB, 0x1EF, *range(0x208, 0x2A0)}
    assert set(range(SIGNED_SIZE)) - taken == reserved


def fields_of_zero() -> ReportFields:
    nothing = bytes(8)
    return ReportFields(
        version=0,
        policy=0,
        signature_algorithm=0,
        platform_info=0,
        report_id_ma=bytes(32),
        current_tcb=nothing,
        reported_tcb=nothing,
        committed_tcb=nothing,
        launch_tcb=nothing,
        cpuid=None,
        chip_id=bytes(64),
    )


def filled(base: ReportFields, name: str) -> Any:  # noqa: ANN401 - the type of the field
    """All ones, in the shape of the field."""
    value = getattr(base, name)
    match value:
        case bytes():
            return b"\xff" * len(value)
        case Cpuid():
            return Cpuid(0xFF, 0xFF, 0xFF)
        case FirmwareVersion():
            return FirmwareVersion(major=0xFF, minor=0xFF, build=0xFF)
        case _:
            wide = {"policy", "platform_info", "launch_mit_vector", "current_mit_vector"}
            return 2**64 - 1 if name in wide else 2**32 - 1


def test_a_field_of_the_wrong_length_is_refused_rather_than_shifted() -> None:
    with pytest.raises(ValueError, match="takes 64 bytes, not 63"):
        snp_fixtures.mint(report_data=bytes(63))
    with pytest.raises(ValueError, match="beyond the report"):
        snp_fixtures.mint(None, Patch(REPORT_SIZE - 1, b"ab"))


def test_a_patch_inside_the_signed_bytes_is_signed_and_one_behind_them_is_kept() -> None:
    report = snp_fixtures.mint(None, Patch(0x208, b"\x01"), Patch(0x330, b"\x02")).report
    assert (report[0x208], report[0x330]) == (1, 2)
    r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    key = snp_fixtures.platform().key.public_key()
    key.verify(utils.encode_dss_signature(r, s), report[:SIGNED_SIZE], ec.ECDSA(hashes.SHA384()))


def test_tcb_layouts_differ_between_turin_and_its_predecessors() -> None:
    tcb = Tcb(fmc=1, bootloader=2, tee=3, snp=4, microcode=5)
    assert encode_tcb(Product.MILAN, tcb).hex() == "0203000000000405"
    assert encode_tcb(Product.GENOA, tcb).hex() == "0203000000000405"
    assert encode_tcb(Product.TURIN, tcb).hex() == "0102030400000005"


def test_key_info_places_the_signing_key_in_bits_four_to_two() -> None:
    assert key_info(SigningKey.VCEK) == 0
    assert key_info(SigningKey.VLEK) == 4
    assert key_info(SigningKey.NONE, author_key=True, mask_chip_key=True) == 0b11111


def test_development_measurements_are_stable_distinct_and_48_bytes() -> None:
    # printf 'sealward development launch measurement\\0agent' | sha384sum
    known = (
        "db9108fc6057c58934613209649e5b29152fbfa81746fd43021de0670abfc38c"
        "c93efa75e6708e907ba7592a58ab010c"
    )
    assert development_measurement("agent").hex() == known
    assert development_measurement("agent") != development_measurement("agent2")
    assert len(development_measurement("")) == 48


def test_a_certificate_table_points_at_its_contents(vectors_dir: Path) -> None:
    """Offsets count from the start, lengths are exact, and a zero entry ends the table."""
    table = mint_certificate_table((VCEK, b"leaf"), (ASK, b"intermediate"))
    assert table[:16] == VCEK.bytes
    assert table[16:24] == bytes.fromhex("4800000004000000")
    assert table[24:40] == ASK.bytes
    assert table[40:48] == bytes.fromhex("4c0000000c000000")
    assert not any(table[48:72])
    assert table[72:] == b"leafintermediate"
    real = (vectors_dir / "sev-snp" / "snp-genoa-v3-tsm.auxblob.bin").read_bytes()
    assert VCEK.bytes in (real[at : at + 16] for at in range(0, 24 * 8, 24))
