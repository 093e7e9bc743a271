"""Evidence from the fake kernel interfaces, as the control plane's own verifier takes it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from fakes import configfs_tsm as fake
from fakes import snp_fixtures, snp_vectors
from fakes.configfs_tsm import FakeConfigfsTsm
from fakes.nsm_device import FakeNsm
from fakes.sev_guest_device import FakeSevGuest
from sealward_devkit.guest import Guest, report_of_guest
from sealward_devkit.platform import Platform
from sealward_devkit.snp import ghcb

from sealward.controlplane.adapters.evidence_verifier import LibraryVerifier
from sealward.enclave_agent.attesters import auto, nsm, nvidia, registry, snp, tdx
from sealward.enclave_agent.attesters.azure_vtpm import attester as azure
from sealward.enclave_agent.attesters.configfs_tsm import (
    SEV_GUEST,
    TDX_GUEST,
    ConfigfsTsm,
    Provider,
)
from sealward.enclave_agent.attesters.nsm import NitroAttester
from sealward.enclave_agent.attesters.port import Attester, AttesterUnavailable, Availability
from sealward.enclave_agent.attesters.sev_guest import SevGuest
from sealward.enclave_agent.attesters.snp import SnpAttester
from sealward.enclave_agent.attesters.tdx import MAX_EVENT_LOG, TdxAttester
from sealward.enclave_agent.attesters.tpm import attester as tpm
from sealward.verifier.formats.dcap import evidence as dcap_evidence
from sealward.verifier.formats.nitro import evidence as nitro_evidence
from sealward.verifier.formats.snp import report as snp_report
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats.binding import AgentStatement, Audience, Binding, Purpose
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import TDX_EVIDENCE, Record, decode
from sealward.verifier.wire import cbor

CHIP = snp_fixtures.platform()
PROVIDER = snp_fixtures.provider_platform()
HOST_DATA = bytes(range(32))
BOUND = bytes(range(64))
BINDING = Binding(
    purpose=Purpose.ENROLL,
    nonce=bytes(range(32)),
    audience=Audience(trust_domain="example.org", pin=bytes(32)),
    tenant="acme",
    tls_spki=b"tls",
    hpke_suite=0x0020,
    hpke_public=bytes(range(32)),
    signing_public=bytes(32),
    statement=AgentStatement(agent_version="1.0", clock_source="tsc"),
)


class Firmware:
    """What signs on this chip for one guest."""

    def __init__(self, chip: Platform = CHIP) -> None:
        self.chip = chip
        self.guest = Guest(measurement=snp_fixtures.MEASUREMENT, host_data=HOST_DATA)

    def report(self, user_data: bytes) -> bytes:
        return report_of_guest(self.chip, self.guest, bytes(range(32)), user_data)

    def table(self) -> bytes:
        leaf = ghcb.VLEK if self.chip is PROVIDER else ghcb.VCEK
        return ghcb.mint_certificate_table(
            (ghcb.ARK, self.chip.root), (ghcb.ASK, self.chip.intermediate), (leaf, self.chip.vek)
        )

    def of_kernel(self, request: fake.Request) -> tuple[bytes, bytes]:
        return self.report(request.inblob), self.table()


def tsm(tree: FakeConfigfsTsm, provider: Provider = SEV_GUEST) -> ConfigfsTsm:
    names = snp_fixtures.stream("names")
    return ConfigfsTsm(provider, tree, random_bytes=names, sleep=lambda _: None)


def snp_attester(tree: FakeConfigfsTsm | None, device: FakeSevGuest | None) -> SnpAttester:
    tree = FakeConfigfsTsm(None, made_fails=errno.ENOENT) if tree is None else tree
    none = FakeSevGuest(Firmware().report, open_fails=errno.ENOENT)
    return SnpAttester(tsm(tree), SevGuest(device or none, sleep=lambda _: None))


def over_configfs(chip: Platform = CHIP) -> SnpAttester:
    return snp_attester(FakeConfigfsTsm(fake.sev_guest(Firmware(chip).of_kernel)), None)


def over_device(chip: Platform = CHIP, *, table: bool = True) -> SnpAttester:
    firmware = Firmware(chip)
    device = FakeSevGuest(firmware.report, table=firmware.table() if table else b"")
    return snp_attester(None, device)


def verifier(*certificates: bytes) -> LibraryVerifier:
    root = import_root(CHIP.root, now=snp_fixtures.NOW)
    return LibraryVerifier(TrustAnchors(development_roots=(root,)), certificates)


@pytest.mark.parametrize("make", [over_configfs, over_device])
@pytest.mark.parametrize("chip", [CHIP, PROVIDER])
def test_snp_evidence_verifies_and_carries_the_binding(
    make: Callable[[Platform], SnpAttester], chip: Platform
) -> None:
    encoded = BINDING.encode()
    evidence = make(chip).collect(bindings.digest(encoded))
    authenticated = verifier().verify(evidence.cmw, snp_fixtures.NOW)
    bindings.require_bound(encoded, authenticated.bound)
    assert authenticated.claims.report_data == bindings.digest(encoded).hex()
    with pytest.raises(RefusedEvidence) as caught:
        bindings.require_bound(replace(BINDING, nonce=bytes(32)).encode(), authenticated.bound)
    assert caught.value.code is Code.BINDING_MISMATCH


def test_real_reports_with_their_tables_verify_as_collected(vectors_dir: Path) -> None:
    """Bytes of real firmware and hosts, played back by the kernel interface."""
    played = 0
    for vector in snp_vectors.load(vectors_dir):
        if vector.auxblob is None or not vector.verifies:
            continue
        report_data = snp_report.parse(vector.report).report_data
        tree = FakeConfigfsTsm(fake.sev_guest(lambda _, v=vector: (v.report, v.auxblob or b"")))
        evidence = snp_attester(tree, None).collect(report_data)
        authenticated = LibraryVerifier(TrustAnchors()).verify(evidence.cmw, vector.verify_at)
        assert authenticated.bound == report_data
        assert not authenticated.claims.development
        played += 1
    assert played


def test_a_host_without_certificates_leaves_them_to_the_verifier() -> None:
    """The evidence is made all the same, and the verifier says what is missing and where from."""
    evidence = over_device(table=False).collect(BOUND)
    with pytest.raises(RefusedEvidence) as caught:
        verifier(CHIP.intermediate, CHIP.root).verify(evidence.cmw, snp_fixtures.NOW)
    assert caught.value.code is Code.ENDORSEMENT_MISSING
    complete = verifier(CHIP.vek, CHIP.intermediate, CHIP.root)
    assert complete.verify(evidence.cmw, snp_fixtures.NOW).bound == BOUND


def test_configfs_comes_first_and_the_device_where_it_cannot_be_used() -> None:
    firmware = Firmware()
    device = FakeSevGuest(firmware.report, table=firmware.table())
    tree = FakeConfigfsTsm(fake.sev_guest(firmware.of_kernel))
    both = snp_attester(tree, device)
    assert both.probe() == Availability(available=True, why="Reports come from configfs-tsm.")
    both.collect(BOUND)
    assert (tree.made, device.asked) == (1, 0)
    tree.writing_fails = errno.EACCES  # an unprivileged agent
    assert both.probe() == Availability(available=True, why="Reports come from /dev/sev-guest.")
    both.collect(BOUND)
    assert (tree.made, device.asked) == (1, 1)


def test_a_machine_with_neither_says_both_in_one_sentence() -> None:
    attester = snp_attester(None, None)
    found = attester.probe()
    assert not found.available
    assert "CONFIG_TSM_REPORTS" in found.why
    assert "/dev/sev-guest" in found.why
    assert found.why.count(". ") == 0
    with pytest.raises(AttesterUnavailable, match="CONFIG_TSM_REPORTS"):
        attester.collect(BOUND)


def test_a_report_of_another_size_is_not_sent() -> None:
    def short(request: fake.Request) -> tuple[bytes, bytes]:
        return request.inblob + b"short", b""

    attester = snp_attester(FakeConfigfsTsm(fake.sev_guest(short)), None)
    with pytest.raises(AttesterUnavailable, match="has 69 bytes"):
        attester.collect(BOUND)


def quote(request: fake.Request) -> tuple[bytes, bytes]:
    return b"a quote over " + request.inblob + bytes(100), b""


def tdx_attester(log: Path) -> TdxAttester:
    return TdxAttester(tsm(FakeConfigfsTsm(fake.tdx_guest(quote)), TDX_GUEST), log)


def test_tdx_evidence_is_the_quote_and_the_event_log(tmp_path: Path) -> None:
    log = tmp_path / "CCEL"
    for content in (None, b"events", bytes(MAX_EVENT_LOG)):
        if content is not None:
            log.write_bytes(content)
        attester = tdx_attester(log)
        assert attester.probe().available
        record = decode(attester.collect(BOUND).cmw)
        assert isinstance(record, Record)
        assert record.media_type == TDX_EVIDENCE
        payload = cbor.decode(record.value, what="evidence", max_bytes=1 << 18)
        assert payload == {1: quote(fake.Request(BOUND))[0], 2: content}
    log.write_bytes(bytes(MAX_EVENT_LOG + 1))
    with pytest.raises(AttesterUnavailable, match="longer than"):
        tdx_attester(log).collect(BOUND)


def test_what_the_tdx_and_nitro_attesters_send_is_what_the_verifier_reads(tmp_path: Path) -> None:
    td = decode(tdx_attester(tmp_path / "none").collect(BOUND).cmw)
    nitro = decode(NitroAttester(FakeNsm()).collect(BOUND).cmw)
    assert isinstance(td, Record)
    assert isinstance(nitro, Record)
    assert dcap_evidence.parse_tdx(td.value).event_log is None
    assert nitro_evidence.parse(nitro.value)


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_only_64_bytes_can_be_bound(size: int, tmp_path: Path) -> None:
    for attester in (over_configfs(), tdx_attester(tmp_path)):
        with pytest.raises(ValueError, match="64 bytes"):
            attester.collect(bytes(size))


def test_auto_takes_the_first_that_can_be_used() -> None:
    nitro: Attester = NitroAttester(FakeNsm())
    without: Attester = snp_attester(None, None)
    assert auto.first_available([without, nitro, over_device()]) is nitro
    with pytest.raises(AttesterUnavailable, match=r"no TEE.*No SEV-SNP report"):
        auto.first_available([without])


def test_every_attester_of_this_distribution_is_an_entry_point() -> None:
    points = {
        point.name: point.load()
        for point in entry_points(group="sealward.attesters")
        if point.value.startswith("sealward.")
    }
    assert points == {
        "snp": snp.from_settings,
        "tdx": tdx.from_settings,
        "nitro": nsm.from_settings,
        "azure": azure.from_settings,
        "nvidia": nvidia.from_settings,
        "tpm": tpm.from_settings,
        "auto": auto.from_settings,
    }
    assert set(points) <= set(registry.installed())


@pytest.mark.parametrize("name", ["snp", "tdx", "nitro", "azure", "nvidia", "tpm"])
def test_this_machine_is_probed_in_one_sentence(name: str) -> None:
    attester = registry.load(name, {})
    found = attester.probe()
    assert attester.kind == name
    assert found.why.endswith(".")
    assert len(found.why.splitlines()) == 1


def test_auto_on_this_machine_is_one_of_its_order_or_refused() -> None:
    try:
        chosen = registry.load("auto", {}).kind
    except AttesterUnavailable:
        usable = [name for name in auto.ORDER if registry.load(name, {}).probe().available]
        assert usable == []
    else:
        assert chosen in auto.ORDER


@pytest.mark.parametrize("name", ["snp", "tdx", "nitro", "azure", "nvidia", "tpm", "auto"])
def test_a_misspelt_setting_is_not_a_default(name: str) -> None:
    with pytest.raises(AttesterUnavailable, match="unknown settings: 'privlevl'"):
        registry.load(name, {"privlevl": 1})
