"""Our payload for one device, media type application/vnd.sealward.nvidia-evidence+cbor.

    { 1: report, 2: certificates (PEM, leaf first) }        deterministic CBOR

Specification: docs/specs/evidence-envelope.md section 9.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sealward.verifier.formats.nvidia_gpu.chain import MAX_PEM_BYTES
from sealward.verifier.formats.nvidia_gpu.report import MAX_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor

_REPORT: Final = 1
_CERTIFICATES: Final = 2
_MAX_BYTES: Final = MAX_BYTES + MAX_PEM_BYTES + 64  # 64: CBOR heads
_WHAT: Final = "NVIDIA evidence"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A report and the chain beside it; nothing is verified."""

    report: bytes = field(repr=False)
    certificates: bytes = field(repr=False)


def encode(evidence: Evidence) -> bytes:
    """Return the payload of `evidence`."""
    return cbor.encode({_REPORT: evidence.report, _CERTIFICATES: evidence.certificates})


def parse(payload: bytes) -> Evidence:
    """Read a payload; what the byte strings hold is not looked at.

    Raises:
        MalformedEvidence: not the map above.
    """
    value = cbor.decode(payload, what=_WHAT, max_bytes=_MAX_BYTES)
    if not isinstance(value, dict) or value.keys() != {_REPORT, _CERTIFICATES}:
        raise MalformedEvidence(0, f"{_WHAT}: not a map of exactly 1 and 2")
    report, certificates = value[_REPORT], value[_CERTIFICATES]
    if not isinstance(report, bytes) or not isinstance(certificates, bytes):
        raise MalformedEvidence(0, f"{_WHAT}: report and certificates are byte strings")
    return Evidence(report, certificates)
