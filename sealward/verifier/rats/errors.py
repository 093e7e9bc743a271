"""What the verifier raises: a closed tree of two families, told apart by whose step failed.

    VerifierError
    |-- MalformedEvidence   the bytes are not what their format allows; raised by parsers only
    `-- RefusedEvidence     well-formed bytes that prove nothing to us; raised by verification only

Functions that do both (`authenticate`) raise both and say so. Nothing else escapes the verifier
for any input. An error is data: edges translate `code` and never look into the text.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sealward.verifier.rats.collateral import Key


@unique
class Code(StrEnum):
    """Why the verifier refused: the closed list that crosses process and wire boundaries."""

    MALFORMED = "malformed"
    UNSUPPORTED_FORMAT = "unsupported_format"

    # What was given is not enough, or too much, to reach an answer.
    ENDORSEMENT_MISSING = "endorsement_missing"
    EVIDENCE_MISSING = "evidence_missing"
    EVIDENCE_AMBIGUOUS = "evidence_ambiguous"

    # Chain of trust.
    ROOT_NOT_PINNED = "root_not_pinned"
    ROOT_IMITATES_VENDOR = "root_imitates_vendor"
    DEVELOPMENT_ROOT_INVALID = "development_root_invalid"
    CHAIN_BROKEN = "chain_broken"
    CERTIFICATE_FORBIDDEN = "certificate_forbidden"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"
    ALGORITHM_FORBIDDEN = "algorithm_forbidden"

    # Signed statements and lists that do not travel with the evidence.
    COLLATERAL_NOT_YET_VALID = "collateral_not_yet_valid"
    COLLATERAL_EXPIRED = "collateral_expired"
    COLLATERAL_MISMATCH = "collateral_mismatch"

    # The evidence against its endorsements.
    SIGNATURE_INVALID = "signature_invalid"
    KEY_KIND_MISMATCH = "key_kind_mismatch"
    PRODUCT_MISMATCH = "product_mismatch"
    TCB_MISMATCH = "tcb_mismatch"
    CHIP_MISMATCH = "chip_mismatch"
    KEY_ATTRIBUTES_FORBIDDEN = "key_attributes_forbidden"
    PCR_MISMATCH = "pcr_mismatch"
    LOCK_INVALID = "lock_invalid"
    ATTESTATION_KEY_UNPROVEN = "attestation_key_unproven"
    QE_IDENTITY_MISMATCH = "qe_identity_mismatch"
    TDX_MODULE_MISMATCH = "tdx_module_mismatch"
    TCB_LEVEL_UNMATCHED = "tcb_level_unmatched"
    EVENT_LOG_INVALID = "event_log_invalid"
    EVENT_LOG_MISMATCH = "event_log_mismatch"
    PARTS_MISMATCH = "parts_mismatch"  # each genuine or unsigned, and not of one machine
    LIFECYCLE_FORBIDDEN = "lifecycle_forbidden"

    # Devices and their manifests (docs/specs/evidence-envelope.md sections 9 and 10).
    FWID_MISMATCH = "fwid_mismatch"
    RIM_CONFLICT = "rim_conflict"
    FIRMWARE_NEWER_THAN_RIM = "firmware_newer_than_rim"
    DEVICE_REPEATED = "device_repeated"

    # Binding and freshness (docs/specs/evidence-binding.md).
    BINDING_MISMATCH = "binding_mismatch"
    AUDIENCE_MISMATCH = "audience_mismatch"
    REQUESTER_MISMATCH = "requester_mismatch"
    NOT_FRESH = "not_fresh"


class VerifierError(Exception):
    """Base of everything the verifier raises; never raised itself.

    Attributes:
        code: one of the closed list.
        detail: one English clause for an operator; holds no secrets, as evidence holds none.
    """

    code: Code
    detail: str


class MalformedEvidence(VerifierError):
    """Bytes outside their format.

    Attributes:
        offset: byte position, in the buffer being read, at which reading stopped.
        what: the field or rule, for example "VERSION: only 2 to 5 are known".
    """

    def __init__(self, offset: int, what: str) -> None:
        self.code = Code.MALFORMED
        self.offset: Final = offset
        self.what: Final = what
        self.detail = f"{what} (at byte {offset})"
        super().__init__(self.detail)


class RefusedEvidence(VerifierError):
    """Well-formed evidence or endorsements that do not hold.

    Attributes:
        claim: path of the claim or field concerned, or None when no single one is.
        expected: what would have been accepted, in readable form.
        actual: what was found, in readable form.
        hint: what to do next, or None.
        needs: collateral that was looked for and not held, with ENDORSEMENT_MISSING.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        claim: str | None = None,
        expected: str | None = None,
        actual: str | None = None,
        hint: str | None = None,
        needs: tuple[Key, ...] = (),
    ) -> None:
        self.code = code
        self.detail = detail
        self.claim: Final = claim
        self.expected: Final = expected
        self.actual: Final = actual
        self.hint: Final = hint
        self.needs: Final = needs
        super().__init__(f"{code}: {detail}")
