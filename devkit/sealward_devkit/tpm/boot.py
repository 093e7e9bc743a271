"""The boot stand-in: what firmware, loader and initrd would measure, and the log of it.

swtpm is a TPM that nothing boots. This writes the events that a boot of a development image would
leave (TCG PC Client Platform Firmware Profile, crypto-agile log), so that registers, log and
reference values belong together as they do on a machine. Two images differ in the events of their
name; images share a firmware. Nothing of it is measured: it is for development.

| PCR | event | reference value covers |
|---|---|---|
| 0 | firmware version | firmware |
| 4 | loader, by its Authenticode hash | kernel |
| 5 | partition table | |
| 7 | Secure Boot variables | |
| 8 | kernel command line, with the root hash of dm-verity | cmdline, rootfs |
| 9 | kernel and initrd | kernel |
| 12 | the agent's release | agent |
| 14 | the agent's trust configuration | the trust configuration (F15) |

Every firmware register (0 to 7) ends in a separator. What is not in the table stays as the reset
left it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

BANKS: Final = ("sha256", "sha384")  # both banks of the TPM are extended, as firmware does
QUOTED: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14)  # the agent's default

_ALGORITHM: Final = {"sha256": 0x000B, "sha384": 0x000C}
_NO_ACTION: Final = 0x00000003
SEPARATOR: Final = 0x00000004
_CRTM_VERSION: Final = 0x00000008
IPL: Final = 0x0000000D
_EFI: Final = 0x80000000
VARIABLE: Final = _EFI | 0x1
APPLICATION: Final = _EFI | 0x3
_GPT: Final = _EFI | 0x6
_SPEC_ID: Final = b"Spec ID Event03\0"
_SHA1_SIZE: Final = 20
_FIRMWARE_REGISTERS: Final = range(8)
_GLOBAL_VARIABLE: Final = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")

_COVERS: Final[dict[int, tuple[str, ...]]] = {
    0: ("firmware",),
    4: ("kernel",),
    8: ("cmdline", "rootfs"),
    9: ("kernel",),
    12: ("agent",),
}
_TRUST_REGISTER: Final = 14


@dataclass(frozen=True, slots=True)
class Measured:
    """One event of a boot.

    Attributes:
        register: the PCR that is extended.
        type: of the event.
        data: what the log says.
        hashed: what is hashed: most often the data itself.
    """

    register: int
    type: int
    data: bytes
    hashed: bytes

    def digest(self, bank: str) -> bytes:
        """Return what is extended into a bank."""
        return hashlib.new(bank, self.hashed).digest()


def boot(image: str, trust_configuration: bytes) -> tuple[Measured, ...]:
    """Return the events of a boot of the development image of this name.

    Args:
        image: any name; another name is another root file system, kernel and agent.
        trust_configuration: what the agent's image has been given (trust.json), as bytes.
    """
    root_hash = hashlib.sha256(b"sealward development rootfs " + image.encode()).hexdigest()
    line = f"/vmlinuz ro dm-verity={root_hash}".encode()
    loader = b"sealward development loader"
    before = (
        _itself(0, _CRTM_VERSION, "Sealward boot stand-in 1\0".encode("utf-16-le")),
        _itself(7, VARIABLE, variable("SecureBoot", b"\x01")),
    )
    separators = tuple(_itself(register, SEPARATOR, bytes(4)) for register in _FIRMWARE_REGISTERS)
    after = (
        Measured(4, APPLICATION, load_event(loader), loader),
        _itself(5, _GPT, _partitions()),
        Measured(8, IPL, b"kernel_cmdline: " + line + b"\0", line),
        Measured(9, IPL, b"/vmlinuz\0", b"kernel of " + image.encode()),
        Measured(9, IPL, b"/initrd\0", b"initrd of " + image.encode()),
        Measured(12, IPL, b"sealward-agent\0", b"agent of " + image.encode()),
        Measured(_TRUST_REGISTER, IPL, b"trust.json\0", trust_configuration),
    )
    return before + separators + after


def event_log(events: tuple[Measured, ...], banks: tuple[str, ...] = BANKS) -> bytes:
    """Return the crypto-agile log of these events, with their digests in these banks."""
    algorithms = b"".join(
        struct.pack("<HH", _ALGORITHM[bank], hashlib.new(bank).digest_size) for bank in banks
    )
    # platformClass 0 (client), specification 2.0 errata 2, uintn of 64 bits, no vendor information
    spec = _SPEC_ID + struct.pack("<IBBBBI", 0, 0, 2, 2, 2, len(banks)) + algorithms + b"\0"
    head = struct.pack("<II", 0, _NO_ACTION) + bytes(_SHA1_SIZE) + struct.pack("<I", len(spec))
    return head + spec + b"".join(_record(event, banks) for event in events)


def registers(events: tuple[Measured, ...], bank: str = "sha256") -> dict[int, bytes]:
    """Return the values of the quoted registers after these events."""
    size = hashlib.new(bank).digest_size
    values = dict.fromkeys(QUOTED, bytes(size))
    for event in events:
        extended = values[event.register] + event.digest(bank)
        values[event.register] = hashlib.new(bank, extended).digest()
    return values


def reference_values(image: str, trust_configuration: bytes) -> list[dict[str, object]]:
    """Return the values of a reference set that describes a boot (docs/specs/tpm-node.md 6)."""
    return [
        {
            "kind": "pcr",
            "key": f"sha256/{register}/{value.hex()}",
            "value": {
                "name": f"{image}, PCR {register}",
                "components": list(_COVERS.get(register, ())),
                "trust_config": "image" if register == _TRUST_REGISTER else None,
            },
        }
        for register, value in registers(boot(image, trust_configuration)).items()
    ]


def value_of(image: str, register: int, trust_configuration: bytes) -> str:
    """Return the reference key of one register of an image."""
    value = registers(boot(image, trust_configuration))[register]
    return f"sha256/{register}/{value.hex()}"


def _itself(register: int, kind: int, data: bytes) -> Measured:
    return Measured(register, kind, data, data)


def load_event(application: bytes) -> bytes:
    """Return UEFI_IMAGE_LOAD_EVENT of an application without a path."""
    return struct.pack("<QQQQ", 0x1000, len(application), 0, 0)


def variable(name: str, content: bytes) -> bytes:
    """Return UEFI_VARIABLE_DATA of a global variable."""
    head = _GLOBAL_VARIABLE.bytes_le + struct.pack("<QQ", len(name), len(content))
    return head + name.encode("utf-16-le") + content


def _partitions() -> bytes:
    """Return UEFI_GPT_DATA of a disk without partitions."""
    header = b"EFI PART" + struct.pack("<IIII", 0x00010000, 92, 0, 0)
    header += struct.pack("<QQQQ", 1, 127, 34, 94) + bytes(16) + struct.pack("<QIII", 2, 0, 128, 0)
    return header + struct.pack("<Q", 0)


def _record(event: Measured, banks: tuple[str, ...]) -> bytes:
    digests = b"".join(struct.pack("<H", _ALGORITHM[bank]) + event.digest(bank) for bank in banks)
    head = struct.pack("<III", event.register, event.type, len(banks))
    return head + digests + struct.pack("<I", len(event.data)) + event.data
