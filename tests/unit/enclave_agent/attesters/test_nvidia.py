"""GPU evidence through the real nvidia-ml-py, above a driver that this test plays."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pynvml
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from fakes import nvml
from fakes.nsm_device import FakeNsm
from fakes.nvml import FakeDriver
from hypothesis import given, settings
from hypothesis import strategies as st

from sealward.enclave_agent.attesters import nvidia_nvml, registry
from sealward.enclave_agent.attesters.nsm import NitroAttester
from sealward.enclave_agent.attesters.nvidia import NvidiaAttester
from sealward.enclave_agent.attesters.nvidia_nvml import MAX_GPUS, Gpus
from sealward.enclave_agent.attesters.port import AttesterUnavailable, Evidence
from sealward.verifier.formats.nvidia_gpu import evidence as gpu_evidence
from sealward.verifier.rats.evidence import (
    MAX_ENVELOPE_BYTES,
    NITRO_EVIDENCE,
    NVIDIA_EVIDENCE,
    Collection,
    Record,
    decode,
    encode,
)
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward.enclave_agent.attesters.port import Attester

BOUND = bytes(range(64))
NOW = nvml.NOW


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    made = FakeDriver()
    nvml.install(monkeypatch, made)
    return made


def machine() -> Attester:
    return NitroAttester(FakeNsm())


def attester(
    cpu: Callable[[], Attester] = machine, pauses: list[float] | None = None
) -> NvidiaAttester:
    slept = [] if pauses is None else pauses
    return NvidiaAttester(Gpus(nvidia_nvml.installed, sleep=slept.append), cpu)


def collected() -> dict[str, Record]:
    found = decode(attester().collect(BOUND).cmw)
    assert isinstance(found, Collection)
    entries = {label: entry for label, entry in found.entries if isinstance(entry, Record)}
    assert len(entries) == len(found.entries)
    return entries


def payload(record: Record) -> dict[Any, Any]:
    assert record.media_type == NVIDIA_EVIDENCE
    found = cbor.decode(record.value, what="evidence", max_bytes=1 << 16)
    assert isinstance(found, dict)
    assert found.keys() == {1, 2}
    return found


def refusal() -> str:
    with pytest.raises(AttesterUnavailable) as caught:
        attester().collect(BOUND)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("count", [1, 2, MAX_GPUS])
def test_each_gpu_signs_the_bindings_first_half_beside_the_machines_evidence(
    driver: FakeDriver, count: int
) -> None:
    driver.gpus = count
    entries = collected()
    assert list(entries) == ["cpu", *(f"gpu-{index}" for index in range(count))]
    assert entries["cpu"].media_type == NITRO_EVIDENCE
    for index in range(count):
        found = payload(entries[f"gpu-{index}"])
        report, chain = found[1], found[2]
        assert report[4:36] == BOUND[:32]
        leaf = x509.load_pem_x509_certificates(chain)[0]
        assert leaf.subject.rfc4514_string() == f"CN=GPU {index}"
        signed, signature = report[: -nvml.SIGNATURE_SIZE], report[-nvml.SIGNATURE_SIZE :]
        r, s = (int.from_bytes(part, "big") for part in (signature[:48], signature[48:]))
        key = leaf.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))
    assert driver.asked == [BOUND[:32]] * count
    assert driver.sessions == 0


def test_a_machine_with_gpus_and_evidence_of_its_own_can_be_used(driver: FakeDriver) -> None:
    driver.gpus = 2
    found = attester().probe()
    assert found.available
    assert found.why == "2 GPU(s) answer, beside evidence of 'nitro'."
    assert driver.asked == []
    assert driver.sessions == 0


def test_protected_pcie_counts_as_confidential_computing(driver: FakeDriver) -> None:
    driver.cc, driver.protected_pcie = False, True
    assert attester().probe().available
    assert len(collected()) == 2


@pytest.mark.parametrize("protected", [False, None])
def test_gpus_without_the_mode_are_told_where_it_is_switched_on(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, *, protected: bool | None
) -> None:
    driver.cc, driver.protected_pcie = False, protected
    nvml.install(monkeypatch, driver)
    assert "gpu-admin-tools" in attester().probe().why
    assert "not in confidential-computing mode" in refusal()


@pytest.mark.parametrize(
    ("function", "status", "told"),
    [
        ("nvmlInitWithFlags", 4, "may not ask the driver"),
        ("nvmlInitWithFlags", 9, "modprobe nvidia"),
        ("nvmlInitWithFlags", 18, "restart the VM"),
        ("nvmlInitWithFlags", 999, "status 999"),
        ("nvmlDeviceGetCount_v2", 1, "status 1 "),
        ("nvmlSystemGetConfComputeState", 3, "Hopper"),
        ("nvmlSystemGetConfComputeState", 13, "too old"),
    ],
)
def test_every_refusal_of_the_driver_is_a_sentence(
    driver: FakeDriver, function: str, status: int, told: str
) -> None:
    driver.fails[function] = status
    found = attester().probe()
    assert not found.available
    assert found.why.startswith("No NVIDIA evidence: ")
    assert told in found.why
    assert refusal() == found.why
    assert driver.sessions == 0


@pytest.mark.parametrize(
    ("function", "status", "told"),
    [
        ("nvmlDeviceGetHandleByIndex_v2", 15, "fell off its bus"),
        ("nvmlDeviceGetConfComputeGpuAttestationReport", 4, "may not ask"),
        ("nvmlDeviceGetConfComputeGpuAttestationReport", 3, "does not have confidential"),
        ("nvmlDeviceGetConfComputeGpuCertificate", 16, "needs a reset"),
    ],
)
def test_a_gpu_that_gives_nothing_is_a_sentence(
    driver: FakeDriver, function: str, status: int, told: str
) -> None:
    driver.fails[function] = status
    assert attester().probe().available
    assert told in refusal()
    assert driver.sessions == 0


def test_a_machine_without_gpus_or_with_too_many_says_so(driver: FakeDriver) -> None:
    for count, told in ((0, "has no NVIDIA GPU"), (MAX_GPUS + 1, "9 GPUs, and 8 are the most")):
        driver.gpus = count
        assert told in attester().probe().why
        assert told in refusal()


def test_a_busy_gpu_is_asked_again_and_then_given_up(driver: FakeDriver) -> None:
    pauses: list[float] = []
    driver.busy = [27, 19, 10]
    assert attester(pauses=pauses).collect(BOUND).cmw
    assert pauses == [0.5, 1.0, 2.0]
    driver.busy = [27] * 99
    assert "not ready" in refusal()
    assert len(driver.busy) == 95


@pytest.mark.parametrize(
    ("trait", "told"),
    [
        ({"size": 0}, "report: empty"),
        ({"size": 0x2001}, "report: need 8193 bytes, 8192 are left"),
        ({"size": 0xFFFFFFFF}, "report: need"),
        ({"size": 20}, "GPU 0 answered another request"),
        ({"chain_size": 0}, "certificates: empty"),
        ({"chain_size": 0x1401}, "certificates: need 5121 bytes, 5120 are left"),
        ({"change": lambda report: report[:4] + bytes(32) + report[36:]}, "another request"),
    ],
)
def test_sizes_and_nonces_of_the_driver_are_not_believed(
    driver: FakeDriver, trait: dict[str, Any], told: str
) -> None:
    for name, value in trait.items():
        setattr(driver, name, value)
    assert told in refusal()


SIZES = st.one_of(st.integers(0, 0x2100), st.integers(0, 0xFFFFFFFF))


@settings(deadline=None)
@given(SIZES, SIZES)
def test_any_sizes_at_all_give_evidence_or_a_sentence(size: int, chain_size: int) -> None:
    possible = 36 <= size <= 0x2000 and 1 <= chain_size <= 0x1400
    with pytest.MonkeyPatch.context() as monkeypatch:
        nvml.install(monkeypatch, FakeDriver(size=size, chain_size=chain_size))
        if possible:
            found = payload(collected()["gpu-0"])
            assert (len(found[1]), len(found[2])) == (size, chain_size)
        else:
            assert refusal()


def test_what_real_gpus_signed_is_sent_as_it_is(driver: FakeDriver, vectors_dir: Path) -> None:
    found = sorted(vectors_dir.glob("nvidia/*.spdm.bin"))
    assert found
    for path in found:
        report = path.read_bytes()
        chain = path.with_name(path.name.replace(".spdm.bin", ".chain.pem")).read_bytes()
        assert len(chain) <= 0x1400
        driver.change = lambda _, report=report: report
        bound = report[4:36].ljust(64, b"\0")
        collection = decode(attester().collect(bound).cmw)
        assert isinstance(collection, Collection)
        entry = dict(collection.entries)["gpu-0"]
        assert isinstance(entry, Record)
        assert payload(entry)[1] == report


def nothing() -> Attester:
    raise AttesterUnavailable("This machine has no TEE that can be used.")


def unusable() -> Attester:
    return NitroAttester(FakeNsm(open_fails=errno.ENOENT))


@pytest.mark.parametrize(
    ("cpu", "told"), [(nothing, "any other attester"), (unusable, "attester 'nitro'")]
)
def test_gpus_are_worth_nothing_without_the_machine_around_them(
    driver: FakeDriver, cpu: Callable[[], Attester], told: str
) -> None:
    found = attester(cpu).probe()
    assert not found.available
    assert told in found.why
    assert found.why.endswith(".")
    assert found.why.count(". ") == 0
    with pytest.raises(AttesterUnavailable):
        attester(cpu).collect(BOUND)
    assert driver.sessions == 0


def test_the_machines_attester_is_made_when_it_can_be_and_then_kept(driver: FakeDriver) -> None:
    made: list[Attester] = []

    def second_time_lucky() -> Attester:
        made.append(machine())
        if len(made) == 1:
            raise AttesterUnavailable("Not yet.")
        return made[-1]

    both = attester(second_time_lucky)
    assert not both.probe().available
    assert both.probe().available
    both.collect(BOUND)
    assert len(made) == 2
    assert driver.sessions == 0


class Locking:
    """An attester whose evidence comes with what opens the answer to it."""

    kind = "locking"
    lock = object()

    def collect(self, report_data: bytes) -> Evidence:
        return Evidence(encode(Record("application/locking", report_data)), self.lock)


def test_what_opens_the_answer_to_the_machines_evidence_is_handed_on(driver: FakeDriver) -> None:
    assert attester(Locking).collect(BOUND).lock is Locking.lock
    assert driver.asked == [BOUND[:32]]


class Large:
    """An attester whose evidence leaves no room."""

    kind = "large"

    def collect(self, report_data: bytes) -> Evidence:
        assert len(report_data) == 64
        return Evidence(encode(Record("application/large", bytes(MAX_ENVELOPE_BYTES - 2048))))


def test_evidence_beyond_one_envelope_is_told(driver: FakeDriver) -> None:
    del driver
    with pytest.raises(AttesterUnavailable, match="are the most that is sent"):
        attester(Large).collect(BOUND)


def test_the_largest_evidence_of_eight_gpus_leaves_room_for_the_machine(driver: FakeDriver) -> None:
    driver.gpus, driver.size, driver.chain_size = MAX_GPUS, 0x2000, 0x1400
    cmw = attester().collect(BOUND).cmw
    assert MAX_GPUS * (0x2000 + 0x1400) < len(cmw) < MAX_ENVELOPE_BYTES // 2


def test_what_it_sends_of_a_gpu_is_what_the_verifier_reads(driver: FakeDriver) -> None:
    del driver
    found = decode(attester().collect(BOUND).cmw)
    assert isinstance(found, Collection)
    gpus = [entry for label, entry in found.entries if label.startswith("gpu-")]
    assert gpus
    for entry in gpus:
        assert isinstance(entry, Record)
        assert gpu_evidence.parse(entry.value).certificates


def test_an_agent_without_the_library_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, nvidia_nvml.MODULE, None)
    found = attester().probe()
    assert not found.available
    assert "pip install nvidia-ml-py" in found.why
    assert refusal() == found.why


def test_a_library_that_is_too_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType(nvidia_nvml.MODULE)
    old.nvmlInit = old.nvmlShutdown = print
    old.NVMLError = pynvml.NVMLError
    monkeypatch.setitem(sys.modules, nvidia_nvml.MODULE, old)
    assert "has no nvmlDeviceGetCount" in attester().probe().why


def test_a_machine_without_the_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> object:
        raise OSError(errno.ENOENT, f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", not_found)
    found = attester().probe()
    assert "no libnvidia-ml.so.1" in found.why
    assert refusal() == found.why


@pytest.mark.parametrize("settings", [{"cpu": "nvidia"}, {"cpu": 1}, {"cpu": "snp", "gpus": 2}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(AttesterUnavailable, match=r"^\[attester\]"):
        registry.load("nvidia", settings)


def test_the_machines_attester_is_named_by_a_setting() -> None:
    with pytest.raises(AttesterUnavailable, match="'quantum' is not installed"):
        registry.load("nvidia", {"cpu": "quantum"}).collect(BOUND)


def test_only_64_bytes_can_be_bound(driver: FakeDriver) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        attester().collect(BOUND[1:])
    assert driver.asked == []
