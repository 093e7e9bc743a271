"""What sealing raises: one base with a closed list of codes, told apart by whose step failed.

    SealedModelError
    |-- MalformedSealedModel   bytes outside their format; raised by parsers only
    |-- RefusedSealedModel     a well-formed file, wrap or key that does not hold
    `-- UnsealableModel        the plain model an owner wants to seal cannot be sealed

Nothing else escapes for any input from outside. An error is data: edges translate `code` and never
look into the text. No error carries plaintext, key material, or bytes of either.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum, unique

from sealward.verifier.rats.errors import MalformedEvidence


@unique
class Code(StrEnum):
    """Why sealing refused: the closed list of docs/specs/sealed-model.md section 8."""

    # Bytes outside their format.
    NOT_A_SEALED_MODEL = "not_a_sealed_model"
    UNSUPPORTED_VERSION = "unsupported_version"
    OVER_BUDGET = "over_budget"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    MALFORMED_HEADER = "malformed_header"
    NOT_CANONICAL = "not_canonical"
    DIGEST_LIST_MISMATCH = "digest_list_mismatch"
    RESERVED_NOT_ZERO = "reserved_not_zero"
    MALFORMED_KEY = "malformed_key"
    MALFORMED_WRAP = "malformed_wrap"
    MALFORMED_TENSOR_TABLE = "malformed_tensor_table"

    # Well-formed, and does not hold.
    OTHER_CREATOR = "other_creator"
    SIGNATURE_INVALID = "signature_invalid"
    HEADER_MISMATCH = "header_mismatch"
    NOT_AUTHENTICATED = "not_authenticated"
    SEGMENT_DIGEST_MISMATCH = "segment_digest_mismatch"
    NO_WRAP_FOR_KEY = "no_wrap_for_key"
    WRAP_REFUSED = "wrap_refused"
    CONTENT_KEY_MISMATCH = "content_key_mismatch"
    BODY_REFUSED = "body_refused"
    NO_SUCH_PART = "no_such_part"
    SOURCE_FAILED = "source_failed"

    # The plain model.
    NOT_A_MODEL = "not_a_model"
    UNSUPPORTED_MODEL = "unsupported_model"
    HOSTILE_EXTERNAL_PATH = "hostile_external_path"
    SOURCE_CHANGED = "source_changed"
    PARAMETER_INVALID = "parameter_invalid"


class SealedModelError(Exception):
    """Base of everything sealing raises; never raised itself.

    Attributes:
        code: one of the closed list.
        detail: one English clause for a person.
        hint: what to do next, or None.
    """

    def __init__(self, code: Code, detail: str, *, hint: str | None = None) -> None:
        self.code = code
        self.detail = detail
        self.hint = hint
        super().__init__(f"{code}: {detail}")


class MalformedSealedModel(SealedModelError):
    """Bytes that are not what their format allows."""


class RefusedSealedModel(SealedModelError):
    """A well-formed file, wrap or key that does not hold."""


class UnsealableModel(SealedModelError):
    """A plain model, or what is said about it, that cannot become a sealed model."""


@contextmanager
def as_malformed(code: Code) -> Iterator[None]:
    """Translate the byte readers' one error to ours, at the boundary of a parser here."""
    try:
        yield
    except MalformedEvidence as error:
        raise MalformedSealedModel(code, error.detail) from None
