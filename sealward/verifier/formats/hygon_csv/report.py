"""The Hygon CSV attestation report of version 1, bytes to fields (all numbers little-endian).

       0  user_pubkey_digest 32      188  anonce 4
      32  vm_id 16                   192  signature: r 72, s 72
      48  vm_version 16              336  PEK certificate 2,084
      64  report_data 64            2420  serial number 64
     128  mnonce 16                 2484  reserved 32
     144  measure 32                2516  mac 32
     176  policy u32
     180  signature usage u32
     184  signature algorithm u32

All but anonce, signature and mac stand XORed with anonce, repeated from the start of the report.
The PEK signs the first 180 bytes as they stand. The mac is HMAC with SM3 over bytes 336 to 2515 as
they stand, its key the mnonce, which the report itself tells: it shows accidents, and no forger.

ANONCE IS NOT SIGNED: whoever carries a report can choose another, and all fields change with it,
in the same bits of every four bytes; README.md says what that leaves proven. The bytes called
reserved are not zero in a real report, and nobody says what they are: they are not looked at.

Nothing is verified here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from sealward.verifier.formats.hygon_csv import certificate
from sealward.verifier.formats.hygon_csv.certificate import Certificate
from sealward.verifier.pki.sm2 import Signature
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

REPORT_SIZE: Final = 2548
SIGNED_SIZE: Final = 180
REPORT_DATA_SIZE: Final = 64

# name, struct code, offset: the offsets are checked by a test, and read beside the table above.
FIELDS: Final = (
    ("user_pubkey_digest", "32s", 0),
    ("vm_id", "16s", 32),
    ("vm_version", "16s", 48),
    ("report_data", "64s", 64),
    ("mnonce", "16s", 128),
    ("measure", "32s", 144),
    ("policy", "I", 176),
    ("sig_usage", "I", 180),
    ("sig_algo", "I", 184),
)
_LAYOUT: Final = struct.Struct("<" + "".join(code for _, code, _ in FIELDS))

# Bits 0 to 5 are those of AMD SEV, 6 and 7 Hygon's; the upper bytes are least versions.
POLICY_FLAGS: Final = (
    ("no_debug", 0),
    ("no_key_sharing", 1),
    ("encrypted_state", 2),
    ("no_send", 3),
    ("same_domain", 4),
    ("csv", 5),
    ("csv3", 6),
    ("asid_reuse", 7),
)

_WHAT: Final = "CSV report"
_PEK_AT: Final = 336
_SERIAL_AT: Final = _PEK_AT + certificate.CSV_SIZE
_SERIAL_SIZE: Final = 64
_RESERVED_SIZE: Final = 32
_MAC_SIZE: Final = 32
_NUMBER: Final = 72
_ANONCE_SIZE: Final = 4
_SIG_USAGE_AT, _SIG_ALGO_AT = 180, 184
_SERIAL_CHARACTERS: Final = frozenset(range(0x21, 0x7F))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A parsed and unverified report, unmasked; field names are Hygon's.

    Attributes:
        policy: what the guest was launched to allow.
        pek: the certificate that came inside.
        pek_bytes: the same, unmasked.
        serial: of the processor. Nothing signs it.
        anonce: what everything was masked with. Nothing signs it either.
        signed: the signed bytes, as they stand in the report.
        mac: over `maced`, both as they stand in the report.
    """

    user_pubkey_digest: bytes
    vm_id: bytes
    vm_version: bytes
    report_data: bytes
    mnonce: bytes
    measure: bytes
    policy: int
    sig_usage: int
    sig_algo: int
    anonce: bytes
    pek: Certificate
    serial: str
    signature: Signature = field(repr=False)
    pek_bytes: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    maced: bytes = field(repr=False)
    mac: bytes = field(repr=False)

    @property
    def policy_flags(self) -> tuple[tuple[str, bool], ...]:
        """The guest policy bit by bit."""
        return tuple((name, bool(self.policy >> bit & 1)) for name, bit in POLICY_FLAGS)


def looks_like(data: bytes) -> bool:
    """Whether it has the size of a report, and a Hygon key's user id where its PEK has one."""
    if len(data) != REPORT_SIZE:
        return False
    reader = Reader(data)
    reader.seek(_ANONCE_AT, _WHAT)
    anonce = reader.take(_ANONCE_SIZE, _WHAT)
    reader.seek(_PEK_AT, _WHAT)
    pek = _unmask(reader.take(certificate.CSV_SIZE, _WHAT), anonce)
    return certificate.USER_ID_PREFIX in pek


def parse(data: bytes) -> Report:
    """Read a report.

    Raises:
        MalformedEvidence: another size, or a value that the format does not have.
    """
    reader = Reader(data)
    masked = reader.take(_LAYOUT.size, _WHAT)
    anonce = reader.take(_ANONCE_SIZE, _WHAT)
    signature = Signature(reader.le(_NUMBER, _WHAT), reader.le(_NUMBER, _WHAT))
    start = reader.offset
    pek_bytes = _unmask(reader.take(certificate.CSV_SIZE, _WHAT), anonce)
    serial = _serial(_unmask(reader.take(_SERIAL_SIZE, _WHAT), anonce))
    reader.take(_RESERVED_SIZE, _WHAT)
    maced = reader.since(start)
    mac = reader.take(_MAC_SIZE, _WHAT)
    reader.finish()
    values = Reader(_unmask(masked, anonce)).unpack(_LAYOUT, _WHAT)
    report = Report(
        **dict(zip(_NAMES, values, strict=True)),
        anonce=anonce,
        pek=certificate.parse_csv(pek_bytes, base=_PEK_AT),
        serial=serial,
        signature=signature,
        pek_bytes=pek_bytes,
        signed=Reader(data).take(SIGNED_SIZE, _WHAT),
        maced=maced,
        mac=mac,
    )
    _check(report)
    return report


_NAMES: Final = tuple(name for name, _, _ in FIELDS)
_ANONCE_AT: Final = _LAYOUT.size  # the masked fields end where anonce begins


def _unmask(data: bytes, anonce: bytes) -> bytes:
    """Return `data`, which begins at a multiple of four in the report, without its mask."""
    size = len(data)
    mask = anonce * (size // _ANONCE_SIZE)
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


def _serial(field_bytes: bytes) -> str:
    text = field_bytes.rstrip(b"\0")
    if not text or not _SERIAL_CHARACTERS.issuperset(text):
        raise MalformedEvidence(_SERIAL_AT, f"{_WHAT}: the serial number is not printable text")
    return text.decode("ascii")


def _check(report: Report) -> None:
    """Refuse what the signature does not cover and the format has one value of."""
    if report.sig_usage != certificate.Usage.PEK:
        raise MalformedEvidence(
            _SIG_USAGE_AT, f"{_WHAT}: signature usage {report.sig_usage:#x}, only 0x1002 is known"
        )
    if report.sig_algo != certificate.SM2_SM3:
        raise MalformedEvidence(
            _SIG_ALGO_AT, f"{_WHAT}: signature algorithm {report.sig_algo:#x}, only 0x4 is known"
        )
