"""The software attester behaves as a guest does: fixed at launch, new at every start."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import cbor2
import pytest
from fakes import snp_fixtures
from sealward_devkit.attester import from_settings
from sealward_devkit.attesters.snp import SoftwareAttester
from sealward_devkit.directories import save_platform
from sealward_devkit.guest import Guest

from sealward.enclave_agent.attesters.port import Attester, AttesterFactory, AttesterUnavailable
from sealward.verifier.rats.evidence import SNP_EVIDENCE, Record, decode

if TYPE_CHECKING:
    from pathlib import Path

REPORT_DATA = bytes(range(64))
GUEST = Guest(measurement=snp_fixtures.MEASUREMENT, host_data=b"\x0d" * 32)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A platform directory of the first chip."""
    save_platform(snp_fixtures.platform(), tmp_path / "chip")
    return tmp_path / "chip"


def settings(directory: Path, **changes: object) -> dict[str, object]:
    required: dict[str, object] = {
        "platform": str(directory),
        "measurement": snp_fixtures.MEASUREMENT.hex(),
        "host_data": "0d" * 32,
    }
    return required | changes


def attester(directory: Path, name: str = "guest") -> SoftwareAttester:
    return SoftwareAttester(directory, GUEST, snp_fixtures.stream(name))


def payload_of(some: Attester) -> tuple[bytes, list[bytes]]:
    record = decode(some.collect(REPORT_DATA).cmw)
    assert isinstance(record, Record)
    assert record.media_type == SNP_EVIDENCE
    content = cbor2.loads(record.value)  # noqa: TID251 - a second reader, not the one under test
    assert list(content) == [1, 2]
    assert cbor2.dumps(content, canonical=True) == record.value
    return content[1], content[2]


def test_evidence_is_the_report_and_its_chain_leaf_first(directory: Path) -> None:
    report, chain = payload_of(attester(directory))
    platform = snp_fixtures.platform()
    assert chain == [platform.vek, platform.intermediate, platform.root]
    assert report[0x50:0x90] == REPORT_DATA
    assert report[0x90:0xC0] == GUEST.measurement
    assert report[0xC0:0xE0] == GUEST.host_data
    assert report[0x1A0:0x1E0] == platform.chip_id


def test_a_start_is_a_new_instance_and_an_instance_keeps_its_identity(directory: Path) -> None:
    first, second = attester(directory, "one"), attester(directory, "two")

    def report_id(some: Attester) -> bytes:
        return payload_of(some)[0][0x140:0x160]

    assert report_id(first) == report_id(first)
    assert report_id(first) != report_id(second)


def test_the_platform_is_read_once_so_nothing_changes_under_a_running_guest(
    directory: Path,
) -> None:
    running = attester(directory)
    before = payload_of(running)[1]
    for path in directory.iterdir():
        path.unlink()
    assert payload_of(running)[1] == before


def test_a_missing_platform_is_said_before_and_at_collection(tmp_path: Path) -> None:
    nowhere = attester(tmp_path / "nowhere")
    assert not nowhere.probe().available
    assert "platform.toml" in nowhere.probe().why
    with pytest.raises(AttesterUnavailable, match=r"platform\.toml"):
        nowhere.collect(REPORT_DATA)


def test_an_available_attester_says_that_it_is_software(directory: Path) -> None:
    found = attester(directory).probe()
    assert found.available
    assert "never for production" in found.why


@pytest.mark.parametrize("size", [0, 63, 65])
def test_report_data_of_another_size_is_the_callers_mistake(directory: Path, size: int) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        attester(directory).collect(bytes(size))


def test_settings_reach_the_report(directory: Path) -> None:
    made = from_settings(settings(directory, policy=0x30000 | 1 << 19, report_version=3))
    report, _ = payload_of(made)
    assert report[0x00] == 3
    assert report[0x08:0x10].hex() == "00000b0000000000"
    assert report[0x90:0xC0] == snp_fixtures.MEASUREMENT
    assert report[0xC0:0xE0] == b"\x0d" * 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"platform": None}, "platform must be given"),
        ({"platform": ""}, "platform must be given"),
        ({"measurement": None}, "measurement must be given"),
        ({"measurement": "00" * 47}, "96 lowercase hex digits"),
        ({"measurement": "AB" * 48}, "96 lowercase hex digits"),
        ({"measurement": "zz" * 48}, "96 lowercase hex digits"),
        ({"host_data": 5}, "host_data must be given"),
        ({"host_data": "00 " * 32}, "64 lowercase hex digits"),
        ({"policy": "0x30000"}, "policy is not an integer"),
        ({"policy": -1}, "policy is not an integer"),
        ({"policy": 2**64}, "policy is not an integer"),
        ({"report_version": True}, "report_version is not an integer"),
        ({"report_version": 6}, "report_version is not an integer"),
        ({"vmlp": 1}, "unknown settings: vmlp"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    directory: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(AttesterUnavailable, match=message):
        from_settings(settings(directory, **change))


def test_the_entry_point_loads_a_factory_of_the_port(directory: Path) -> None:
    point = EntryPoint("software", "sealward_devkit.attester:from_settings", "sealward.attesters")
    factory: AttesterFactory = point.load()
    made: Attester = factory(settings(directory))
    assert made.kind == "snp"
    assert made.probe().available
