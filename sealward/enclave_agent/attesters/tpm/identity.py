"""The keys by which a process attests: an attestation key of its own, and the TPM's endorsement.

The attestation key is made anew for each process and kept as two blobs: a restart is a new instance
(security-requirements F5), and nothing is left in the TPM.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.tpm import errors, keys
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.keys import EndorsementKeyKind, Hierarchy

if TYPE_CHECKING:
    from sealward.enclave_agent.attesters.tpm.answers import Created
    from sealward.enclave_agent.attesters.tpm.commands import Tpm
    from sealward.enclave_agent.attesters.tpm.keys import AttestationKeyKind

# By what a TPM needs to derive the key where it is not kept: RSA can take it half a minute.
ORDER: Final = (
    EndorsementKeyKind.ECC_P256,
    EndorsementKeyKind.ECC_P384,
    EndorsementKeyKind.RSA_2048,
)


@dataclass(frozen=True, slots=True)
class Endorsement:
    """An endorsement key that has a certificate: its kind, and the certificate (DER)."""

    kind: EndorsementKeyKind
    certificate: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same in all evidence of a process.

    Attributes:
        key: the attestation key.
        hierarchy: whose seed the parents of all that this process makes come from.
        endorsement: which endorsement key stands behind it.
        ek_public: that key's TPMT_PUBLIC.
    """

    key: Created
    hierarchy: Hierarchy
    endorsement: Endorsement
    ek_public: bytes = field(repr=False)


def endorsement(tpm: Tpm, kind: EndorsementKeyKind | None) -> Endorsement:
    """Find the certificate of an endorsement key of this kind, or else the first in `ORDER`.

    Raises:
        TpmError: the TPM holds none, or fails.
    """
    for candidate in ORDER if kind is None else (kind,):
        try:
            return Endorsement(candidate, keys.endorsement_certificate(tpm, candidate))
        except TpmError as error:
            if kind is not None or not error.says(errors.HANDLE):
                raise
    raise TpmError(
        None,
        "The TPM holds no certificate of an endorsement key, without which no control plane can "
        "tell whose TPM it is (makers put it there; a virtual TPM gets it from its host's CA).",
    )


def make(tpm: Tpm, kind: AttestationKeyKind, wanted: EndorsementKeyKind | None) -> Identity:
    """Make a new attestation key beside the endorsement key.

    Raises:
        TpmError: there is no certificate or no such key, both hierarchies are closed to us, or the
            TPM fails.
    """
    found = endorsement(tpm, wanted)
    with keys.endorsement_key(tpm, found.kind) as endorsing:
        ek_public = endorsing.public.area
    try:
        hierarchy = Hierarchy.ENDORSEMENT
        key = keys.create_attestation_key(tpm, kind, hierarchy)
    except TpmError as error:
        if error.code is None:
            raise
        hierarchy = Hierarchy.OWNER  # the other may be switched off, or have a password
        key = keys.create_attestation_key(tpm, kind, hierarchy)
    return Identity(key, hierarchy, found, ek_public)
