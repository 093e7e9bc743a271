"""Reports: an SPDM 1.1 request for measurements, and the answer a device signs (DSP0274)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

if TYPE_CHECKING:
    from sealward_devkit.nvidia.hierarchy import Device

NONCE_SIZE: Final = 32
DIGEST_SIZE: Final = 48

DRIVER_VERSION, VBIOS_VERSION, NVDEC0_STATUS, BOARD_ID = 3, 6, 11, 14
CHIP_SKU, PROJECT, PROJECT_SKU, FWID, PROTECTED_PCIE = 15, 17, 18, 20, 21
CHIP_INFO, FEATURE_FLAG = 35, 36
ENABLED, DISABLED = b"\xaa", b"\x55"

_REQUEST: Final = bytes.fromhex("11e001ff")  # SPDM 1.1, GET_MEASUREMENTS, signed, all
_ANSWER: Final = bytes.fromhex("11600000")  # SPDM 1.1, MEASUREMENTS
_BLOCK_HEAD: Final = bytes.fromhex("013300013000")  # DMTF, 51 bytes: type 0 of 48 bytes
_HALF: Final = 48
_PEM_LINE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a device says of itself: digests of blocks 1 and up, and fields (type, value)."""

    blocks: tuple[bytes, ...] = field(repr=False)
    fields: tuple[tuple[int, bytes], ...] = field(repr=False)


def gpu_content(
    device: Device, blocks: tuple[bytes, ...], *, driver: str, vbios: str, feature: int = 0
) -> Content:
    """What a GPU says: `driver` as "550.144.03", `vbios` as "96.00.5E.00.01"."""
    b3, b2, b1, b0, b4 = bytes.fromhex(vbios.replace(".", ""))
    return Content(
        blocks=blocks,
        fields=(
            (VBIOS_VERSION, bytes((b0, b1, b2, b3, b4, 0, 0, 0))),
            (BOARD_ID, bytes.fromhex("b1030000")),
            (CHIP_SKU, b"882".ljust(9, b"\0")),
            (PROJECT, b"1010\0"),
            (PROJECT_SKU, b"0200\0"),
            (DRIVER_VERSION, driver.encode() + b"\0"),
            (NVDEC0_STATUS, DISABLED),
            (FWID, device.fwid),
            (PROTECTED_PCIE, DISABLED),
            (CHIP_INFO, device.chip.encode() + b"\0"),
            (FEATURE_FLAG, feature.to_bytes(2, "little")),
        ),
    )


def switch_content(blocks: tuple[bytes, ...], *, vbios: str) -> Content:
    """What an NVSwitch says."""
    return Content(blocks=blocks, fields=((VBIOS_VERSION, vbios.encode()),))


def mint(device: Device, content: Content, nonce: bytes, device_nonce: bytes) -> bytes:
    """The report of a device for a requester's nonce, signed."""
    record = b"".join(
        bytes((index,)) + _BLOCK_HEAD + digest
        for index, digest in enumerate(content.blocks, start=1)
    )
    opaque = b"".join(
        kind.to_bytes(2, "little") + len(value).to_bytes(2, "little") + value
        for kind, value in content.fields
    )
    signed = b"".join(
        (
            _REQUEST + nonce + b"\0",
            _ANSWER + bytes((len(content.blocks),)) + len(record).to_bytes(3, "little") + record,
            device_nonce,
            len(opaque).to_bytes(2, "little") + opaque,
        )
    )
    return signed + raw_signature(device.key, signed)


def raw_signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """ECDSA P-384 with SHA-384 as r and s, 48 bytes each, big-endian."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA384())))
    return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")


def chain(device: Device) -> bytes:
    """The certificates of a device in PEM, leaf first, as the driver gives them."""
    return b"".join(_armour(certificate) for certificate in device.path)


def _armour(certificate: bytes) -> bytes:
    text = base64.b64encode(certificate)
    lines = [text[at : at + _PEM_LINE] for at in range(0, len(text), _PEM_LINE)]
    body = b"\n".join(lines)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"
