"""What minted GPUs, switches and manifests prove, and what they are refused for."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes import nvidia_devices as lab
from sealward_devkit.nvidia import hierarchy
from sealward_devkit.nvidia import manifest as minted_manifests
from sealward_devkit.nvidia import report as minted_reports

from sealward.verifier.formats.nvidia_gpu import claims as nvidia_claims
from sealward.verifier.formats.nvidia_gpu import device, report
from sealward.verifier.formats.nvidia_gpu.compare import Component
from sealward.verifier.formats.nvidia_gpu.opaque import Type
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.claims import Claims
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.distrust import DistrustEntry
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.result import Dimension, Tier, TrustVector, VerdictCode, cap

AFFIRMING = TrustVector(**{item.attribute: Tier.AFFIRMING for item in Dimension})


def appraise(data: bytes | None = None, chain: bytes | None = None, **changes: Any):  # noqa: ANN401
    said = {
        "anchors": lab.anchors(),
        "source": lab.store(),
        "now": lab.NOW,
        "cache": ChainCache(),
    } | changes
    return device.appraise(data or lab.gpu_report(), chain or lab.gpu_chain(), **said)


def claims_of(found: device.VerifiedDevice, **changes: Any) -> Claims:  # noqa: ANN401
    return nvidia_claims.normalise(found, now=lab.NOW, **changes)


def section(found: device.VerifiedDevice) -> dict[str, Any]:
    shown: Any = claims_of(found).to_json()["gpu"]
    return shown


def refusal(**changes: Any) -> RefusedEvidence:  # noqa: ANN401
    with pytest.raises(RefusedEvidence) as caught:
        appraise(**changes)
    return caught.value


def holding(key: str, data: bytes) -> lab.Store:
    source = lab.store()
    source.held[Key(Kind.NVIDIA_RIM, key)] = data
    return source


def test_a_good_gpu_matches_its_manifests_and_is_bound_by_its_agent_alone() -> None:
    found = appraise()
    shown = section(found)
    assert shown["rim"] == {
        "driver": "matched",
        "vbios": "matched",
        "mismatched": [],
        "passed_over": [35],
        "unclaimed": [],
    }
    assert (shown["cc_mode"], shown["ppcie"], shown["nvdec0"]) == ("single", False, False)
    assert shown["devtools"] is None
    claims = claims_of(found)
    assert claims.report_data == lab.NONCE.hex()
    leaf, boot_rom = found.verified.endorsed.path[:2]
    assert claims.platform_id == f"nvidia:device:{hashlib.sha256(boot_rom.spki).hexdigest()}"
    assert claims.instance_value == hashlib.sha256(leaf.spki).hexdigest()
    held = [item for item in claims.verdicts if item.code is VerdictCode.DEVICE_BINDING_UNPROVEN]
    assert [(item.claim, item.actual, item.tier) for item in held] == [
        ("gpu.binding", "agent-asserted", Tier.WARNING)
    ]
    assert cap(AFFIRMING, held) == replace(AFFIRMING, hardware=Tier.WARNING)


def test_a_switch_has_a_vbios_and_no_driver() -> None:
    found = appraise(lab.switch_report(), lab.switch_chain())
    assert claims_of(found).tee == "nvidia-switch"
    assert claims_of(found).product == "LS10"
    shown = section(found)
    assert (shown["arch"], shown["rim"]["driver"], shown["rim"]["vbios"]) == (
        "nvswitch",
        None,
        "matched",
    )


def test_every_block_that_differs_is_named_and_held_against_the_device() -> None:
    blocks = list(lab.gpu_blocks())
    for index in (8, 13, 52):
        blocks[index] = hashlib.sha384(b"unreviewed").digest()
    blocks[60] = hashlib.sha384(b"nobody speaks of this").digest()
    found = appraise(lab.gpu_report(blocks=tuple(blocks)))
    rim = section(found)["rim"]
    assert rim["mismatched"] == ["driver:13", "driver:52", "vbios:8"]
    assert (rim["driver"], rim["vbios"], rim["unclaimed"]) == ("mismatched", "mismatched", [60])
    held = [item for item in claims_of(found).verdicts if item.code == "firmware_unknown"]
    assert [item.actual for item in held] == ["driver:13, driver:52, vbios:8"]
    capped = cap(AFFIRMING, held)
    assert capped.executables is capped.configuration is Tier.CONTRAINDICATED


@pytest.mark.parametrize(
    ("nvdec0", "expected"), [(minted_reports.ENABLED, ["driver:35"]), (None, ["driver:35"])]
)
def test_index_35_counts_unless_the_report_says_that_the_decoder_is_off(
    nvdec0: bytes | None, expected: list[str]
) -> None:
    blocks = list(lab.gpu_blocks())
    blocks[35] = bytes(48)
    one = lab.device("GH100", 0)
    content = minted_reports.gpu_content(one, tuple(blocks), driver=lab.DRIVER, vbios=lab.VBIOS)
    assert (
        section(appraise(minted_reports.mint(one, content, lab.NONCE, bytes(32))))["rim"][
            "mismatched"
        ]
        == []
    )
    fields = [item for item in content.fields if item[0] != minted_reports.NVDEC0_STATUS]
    fields += [] if nvdec0 is None else [(minted_reports.NVDEC0_STATUS, nvdec0)]
    other = replace(content, fields=tuple(fields))
    shown = section(appraise(minted_reports.mint(one, other, lab.NONCE, bytes(32))))["rim"]
    assert (shown["mismatched"], shown["passed_over"]) == (expected, [])


def test_a_block_that_is_not_there_matches_nothing() -> None:
    found = appraise(lab.gpu_report(blocks=lab.gpu_blocks()[:50]))
    assert section(found)["rim"]["mismatched"] == ["driver:52"]


def test_manifests_that_are_not_held_are_named() -> None:
    error = refusal(source=lab.Store())
    assert error.code is Code.ENDORSEMENT_MISSING
    assert [key.name for key in error.needs] == [lab.DRIVER_ID, lab.VBIOS_ID]
    source = lab.store()
    del source.held[Key(Kind.NVIDIA_RIM, lab.VBIOS_ID)]
    assert [key.name for key in refusal(source=source).needs] == [lab.VBIOS_ID]


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("550.144.02", Code.FIRMWARE_NEWER_THAN_RIM),
        ("535.900", Code.FIRMWARE_NEWER_THAN_RIM),
        ("550.144.04", Code.COLLATERAL_MISMATCH),
        ("latest", Code.COLLATERAL_MISMATCH),
    ],
)
def test_a_manifest_of_another_version_is_refused_and_told_from_an_older_one(
    version: str, code: Code
) -> None:
    old = lab.rim((13,), version, "GH100")
    error = refusal(source=holding(lab.DRIVER_ID, old))
    assert error.code is code
    assert error.claim == "gpu.driver_version"


def test_newer_vbios_than_its_manifest_is_told_by_its_hexadecimal_version() -> None:
    old = lab.rim((0,), "96.00.5D.FF.FF", "GH100")
    error = refusal(source=holding(lab.VBIOS_ID, old))
    assert error.code is Code.FIRMWARE_NEWER_THAN_RIM


@pytest.mark.parametrize(("product", "edition"), [("GB100", "GPU"), ("GH100", "SWITCH")])
def test_a_manifest_of_another_chip_is_refused(product: str, edition: str) -> None:
    other = lab.rim((13,), lab.DRIVER, product, edition=edition)
    assert refusal(source=holding(lab.DRIVER_ID, other)).code is Code.COLLATERAL_MISMATCH


def test_two_manifests_that_speak_of_one_block_are_refused() -> None:
    both = lab.rim((0, 52), lab.VBIOS, "GH100")
    error = refusal(source=holding(lab.VBIOS_ID, both))
    assert (error.code, error.actual) == (Code.RIM_CONFLICT, "index 52")


def test_a_manifest_that_was_changed_is_refused() -> None:
    data = lab.driver_rim()
    at = data.index(lab.block(13).hex().encode())
    changed = data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]
    assert refusal(source=holding(lab.DRIVER_ID, changed)).code is Code.SIGNATURE_INVALID


def test_manifests_given_as_files_are_used_and_two_for_one_component_refused() -> None:
    given = (lab.vbios_rim(), lab.driver_rim())
    found = appraise(source=lab.Store(), given=given)
    assert [component for component, _ in found.manifests] == [Component.DRIVER, Component.VBIOS]
    twice = (lab.vbios_rim(), lab.rim((1,), lab.VBIOS, "GH100"))
    assert refusal(given=twice).code is Code.EVIDENCE_AMBIGUOUS


def test_firmware_that_the_key_was_not_made_for_is_refused() -> None:
    one = lab.device("GH100", 0)
    liar = replace(one, fwid=hashlib.sha384(b"other firmware").digest())
    content = minted_reports.gpu_content(liar, lab.gpu_blocks(), driver=lab.DRIVER, vbios=lab.VBIOS)
    data = minted_reports.mint(one, content, lab.NONCE, bytes(32))
    error = refusal(data=data)
    assert (error.code, error.claim) == (Code.FWID_MISMATCH, "gpu.fwid")


def test_the_report_of_one_gpu_is_not_that_of_another() -> None:
    assert refusal(chain=lab.gpu_chain(1)).code is Code.SIGNATURE_INVALID


def test_no_chain_without_its_root_or_with_another_is_taken() -> None:
    assert refusal(anchors=TrustAnchors()).code is Code.ROOT_NOT_PINNED
    rim_only = (import_root(lab.rim_authority().root, now=lab.NOW),)
    assert refusal(anchors=TrustAnchors(development_roots=rim_only)).code is Code.ROOT_NOT_PINNED
    gpu_only = (import_root(lab.gpu_authority("GH100").root, now=lab.NOW),)
    assert refusal(anchors=TrustAnchors(development_roots=gpu_only)).code is Code.ROOT_NOT_PINNED


def test_a_chain_in_other_roles_is_refused() -> None:
    """The provisioner signs what it likes; that makes no device of it."""
    one = lab.device("GH100", 0)
    short = replace(one, path=one.path[1:])
    with pytest.raises(MalformedEvidence):
        appraise(chain=minted_reports.chain(short))
    reordered = replace(one, path=(one.path[1], one.path[0], *one.path[2:]))
    assert refusal(chain=minted_reports.chain(reordered)).code is Code.CHAIN_BROKEN
    switch = lab.device("LS_10", 0)
    mixed = replace(one, path=(one.path[0], *switch.path[1:]))
    assert refusal(chain=minted_reports.chain(mixed)).code is Code.CHAIN_BROKEN


def test_what_ends_when_is_told_and_nothing_is_used_beyond_it() -> None:
    claims = claims_of(appraise())
    assert [name for name, _ in claims.collateral.limits] == [
        "certificates",
        "rim.driver",
        "rim.vbios",
    ]
    late = claims.collateral.not_after + timedelta(seconds=1)
    assert refusal(now=late).code is Code.CERTIFICATE_EXPIRED
    cache = ChainCache()
    appraise(cache=cache)
    assert refusal(now=late, cache=cache).code is Code.CERTIFICATE_EXPIRED


def test_a_distrusted_device_is_held_against_its_evidence() -> None:
    found = appraise()
    entry = DistrustEntry(reason="key extracted", platform_id=claims_of(found).platform_id)
    codes = [item.code for item in claims_of(found, distrusted=[entry]).verdicts]
    assert VerdictCode.DISTRUSTED in codes


# Where (offset), and what stands there instead.
_WRONG = {
    "version": (0, b"\x12"),
    "no signature wanted": (2, b"\x00"),
    "slot": (36, b"\x08"),
    "an answer to something else": (38, b"\x61"),
    "parameter": (39, b"\x01"),
    "other slot": (40, b"\x01"),
    "no blocks": (41, b"\x00"),
    "too many blocks": (41, b"\x41"),
    "record length": (42, b"\xc1"),
    "block twice": (45 + 55, b"\x01"),
    "specification": (46, b"\x02"),
    "block size": (47, b"\x32"),
    "raw value": (49, b"\x80"),
    "value size": (50, b"\x2f"),
}


@pytest.mark.parametrize("name", _WRONG)
def test_anything_but_one_request_and_its_answer_is_malformed(name: str) -> None:
    at, wrong = _WRONG[name]
    data = lab.gpu_report()
    report.parse(data)
    with pytest.raises(MalformedEvidence):
        report.parse(data[:at] + wrong + data[at + len(wrong) :])


def test_a_report_is_neither_short_nor_long() -> None:
    data = lab.gpu_report()
    for wrong in (data[:-1], data + bytes(4), data + b"\x01", data * 3):
        with pytest.raises(MalformedEvidence):
            report.parse(wrong)


def test_up_to_three_zeros_behind_a_report_are_padding() -> None:
    for size in range(4):
        assert report.parse(lab.gpu_report() + bytes(size)).nonce == lab.NONCE


@pytest.mark.parametrize(
    "field",
    [
        (minted_reports.DRIVER_VERSION, b"550 .1\0"),
        (minted_reports.DRIVER_VERSION, b"550\0.1"),
        (minted_reports.NVDEC0_STATUS, b"\x00"),
        (minted_reports.PROTECTED_PCIE, b"\xaa\xaa"),
        (minted_reports.FWID, bytes(47)),
        (minted_reports.FEATURE_FLAG, b"\x03\x00"),
        (minted_reports.VBIOS_VERSION, b"\0\0\0\0\0\1\0\0"),
        (minted_reports.VBIOS_VERSION, b""),
    ],
)
def test_a_field_that_we_read_and_that_is_not_what_its_type_says_is_malformed(
    field: tuple[int, bytes],
) -> None:
    one = lab.device("GH100", 0)
    content = minted_reports.Content(blocks=(bytes(48),), fields=(field,))
    with pytest.raises(MalformedEvidence):
        report.parse(minted_reports.mint(one, content, lab.NONCE, bytes(32)))


def test_a_field_stands_once_and_one_that_we_do_not_know_is_kept() -> None:
    one = lab.device("GH100", 0)
    unknown = minted_reports.Content(blocks=(bytes(48),), fields=((777, b"x"),))
    parsed = report.parse(minted_reports.mint(one, unknown, lab.NONCE, bytes(32)))
    assert parsed.opaque.fields == ((777, b"x"),)
    assert parsed.opaque.get(Type.FWID) is None
    twice = replace(unknown, fields=((777, b"x"), (777, b"x")))
    with pytest.raises(MalformedEvidence):
        report.parse(minted_reports.mint(one, twice, lab.NONCE, bytes(32)))


def test_a_report_that_names_no_version_needs_no_manifest_that_could_be_found() -> None:
    one = lab.device("GH100", 0)
    content = minted_reports.Content(blocks=(bytes(48),), fields=())
    with pytest.raises(MalformedEvidence):
        appraise(minted_reports.mint(one, content, lab.NONCE, bytes(32)))


def test_the_signer_of_manifests_may_not_be_a_ca() -> None:
    authority = lab.rim_authority()
    impostor = hierarchy.Signer(
        path=(authority.path[0], *authority.path[1:], authority.root), key=authority.keys[0]
    )
    digests = ((lab.block(0),),)
    content = minted_manifests.Content(product="GH100", version=lab.VBIOS, digests=digests)
    data = minted_manifests.mint(content, impostor)
    error = refusal(source=holding(lab.VBIOS_ID, data))
    assert error.code is Code.CERTIFICATE_FORBIDDEN
