"""Our Azure evidence payload, media type application/vnd.sealward.azure-evidence+cbor.

    {
      1: HCL report,                        6: event log / null,
      2: TPMS_ATTEST of the quote,          7: certificate of the attestation key (DER) / null,
      3: TPMT_SIGNATURE,                    8: TD quote / null,
      4: TPMT_PUBLIC of the AK,             9: VCEK, ASK, ARK (PEM) / null,
      5: [ + [ bank: uint, [ + [ index: uint, value ] ] ] ],
    }                                                                       deterministic CBOR

2 to 6 are what 1 to 5 of TPM evidence are, and are read as such. Specification:
docs/specs/evidence-envelope.md, section 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.composite.azure_vtpm import Evidence
from sealward.verifier.formats.hcl.report import MAX_REPORT_BYTES
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor, pem

if TYPE_CHECKING:
    from sealward.verifier.wire.cbor import Value

_MAX_BYTES: Final = 256 * 1024
_MAX_KEY_CERTIFICATE: Final = 4096  # the size of the NV index that holds it
_MAX_TD_QUOTE: Final = 16 * 1024
_MAX_PEM: Final = 16 * 1024
_KEYS: Final = frozenset(range(1, 10))
_TPM_MEMBERS: Final = range(1, 6)  # of TPM evidence; one higher here
_WHAT: Final = "Azure evidence"


def parse(payload: bytes) -> Evidence:
    """Read a payload; what the byte strings hold is not looked at.

    Raises:
        MalformedEvidence: not the map above, or beyond the sizes of its parts.
    """
    value = cbor.decode(payload, what=_WHAT, max_bytes=_MAX_BYTES)
    if not isinstance(value, dict) or value.keys() != _KEYS:
        raise MalformedEvidence(0, f"{_WHAT}: not a map of exactly 1 to 9")
    members: dict[int | bytes | str, Value] = {at: value[at + 1] for at in _TPM_MEMBERS}
    tpm = tpm_evidence.of_members({**members, 6: None, 7: None, 8: None})
    _optional(value[7], _MAX_KEY_CERTIFICATE, "certificate of the attestation key")
    report = _optional(value[1], MAX_REPORT_BYTES, "HCL report")
    if report is None:
        raise MalformedEvidence(0, f"{_WHAT}: the HCL report is missing")
    return Evidence(
        report=report,
        message=tpm.message,
        signature=tpm.signature,
        ak_public=tpm.ak_public,
        pcrs=tpm.pcrs,
        event_log=tpm.event_log,
        td_quote=_optional(value[8], _MAX_TD_QUOTE, "TD quote"),
        armoured=_optional(value[9], _MAX_PEM, "certificates"),
    )


def certificates(evidence: Evidence) -> tuple[bytes, ...]:
    """Return all certificates of the chip, DER, those in PEM first.

    Raises:
        MalformedEvidence: the PEM does not parse.
    """
    if evidence.armoured is None:
        return evidence.certificates
    decoded = pem.decode(evidence.armoured, what="certificates", max_bytes=_MAX_PEM)
    return decoded + evidence.certificates


def _optional(value: Value, most: int, what: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, bytes) or not 0 < len(value) <= most:
        raise MalformedEvidence(0, f"{_WHAT}: {what}: a byte string of 1 to {most} bytes, or null")
    return value
