"""What differs between the story's kinds of hardware: who gives evidence, and what vouches for it.

Everything goes through the public command line, as the rest of the story does.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from sealward_devkit.demo.stage import Stage, WentWrong
from sealward_devkit.tpm import boot, machine

if TYPE_CHECKING:
    from pathlib import Path

    from sealward_devkit.demo.stage import Json

IMAGES: Final = {"agent-1.0": "agent 1.0", "agent-1.1": "agent 1.1"}  # what reference sets list
SET: Final = "agent-images"  # of all launch digests; a boot is described by a set of its own
TRUST: Final = "trust.json"
_RTMRS: Final = ("rtmr0", "rtmr1", "rtmr2", "rtmr3")


@dataclass(frozen=True, slots=True)
class Value:
    """A reference value in its set: what an administrator withdraws."""

    set_name: str
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Launch:
    """A machine of the story: its node, the image it boots, the platform under it."""

    node: str
    image: str
    platform: str


class Hardware(Protocol):
    """One kind of hardware.

    Attributes:
        posture: of a node in order.
        serve: what the control plane is started with beside `--development`.
        tamper_register: a PCR that a running machine may extend; None where there is none.
    """

    posture: str
    serve: tuple[str, ...]
    tamper_register: int | None

    def prepare(self, stage: Stage) -> None:
        """Make what must be there before the control plane is."""

    def vouch(self, stage: Stage) -> str:
        """Import roots and reference values, allow all platforms but one; say what was done."""

    def attester(self, stage: Stage, launch: Launch) -> str:
        """Boot a machine and return the agent's table [attester]."""

    def value(self, stage: Stage, image: str) -> Value:
        """Return the reference value that only this image has."""

    def digests(self, stage: Stage, image: str) -> frozenset[str]:
        """Return every digest that evidence of this image may be refused for."""

    def tamper(self, stage: Stage, node: str) -> None:
        """Extend `tamper_register` of the machine under a node."""


@dataclass(slots=True)
class Snp:
    """Genuine SEV-SNP reports, minted under a development root of AMD's shape."""

    posture: str = "compliant"
    serve: tuple[str, ...] = ("--development-root", "root/anchors.pem")
    tamper_register: int | None = None

    def prepare(self, stage: Stage) -> None:
        """Generate the development root."""
        stage.run("sealward-devkit", "root", "create", "root", "--product", "Milan")

    def vouch(self, stage: Stage) -> str:
        """Import two images and a TCB floor; make three platforms and allow two."""
        floor = {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115}
        values: list[Json] = [_image(title, _launch(stage, it)) for it, title in IMAGES.items()]
        values.append({"kind": "tcb_floor", "key": "snp/Milan", "value": floor})
        document = {"name": SET, "not_after": None, "values": values}
        (stage.folder / "reference.json").write_text(json.dumps(document))
        stage.run("sealward", "reference", "import", "reference.json")
        under = ("--root", "root", "--product", "Milan")
        for name in ("platform-1", "platform-2", "platform-3"):
            made = stage.run("sealward-devkit", "platform", "create", *under, name)
            if name != "platform-3":
                stage.run("sealward", "platform", "allow", str(made["platform_id"]))
        return "reference set of 2 images and 1 TCB floor imported, 2 of 3 platforms allowed"

    def attester(self, stage: Stage, launch: Launch) -> str:
        """Give the guest its launch digest, and the trust configuration as HOST_DATA."""
        return (
            f'name = "software"\nplatform = "{stage.folder / launch.platform}"\n'
            f'measurement = "{_launch(stage, launch.image)}"\n'
            f'host_data = "{_trust_digest(stage)}"\n'
        )

    def value(self, stage: Stage, image: str) -> Value:
        """Return the launch digest."""
        return Value(SET, "measurement", _launch(stage, image))

    def digests(self, stage: Stage, image: str) -> frozenset[str]:
        """Return the launch digest."""
        return frozenset((_launch(stage, image),))

    def tamper(self, stage: Stage, node: str) -> None:
        """Refuse: a launch digest does not change while the guest runs."""
        raise WentWrong(f"{node} in {stage.folder} has no register that changes while it runs")


