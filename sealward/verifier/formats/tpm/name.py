"""Names of objects (TPM 2.0 part 1, section 16): what a TPM calls a key, whoever holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealward.verifier.formats.tpm import fields
from sealward.verifier.formats.tpm import public as publics

if TYPE_CHECKING:
    from sealward.verifier.formats.tpm.public import Public


def name(public: Public) -> bytes:
    """Return the Name: hash identifier and the hash of the public area."""
    return fields.be(public.name_alg, 2) + public.name_alg.digest(publics.encode(public))
