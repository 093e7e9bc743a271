"""Our SNP evidence payload, media type application/vnd.sealward.snp-evidence+cbor.

    { 1: report (1184 bytes), 2: [ 1*3 certificate (DER) ] }        deterministic CBOR
    { 1: report (1184 bytes), 3: certificate table (0 to 64 KiB) }

Certificates stand leaf first: VEK, intermediate, root. A table is the host's, as the kernel gave
it, and empty where the host gave none. An attester sends what its host gave it; whoever verifies
completes the chain from its own endorsements. Specification: docs/specs/evidence-envelope.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.snp.ghcb import MAX_TABLE_BYTES
from sealward.verifier.formats.snp.report import REPORT_SIZE
from sealward.verifier.pki.certificate import MAX_CERTIFICATE_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from sealward.verifier.wire.cbor import Value

_REPORT: Final = 1
_CERTIFICATES: Final = 2
_TABLE: Final = 3
_MAX_CERTIFICATES: Final = 3
_MAX_ENDORSEMENTS: Final = max(_MAX_CERTIFICATES * MAX_CERTIFICATE_BYTES, MAX_TABLE_BYTES)
_MAX_BYTES: Final = REPORT_SIZE + _MAX_ENDORSEMENTS + 64  # 64: CBOR heads
_SHAPES: Final = ({_REPORT, _CERTIFICATES}, {_REPORT, _TABLE})


@dataclass(frozen=True, slots=True)
class Evidence:
    """A report and what came with it; nothing is verified.

    Attributes:
        report: 1184 bytes.
        certificates: DER, leaf first; none where a table came.
        table: the GHCB certificate table, not parsed, or None where certificates came.
    """

    report: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    table: bytes | None = field(default=None, repr=False)


def encode(evidence: Evidence) -> bytes:
    """Return the payload of `evidence`."""
    if evidence.table is not None:
        return cbor.encode({_REPORT: evidence.report, _TABLE: evidence.table})
    return cbor.encode({_REPORT: evidence.report, _CERTIFICATES: evidence.certificates})


def parse(payload: bytes) -> Evidence:
    """Read a payload; what the byte strings hold is not looked at.

    Raises:
        MalformedEvidence: not the map above, or beyond the sizes of its parts.
    """
    what = "SNP evidence"
    value = cbor.decode(payload, what=what, max_bytes=_MAX_BYTES)
    if not isinstance(value, dict) or value.keys() not in _SHAPES:
        raise MalformedEvidence(0, f"{what}: not a map of exactly 1 and 2, or 1 and 3")
    report = value[_REPORT]
    if not isinstance(report, bytes) or len(report) != REPORT_SIZE:
        raise MalformedEvidence(0, f"{what}: the report is not {REPORT_SIZE} bytes")
    if _CERTIFICATES in value:
        return Evidence(report, _certificates(value[_CERTIFICATES], what))
    table = value[_TABLE]
    if not isinstance(table, bytes) or len(table) > MAX_TABLE_BYTES:
        raise MalformedEvidence(0, f"{what}: a table is a byte string of bounded size")
    return Evidence(report, (), table)


def _certificates(value: Value, what: str) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_CERTIFICATES:
        raise MalformedEvidence(0, f"{what}: a list of 1 to {_MAX_CERTIFICATES} certificates")
    result: list[bytes] = []
    for item in value:
        if not isinstance(item, bytes) or not 0 < len(item) <= MAX_CERTIFICATE_BYTES:
            raise MalformedEvidence(0, f"{what}: a certificate is a byte string of bounded size")
        result.append(item)
    return tuple(result)
