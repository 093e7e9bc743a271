"""Our TPM evidence payload, media type application/vnd.sealward.tpm-evidence+cbor.

    {
      1: TPMS_ATTEST of the quote,          5: event log / null,
      2: TPMT_SIGNATURE,                    6: certificate of the EK (DER) / null,
      3: TPMT_PUBLIC of the AK,             7: TPMT_PUBLIC of the EK / null,
      4: [ + [ bank: uint, [ + [ index: uint, value ] ] ] ],
                                            8: TPMT_PUBLIC of the lock object / null,
    }                                                                       deterministic CBOR

Banks ascend by identifier, PCRs by index: one state has one encoding. Specification:
docs/specs/evidence-envelope.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeGuard

from sealward.verifier.formats.tpm.attest import MAX_ATTEST_BYTES
from sealward.verifier.formats.tpm.pcr import MAX_BANKS, PCR_COUNT, PcrBank
from sealward.verifier.formats.tpm.public import MAX_PUBLIC_BYTES
from sealward.verifier.pki.certificate import MAX_CERTIFICATE_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealward.verifier.wire.cbor import Value

MAX_LOG_BYTES: Final = 192 * 1024  # real logs have 15 to 50 KiB; the envelope holds 256
_MAX_SIGNATURE_BYTES: Final = 1024
_MAX_BYTES: Final = 256 * 1024
_PAIR: Final = 2
_KEYS: Final = frozenset(range(1, 9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A quote and what belongs to it; nothing is verified.

    Attributes:
        message: TPMS_ATTEST.
        signature: TPMT_SIGNATURE.
        ak_public: TPMT_PUBLIC, without the size in front that TPM2B_PUBLIC has.
        pcrs: the values quoted, banks ascending by identifier.
        event_log: as firmware and kernel left it, or None.
        ek_certificate: DER, or None.
        ek_public: TPMT_PUBLIC of the endorsement key, or None.
        lock_public: TPMT_PUBLIC of the lock object (docs/specs/tpm-node.md 4), or None.
    """

    message: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    ak_public: bytes = field(repr=False)
    pcrs: tuple[PcrBank, ...]
    event_log: bytes | None = field(repr=False, default=None)
    ek_certificate: bytes | None = field(repr=False, default=None)
    ek_public: bytes | None = field(repr=False, default=None)
    lock_public: bytes | None = field(repr=False, default=None)


def encode(evidence: Evidence) -> bytes:
    """Return the payload of `evidence`."""
    return cbor.encode(
        {
            1: evidence.message,
            2: evidence.signature,
            3: evidence.ak_public,
            4: [
                [int(bank.bank), [[index, digest] for index, digest in bank.values]]
                for bank in evidence.pcrs
            ],
            5: evidence.event_log,
            6: evidence.ek_certificate,
            7: evidence.ek_public,
            8: evidence.lock_public,
        }
    )


def parse(payload: bytes) -> Evidence:
    """Read a payload; what the byte strings hold is not looked at.

    Raises:
        MalformedEvidence: not the map above, or beyond the sizes of its parts.
    """
    what = "TPM evidence"
    value = cbor.decode(payload, what=what, max_bytes=_MAX_BYTES)
    if not isinstance(value, dict) or value.keys() != _KEYS:
        raise MalformedEvidence(0, f"{what}: not a map of exactly 1 to 8")
    return of_members(value)


def of_members(value: Mapping[int | bytes | str, Value]) -> Evidence:
    """Read the members of a payload, all eight of which are there.

    Raises:
        MalformedEvidence: a member of another type, or beyond its size.
    """
    return Evidence(
        message=_octets(value[1], MAX_ATTEST_BYTES, "quote"),
        signature=_octets(value[2], _MAX_SIGNATURE_BYTES, "signature"),
        ak_public=_octets(value[3], MAX_PUBLIC_BYTES, "AK public"),
        pcrs=_banks(value[4]),
        event_log=_optional(value[5], MAX_LOG_BYTES, "event log"),
        ek_certificate=_optional(value[6], MAX_CERTIFICATE_BYTES, "EK certificate"),
        ek_public=_optional(value[7], MAX_PUBLIC_BYTES, "EK public"),
        lock_public=_optional(value[8], MAX_PUBLIC_BYTES, "lock object"),
    )


def _optional(value: Value, most: int, what: str) -> bytes | None:
    return None if value is None else _octets(value, most, what)


def _octets(value: Value, most: int, what: str) -> bytes:
    if not isinstance(value, bytes) or not 0 < len(value) <= most:
        raise MalformedEvidence(0, f"TPM evidence: {what}: a byte string of 1 to {most} bytes")
    return value


def _banks(value: Value) -> tuple[PcrBank, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_BANKS:
        raise MalformedEvidence(0, f"TPM evidence: 1 to {MAX_BANKS} banks of PCRs")
    banks = tuple(_bank(item) for item in value)
    if any(a.bank >= b.bank for a, b in pairwise(banks)):
        raise MalformedEvidence(0, "TPM evidence: banks are not strictly ascending")
    return banks


def _bank(value: Value) -> PcrBank:
    algorithm, values = _pair(value)
    if not _is_uint(algorithm) or not isinstance(values, list) or not values:
        raise MalformedEvidence(0, "TPM evidence: a bank is [hash identifier, values]")
    try:
        return PcrBank(HashAlg(algorithm), tuple(_value(item) for item in values))
    except ValueError as error:
        raise MalformedEvidence(0, f"TPM evidence: {error}") from None


def _value(value: Value) -> tuple[int, bytes]:
    index, digest = _pair(value)
    if type(index) is not int or not 0 <= index < PCR_COUNT or not isinstance(digest, bytes):
        raise MalformedEvidence(0, "TPM evidence: a PCR is [index, value]")
    return index, digest


def _is_uint(value: Value) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _pair(value: Value) -> tuple[Value, Value]:
    if not isinstance(value, list) or len(value) != _PAIR:
        raise MalformedEvidence(0, "TPM evidence: not a pair")
    first, second = value
    return first, second
