"""The software attester of each kind emits the envelope that is specified for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import cbor2
import dcap_qvl
import pytest
from fakes import dcap_fixtures, nitro_fixtures
from fakes.snp_fixtures import NOW, stream
from sealward_devkit.attester import from_settings
from sealward_devkit.attesters.nitro import SoftwareNitro
from sealward_devkit.attesters.tdx import SoftwareTdx
from sealward_devkit.dcap import boot
from sealward_devkit.dcap import directories as dcap_directories
from sealward_devkit.nitro import directories as nitro_directories
from sealward_devkit.nitro import image

from sealward.enclave_agent.attesters.port import Attester, AttesterUnavailable
from sealward.verifier.rats.evidence import NITRO_EVIDENCE, TDX_EVIDENCE, Record, decode

if TYPE_CHECKING:
    from pathlib import Path

REPORT_DATA = bytes(range(64))
PCRS = tuple(image.measure("agent", b"{}").items())


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    dcap_directories.save_platform(dcap_fixtures.platform(), tmp_path / "machine")
    return tmp_path / "machine"


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    nitro_directories.save_instance(nitro_fixtures.instance(), tmp_path / "instance")
    return tmp_path / "instance"


def tdx_settings(machine: Path, **changes: object) -> dict[str, object]:
    rtmrs = {f"rtmr{at}": value.hex() for at, value in enumerate(boot.registers("agent"))}
    launch = {"mr_td": boot.mr_td().hex(), "mr_config_id": boot.mr_config_id(b"{}").hex()}
    return {"kind": "tdx", "platform": str(machine)} | rtmrs | launch | changes


def nitro_settings(instance: Path, **changes: object) -> dict[str, object]:
    pcrs = {f"pcr{index}": value.hex() for index, value in PCRS}
    return {"kind": "nitro", "platform": str(instance)} | pcrs | changes


def content_of(some: Attester, media_type: str) -> dict:
    record = decode(some.collect(REPORT_DATA).cmw)
    assert isinstance(record, Record)
    assert record.media_type == media_type
    content = cbor2.loads(record.value)  # noqa: TID251 - a second reader, not the one under test
    assert cbor2.dumps(content, canonical=True) == record.value
    return content


def test_tdx_evidence_is_a_quote_and_the_log(machine: Path, tmp_path: Path) -> None:
    (tmp_path / "ccel.bin").write_bytes(boot.ccel("agent"))
    made = from_settings(tdx_settings(machine, event_log=str(tmp_path / "ccel.bin")))
    assert made.kind == "tdx"
    content = content_of(made, TDX_EVIDENCE)
    assert list(content) == [1, 2]
    assert content[2] == boot.ccel("agent")
    report = dcap_qvl.parse_quote(content[1]).report
    assert report.report_data == REPORT_DATA
    assert report.mr_td == boot.mr_td()
    assert report.mr_config_id == boot.mr_config_id(b"{}")
    assert report.rt_mr2 == boot.registers("agent")[2]


def test_a_domain_without_a_log_says_null(machine: Path) -> None:
    assert content_of(from_settings(tdx_settings(machine)), TDX_EVIDENCE)[2] is None


@pytest.mark.parametrize(("version", "td15"), [(4, False), (5, True)])
def test_both_versions_of_quotes_can_be_asked_for(
    machine: Path,
    version: int,
    td15: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    made = from_settings(tdx_settings(machine, quote_version=version, td_attributes=1))
    parsed = dcap_qvl.parse_quote(content_of(made, TDX_EVIDENCE)[1])
    assert parsed.header.version == version
    assert hasattr(parsed.report, "mr_service_td") == td15
    assert parsed.report.td_attributes[0] == 1


def test_a_start_has_an_attestation_key_of_its_own_and_keeps_it(machine: Path) -> None:
    settings = tdx_settings(machine)
    one, two = from_settings(settings), from_settings(settings)

    def key(some: Attester) -> bytes:
        quote = content_of(some, TDX_EVIDENCE)[1]
        at = 48 + 6 + 648 + 4 + 64
        return quote[at : at + 64]

    assert key(one) == key(one)
    assert key(one) != key(two)


def test_nitro_evidence_is_a_document_over_the_digest(instance: Path) -> None:
    made = from_settings(nitro_settings(instance))
    assert made.kind == "nitro"
    content = content_of(made, NITRO_EVIDENCE)
    assert list(content) == [1]
    members = members_of(content[1])
    assert members["user_data"] == REPORT_DATA
    assert (members["nonce"], members["public_key"]) == (None, None)
    assert [members["pcrs"][index] for index in range(3)] == [value for _, value in PCRS]
    parent = nitro_fixtures.instance()
    assert members["pcrs"][4] == image.of_parent(parent.instance_id)[4]
    assert members["module_id"].startswith(f"{parent.instance_id}-enc")


def test_an_enclave_keeps_its_name_and_a_start_is_a_new_one(instance: Path) -> None:
    def name(some: Attester) -> str:
        return members_of(content_of(some, NITRO_EVIDENCE)[1])["module_id"]

    one, two = from_settings(nitro_settings(instance)), from_settings(nitro_settings(instance))
    assert name(one) == name(one)
    assert name(one) != name(two)


def test_a_leaf_is_renewed_before_it_ends(instance: Path) -> None:
    times = iter([NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2)])
    made = SoftwareNitro(instance, PCRS, stream("enclave"), lambda: next(times))
    documents = [members_of(content_of(made, NITRO_EVIDENCE)[1]) for _ in range(3)]
    first, second, third = (document["certificate"] for document in documents)
    assert first == second != third
    assert len({document["module_id"] for document in documents}) == 1
    assert len({document["timestamp"] for document in documents}) == 3


def members_of(document: bytes) -> dict:
    return cbor2.loads(cbor2.loads(document)[2])  # noqa: TID251 - a second reader


def never() -> datetime:
    raise AssertionError("nobody asks the time before the platform is there")


def test_a_missing_platform_is_said_before_and_at_collection(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    tdx = from_settings(tdx_settings(nowhere))
    assert isinstance(tdx, SoftwareTdx)
    nitro = SoftwareNitro(nowhere, PCRS, stream("nowhere"), lambda: NOW)
    for some in (tdx, nitro):
        found = some.probe()
        assert not found.available
        assert ".toml" in found.why
        with pytest.raises(AttesterUnavailable, match=r"\.toml"):
            some.collect(REPORT_DATA)


@pytest.mark.parametrize("size", [0, 32, 65])
def test_report_data_of_another_size_is_the_callers_mistake(
    machine: Path, instance: Path, size: int
) -> None:
    some = (
        from_settings(tdx_settings(machine)),
        SoftwareNitro(instance, PCRS, stream("size"), never),
    )
    for one in some:
        assert one.probe().available
        assert "never for production" in one.probe().why
        with pytest.raises(ValueError, match="64 bytes"):
            one.collect(bytes(size))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "sgx"}, "snp, tdx or nitro, not 'sgx'"),
        ({"kind": 1}, "snp, tdx or nitro, not 1"),
        ({"mr_td": "00" * 32}, "mr_td must be 96 lowercase hex digits"),
        ({"rtmr3": ""}, "rtmr3 must be given"),
        ({"quote_version": 3}, "quote_version is not"),
        ({"td_attributes": -1}, "td_attributes is not"),
        ({"event_log": "/nowhere/ccel"}, "cannot read /nowhere/ccel"),
        ({"measurement": "00" * 48}, "unknown settings: measurement"),
        ({"platform": ""}, "platform must be given"),
    ],
)
def test_tdx_settings_are_read_strictly(
    machine: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(AttesterUnavailable, match=message):
        from_settings(tdx_settings(machine, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pcr0": "AA" * 48}, "pcr0 must be 96 lowercase hex digits"),
        ({"pcr2": None}, "pcr2 must be given"),
        ({"pcr4": "00" * 48}, "unknown settings: pcr4"),
    ],
)
def test_nitro_settings_are_read_strictly(
    instance: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(AttesterUnavailable, match=message):
        from_settings(nitro_settings(instance, **change))
