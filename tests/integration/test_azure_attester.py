"""Azure's evidence from a real swtpm behind a paravisor, judged piece by piece by the verifier."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from fakes import azure_vtpm as fake
from fakes import snp_fixtures, swtpm
from fakes.azure_vtpm import SNP, TDX, Clock, Paravisor
from fakes.azure_vtpm_metadata import FakeMetadata, chip_certificates, mint_quote, serving

from sealward.controlplane.adapters.evidence_verifier import LibraryVerifier
from sealward.enclave_agent.attesters.azure_vtpm import hcl
from sealward.enclave_agent.attesters.azure_vtpm.attester import AzureAttester
from sealward.enclave_agent.attesters.azure_vtpm.metadata import MAX_QUOTE, MetadataService
from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.enclave_agent.attesters.tpm import event_log
from sealward.enclave_agent.attesters.tpm.codec import HashAlg as AgentHash
from sealward.enclave_agent.attesters.tpm.codec import PcrSelection
from sealward.enclave_agent.attesters.tpm.transport import Socket
from sealward.verifier import registry
from sealward.verifier.formats.tpm import keys as key_rules
from sealward.verifier.formats.tpm import pcr, public
from sealward.verifier.formats.tpm import quote as quotes
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats import binding
from sealward.verifier.rats.claims import KeyResidency, Tee
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import AZURE_EVIDENCE, SNP_EVIDENCE, Record, decode, encode
from sealward.verifier.wire import cbor, pem
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.swtpm import Swtpm

pytestmark = pytest.mark.integration

BOUND = hashlib.sha512(b"a binding").digest()
OTHER = hashlib.sha512(b"another binding").digest()
PCRS = (*range(10), *range(11, 15), 23)
NO_LOG = Path("/nonexistent/log")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Swtpm, rsa.RSAPublicKey]]:
    with swtpm.fresh(tmp_path_factory.mktemp("azure")) as running:
        yield running, fake.provision(running)


@pytest.fixture(scope="module")
def metadata() -> Iterator[FakeMetadata]:
    with serving(FakeMetadata()) as service:
        yield service


@dataclass
class Vm:
    """One VM on the machine: its paravisor as described, its clock, its service."""

    machine: Swtpm
    key: rsa.RSAPublicKey
    metadata: FakeMetadata
    traits: dict[str, object] = field(default_factory=dict)
    log: Path = NO_LOG
    clock: Clock = field(default_factory=Clock)
    paravisor: Paravisor | None = None

    @contextmanager
    def connect(self) -> Iterator[Paravisor]:
        with Socket("127.0.0.1", self.machine.port) as socket:
            if self.paravisor is None:
                self.paravisor = Paravisor(socket, self.key, self.clock, **self.traits)
            self.paravisor.inner = socket
            yield self.paravisor

    def attester(self, connection: object = None) -> AzureAttester:
        service = MetadataService(connection or self.metadata.connect, sleep=self.clock.sleep)
        return AzureAttester(
            self.connect,
            service,
            selections=(PcrSelection(AgentHash.SHA256, PCRS), PcrSelection(AgentHash.SHA384, (0,))),
            log=self.log,
            random_bytes=os.urandom,
            sleep=self.clock.sleep,
        )

    def collect(self, bound: bytes = BOUND) -> dict[Any, Any]:
        record = decode(self.attester().collect(bound).cmw)
        assert isinstance(record, Record)
        assert record.media_type == AZURE_EVIDENCE
        payload = cbor.decode(record.value, what="evidence", max_bytes=1 << 18)
        assert isinstance(payload, dict)
        assert payload.keys() == set(range(1, 10))
        return payload

    def refusal(self) -> str:
        with pytest.raises(AttesterUnavailable) as caught:
            self.attester().collect(BOUND)
        message = str(caught.value)
        assert message.endswith(".")
        assert "\n" not in message
        return message


@pytest.fixture
def vm(machine: tuple[Swtpm, rsa.RSAPublicKey], metadata: FakeMetadata) -> Vm:
    return Vm(*machine, metadata)


def verified_quote(payload: dict[Any, Any]) -> quotes.VerifiedQuote:
    banks = tuple(
        pcr.PcrBank(HashAlg(bank), tuple((i, value) for i, value in values))
        for bank, values in payload[5]
    )
    key = public.parse(payload[4])
    assert key_rules.check_attestation_key(key)
    return quotes.authenticate(payload[2], payload[3], ak=key, pcrs=banks)


def test_the_whole_chain_from_chip_to_quote_holds_for_sev_snp(vm: Vm) -> None:
    payload = vm.collect()
    report = hcl.parse(payload[1])
    chip = snp_fixtures.platform()
    chain = pem.decode(payload[9], what="certificates", max_bytes=1 << 16)
    assert tuple(chain) == (chip.vek, chip.intermediate, chip.root)
    snp = encode(Record(SNP_EVIDENCE, cbor.encode({1: report.hardware, 2: list(chain)})))
    root = import_root(chip.root, now=snp_fixtures.NOW)
    hardware = LibraryVerifier(TrustAnchors(development_roots=(root,)), ()).verify(
        snp, snp_fixtures.NOW
    )
    assert hardware.bound == hashlib.sha256(report.claims).digest() + bytes(32)
    claims = json.loads(report.claims)  # noqa: TID251 - a reader other than the agent's
    assert bytes.fromhex(claims["user-data"]) == BOUND
    assert key_rules.load(public.parse(payload[4]), owner="AK") == vm.key
    quote = verified_quote(payload)
    assert quote.nonce == BOUND[:32]
    assert [[index for index, _ in bank.values] for bank in quote.pcrs] == [[*PCRS], [0]]
    certificate = x509.load_der_x509_certificate(payload[7])
    assert certificate.public_key() == vm.key
    assert payload[6] is None
    assert payload[8] is None


@pytest.mark.parametrize("user_data", [True, False])
def test_the_verifier_takes_what_the_attester_sends(vm: Vm, *, user_data: bool) -> None:
    vm.traits["user_data"] = user_data
    sent = vm.attester().collect(BOUND).cmw
    root = import_root(snp_fixtures.platform().root, now=snp_fixtures.NOW)
    anchors = TrustAnchors(development_roots=(root,))
    context = registry.Context(anchors, snp_fixtures.NOW, ChainCache())
    claims = registry.authenticate(sent, context).claims
    assert claims.tee is Tee.AZURE_SNP
    assert claims.report_data == (BOUND if user_data else BOUND[:32]).hex()
    binding.require_bound(b"a binding", bytes.fromhex(claims.report_data))
    with pytest.raises(RefusedEvidence) as caught:
        binding.require_bound(b"another binding", bytes.fromhex(claims.report_data))
    assert caught.value.code is Code.BINDING_MISMATCH
    assert claims.tpm is not None
    assert claims.tpm.residency is KeyResidency.MEASURED
    assert {item.name for item in claims.measurements} == {"launch", *(f"pcr{n}" for n in PCRS)}


@pytest.mark.parametrize("padded", [True, False])
def test_for_tdx_the_host_turns_the_report_into_a_quote(vm: Vm, *, padded: bool) -> None:
    vm.traits["tee"] = TDX
    vm.metadata.padded = padded
    payload = vm.collect()
    report = hcl.parse(payload[1])
    assert payload[8] == mint_quote(report.hardware)
    assert report.bound == hashlib.sha256(report.claims).digest() + bytes(32)
    assert report.carries(BOUND)
    assert payload[9] is None
    assert verified_quote(payload).nonce == BOUND[:32]
    method, path, headers = vm.metadata.requests[-1]
    assert (method, path) == ("POST", "/acc/tdquote")
    assert headers["Metadata"] == "true"


def test_no_evidence_is_the_evidence_of_an_earlier_binding(vm: Vm) -> None:
    first, second = vm.collect(), vm.collect(OTHER)
    assert hcl.parse(first[1]).carries(BOUND)
    assert hcl.parse(second[1]).carries(OTHER)
    assert not hcl.parse(second[1]).carries(BOUND)
    assert verified_quote(second).nonce == OTHER[:32]


def test_the_paravisors_limit_is_waited_for(vm: Vm) -> None:
    vm.collect()
    before = vm.clock.now
    vm.collect(OTHER)
    assert fake.RATE_LIMIT_S < vm.clock.now - before < 4
    assert vm.paravisor.renewed == 2


@pytest.mark.parametrize("trait", [{"lag": 3.0}, {"fails": 2}, {"torn": 1}, {"rivals": 2}], ids=str)
def test_a_report_that_comes_late_or_torn_is_read_again(vm: Vm, trait: dict[str, object]) -> None:
    vm.traits |= trait
    report = hcl.parse(vm.collect()[1])
    assert report.whole
    assert report.carries(BOUND)
    assert vm.clock.now < 1000 + 10


def test_a_paravisor_without_user_data_leaves_freshness_to_the_quote(vm: Vm) -> None:
    vm.traits["user_data"] = False
    payload = vm.collect()
    assert not hcl.parse(payload[1]).takes_user_data()
    assert verified_quote(payload).nonce == BOUND[:32]


@pytest.mark.parametrize(
    ("trait", "told"),
    [
        ({"fails": 99}, "in 4 attempts"),
        ({"rivals": 99}, "another process writes NV index 0x01400002"),
        ({"size": None}, "security type ConfidentialVM"),
        ({"size": 64}, "security type ConfidentialVM"),
        ({"size": 60_000}, "at most 4096 are read"),
        ({"content": b""}, "has written no hardware report"),
        ({"change": lambda content: b"HCLB" + content[4:]}, "no 'HCLA'"),
        ({"change": lambda content: content[:0x4C8] + b"\x03" + content[0x4C9:]}, "report type 3"),
        ({"change": lambda content: content[:0x4CC] + b"\x09" + content[0x4CD:]}, "hash type 9"),
        ({"change": lambda content: content[:0x4D2] + b"\xff" + content[0x4D3:]}, "claims: need"),
        ({"change": lambda content: content[:1000]}, "outside the NV index"),
        ({"change": lambda content: content[:0x70] + bytes(64) + content[0xB0:]}, "gave no"),
    ],
)
def test_what_is_wrong_with_a_report_is_said(vm: Vm, trait: dict[str, object], told: str) -> None:
    vm.traits |= trait
    message = vm.refusal()
    assert message.startswith("No Azure evidence: ")
    assert told in message


@pytest.mark.parametrize(("tee", "name"), [(SNP, "SEV-SNP"), (TDX, "TDX")])
def test_a_probe_tells_the_hardware_and_makes_no_report(
    vm: Vm, tmp_path: Path, tee: int, name: str
) -> None:
    vm.traits["tee"] = tee
    found = vm.attester().probe()
    assert found.available
    told = f"Quotes and {name} reports come from Azure's vTPM, with no event log: there is no "
    assert found.why.startswith(told)
    vm.log = tmp_path / "log"
    vm.log.write_bytes(b"events")
    found = vm.attester().probe()
    assert (
        found.why
        == f"Quotes and {name} reports come from Azure's vTPM, with the firmware's event log."
    )
    assert vm.paravisor.renewed == 0


@pytest.mark.parametrize("trait", [{"size": None}, {"content": b""}])
def test_a_probe_says_what_a_collection_would(vm: Vm, trait: dict[str, object]) -> None:
    vm.traits |= trait
    found = vm.attester().probe()
    assert not found.available
    assert found.why == vm.refusal()


def unreachable() -> HTTPConnection:
    return HTTPConnection("127.0.0.1", 1, timeout=1)


def test_a_tdx_vm_without_its_metadata_service_has_no_evidence(vm: Vm) -> None:
    vm.traits["tee"] = TDX
    attester = vm.attester(unreachable)
    found = attester.probe()
    assert not found.available
    assert "metadata service at 169.254.169.254" in found.why
    with pytest.raises(AttesterUnavailable, match=r"No TD quote: .*firewall"):
        attester.collect(BOUND)


def test_a_quote_of_another_td_report_is_not_sent(vm: Vm) -> None:
    vm.traits["tee"] = TDX
    vm.metadata.quoted = bytes(1024)
    try:
        assert "quoted another TD report" in vm.refusal()
    finally:
        vm.metadata.quoted = None


def test_an_snp_vm_without_the_service_leaves_certificates_to_the_verifier(vm: Vm) -> None:
    attester = vm.attester(unreachable)
    assert attester.probe().available
    record = decode(attester.collect(BOUND).cmw)
    payload = cbor.decode(record.value, what="evidence", max_bytes=1 << 18)
    assert payload[9] is None
    leaf, _ = chip_certificates()
    assert vm.collect()[9].decode().startswith(leaf)


def test_the_event_log_goes_along_up_to_its_budget(vm: Vm, tmp_path: Path) -> None:
    vm.log = tmp_path / "log"
    for content, sent in (
        (b"", None),
        (b"events", b"events"),
        *[(bytes(event_log.MAX_BYTES),) * 2],
    ):
        vm.log.write_bytes(content)
        assert vm.collect()[6] == sent
    vm.log.write_bytes(bytes(event_log.MAX_BYTES + 1))
    assert "longer than the 196608 bytes" in vm.refusal()
    assert vm.attester().probe().why == vm.refusal()


def test_all_parts_at_their_largest_fit_into_one_envelope(vm: Vm, tmp_path: Path) -> None:
    vm.log = tmp_path / "log"
    vm.log.write_bytes(bytes(event_log.MAX_BYTES))
    vm.traits |= {"size": hcl.MAX_REPORT, "tee": TDX}
    vm.metadata.quote_size = MAX_QUOTE
    try:
        assert len(vm.collect()[8]) == MAX_QUOTE
        vm.metadata.quote_size += 3
        assert "more than 16384 bytes" in vm.refusal()
    finally:
        vm.metadata.quote_size = 5006


def test_the_owners_index_is_used_as_it_is_and_another_size_is_refused(vm: Vm) -> None:
    vm.collect()
    vm.machine.tool("tpm2_nvundefine", "0x1400002", "-C", "o")
    vm.machine.tool("tpm2_nvdefine", "0x1400002", "-C", "o", "-s", "32")
    try:
        assert "has 32 bytes where 64 are needed" in vm.refusal()
    finally:
        vm.machine.tool("tpm2_nvundefine", "0x1400002", "-C", "o")
    define = ("tpm2_nvdefine", "0x1400002", "-C", "o", "-s", "64")
    vm.machine.tool(*define, "-a", "authwrite|ownerread|authread")
    vm.clock.sleep(10)
    assert hcl.parse(vm.collect()[1]).carries(BOUND)
    vm.machine.tool("tpm2_nvundefine", "0x1400002", "-C", "o")


def test_a_vm_without_the_attestation_key_says_so(vm: Vm) -> None:
    vm.machine.tool("tpm2_evictcontrol", "-C", "o", "-c", "0x81000003")
    try:
        assert "holds no attestation key at 0x81000003" in vm.refusal()
        assert "holds no attestation key" in vm.attester().probe().why
    finally:
        vm.machine.tool("tpm2_evictcontrol", "-C", "o", "-c", "ak.ctx", "0x81000003")
        vm.machine.tool("tpm2_flushcontext", "-t")
    assert vm.attester().probe().available


@pytest.mark.parametrize("content", [None, b"\xff" * 64, bytes(64)])
def test_a_key_without_a_readable_certificate_is_vouched_for_by_the_report_alone(
    vm: Vm, content: bytes | None
) -> None:
    undefine = ("tpm2_nvundefine", f"{fake.CERTIFICATE_INDEX:#x}", "-C", "p")
    vm.machine.tool(*undefine)
    if content is not None:
        fake.keep(vm.machine, fake.CERTIFICATE_INDEX, content)
    try:
        assert vm.collect()[7] is None
    finally:
        if content is not None:
            vm.machine.tool(*undefine)
        fake.keep(vm.machine, fake.CERTIFICATE_INDEX, fake.mint_certificate(vm.key))


def test_nothing_stays_in_the_tpm(vm: Vm) -> None:
    for _ in range(4):
        vm.collect()
    for kind in ("transient", "loaded-session", "saved-session"):
        assert vm.machine.tool("tpm2_getcap", f"handles-{kind}").strip() == ""


def test_the_control_plane_takes_it_under_a_root_that_it_trusts(vm: Vm) -> None:
    cmw = vm.attester().collect(BOUND).cmw
    with pytest.raises(RefusedEvidence) as caught:
        LibraryVerifier(TrustAnchors()).verify(cmw, snp_fixtures.NOW)
    assert caught.value.code is Code.ROOT_NOT_PINNED
    root = import_root(snp_fixtures.platform().root, now=snp_fixtures.NOW)
    trusting = LibraryVerifier(TrustAnchors(development_roots=(root,)))
    assert trusting.verify(cmw, snp_fixtures.NOW).bound == BOUND


def test_only_64_bytes_can_be_bound(vm: Vm) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        vm.attester().collect(BOUND[1:])
