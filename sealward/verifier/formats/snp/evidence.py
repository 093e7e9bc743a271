"""Our SNP evidence payload, media type application/vnd.sealward.snp-evidence+cbor.

    { 1: report (1184 bytes), 2: [ 1*3 certificate (DER) ] }        deterministic CBOR

Certificates stand leaf first: VEK, intermediate, root. An attester sends what its host gave it;
whoever verifies completes the chain from its own endorsements. Specification:
docs/specs/evidence-envelope.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.snp.report import REPORT_SIZE
from sealward.verifier.pki.certificate import MAX_CERTIFICATE_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from sealward.verifier.wire.cbor import Value

_REPORT: Final = 1
_CERTIFICATES: Final = 2
_MAX_CERTIFICATES: Final = 3
_MAX_BYTES: Final = REPORT_SIZE + _MAX_CERTIFICATES * MAX_CERTIFICATE_BYTES + 64  # 64: CBOR heads


@dataclass(frozen=True, slots=True)
class Evidence:
    """A report and the certificates that came with it, DER, leaf first; nothing is verified."""

    report: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)


def encode(evidence: Evidence) -> bytes:
    """Return the payload of `evidence`."""
    return cbor.encode({_REPORT: evidence.report, _CERTIFICATES: evidence.certificates})


def parse(payload: bytes) -> Evidence:
    """Read a payload; what the byte strings hold is not looked at.

    Raises:
        MalformedEvidence: not the map above, or beyond the sizes of its parts.
    """
    what = "SNP evidence"
    value = cbor.decode(payload, what=what, max_bytes=_MAX_BYTES)
    if not isinstance(value, dict) or value.keys() != {_REPORT, _CERTIFICATES}:
        raise MalformedEvidence(0, f"{what}: not a map of exactly 1 and 2")
    report = value[_REPORT]
    if not isinstance(report, bytes) or len(report) != REPORT_SIZE:
        raise MalformedEvidence(0, f"{what}: the report is not {REPORT_SIZE} bytes")
    return Evidence(report, _certificates(value[_CERTIFICATES], what))


def _certificates(value: Value, what: str) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_CERTIFICATES:
        raise MalformedEvidence(0, f"{what}: a list of 1 to {_MAX_CERTIFICATES} certificates")
    result: list[bytes] = []
    for item in value:
        if not isinstance(item, bytes) or not 0 < len(item) <= MAX_CERTIFICATE_BYTES:
            raise MalformedEvidence(0, f"{what}: a certificate is a byte string of bounded size")
        result.append(item)
    return tuple(result)
