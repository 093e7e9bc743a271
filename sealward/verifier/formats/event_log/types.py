"""The words of event logs: hashes, event types, and which of them describe themselves."""

from __future__ import annotations

import hashlib
from enum import IntEnum, unique
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes

if TYPE_CHECKING:
    from collections.abc import Callable


@unique
class Bank(IntEnum):
    """A hash that events are extended with (TCG Algorithm Registry)."""

    SHA1 = 0x0004
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    SM3_256 = 0x0012

    @property
    def label(self) -> str:
        """The name used in claims, as "sha256"."""
        return self.name.lower()

    @property
    def size(self) -> int:
        """Bytes of a digest."""
        return _SIZES[self]

    def digest(self, data: bytes) -> bytes:
        """Return the hash of `data`."""
        return _FUNCTIONS[self](data)


@unique
class EventType(IntEnum):
    """Event types that we name; a log may hold others (PC Client Platform Firmware Profile, 10)."""

    POST_CODE = 0x01
    NO_ACTION = 0x03
    SEPARATOR = 0x04
    ACTION = 0x05
    EVENT_TAG = 0x06
    S_CRTM_CONTENTS = 0x07
    S_CRTM_VERSION = 0x08
    CPU_MICROCODE = 0x09
    PLATFORM_CONFIG_FLAGS = 0x0A
    TABLE_OF_DEVICES = 0x0B
    COMPACT_HASH = 0x0C
    IPL = 0x0D
    NONHOST_INFO = 0x11
    EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
    EFI_VARIABLE_BOOT = 0x80000002
    EFI_BOOT_SERVICES_APPLICATION = 0x80000003
    EFI_BOOT_SERVICES_DRIVER = 0x80000004
    EFI_RUNTIME_SERVICES_DRIVER = 0x80000005
    EFI_GPT_EVENT = 0x80000006
    EFI_ACTION = 0x80000007
    EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008
    EFI_HANDOFF_TABLES = 0x80000009
    EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000000A
    EFI_HANDOFF_TABLES2 = 0x8000000B
    EFI_HCRTM_EVENT = 0x80000010
    EFI_VARIABLE_AUTHORITY = 0x800000E0


# Their digest is that of their data, by specification. Firmware and kernels do not always keep to
# it (an authority is sometimes hashed without its header, Linux hashes what its tag only names), so
# each event is compared, and one that differs is a description and no more.
SELF_DESCRIBING: Final = frozenset(
    {
        EventType.SEPARATOR,
        EventType.ACTION,
        EventType.EVENT_TAG,
        EventType.S_CRTM_VERSION,
        EventType.EFI_VARIABLE_DRIVER_CONFIG,
        EventType.EFI_GPT_EVENT,
        EventType.EFI_ACTION,
        EventType.EFI_VARIABLE_AUTHORITY,
    }
)

_SIZES: Final = {
    Bank.SHA1: 20,
    Bank.SHA256: 32,
    Bank.SHA384: 48,
    Bank.SHA512: 64,
    Bank.SM3_256: 32,
}


def _sm3(data: bytes) -> bytes:
    context = hashes.Hash(hashes.SM3())
    context.update(data)
    return context.finalize()


_FUNCTIONS: Final[dict[Bank, Callable[[bytes], bytes]]] = {
    # SHA-1 replays what old firmware logged; nothing is signed over it.
    Bank.SHA1: lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    Bank.SHA256: lambda data: hashlib.sha256(data).digest(),
    Bank.SHA384: lambda data: hashlib.sha384(data).digest(),
    Bank.SHA512: lambda data: hashlib.sha512(data).digest(),
    Bank.SM3_256: _sm3,
}
