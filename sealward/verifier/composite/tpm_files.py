"""The files of a TPM quote as tools leave them: which is which, and the evidence they make.

Quotes, signatures, public areas, PCR files of tpm2-tools and crypto-agile event logs say themselves
what they are. Bare concatenated PCR values, bare RSASSA signatures (with SHA-256, as Azure's guests
keep them) and SHA-1 event logs do not: their role must be named.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final, TypeAlias

from sealward.verifier.formats.event_log import dstack
from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.formats.tpm import attest, pcr, pcr_file, public, quote, signature
from sealward.verifier.formats.tpm.algorithms import SigningScheme
from sealward.verifier.formats.tpm.evidence import Evidence
from sealward.verifier.pki import certificate
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealward.verifier.formats.tpm.pcr import PcrBank
    from sealward.verifier.formats.tpm.public import Public


@unique
class Part(StrEnum):
    """What a file is; the values are the roles of the command line."""

    QUOTE = "tpm-quote"
    SIGNATURE = "tpm-signature"
    BARE_SIGNATURE = "tpm-rsassa-signature"
    AK_PUBLIC = "tpm-ak-public"
    EK_PUBLIC = "tpm-ek-public"
    EK_CERTIFICATE = "tpm-ek-certificate"
    PCR_FILE = "tpm-pcr-file"
    PCR_VALUES = "tpm-pcr-values"
    EVENT_LOG = "event-log"


Parts: TypeAlias = "tuple[tuple[Part, bytes], ...]"

_DECRYPT: Final = 1 << 17
_RSA_SIZES: Final = (256, 384, 512)
_SPEC_ID_AT: Final = 32  # behind the fixed fields of the first record
_DSTACK_MARK: Final = b'"imr"'  # other lists in JSON are evidence too


def recognise(data: bytes) -> tuple[Part, bytes] | None:
    """Return the part a file is and its bytes (public areas as TPMT_PUBLIC), or None for no part.

    Raises:
        MalformedEvidence: it starts as a quote or an event log and does not go on as one.
    """
    if data.startswith(attest.MAGIC):
        return Part.QUOTE, read(Part.QUOTE, data)
    if data.startswith(logs.SPEC_ID, _SPEC_ID_AT) or (
        dstack.looks_like(data) and _DSTACK_MARK in data
    ):
        return Part.EVENT_LOG, read(Part.EVENT_LOG, data)
    # Without a magic: what parses, whole, is it. No two of these can both parse one file.
    for part in (Part.SIGNATURE, Part.AK_PUBLIC, Part.PCR_FILE):
        try:
            found = read(part, data)
        except MalformedEvidence:
            continue
        if part is Part.AK_PUBLIC and public.parse(found).attributes & _DECRYPT:
            part = Part.EK_PUBLIC  # noqa: PLW2901 - told apart by what the key may do
        return part, found
    return None


def read(part: Part, data: bytes) -> bytes:
    """Return the bytes of a file whose role is known, as TPMT_PUBLIC or TPMT_SIGNATURE if either.

    Raises:
        MalformedEvidence: it is not that.
    """
    if part in (Part.AK_PUBLIC, Part.EK_PUBLIC):
        return _public(data)
    if part is Part.BARE_SIGNATURE:
        return _signature(data)
    check = _CHECKS.get(part)
    if check is not None:
        check(data)
    return data


def assemble(parts: Iterable[tuple[Part, bytes]]) -> tuple[Evidence, Public | None]:
    """Return the one evidence among parts, and the public area of the endorsement key if given.

    Raises:
        MalformedEvidence: bare PCR values have not the size the quote asks for.
        RefusedEvidence: EVIDENCE_MISSING, EVIDENCE_AMBIGUOUS, or UNSUPPORTED_FORMAT when the
            message attests something else than PCRs.
    """
    given = tuple(dict.fromkeys(parts))  # a file given twice is one
    ek_public = one_or_none(given, Part.EK_PUBLIC)
    message, banks = quoted(given)
    evidence = Evidence(
        message=message,
        signature=signature_of(given),
        ak_public=_one(given, Part.AK_PUBLIC),
        pcrs=banks,
        event_log=one_or_none(given, Part.EVENT_LOG),
        ek_certificate=one_or_none(given, Part.EK_CERTIFICATE),
    )
    return evidence, None if ek_public is None else public.parse(ek_public)


def quoted(given: Parts) -> tuple[bytes, tuple[PcrBank, ...]]:
    """Return the one quote among parts, and the values that it quotes.

    Raises:
        MalformedEvidence, RefusedEvidence: as `assemble`.
    """
    message = _one(given, Part.QUOTE)
    values = tuple(data for part, data in given if part in (Part.PCR_FILE, Part.PCR_VALUES))
    if len(values) > 1:
        raise _ambiguous(len(values), "PCR values")
    if not values:
        raise _missing("the quoted PCR values", f"--role {Part.PCR_VALUES.value}=FILE")
    if (Part.PCR_FILE, values[0]) in given:
        banks = pcr_file.parse(values[0])
    else:
        selections = quote.require_quote(attest.parse(message)).selections
        banks = pcr.split_raw(values[0], selections)
    return message, banks


def signature_of(given: Parts) -> bytes:
    """Return the one TPMT_SIGNATURE among parts.

    Raises:
        RefusedEvidence: EVIDENCE_MISSING or EVIDENCE_AMBIGUOUS.
    """
    bare = one_or_none(given, Part.BARE_SIGNATURE)
    if bare is None:
        return _one(given, Part.SIGNATURE)
    if one_or_none(given, Part.SIGNATURE) not in (None, bare):
        raise _ambiguous(2, Part.SIGNATURE.value)
    return bare


def _signature(data: bytes) -> bytes:
    """Return the TPMT_SIGNATURE of a bare RSASSA signature with SHA-256."""
    if len(data) not in _RSA_SIZES:
        raise MalformedEvidence(0, "RSASSA signature: not 256, 384 or 512 bytes")
    return signature.encode(signature.Signature(SigningScheme.RSASSA, HashAlg.SHA256, (data,)))


def _public(data: bytes) -> bytes:
    """Return the TPMT_PUBLIC of a file that holds it bare or with its size in front."""
    try:
        return public.encode(public.parse(data))
    except MalformedEvidence:
        return public.encode(public.parse_sized(data))


_CHECKS: Final[dict[Part, Callable[[bytes], object]]] = {
    Part.QUOTE: attest.parse,
    Part.SIGNATURE: signature.parse,
    Part.PCR_FILE: pcr_file.parse,
    Part.EVENT_LOG: lambda data: (
        dstack.parse(data) if dstack.looks_like(data) else logs.parse(data)
    ),
    Part.EK_CERTIFICATE: certificate.parse,
}


def one_or_none(given: Parts, part: Part) -> bytes | None:
    """Return the one part of this kind, or None.

    Raises:
        RefusedEvidence: EVIDENCE_AMBIGUOUS.
    """
    found = [data for one, data in given if one is part]
    if len(found) > 1:
        raise _ambiguous(len(found), part.value)
    return found[0] if found else None


def _one(given: Parts, part: Part) -> bytes:
    found = one_or_none(given, part)
    if found is None:
        raise _missing(f"the part {part.value}", f"--role {part.value}=FILE")
    return found


def _missing(what: str, how: str) -> RefusedEvidence:
    return RefusedEvidence(
        Code.EVIDENCE_MISSING,
        f"{what} of the TPM quote is missing",
        hint=f"add its file, or name it where content does not tell what it is: {how}",
    )


def _ambiguous(count: int, what: str) -> RefusedEvidence:
    return RefusedEvidence(
        Code.EVIDENCE_AMBIGUOUS,
        f"{count} different files could be {what}",
        hint="verify one quote at a time",
    )
