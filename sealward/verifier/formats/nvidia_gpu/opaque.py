"""The device's own fields in an answer: a list of {type, size, value}.

Types and their meaning are NVIDIA's (open verifier, 2026). A type that we do not know is kept as it
is, for it is signed all the same; one that we read must be well formed. None stands twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, unique
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD: Final = Struct("<HH")
_MAX_FIELDS: Final = 64  # 17 are the most seen
_ENABLED: Final = 0xAA
_DISABLED: Final = 0x55
_NUL: Final = b"\0"
_VBIOS_SIZE: Final = 8


@unique
class Type(IntEnum):
    """The types that we have a name for."""

    CERT_ISSUER_NAME = 1
    AUTHORITY_KEY_ID = 2
    DRIVER_VERSION = 3
    GPU_INFO = 4
    SKU = 5
    VBIOS_VERSION = 6
    MANUFACTURER_ID = 7
    TAMPER_DETECTION = 8
    SMC = 9
    VPR = 10
    NVDEC0_STATUS = 11
    MSRSCNT = 12
    CPRINFO = 13
    BOARD_ID = 14
    CHIP_SKU = 15
    CHIP_SKU_MOD = 16
    PROJECT = 17
    PROJECT_SKU = 18
    PROJECT_SKU_MOD = 19
    FWID = 20
    PROTECTED_PCIE_STATUS = 21
    SWITCH_PDI = 22
    FLOORSWEPT_PORTS = 23
    POSITION_ID = 24
    LOCK_SWITCH_STATUS = 25
    GPU_LINK_CONN = 32
    SYS_ENABLE_STATUS = 33
    OPAQUE_DATA_VERSION = 34
    CHIP_INFO = 35
    FEATURE_FLAG = 36


@unique
class Feature(IntEnum):
    """How the GPU is given to its machine, as the feature flag says."""

    SINGLE = 0
    MULTI = 1
    PROTECTED_PCIE = 2


@dataclass(frozen=True, slots=True)
class Opaque:
    """All fields by type, in the order of the answer."""

    held: Mapping[int, bytes] = field(repr=False)

    @property
    def fields(self) -> tuple[tuple[int, bytes], ...]:
        """All fields: (type, value)."""
        return tuple(self.held.items())

    def get(self, kind: Type) -> bytes | None:
        """Return the value of a field, or None."""
        return self.held.get(kind)

    def text(self, kind: Type) -> str | None:
        """Return a field that is text, without the NULs behind it. Was checked when parsed."""
        value = self.get(kind)
        return None if value is None else value.rstrip(_NUL).decode("ascii")

    def switch(self, kind: Type) -> bool | None:
        """Return a field that says enabled or disabled. Was checked when parsed."""
        value = self.get(kind)
        return None if value is None else value[0] == _ENABLED

    @property
    def feature(self) -> Feature | None:
        """The feature flag. Was checked when parsed."""
        value = self.get(Type.FEATURE_FLAG)
        return None if value is None else Feature(int.from_bytes(value, "little"))

    @property
    def vbios_version(self) -> str | None:
        """The version as manifests write it: "96.00.5E.00.01".

        GPUs send bytes (b3.b2.b1.b0.b4, the rest zero), switches send text.
        """
        value = self.get(Type.VBIOS_VERSION)
        if value is None or len(value) != _VBIOS_SIZE:
            return None if value is None else value.decode("ascii").upper()
        b0, b1, b2, b3, b4, *_ = value
        return bytes((b3, b2, b1, b0, b4)).hex(".").upper()


_TEXTS: Final = frozenset(
    {
        Type.DRIVER_VERSION,
        Type.CHIP_SKU,
        Type.CHIP_SKU_MOD,
        Type.PROJECT,
        Type.PROJECT_SKU,
        Type.PROJECT_SKU_MOD,
        Type.CHIP_INFO,
    }
)
_SWITCHES: Final = frozenset({Type.NVDEC0_STATUS, Type.PROTECTED_PCIE_STATUS})
_FWID_SIZE: Final = 48
_FLAG_SIZE: Final = 2
_FEATURES: Final = frozenset(Feature)
_VISIBLE: Final = bytes(range(0x21, 0x7F))  # ASCII "!" to "~"


def parse(data: bytes, *, base: int) -> Opaque:
    """Read the opaque data, which starts at `base` of the report.

    Raises:
        MalformedEvidence: not such a list, a type twice, or a field that we read is not what it is.
    """
    reader = Reader(data, base=base)
    fields: dict[int, bytes] = {}
    while reader.remaining:
        kind, size = reader.unpack(_HEAD, "opaque type and size")
        value = reader.take(size, "opaque value")
        if kind in fields or len(fields) == _MAX_FIELDS:
            raise reader.malformed(f"opaque data: type {kind} stands twice, or too many fields")
        if not _well_formed(kind, value):
            raise reader.malformed(f"opaque data: field {kind} is not what its type says")
        fields[kind] = value
    return Opaque(MappingProxyType(fields))


def _well_formed(kind: int, value: bytes) -> bool:
    if kind in _TEXTS:
        return _is_text(value.rstrip(_NUL))
    if kind in _SWITCHES:
        return value in (bytes((_ENABLED,)), bytes((_DISABLED,)))
    if kind == Type.FWID:
        return len(value) == _FWID_SIZE
    if kind == Type.FEATURE_FLAG:
        return len(value) == _FLAG_SIZE and int.from_bytes(value, "little") in _FEATURES
    if kind == Type.VBIOS_VERSION:
        return not any(value[5:]) if len(value) == _VBIOS_SIZE else bool(value) and _is_text(value)
    return True


def _is_text(value: bytes) -> bool:
    """Whether it is printable ASCII without spaces: these texts become parts of names."""
    return not value.translate(None, _VISIBLE)
