"""A quote, and the values of the PCRs that it is over.

A TPM signs a digest of PCR values and gives the values themselves in answers of their own, so
another process can extend a PCR in between. Values and quote belong together when the digest of
the values is the one that was signed, and otherwise both are made again. The TPM's update counter
would not do: it leaves out the extends of PCRs that may be reset at run time (16, 21 to 23 on a
PC), and it counts those of PCRs that nobody asked for (10, by IMA, with every file opened).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.tpm import codec
from sealward.enclave_agent.attesters.tpm.codec import PcrBank, PcrSelection
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.verifier.rats.errors import MalformedEvidence

if TYPE_CHECKING:
    from sealward.enclave_agent.attesters.tpm.answers import Loaded, SignedQuote
    from sealward.enclave_agent.attesters.tpm.commands import Tpm

NONCE_SIZE: Final = 32  # docs/specs/evidence-binding.md, section 2
ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote with its values.

    Attributes:
        message: TPMS_ATTEST.
        signature: TPMT_SIGNATURE.
        pcrs: the values quoted, in the order of the selections asked for.
    """

    message: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    pcrs: tuple[PcrBank, ...]


def collect(tpm: Tpm, key: Loaded, selections: tuple[PcrSelection, ...], *, nonce: bytes) -> Quote:
    """Return a quote over these PCRs with `nonce` (32 bytes) in it.

    Raises:
        ValueError: `nonce` is not 32 bytes, or nothing is selected: the caller's mistake.
        TpmError: the TPM keeps no such PCR, PCRs kept changing, or the TPM fails.
    """
    if len(nonce) != NONCE_SIZE:
        raise ValueError(f"a quote takes a nonce of {NONCE_SIZE} bytes, not {len(nonce)}")
    for _ in range(ATTEMPTS):
        pcrs = read_pcrs(tpm, selections)
        signed = tpm.quote(key.handle, nonce, selections)
        if _digest_of(signed, nonce) == signed.hash.digest(concatenated(pcrs)):
            return Quote(signed.message, signed.signature, pcrs)
    raise TpmError(None, f"PCRs were extended during each of {ATTEMPTS} attempts to quote them.")


def read_pcrs(tpm: Tpm, selections: tuple[PcrSelection, ...]) -> tuple[PcrBank, ...]:
    """Return the values of these PCRs, in the order given; not all are of one moment.

    Raises:
        ValueError: nothing is selected, or a bank twice: the caller's mistake.
        TpmError: the TPM keeps no such PCR, or fails.
    """
    banks = [item.bank for item in selections]
    if len({*banks}) != len(banks) or not all(item.indices for item in selections) or not banks:
        raise ValueError("select at least one PCR, and each bank once")
    return tuple(_read_bank(tpm, item) for item in selections)


def concatenated(pcrs: tuple[PcrBank, ...]) -> bytes:
    """Return the values as a TPM hashes them for quotes and policies."""
    return b"".join(digest for bank in pcrs for _, digest in bank.values)


def _read_bank(tpm: Tpm, selection: PcrSelection) -> PcrBank:
    values: list[tuple[int, bytes]] = []
    missing = selection.indices
    while missing:
        asked = PcrSelection(selection.bank, missing)
        reading = tpm.pcr_read((asked,))
        got = tuple(i for item in reading.selections for i in item.indices)
        if any(item.bank is not selection.bank for item in reading.selections if item.indices):
            raise TpmError(None, "The TPM gave PCRs of another bank than was asked for.")
        if not got or got != missing[: len(got)]:
            raise TpmError(
                None,
                f"The TPM keeps no PCR {missing[0]} of bank {selection.bank.name} "
                "(the firmware's settings say which banks are active).",
            )
        values += zip(got, reading.digests, strict=True)
        missing = missing[len(got) :]
    return PcrBank(selection.bank, tuple(values))


def _digest_of(signed: SignedQuote, nonce: bytes) -> bytes:
    try:
        quoted = codec.parse_quoted(signed.message)
    except MalformedEvidence as error:
        raise TpmError(None, f"The TPM's quote cannot be read: {error}.") from error
    if quoted.extra_data != nonce:
        raise TpmError(None, "The TPM's quote carries another nonce.")
    return quoted.pcr_digest
