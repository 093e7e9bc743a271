"""Our Hygon CSV evidence payload, media type application/vnd.sealward.hygon-evidence+cbor.

    { 1: report (2,548 bytes), 2: CEK (2,084 bytes), 3: HSK (832 bytes), 4: HRK (832 bytes) }

Deterministic CBOR; report and certificates inside are as Hygon writes them, and the PEK is in the
report.
Specification: docs/specs/evidence-envelope.md section 15.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sealward.verifier.formats.hygon_csv.certificate import CA_SIZE, CSV_SIZE
from sealward.verifier.formats.hygon_csv.endorsements import Endorsements
from sealward.verifier.formats.hygon_csv.report import REPORT_SIZE
from sealward.verifier.wire import cbor
from sealward.verifier.wire.statement import Statement

_REPORT, _CEK, _HSK, _HRK = 1, 2, 3, 4
_HEADS: Final = 32
_MAX_BYTES: Final = REPORT_SIZE + CSV_SIZE + 2 * CA_SIZE + _HEADS


@dataclass(frozen=True, slots=True)
class Evidence:
    """A report and the certificates above its PEK; neither is looked into here."""

    report: bytes = field(repr=False)
    endorsements: Endorsements


def encode(evidence: Evidence) -> bytes:
    """Return the payload."""
    above = evidence.endorsements
    return cbor.encode(
        {_REPORT: evidence.report, _CEK: above.cek, _HSK: above.hsk, _HRK: above.hrk}
    )


def parse(payload: bytes) -> Evidence:
    """Read a payload.

    Raises:
        MalformedEvidence: not the map above with its sizes.
    """
    fields = Statement.decode(payload, what="CSV evidence", max_bytes=_MAX_BYTES)
    report = fields.octets(_REPORT, "report", size=REPORT_SIZE)
    endorsements = Endorsements(
        cek=fields.octets(_CEK, "CEK", size=CSV_SIZE),
        hsk=fields.octets(_HSK, "HSK", size=CA_SIZE),
        hrk=fields.octets(_HRK, "HRK", size=CA_SIZE),
    )
    fields.finish()
    return Evidence(report, endorsements)
