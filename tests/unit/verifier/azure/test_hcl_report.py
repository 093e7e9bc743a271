"""HCL reports have one reading: every size, version and reserved byte is what the layout says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import azure_machines, azure_vtpm, dcap_fixtures

from sealward.verifier.formats.hcl import claims, report, runtime, td_report
from sealward.verifier.formats.hcl.report import Hardware
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

USER_DATA = bytes(range(64))
RUNTIME = azure_vtpm.claims(azure_machines.public_key(), USER_DATA)
REPORT = azure_vtpm.mint_report(azure_vtpm.SNP, RUNTIME)


def patched(at: int, value: bytes) -> bytes:
    return REPORT[:at] + value + REPORT[at + len(value) :]


@pytest.mark.parametrize("hash_type", [1, 2, 3])
def test_a_report_comes_apart_and_together_again(hash_type: int) -> None:
    for tee, hardware in ((azure_vtpm.SNP, Hardware.SNP), (azure_vtpm.TDX, Hardware.TDX)):
        data = azure_vtpm.mint_report(tee, RUNTIME, hash_type=hash_type)
        parsed = report.parse(data)
        assert parsed.hardware is hardware
        assert parsed.claims == RUNTIME
        assert parsed.hash is {1: HashAlg.SHA256, 2: HashAlg.SHA384, 3: HashAlg.SHA512}[hash_type]
        assert report.encode(parsed) == data
        at = {Hardware.SNP: 0x50, Hardware.TDX: 128}[hardware]
        report.require_bound(parsed, parsed.hardware_report[at : at + 64])


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, b"HCLB"),
        (4, b"\x03"),
        (4, b"\0"),
        (8, b"\x01"),
        (12, b"\x01"),
        (16, b"\x01"),
        (20, b"\x01"),
        (31, b"\x01"),
        (0x4C0, b"\xff"),
        (0x4C4, b"\x02"),
        (0x4C8, b"\x03"),
        (0x4CC, b"\x04"),
        (0x4D0, b"\xff\xff"),
        (len(REPORT) - 1, b"\x01"),
        (0x4D4 + len(RUNTIME), b" "),
    ],
)
def test_another_value_in_a_fixed_field_is_malformed(at: int, value: bytes) -> None:
    report.parse(REPORT)
    with pytest.raises(MalformedEvidence):
        report.parse(patched(at, value))


def test_a_report_is_whole_and_bounded() -> None:
    for size in (0, 3, 0x20, 0x4C0, 0x4D4, 0x4D4 + len(RUNTIME) - 1):
        with pytest.raises(MalformedEvidence):
            report.parse(REPORT[:size])
    assert report.parse(REPORT[: 0x4D4 + len(RUNTIME)]).padding == 0
    with pytest.raises(MalformedEvidence):
        report.parse(REPORT.ljust(4097, b"\0"))
    behind_td_report = bytearray(azure_vtpm.mint_report(azure_vtpm.TDX, RUNTIME))
    behind_td_report[0x20 + 1024] = 1
    with pytest.raises(MalformedEvidence):
        report.parse(bytes(behind_td_report))


def test_claims_are_bound_by_their_hash_and_zeros_alone() -> None:
    parsed = report.parse(REPORT)
    digest = HashAlg.SHA256.digest(RUNTIME)
    report.require_bound(parsed, digest + bytes(32))
    for wrong in (bytes(64), digest + bytes(31) + b"\x01", digest, digest + digest):
        with pytest.raises(RefusedEvidence) as caught:
            report.require_bound(parsed, wrong)
        assert caught.value.code is Code.PARTS_MISMATCH


def document(**changes: Any) -> bytes:  # noqa: ANN401 - any JSON
    return json.dumps({**json.loads(RUNTIME), **changes}).encode()  # noqa: TID251 - test data


def key(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    found = json.loads(RUNTIME)["keys"][0]  # noqa: TID251 - test data
    return {**found, **changes}


def test_runtime_claims_say_the_key_the_settings_and_the_user_data() -> None:
    said = runtime.parse(RUNTIME)
    numbers = azure_machines.public_key().public_numbers()
    assert int.from_bytes(said.modulus, "big") == numbers.n
    assert said.keys == ("HCLAkPub", "HCLEkPub")
    assert said.user_data == USER_DATA
    assert dict(said.configuration)["secure-boot"] is True
    assert runtime.parse(azure_vtpm.claims(azure_machines.public_key(), None)).user_data is None


def test_what_a_later_paravisor_says_besides_is_not_looked_at() -> None:
    settings = {"secure-boot": False, "new": 7, "console-enabled": "yes", "vmUniqueId": "x"}
    data = document(
        keys=[key(alg="RS256")], later=[1, {"a": None}], **{"vm-configuration": settings}
    )
    said = runtime.parse(data)
    section = claims.section(report.parse(REPORT), said, vmpl=0)
    assert section.secure_boot is False
    assert (section.console, section.vm_id, section.tpm) == (None, "x", None)


def test_the_oldest_firmware_names_the_use_of_its_key_wrongly() -> None:
    assert runtime.parse(document(keys=[key(key_ops=["encrypt"])])).modulus


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{}",
        RUNTIME + b" {}",
        RUNTIME[:-1] + b',"keys":[]}',
        document(keys=None),
        document(keys=[]),
        document(keys=["HCLAkPub"]),
        document(keys=[key(), key()]),
        document(keys=[key(kid=1)]),
        document(keys=[key()] * 9),
        document(keys=[key(kty="EC")]),
        document(keys=[key(key_ops=["verify"])]),
        document(keys=[key(n=None)]),
        document(keys=[key(n="AQAB")]),
        document(keys=[key(n="A" * 342)]),
        document(keys=[key(e="Aw")]),
        document(keys=[key(e="AAEAAQ")]),
        document(**{"vm-configuration": None}),
        document(**{"vm-configuration": {"x": "y" * 257}}),
        document(**{"vm-configuration": {str(at): True for at in range(33)}}),
        document(**{"user-data": "00"}),
        document(**{"user-data": None}),
        document(**{"user-data": "zz" * 64}),
    ],
)
def test_claims_that_could_be_read_in_two_ways_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        runtime.parse(data)


def test_a_td_report_is_checked_against_its_own_hashes() -> None:
    data = azure_machines.td_report(dcap_fixtures.TD)
    parsed = td_report.parse(data)
    assert parsed.report_data == dcap_fixtures.TD.report_data
    assert len(parsed.state) == td_report.STATE_SIZE
    for at in (32, 80, 256, 512, 1023):
        wrong = bytearray(data)
        wrong[at] ^= 1
        with pytest.raises((RefusedEvidence, MalformedEvidence)) as caught:
            td_report.parse(bytes(wrong))
        assert caught.value.code is Code.PARTS_MISMATCH
    for at in (0, 1, 3, 15, 192, 495, 511):
        wrong = bytearray(data)
        wrong[at] ^= 0x40
        with pytest.raises(MalformedEvidence):
            td_report.parse(bytes(wrong))
    for size in (0, 512, 1023):
        with pytest.raises(MalformedEvidence):
            td_report.parse(data[:size])