@dataclass(slots=True)
class Tpm:
    """One swtpm a machine under one local CA, and a stand-in for what a boot measures."""

    posture: str = "warning"  # a TPM never affirms hardware (docs/specs/tpm-node.md 1)
    serve: tuple[str, ...] = ()
    tamper_register: int | None = 12
    _ports: dict[str, int] = field(default_factory=dict)

    def prepare(self, stage: Stage) -> None:
        """Make five TPMs, the first with the CA that endorses them all."""
        machine.require_programs()
        for name in self._machines():
            stage.run("sealward-devkit", "tpm", "create", f"tpm-{name}", "--ca", "tpm-ca")

    def vouch(self, stage: Stage) -> str:
        """Import the CA as a development anchor and two images' PCRs; allow all TPMs but one."""
        root, issuer = f"tpm-ca/{machine.ROOT}", f"tpm-ca/{machine.ISSUER}"
        stage.run("sealward", "trust-anchor", "add", "--development", root, issuer)
        for image in IMAGES:
            described = stage.run("sealward-devkit", "tpm", "reference", image, "--trust", TRUST)
            (stage.folder / f"{image}.json").write_text(json.dumps(described))
            stage.run("sealward", "reference", "import", f"{image}.json")
        for name in self._machines():
            if name != "node-4":
                stage.run("sealward", "platform", "allow", machine.platform_id(_at(stage, name)))
        return (
            "swtpm's CA as a development anchor, a reference set for each of 2 boots, 4 of 5 TPMs"
        )

    def attester(self, stage: Stage, launch: Launch) -> str:
        """Start the machine's TPM, measure a boot into it, and point the agent to it."""
        port = self._start(stage, launch.node)
        booted = ("--port", str(port), "--trust", TRUST)
        stage.run("sealward-devkit", "tpm", "boot", f"tpm-{launch.node}", launch.image, *booted)
        log = _at(stage, launch.node) / machine.EVENT_LOG
        return f'name = "tpm"\nsocket = "127.0.0.1:{port}"\nevent_log = "{log}"\n'

    def value(self, stage: Stage, image: str) -> Value:
        """Return the value of the agent's register."""
        trust = (stage.folder / TRUST).read_bytes()
        return Value(image, "pcr", boot.value_of(image, 12, trust))

    def digests(self, stage: Stage, image: str) -> frozenset[str]:
        """Return the values of all registers."""
        trust = (stage.folder / TRUST).read_bytes()
        return frozenset(v.hex() for v in boot.registers(boot.boot(image, trust)).values())

    def tamper(self, stage: Stage, node: str) -> None:
        """Extend a register, as software on the machine can."""
        where = ("--port", str(self._ports[node]), "--pcr", str(self.tamper_register))
        stage.run("sealward-devkit", "tpm", "extend", "a module nobody knows", *where)

    def _machines(self) -> tuple[str, ...]:
        return tuple(f"node-{number}" for number in range(1, 6))

    def _start(self, stage: Stage, name: str) -> int:
        for _ in range(3):  # another process may take the ports in between
            port = machine.free_port()
            command = ("sealward-devkit", "tpm", "run", f"tpm-{name}", "--port", str(port))
            process = stage.start(f"tpm-{name}", *command)
            if machine.answers(process.popen, port):
                self._ports[name] = port
                return port
        raise WentWrong(f"the TPM of {name} did not start")


@dataclass(slots=True)
class Tdx:
    """Genuine TDX quotes with their event logs, under a development root of Intel's shape."""

    posture: str = "compliant"
    serve: tuple[str, ...] = ("--development-root", "root/anchors.pem")
    tamper_register: int | None = None

    def prepare(self, stage: Stage) -> None:
        """Generate the development root."""
        stage.run("sealward-devkit", "dcap", "root", "root")

    def vouch(self, stage: Stage) -> str:
        """Import collateral and two images' registers; make three machines and allow two."""
        stage.run("sealward-devkit", "dcap", "collateral", "tdx.json", "--root", "root")
        imported = stage.run_list("sealward", "collateral", "import", "tdx.json")
        _import_sets(stage, "dcap")
        _make_platforms(stage, "dcap")
        return (
            f"{len(imported)} pieces of collateral and a reference set for each of 2 boots "
            "imported, 2 of 3 platforms allowed"
        )

    def attester(self, stage: Stage, launch: Launch) -> str:
        """Boot the image, and give the domain the trust configuration as MRCONFIGID."""
        log = f"{launch.node}.ccel"
        booted = stage.run("sealward-devkit", "dcap", "boot", launch.image, log)
        registers = (f'{name} = "{booted[name]}"' for name in ("mr_td", *_RTMRS))
        return "\n".join(
            (
                f'name = "software"\nkind = "tdx"\nplatform = "{stage.folder / launch.platform}"',
                f'mr_config_id = "{_trust_digest(stage)}{"00" * 16}"',
                f'event_log = "{stage.folder / log}"',
                *registers,
                "",
            )
        )

    def value(self, stage: Stage, image: str) -> Value:
        """Return the register that the agent was measured into."""
        return _register_value(stage, image, "tdx/rtmr2/")

    def digests(self, stage: Stage, image: str) -> frozenset[str]:
        """Return the registers."""
        booted = stage.run("sealward-devkit", "dcap", "boot", image, f"{image}.ccel")
        return frozenset(str(booted[name]) for name in ("mr_td", *_RTMRS))

    def tamper(self, stage: Stage, node: str) -> None:
        """Refuse: nothing here extends a register of a running domain."""
        raise WentWrong(f"{node} in {stage.folder} has no register that changes while it runs")


