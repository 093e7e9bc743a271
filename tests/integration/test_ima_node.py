"""A node on a real swtpm whose kernel measures, with a real control plane (ima-claims.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from conftest import require_part
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fakes import ima_kernel, measuring_machines, swtpm
from fakes.control_plane import World, world
from fakes.ima_kernel import ImaKernel
from fakes.instances import Instance, lease_states
from fakes.swtpm import Swtpm

from sealward.controlplane.services.attestation_call import AttestAnswer
from sealward.controlplane.services.evidence import Presented
from sealward.controlplane.services.tpm_nodes import CredentialCall
from sealward.enclave_agent.attesters.port import AttesterUnavailable, Credential, Evidence
from sealward.enclave_agent.attesters.tpm import attester
from sealward.enclave_agent.attesters.tpm.attester import TpmAttester
from sealward.protos import tpm_node
from sealward.verifier.composite.ima_log import ListPart
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats.binding import Binding, Purpose
from sealward.verifier.rats.result import Posture

pytestmark = pytest.mark.integration

KNOWN, NEW = b"a reviewed program", b"a program that nobody reviewed"
COMPONENTS = ["firmware", "kernel", "cmdline", "rootfs", "agent"]
BOOT = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    if reason := swtpm.missing():
        require_part(reason)
    folder = tmp_path_factory.mktemp("swtpm")
    swtpm.manufacture(folder)
    with swtpm.running(folder) as running:
        for index in range(10):
            running.extend(index, hashlib.sha256(b"what firmware measures").digest())
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as opened:
        yield opened


@dataclass
class Node(Instance):
    """An instance whose evidence its attester collects, with a list in a file of its kernel."""

    attester: TpmAttester = field(kw_only=True)
    kernel: ImaKernel = field(kw_only=True)
    file: Path = field(kw_only=True)
    proven: int = 0
    collected: Evidence | None = None

    def measure(self, path: str, content: bytes) -> None:
        self.kernel.measure(path, content)
        self.file.write_bytes(self.kernel.runtime_measurements())

    def evidence(self, encoded: bytes, **_: object) -> bytes:
        self.collected = self.attester.collect(bindings.digest(encoded))
        return self.collected.cmw

    def presented(self, world: World, purpose: Purpose, **changes: object) -> Presented:
        shown = super().presented(world, purpose, **changes)
        assert self.collected is not None
        assert self.collected.runtime_log is not None
        part = self.collected.runtime_log.behind(self.proven)
        shown = replace(shown, runtime_log=ListPart(first=part.first, data=part.data))
        if purpose is Purpose.ATTEST:
            return shown
        key = self.attester.credential_request()
        made = world.plane.tpm_nodes.credential(
            CredentialCall(
                ticket=shown.ticket,
                tls_spki=self.keys.tls_spki,
                ak_public=key.ak_public,
                ek_public=key.ek_public,
                ek_certificate=key.ek_certificate,
                received=world.clock.now(),
            )
        )
        secret = self.attester.activate(Credential(made.id_object, made.encrypted_secret))
        nonce = Binding.decode(shown.binding).nonce
        proof = tpm_node.credential_proof(secret, nonce=nonce, binding=shown.binding)
        return replace(shown, credential_proof=proof)

    def renewed(self, here: World) -> AttestAnswer:
        call = self.attest_call(self.presented(here, Purpose.ATTEST))
        answer = here.plane.attestation.attest(call)
        self.take(answer.terms, (), answer.ratchet)
        self.proven = answer.runtime_log_next
        return answer


def trusted(here: World, machine: Swtpm, tpm: TpmAttester) -> None:
    """Trust this TPM's CA, allow its platform, and expect its registers but PCR 10."""
    admin = here.plane.admin
    for name in ("swtpm-localca-rootca-cert.pem", "issuercert.pem"):
        pem = (machine.folder / "ca" / name).read_bytes()
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        admin.trust_anchors.add(here.admin, der, development=True)
    certificate = x509.load_der_x509_certificate(tpm.credential_request().ek_certificate)
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    admin.platforms.allow(here.admin, f"tpm:ek:{hashlib.sha256(spki).hexdigest()}")
    machine.tool("tpm2_pcrread", f"sha256:{','.join(map(str, BOOT))}", "-o", "registers")
    raw = (machine.folder / "registers").read_bytes()
    values = [
        {
            "kind": "pcr",
            "key": f"sha256/{index}/{raw[32 * place : 32 * place + 32].hex()}",
            "value": {
                "name": f"PCR {index}",
                "components": COMPONENTS if index == 8 else [],
                "trust_config": "image" if index == 8 else None,
            },
        }
        for place, index in enumerate(BOOT)
    ]
    document = {"name": "boot", "not_after": None, "values": values}
    admin.references.import_set(here.admin, json.dumps(document).encode(), activate=True)


def booted(machine: Swtpm, folder: Path) -> tuple[ImaKernel, Path]:
    machine.tool("tpm2_pcrread", "sha256:0,1,2,3,4,5,6,7,8,9", "-o", "booted")
    raw = (machine.folder / "booted").read_bytes()
    kernel = ImaKernel(banks=("sha256", "sha384"), extend=ima_kernel.on_swtpm(machine))
    kernel.boot({n: raw[32 * n : 32 * n + 32] for n in range(10)})
    file = folder / "binary_runtime_measurements"
    file.write_bytes(kernel.runtime_measurements())
    return kernel, file


def test_a_node_on_a_tpm_is_in_order_until_its_kernel_measures_an_unknown_file(
    machine: Swtpm, here: World, tmp_path: Path
) -> None:
    kernel, file = booted(machine, tmp_path)
    table = {"socket": f"127.0.0.1:{machine.port}", "event_log": "/nonexistent", "ima": str(file)}
    tpm = attester.from_settings(table)
    assert "no event log" in tpm.probe().why
    assert tpm.probe().why.endswith("and the kernel's measurement list.")
    trusted(here, machine, tpm)
    measuring_machines.know(here, KNOWN)
    node = Node(here.plane.trust, attester=tpm, kernel=kernel, file=file)
    node.measure("/usr/bin/sealward-agent", KNOWN)
    enrolled = node.enroll(here)
    assert (enrolled.code, enrolled.runtime_log_next) == ("", 2)
    node.proven = enrolled.runtime_log_next

    first = node.renewed(here)
    assert (first.denials, first.posture, first.runtime_log_next) == ((), Posture.WARNING, 2)
    assert first.tpm_lock is not None
    locked = node.collected
    assert locked is not None
    assert locked.lock is not None
    credential = Credential(first.tpm_lock.id_object, first.tpm_lock.encrypted_secret)
    assert len(locked.lock.open(credential)) == 32

    node.measure("/usr/bin/another", KNOWN)
    assert not tpm.changed(), "PCR 10 alone is told at the next renewal"
    assert len(locked.lock.open(credential)) == 32, "and locks nothing"
    renewed = node.renewed(here)
    assert (renewed.denials, renewed.tpm_lock, renewed.runtime_log_next) == ((), None, 3)

    node.measure("/tmp/unreviewed", NEW)  # noqa: S108 - a name in a list
    assert node.renewed(here).code == "unknown_file"
    assert "claims.ima.unknown[/tmp/unreviewed]" in str(
        here.rows("SELECT reasons FROM node_evidence")
    )
    assert [state for state, _, _ in lease_states(here, node).values()] == ["ended"]

    file.unlink()
    assert not tpm.probe().available
    with pytest.raises(AttesterUnavailable, match=r"There is no .*IMA"):
        tpm.collect(bytes(64))
