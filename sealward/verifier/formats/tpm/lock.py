"""Lock objects: what ties a wrapped key to one TPM in one state (docs/specs/tpm-node.md 4).

A credential made for the Name of a lock object opens in the TPM of the endorsement key only, and
there only while the PCRs have the values that the object's policy names: ActivateCredential needs
the ADMIN role of the object, `adminWithPolicy` lets nothing but the policy give that role (TPM 2.0
part 1, section 19.2), and both are part of the Name.

The object must be in a TPM with its sensitive part: beside one that was loaded from its public area
alone, ActivateCredential fails with TPM_RC_AUTH_UNAVAILABLE (seen on swtpm, also for keys and with
other attributes: tests/integration/test_tpm_software_key.py). So neither a lock object nor an
attestation key that somebody has only written down opens anything.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.tpm import name, policy
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.formats.tpm.public import KeyedHash
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.formats.tpm.public import Public

NAME_ALG: Final = HashAlg.SHA256
_ATTRIBUTES: Final = 0x00000492  # fixedTPM, fixedParent, adminWithPolicy, noDA
_ACTIVATE_CREDENTIAL: Final = 0x00000147
_RUNTIME_REGISTER: Final = 10  # IMA extends it with every file measured: no state that lasts


@dataclass(frozen=True, slots=True)
class TpmLock:
    """What a credential for this TPM in this state is made of.

    Attributes:
        ek: public area of the endorsement key that the certificate certifies.
        object_name: Name of a lock object whose policy is the quoted state.
    """

    ek: Public
    object_name: bytes


def check(ek: Public, lock: Public, pcrs: tuple[PcrBank, ...]) -> TpmLock:
    """Return the lock that `lock` is for these PCR values.

    Args:
        ek: its certificate has been checked (`endorsement.check_key`).
        lock: public area of the object.
        pcrs: the values quoted, in the quote's order of banks.

    Raises:
        RefusedEvidence: LOCK_INVALID.
    """
    plain = lock.name_alg is NAME_ALG and lock.attributes == _ATTRIBUTES
    if not plain or not isinstance(lock.key, KeyedHash):
        raise _invalid(
            "the lock object is not of its template",
            expected="KEYEDHASH, SHA-256, fixedTPM, fixedParent, adminWithPolicy, noDA",
            actual=f"{lock.type.name}, {lock.name_alg.label}, {', '.join(lock.attribute_names)}",
        )
    if not _lasting(pcrs):
        raise _invalid(
            "the quote has no register that a lock could demand",
            expected="a PCR other than 10",
            actual="PCR 10",
        )
    expected = state_policy(pcrs)
    if not hmac.compare_digest(expected, lock.auth_policy):
        raise _invalid(
            "the lock object does not demand the state that was quoted",
            expected=expected.hex(),
            actual=lock.auth_policy.hex(),
        )
    return TpmLock(ek, name.name(lock))


def state_policy(pcrs: tuple[PcrBank, ...]) -> bytes:
    """Return the authPolicy of a lock object for these values (in the order of the selection)."""
    state = policy.policy_pcr(NAME_ALG, policy.start(NAME_ALG), _lasting(pcrs))
    return policy.policy_command_code(NAME_ALG, state, _ACTIVATE_CREDENTIAL)


def _lasting(pcrs: tuple[PcrBank, ...]) -> tuple[PcrBank, ...]:
    """Return the banks without the register that changes while a machine runs in order."""
    kept = (
        PcrBank(item.bank, tuple(pair for pair in item.values if pair[0] != _RUNTIME_REGISTER))
        for item in pcrs
    )
    return tuple(item for item in kept if item.values)


def _invalid(detail: str, *, expected: str, actual: str) -> RefusedEvidence:
    return RefusedEvidence(
        Code.LOCK_INVALID,
        detail,
        claim="tpm.lock",
        expected=expected,
        actual=actual,
        hint="make the object for the state that is quoted, and collect fresh evidence",
    )
