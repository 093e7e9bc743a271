"""Data objects that a TPM uses under a policy only: by themselves, data sealed to PCR values.

The policy is PolicyPCR over the values given (part 3, section 23.7), computed here and not taken
from the TPM's present state: what was appraised is what will open it. No authorisation value opens
it beside the policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.tpm import codec
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, be, pack
from sealward.enclave_agent.attesters.tpm.exchange import CommandCode
from sealward.enclave_agent.attesters.tpm.keys import loaded, storage_primary
from sealward.enclave_agent.attesters.tpm.quote import concatenated

if TYPE_CHECKING:
    from sealward.enclave_agent.attesters.tpm.answers import Created
    from sealward.enclave_agent.attesters.tpm.codec import PcrBank, PcrSelection
    from sealward.enclave_agent.attesters.tpm.commands import Tpm
    from sealward.enclave_agent.attesters.tpm.keys import Hierarchy

MAX_DATA: Final = 128  # MAX_SYM_DATA: what every TPM can seal
NAME_ALG: Final = HashAlg.SHA256
_KEYED_HASH: Final = 0x0008
_NULL: Final = 0x0010
# fixedTPM, fixedParent, adminWithPolicy, noDA; userWithAuth is clear, so use needs the policy.
_ATTRIBUTES: Final = 0x00000492


def pcr_policy(pcrs: tuple[PcrBank, ...]) -> bytes:
    """Return the policy digest (32 bytes) that these values satisfy.

    Raises:
        ValueError: no PCR is named: the caller's mistake.
    """
    if not concatenated(pcrs):
        raise ValueError("a policy over no PCR at all would protect nothing")
    selections = codec.pack_selections(tuple(bank.selection for bank in pcrs))
    values = NAME_ALG.digest(concatenated(pcrs))
    start = bytes(NAME_ALG.size)
    return NAME_ALG.digest(start + be(CommandCode.POLICY_PCR, 4) + selections + values)


def seal(tpm: Tpm, data: bytes, pcrs: tuple[PcrBank, ...], hierarchy: Hierarchy) -> Created:
    """Seal `data` (1 to 128 bytes) to PCR values.

    Raises:
        ValueError: `data` is empty or too long, or no PCR is named: the caller's mistake.
        TpmError: the TPM fails.
    """
    if not 1 <= len(data) <= MAX_DATA:
        raise ValueError(f"a TPM seals 1 to {MAX_DATA} bytes")
    return create(tpm, data, pcr_policy(pcrs), hierarchy)


def create(tpm: Tpm, data: bytes, policy: bytes, hierarchy: Hierarchy) -> Created:
    """Make an object that holds `data` and is used only by who satisfies `policy` (32 bytes).

    Raises:
        TpmError: the TPM fails.
    """
    head = be(_KEYED_HASH, 2) + be(NAME_ALG, 2) + be(_ATTRIBUTES, 4)
    template = head + pack(policy) + be(_NULL, 2) + pack(b"")
    with storage_primary(tpm, hierarchy) as parent:
        return tpm.create(parent.handle, template, sealed=data)


def unseal(
    tpm: Tpm, sealed: Created, selections: tuple[PcrSelection, ...], hierarchy: Hierarchy
) -> bytes:
    """Return what `seal` sealed; `selections` are those of its PCR values, in their order.

    Raises:
        TpmError: POLICY_FAIL where a PCR has another value now, or the TPM fails.
    """
    with (
        loaded(tpm, sealed, hierarchy) as held,
        tpm.policy_session(NAME_ALG) as session,
    ):
        tpm.policy_pcr(session, selections)
        return tpm.unseal(held.handle, session=session)
