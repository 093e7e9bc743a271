"""Policy digests (TPM 2.0 part 3, section 23): what a TPM demands before it uses an object.

Computed here so that a sealed object's authPolicy can be compared with the state that was
appraised. Each function takes the digest so far and returns the next; `start` is all zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.tpm import fields, pcr
from sealward.verifier.formats.tpm.pcr import PcrSelection

if TYPE_CHECKING:
    from sealward.verifier.formats.tpm.pcr import PcrBank
    from sealward.verifier.wire.tcg_hash import HashAlg

_CC_POLICY_PCR: Final = 0x0000017F
_CC_POLICY_COMMAND_CODE: Final = 0x0000016C


def start(algorithm: HashAlg) -> bytes:
    """Return the digest of a policy session that has just begun."""
    return bytes(algorithm.size)


def policy_pcr(algorithm: HashAlg, previous: bytes, banks: tuple[PcrBank, ...]) -> bytes:
    """Return the digest after PolicyPCR over these values.

    Args:
        algorithm: the policy session's hash, which is the object's name algorithm.
        previous: the digest so far.
        banks: the values demanded, in the order of the selection.
    """
    selections = tuple(
        PcrSelection.of(bank.bank, tuple(index for index, _ in bank.values)) for bank in banks
    )
    values = b"".join(digest for bank in banks for _, digest in bank.values)
    return algorithm.digest(
        previous
        + fields.be(_CC_POLICY_PCR, 4)
        + pcr.pack_selections(selections)
        + algorithm.digest(values)
    )


def policy_command_code(algorithm: HashAlg, previous: bytes, code: int) -> bytes:
    """Return the digest after PolicyCommandCode: the object is for this command alone."""
    return algorithm.digest(previous + fields.be(_CC_POLICY_COMMAND_CODE, 4) + fields.be(code, 4))
