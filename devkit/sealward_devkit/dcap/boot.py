"""The boot stand-in of a trust domain: MRTD, run-time registers, and the log that explains them.

Events are those that firmware and loader of a TDX guest leave (UEFI 2.10 section 38), so that
quote, CCEL and reference values belong together as they do on hardware. Two images differ in the
events of their name; images share a firmware. Nothing of it is measured: it is for development.

| register | event | reference value covers |
|---|---|---|
| MRTD | the firmware, before the domain runs | firmware |
| RTMR0 | Secure Boot variable, separator | |
| RTMR1 | loader and kernel, by their Authenticode hash, separator | kernel |
| RTMR2 | kernel command line with the root hash of dm-verity | cmdline, rootfs |
|       | initrd, the agent's release | agent |
| RTMR3 | nothing | |

The trust configuration is none of these: the host gives it to the domain as MRCONFIGID, as with
HOST_DATA of SEV-SNP (security-requirements F15).
"""

from __future__ import annotations

import hashlib
from typing import Final

from sealward_devkit.dcap.collateral import DEFAULT_TEE_TCB_SVN
from sealward_devkit.dcap.reports import TdReport
from sealward_devkit.tpm.boot import (
    APPLICATION,
    IPL,
    SEPARATOR,
    VARIABLE,
    Measured,
    event_log,
    load_event,
    variable,
)

BANK: Final = "sha384"  # the one that a CCEL has
REGISTERS: Final = 4
MODULE: Final = b"\x5e" * 48  # MRSEAM of a TDX module that nobody has
MR_CONFIG_ID_SIZE: Final = 48

_RTMR0, _RTMR1, _RTMR2 = 1, 2, 3  # as a CCEL counts, where 0 is MRTD
_COVERS: Final[dict[str, tuple[str, ...]]] = {
    "mrtd": ("firmware",),
    "rtmr1": ("kernel",),
    "rtmr2": ("cmdline", "rootfs", "agent"),
}


def boot(image: str) -> tuple[Measured, ...]:
    """The events of a boot of the development image of this name."""
    name = image.encode()
    root_hash = hashlib.sha256(b"sealward development rootfs " + name).hexdigest()
    line = f"/vmlinuz ro dm-verity={root_hash}".encode()
    secure_boot = variable("SecureBoot", b"\x01")
    loader, kernel = b"sealward development loader", b"kernel of " + name
    return (
        Measured(_RTMR0, VARIABLE, secure_boot, secure_boot),
        Measured(_RTMR0, SEPARATOR, bytes(4), bytes(4)),
        Measured(_RTMR1, APPLICATION, load_event(loader), loader),
        Measured(_RTMR1, SEPARATOR, bytes(4), bytes(4)),
        Measured(_RTMR1, APPLICATION, load_event(kernel), kernel),
        Measured(_RTMR2, IPL, b"kernel_cmdline: " + line + b"\0", line),
        Measured(_RTMR2, IPL, b"/initrd\0", b"initrd of " + name),
        Measured(_RTMR2, IPL, b"sealward-agent\0", b"agent of " + name),
    )


def mr_td() -> bytes:
    """The launch measurement: of the firmware, which all images share."""
    return hashlib.sha384(b"sealward development trust domain firmware 1").digest()


def registers(image: str) -> tuple[bytes, ...]:
    """RTMR0 to RTMR3 after a boot of the image."""
    values = [bytes(48)] * (REGISTERS + 1)
    for event in boot(image):
        extended = values[event.register] + event.digest(BANK)
        values[event.register] = hashlib.new(BANK, extended).digest()
    return tuple(values[1:])


def ccel(image: str) -> bytes:
    """The event log of a boot of the image, as firmware leaves it in memory."""
    return event_log(boot(image), (BANK,))


def mr_config_id(trust_configuration: bytes) -> bytes:
    """MRCONFIGID of a domain that the host gave this trust configuration (trust.json) to.

    SHA-256 and 16 zeros: the digest that a control plane expects, as HOST_DATA carries it.
    """
    return hashlib.sha256(trust_configuration).digest().ljust(MR_CONFIG_ID_SIZE, b"\0")


def reference_values(image: str) -> list[dict[str, object]]:
    """The values of a reference set that describes a launch and boot of the image."""
    names = ("mrtd", *(f"rtmr{number}" for number in range(REGISTERS)))
    return [
        {
            "kind": "register",
            "key": f"tdx/{name}/{value.hex()}",
            "value": {
                "name": f"{image}, {name.upper()}",
                "components": list(_COVERS.get(name, ())),
                "trust_config": None,  # MRCONFIGID has it
            },
        }
        for name, value in zip(names, (mr_td(), *registers(image)), strict=True)
    ]


def td_report(
    image: str, *, report_data: bytes = bytes(64), trust_configuration: bytes = b""
) -> TdReport:
    """What a domain with this image reports on a machine of `new_platform`."""
    return TdReport(
        tee_tcb_svn=DEFAULT_TEE_TCB_SVN,
        tee_tcb_svn2=DEFAULT_TEE_TCB_SVN,
        mr_seam=MODULE,
        mr_td=mr_td(),
        mr_config_id=mr_config_id(trust_configuration),
        rtmrs=registers(image),
        report_data=report_data,
    )


def enclave_digest(what: str, image: str) -> bytes:
    """A stand-in for MRENCLAVE or MRSIGNER of a development image, 32 bytes."""
    return hashlib.sha256(f"sealward development {what} {image}".encode()).digest()
