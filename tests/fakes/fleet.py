"""A furnished control plane that believes development roots of every vendor's shape, and its nodes.

Policies are the shipped ones. Reference sets describe one image of each kind; Intel's collateral
and NVIDIA's manifests are imported; what the nodes run on is allowed. All dates are of today.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fakes import azure_machines, azure_vtpm, tdx_world, tpm_machines
from fakes.collateral_files import pem
from fakes.control_plane import World, image, world
from fakes.instances import Instance
from fakes.nvidia_devices import DRIVER, DRIVER_ID, FWID, VBIOS, VBIOS_ID, block, gpu_blocks
from fakes.snp_fixtures import stream
from fakes.software_tpm import SoftwareTpm
from sealward_devkit.dcap import boot
from sealward_devkit.dcap.platform import Platform, Tee, new_quoting_enclave
from sealward_devkit.dcap.quote import Shape, mint_quote
from sealward_devkit.guest import Guest, report_of_guest
from sealward_devkit.nitro import document
from sealward_devkit.nitro import hierarchy as nitro
from sealward_devkit.nitro import image as nitro_image
from sealward_devkit.nvidia import hierarchy as nvidia
from sealward_devkit.nvidia import manifest, report
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.snp.report import development_measurement

from sealward.controlplane.adapters.system_clock import SystemClock
from sealward.verifier.formats.dcap import evidence as dcap_evidence
from sealward.verifier.formats.nitro import evidence as nitro_evidence
from sealward.verifier.formats.nvidia_gpu import evidence as nvidia_evidence
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.evidence import Collection, Record

IMAGE = "image 1.0"
PARAVISOR = development_measurement("a paravisor")
_DRIVER_INDEXES, _VBIOS_INDEXES = (13, 17, 35, 52), (0, 1, 8)
TPM = SoftwareTpm(
    label="azure-ak",
    banks={"sha256": {at: hashlib.sha256(bytes((at,))).digest() for at in range(10)}},
)
_AZURE_COVERS = {4: ["firmware", "kernel", "cmdline"], 8: ["rootfs", "agent"]}


@cache
def today() -> Validity:
    now = SystemClock().now().replace(microsecond=0)
    return Validity(now - timedelta(hours=1), now + timedelta(days=6))


# --- NVIDIA --------------------------------------------------------------------------------------


@cache
def gpu_authority() -> nvidia.Authority:
    return nvidia.gpu_authority("GH100", stream("gpus of today"), today())


@cache
def rim_authority() -> nvidia.Authority:
    return nvidia.rim_authority(stream("manifests of today"), today())


@cache
def gpu(number: int = 0) -> nvidia.Device:
    """A GPU; another number is another one."""
    return nvidia.new_device(gpu_authority(), "GH100", FWID, stream(f"gpu {number}"))


@cache
def manifests() -> tuple[bytes, ...]:
    """Signed manifests of the one driver and VBIOS that the vendor knows."""
    signer = nvidia.new_signer(rim_authority(), stream("signer of today"))
    return tuple(
        manifest.mint(
            manifest.Content(
                product="GH100",
                version=version,
                digests=tuple((block(at),) if at in indexes else () for at in range(64)),
            ),
            signer,
        )
        for version, indexes in ((DRIVER, _DRIVER_INDEXES), (VBIOS, _VBIOS_INDEXES))
    )


@dataclass
class GpuInstance(Instance):
    """An SNP guest with GPUs, by number; a second life of one shows them to somebody else."""

    gpus: tuple[int, ...] = (0, 1)
    blocks: dict[int, tuple[bytes, ...]] = field(default_factory=dict)  # other firmware, by number
    driver: str = DRIVER
    answering: bytes | None = None  # the GPUs answer this nonce and not the machine's

    def evidence(self, encoded: bytes, **guest: Any) -> bytes:  # noqa: ANN401 - as in Instance
        machine = envelopes.decode(super().evidence(encoded, **guest))
        assert isinstance(machine, Record)
        nonce = self.answering or bindings.digest(encoded)[:32]
        devices = ((f"gpu-{at}", self._gpu(n, nonce)) for at, n in enumerate(self.gpus))
        return envelopes.encode(Collection((("cpu", machine), *devices)))

    def _gpu(self, number: int, nonce: bytes) -> Record:
        blocks = self.blocks.get(number, gpu_blocks())
        one = gpu(number)
        content = report.gpu_content(one, driver=self.driver, vbios=VBIOS, blocks=blocks)
        payload = nvidia_evidence.Evidence(
            report=report.mint(one, content, nonce, bytes(32)), certificates=report.chain(one)
        )
        return Record(envelopes.NVIDIA_EVIDENCE, nvidia_evidence.encode(payload))


# --- Nitro ---------------------------------------------------------------------------------------


@cache
def nitro_hierarchy() -> nitro.Hierarchy:
    return nitro.mint_hierarchy(nitro.generate_root_keys(stream("nitro of today")), today())


@cache
def parent() -> nitro.Instance:
    return nitro.new_instance(nitro_hierarchy(), stream("parent of today"))


@dataclass
class NitroInstance(Instance):
    """An enclave whose documents say that they were made at `at`, half an hour after its start."""

    image: str = IMAGE
    at: datetime = field(default_factory=lambda: SystemClock().now())

    def __post_init__(self) -> None:
        random_bytes = stream(f"enclave of {self.node_id}")
        pcrs = nitro_image.measure(self.image, self.trust.encode())
        pcrs |= nitro_image.of_parent(parent().instance_id)
        self.enclave = document.start_enclave(
            parent(),
            nitro.new_module_id(parent(), random_bytes),
            tuple(pcrs.items()),
            self.at - timedelta(minutes=30),
            random_bytes,
        )

    def evidence(self, encoded: bytes, **_: Any) -> bytes:  # noqa: ANN401 - as in Instance
        request = document.Request(user_data=bindings.digest(encoded))
        made = document.mint_document(self.enclave, request, self.at)
        return envelopes.encode(Record(envelopes.NITRO_EVIDENCE, nitro_evidence.encode(made)))


# --- TDX -----------------------------------------------------------------------------------------


@dataclass
class TdxInstance(Instance):
    """A trust domain with its event log."""

    image: str = IMAGE
    machine: Platform = field(default_factory=tdx_world.machine)

    def evidence(self, encoded: bytes, **_: Any) -> bytes:  # noqa: ANN401 - as in Instance
        td = boot.td_report(
            self.image,
            report_data=bindings.digest(encoded),
            trust_configuration=self.trust.encode(),
        )
        enclave = new_quoting_enclave(Tee.TDX, stream("quoting enclave of today"))
        quote = mint_quote(Shape.TDX_4, td, self.machine, enclave)
        payload = dcap_evidence.Evidence(quote=quote, event_log=boot.ccel(self.image))
        return envelopes.encode(Record(envelopes.TDX_EVIDENCE, dcap_evidence.encode_tdx(payload)))


# --- Azure ---------------------------------------------------------------------------------------


@dataclass
class AzureInstance(Instance):
    """A machine of Azure on SNP: paravisor and vTPM between the chip and us."""

    measurement: bytes = PARAVISOR
    tpm: SoftwareTpm = TPM

    def evidence(self, encoded: bytes, **_: Any) -> bytes:  # noqa: ANN401 - as in Instance
        bound = bindings.digest(encoded)
        runtime = azure_vtpm.claims(azure_machines.public_key(self.tpm), bound)
        report_data = hashlib.sha256(runtime).digest().ljust(64, b"\0")
        launched = Guest(measurement=self.measurement, host_data=bytes(32))
        signed = report_of_guest(self.platform, launched, self.report_id, report_data)
        hcl = azure_machines.hcl_report(azure_vtpm.SNP, signed, runtime)
        chain = (self.platform.vek, self.platform.intermediate, self.platform.root)
        members = azure_machines.payload_members(hcl, bound, self.tpm) | {9: pem(*chain)}
        return azure_machines.Azure(members=members).envelope()


# --- the installation ----------------------------------------------------------------------------


def _describe(here: World, name: str, values: list[dict[str, object]]) -> None:
    body = json.dumps({"name": name, "not_after": None, "values": values}).encode()
    here.plane.admin.references.import_set(here.admin, body, activate=True)


def _vouch(here: World) -> None:
    """Say what images, firmware and platforms are ours."""
    trust = here.plane.trust.encode()
    _describe(here, "domains", boot.reference_values(IMAGE))
    _describe(here, "enclaves", nitro_image.reference_values(IMAGE, trust))
    floor = {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115}
    on_azure: dict[str, object] = {"kind": "tcb_floor", "key": "azure-snp/Milan", "value": floor}
    paravisor = image(PARAVISOR, components=["firmware", "paravisor"])
    _describe(here, "paravisors", [paravisor, on_azure])
    pcrs = TPM.banks["sha256"]
    tpm_machines.describe(here, "azure-boots", pcrs, covers=_AZURE_COVERS)
    store = here.plane.collateral.store
    store.import_file(here.admin, tdx_world.generation())
    for name, piece in zip((DRIVER_ID, VBIOS_ID), manifests(), strict=True):
        store.import_file(here.admin, piece, named=Key(Kind.NVIDIA_RIM, name))
    for platform_id in (tdx_world.machine().platform_id, parent().platform_id):
        here.plane.admin.platforms.allow(here.admin, platform_id)


def roots() -> tuple[bytes, ...]:
    """The development roots beside AMD's (DER)."""
    return (
        tdx_world.hierarchy().root,
        nitro_hierarchy().root,
        gpu_authority().root,
        rim_authority().root,
    )


_kept: list[TemporaryDirectory[str]] = []  # of this process: the template lives as long as it does


@cache
def _furnished() -> Path:
    """One, closed, to be copied."""
    _kept.append(TemporaryDirectory())
    folder = Path(_kept[-1].name)
    with world(folder):
        pass  # furnishes the folder
    file = folder / "root.der"
    file.write_bytes(pem(file.read_bytes(), *roots()))
    with world(folder) as here:
        _vouch(here)
    return folder


@contextmanager
def fleet(folder: Path) -> Iterator[World]:
    """Open one below `folder`."""
    shutil.copytree(_furnished(), folder, dirs_exist_ok=True)
    with world(folder) as here:
        yield here


def otherwise(blocks: tuple[bytes, ...], index: int) -> tuple[bytes, ...]:
    """Firmware that measures one block otherwise."""
    return (*blocks[:index], hashlib.sha384(b"nobody knows").digest(), *blocks[index + 1 :])
