"""The image stand-in: what the Nitro hypervisor measures when it starts an enclave.

An enclave image file holds kernel, command line, and ramdisks, the last with the application; AWS
measures each part as SHA-384 of 48 zeros and the SHA-384 of the part. The agent's trust
configuration is a file of the application's ramdisk, so PCR 0 and PCR 2 cover it
(security-requirements F15): nothing about an enclave is chosen by who starts it but the image.

| PCR | of | reference value covers |
|---|---|---|
| 0 | the whole image | firmware, kernel, cmdline, rootfs, agent, the trust configuration |
| 1 | kernel, command line and first ramdisk | firmware, kernel, cmdline |
| 2 | the application's ramdisks | rootfs, agent, the trust configuration |
| 3 | the IAM role of the parent instance | |
| 4 | the id of the parent instance | |

Nothing of it is measured: it is for development.
"""

from __future__ import annotations

import hashlib
from typing import Final

_ZEROS: Final = bytes(48)
_COVERS: Final[dict[int, tuple[str, ...]]] = {
    0: ("firmware", "kernel", "cmdline", "rootfs", "agent"),
    1: ("firmware", "kernel", "cmdline"),
    2: ("rootfs", "agent"),
}
_WITH_TRUST: Final = (0, 2)


def measure(image: str, trust_configuration: bytes) -> dict[int, bytes]:
    """PCR 0 to 2 of the development image of this name.

    Args:
        image: any name; another name is another kernel and another application.
        trust_configuration: what the image has been built with (trust.json), as bytes.
    """
    kernel = b"sealward development kernel and command line of " + image.encode()
    application = b"sealward development agent of " + image.encode() + b"\0" + trust_configuration
    return {
        0: extended(kernel + b"\0" + application),
        1: extended(kernel),
        2: extended(application),
    }


def of_parent(instance_id: str, role: str | None = None) -> dict[int, bytes]:
    """PCR 4, and PCR 3 where the instance has an IAM role (its ARN)."""
    parent = {4: hashlib.sha384(_ZEROS + instance_id.encode()).digest()}
    return (
        parent if role is None else {3: hashlib.sha384(_ZEROS + role.encode()).digest(), **parent}
    )


def extended(part: bytes) -> bytes:
    """A register that one part was measured into."""
    return hashlib.sha384(_ZEROS + hashlib.sha384(part).digest()).digest()


def reference_values(image: str, trust_configuration: bytes) -> list[dict[str, object]]:
    """The values of a reference set that describes an enclave with the image."""
    return [
        {
            "kind": "register",
            "key": f"nitro/pcr{index}/{value.hex()}",
            "value": {
                "name": f"{image}, PCR {index}",
                "components": list(_COVERS[index]),
                "trust_config": "image" if index in _WITH_TRUST else None,
            },
        }
        for index, value in measure(image, trust_configuration).items()
    ]
