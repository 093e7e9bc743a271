"""The words of event logs: event types, and which of them describe themselves."""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final


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
    DSTACK_RUNTIME = 0x08000001  # no TCG type: dstack's own, in the logs that it keeps as JSON
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
        EventType.DSTACK_RUNTIME,
        EventType.EFI_VARIABLE_DRIVER_CONFIG,
        EventType.EFI_GPT_EVENT,
        EventType.EFI_ACTION,
        EventType.EFI_VARIABLE_AUTHORITY,
    }
)
