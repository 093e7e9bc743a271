"""Locks: objects beside which this TPM opens a credential, and only in one state.

A credential (part 1, section 24) names an object that must be loaded, and whose ADMIN role must be
authorised, before the TPM of the endorsement key gives out the secret. The object of a lock allows
that role by PolicyPCR over given values followed by PolicyCommandCode(ActivateCredential), and
nothing else at all: docs/specs/tpm-node.md, section 4. So whoever sees its public area and the PCR
values can tell, without asking the TPM, in which state alone the secret comes out.

PCR 10 is in no lock: the kernel extends it with every file it measures (measurement_list.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.tpm import codec, errors, keys
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrBank, be, pack
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.exchange import CommandCode
from sealward.enclave_agent.attesters.tpm.measurement_list import REGISTER
from sealward.enclave_agent.attesters.tpm.quote import concatenated

if TYPE_CHECKING:
    from sealward.enclave_agent.attesters.port import Credential
    from sealward.enclave_agent.attesters.tpm.answers import Created
    from sealward.enclave_agent.attesters.tpm.commands import Tpm
    from sealward.enclave_agent.attesters.tpm.keys import EndorsementKeyKind, Hierarchy

# The TPM counts extends of PCRs that nobody asked for as well (10, by IMA), and one of them between
# the policy and its use makes both void.
ATTEMPTS: Final = 8
_ACTIVATE: Final = CommandCode.ACTIVATE_CREDENTIAL
_NAME_ALG: Final = HashAlg.SHA256
_KEYED_HASH: Final = 0x0008
_NULL: Final = 0x0010
# fixedTPM, fixedParent, adminWithPolicy, noDA; userWithAuth is clear, so use needs the policy.
_ATTRIBUTES: Final = 0x00000492
# A data object must hold something. Its Name differs from every other's all the same: the TPM
# hashes random bytes of its own into it.
_SOMETHING: Final = b"\0"


@dataclass(frozen=True, slots=True)
class LockObject:
    """A lock outside the TPM.

    Attributes:
        created: its two areas.
        hierarchy: whose seed its parent comes from.
        pcrs: the state in which it opens.
    """

    created: Created
    hierarchy: Hierarchy
    pcrs: tuple[PcrBank, ...]


def lasting(pcrs: tuple[PcrBank, ...]) -> tuple[PcrBank, ...]:
    """Return what of a quoted state a lock is made for: all of it but PCR 10."""
    kept = (
        PcrBank(bank.bank, tuple(value for value in bank.values if value[0] != REGISTER))
        for bank in pcrs
    )
    return tuple(bank for bank in kept if bank.values)


def make(tpm: Tpm, pcrs: tuple[PcrBank, ...], hierarchy: Hierarchy) -> LockObject:
    """Make a lock for a state, which need not be the present one.

    Raises:
        ValueError: no PCR is named: the caller's mistake.
        TpmError: the TPM fails.
    """
    head = be(_KEYED_HASH, 2) + be(_NAME_ALG, 2) + be(_ATTRIBUTES, 4)
    template = head + pack(_policy(pcrs)) + be(_NULL, 2) + pack(b"")
    with keys.storage_primary(tpm, hierarchy) as parent:
        created = tpm.create(parent.handle, template, data=_SOMETHING)
    return LockObject(created, hierarchy, pcrs)


def open_credential(
    tpm: Tpm, lock: LockObject, endorsement: EndorsementKeyKind, credential: Credential
) -> bytes:
    """Return the secret of a credential made for this lock and the endorsement key of this kind.

    Raises:
        TpmError: POLICY_FAIL where a PCR has another value now; the credential was made for
            another pair, or the TPM fails.
    """
    selections = tuple(bank.selection for bank in lock.pcrs)
    with (
        keys.loaded(tpm, lock.created, lock.hierarchy) as held,
        keys.endorsement_key(tpm, endorsement) as decrypting,
    ):
        for _ in range(ATTEMPTS):
            try:
                with tpm.policy_session(_NAME_ALG) as session:
                    tpm.policy_pcr(session, selections)
                    tpm.policy_command_code(session, _ACTIVATE)
                    return keys.activate_credential(
                        tpm,
                        held,
                        decrypting,
                        id_object=credential.id_object,
                        encrypted_secret=credential.encrypted_secret,
                        key_authorisation=session,
                    )
            except TpmError as error:
                if not error.says(errors.PCR_CHANGED):
                    raise
    raise TpmError(None, f"PCRs were extended during each of {ATTEMPTS} attempts to open a lock.")


def _policy(pcrs: tuple[PcrBank, ...]) -> bytes:
    """Return the policy's digest, from the values given and not from the TPM's present state."""
    values = concatenated(pcrs)
    if not values:
        raise ValueError("a policy over no PCR at all would protect nothing")
    selections = codec.pack_selections(tuple(bank.selection for bank in pcrs))
    quoted = be(CommandCode.POLICY_PCR, 4) + selections + _NAME_ALG.digest(values)
    step = be(CommandCode.POLICY_COMMAND_CODE, 4) + be(_ACTIVATE, 4)
    return _NAME_ALG.digest(_NAME_ALG.digest(bytes(_NAME_ALG.size) + quoted) + step)