@dataclass(slots=True)
class Nitro:
    """Genuine Nitro documents, under a development root of AWS's shape."""

    posture: str = "warning"  # its hypervisor is AWS's, and can read its memory
    serve: tuple[str, ...] = ("--development-root", "root/anchors.pem")
    tamper_register: int | None = None

    def prepare(self, stage: Stage) -> None:
        """Generate the development root."""
        stage.run("sealward-devkit", "nitro", "root", "root")

    def vouch(self, stage: Stage) -> str:
        """Import two images' PCRs; make three parent instances and allow two."""
        _import_sets(stage, "nitro", "--trust", TRUST)
        _make_platforms(stage, "nitro")
        return "a reference set for each of 2 images imported, 2 of 3 parent instances allowed"

    def attester(self, stage: Stage, launch: Launch) -> str:
        """Start an enclave with the image, which the trust configuration is built into."""
        pcrs = (f'{name} = "{value}"' for name, value in self._measured(stage, launch.image))
        where = f'platform = "{stage.folder / launch.platform}"'
        return "\n".join(('name = "software"', 'kind = "nitro"', where, *pcrs, ""))

    def value(self, stage: Stage, image: str) -> Value:
        """Return the PCR of the whole image."""
        return _register_value(stage, image, "nitro/pcr0/")

    def digests(self, stage: Stage, image: str) -> frozenset[str]:
        """Return the PCRs of the image."""
        return frozenset(value for _, value in self._measured(stage, image))

    def tamper(self, stage: Stage, node: str) -> None:
        """Refuse: an enclave's image does not change while it runs."""
        raise WentWrong(f"{node} in {stage.folder} has no register that changes while it runs")

    def _measured(self, stage: Stage, image: str) -> list[tuple[str, str]]:
        told = stage.run("sealward-devkit", "nitro", "image", image, "--trust", TRUST)
        return [(name, str(value)) for name, value in told.items()]


KINDS: Final[dict[str, type[Snp | Tpm | Tdx | Nitro]]] = {
    "snp": Snp,
    "tpm": Tpm,
    "tdx": Tdx,
    "nitro": Nitro,
}


def _import_sets(stage: Stage, kind: str, *options: str) -> None:
    """Import a reference set for each image, as the kit describes it."""
    for image in IMAGES:
        described = stage.run("sealward-devkit", kind, "reference", image, *options)
        (stage.folder / f"{image}.json").write_text(json.dumps(described))
        stage.run("sealward", "reference", "import", f"{image}.json")


def _make_platforms(stage: Stage, kind: str) -> None:
    """Make three platforms under the root, and allow all but the last."""
    for name in ("platform-1", "platform-2", "platform-3"):
        made = stage.run("sealward-devkit", kind, "platform", "--root", "root", name)
        if name != "platform-3":
            stage.run("sealward", "platform", "allow", str(made["platform_id"]))


def _register_value(stage: Stage, image: str, prefix: str) -> Value:
    """Return the value of a register in the set that was imported for an image."""
    written = (stage.folder / f"{image}.json").read_text()
    values = json.loads(written)["values"]  # noqa: TID251 - our own file
    (key,) = (value["key"] for value in values if value["key"].startswith(prefix))
    return Value(image, "register", key)


def _trust_digest(stage: Stage) -> str:
    return hashlib.sha256((stage.folder / TRUST).read_bytes()).hexdigest()


def _launch(stage: Stage, name: str) -> str:
    """Return the launch digest that the development kit gives an image of this name."""
    return str(stage.run("sealward-devkit", "measurement", name)["measurement"])


def _image(title: str, digest: str) -> Json:
    value = {
        "name": title,
        "components": ["firmware", "kernel", "cmdline", "rootfs", "agent"],
        "clock": "protected",
        "trust_config": "host_data",
    }
    return {"kind": "measurement", "key": digest, "value": value}


def _at(stage: Stage, name: str) -> Path:
    return stage.folder / f"tpm-{name}"
