"""Names of objects (TPM 2.0 part 1, section 16): what a TPM calls a key, whoever holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.tpm import fields
from sealward.verifier.formats.tpm import public as publics

if TYPE_CHECKING:
    from sealward.verifier.formats.tpm.public import Public

# Hierarchies have no public area: their handle is their Name and their qualified Name.
ENDORSEMENT_HIERARCHY: Final = b"\x40\x00\x00\x0b"
OWNER_HIERARCHY: Final = b"\x40\x00\x00\x01"


def name(public: Public) -> bytes:
    """Return the Name: hash identifier and the hash of the public area."""
    return fields.be(public.name_alg, 2) + public.name_alg.digest(publics.encode(public))


def qualified_name(parent: bytes, public: Public) -> bytes:
    """Return the qualified Name of an object below `parent`, itself a qualified Name.

    It binds the whole way up to a hierarchy: two TPMs that load one key under other parents call it
    differently.
    """
    digest = public.name_alg.digest(parent + name(public))
    return fields.be(public.name_alg, 2) + digest
