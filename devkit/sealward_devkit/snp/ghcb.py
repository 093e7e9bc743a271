"""Mints the GHCB certificate table, which a host hands out beside a report (configfs `auxblob`).

Entries of 18h bytes {GUID, offset u32 LE, length u32 LE} ended by an all-zero entry, then the
contents; GUID bytes in RFC 4122 order (evidence-formats section 2).
"""

from __future__ import annotations

import struct
from typing import Final
from uuid import UUID

ARK: Final = UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")
ASK: Final = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")  # also the ASVK
VCEK: Final = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
VLEK: Final = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
CRL: Final = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")

_ENTRY_SIZE: Final = 0x18


def mint_certificate_table(*entries: tuple[UUID, bytes]) -> bytes:
    """The table of `entries` in the order given, contents packed behind it without gaps."""
    offset = (len(entries) + 1) * _ENTRY_SIZE
    table = bytearray()
    for guid, content in entries:
        table += guid.bytes + struct.pack("<II", offset, len(content))
        offset += len(content)
    table += bytes(_ENTRY_SIZE)
    return bytes(table) + b"".join(content for _, content in entries)
