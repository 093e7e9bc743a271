"""TPM quotes with what belongs to them, as the registry takes them."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.composite import tpm_files, tpm_node
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.formats.tpm import endorsement, view
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.formats.tpm import quote as quotes
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import TPM_EVIDENCE
from sealward.verifier.registry.context import Item, Kind, Role, Verified

if TYPE_CHECKING:
    from sealward.verifier.composite.tpm_node import VerifiedNode
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context


@unique
class TpmRole(StrEnum):
    """A whole payload; the pieces of a quote are `tpm_files.Part`."""

    EVIDENCE = "TPM evidence"


def _recognise(data: bytes) -> tuple[Item, ...] | None:
    found = tpm_files.recognise(data)
    return None if found is None else (Item(*found),)


def in_role(part: Part, data: bytes) -> Item:
    """Return a file whose role was named, for those that content does not tell.

    Raises:
        MalformedEvidence: it is not that.
    """
    return Item(part, tpm_files.read(part, data))


def _certificate(parsed: Certificate) -> StrEnum | None:
    return Part.EK_CERTIFICATE if endorsement.is_ek_certificate(parsed) else None


def _unpack(record: Record) -> tuple[Item, ...]:
    return (Item(TpmRole.EVIDENCE, record.value),)


def _authenticate(record: Record, context: Context) -> Verified:
    return _authenticate_payload(tpm_evidence.parse(record.value), context)


def _authenticate_payload(
    found: tpm_evidence.Evidence, context: Context, certificates: tuple[bytes, ...] = ()
) -> Verified:
    """Verify TPM evidence of our own payload, whose nonce is a binding (evidence-binding 2)."""
    node = tpm_node.authenticate(
        found,
        trust=_trust(context, certificates),
        now=context.now,
        distrusted=context.distrusted,
    )
    if len(node.quote.nonce) != quotes.NONCE_SIZE:
        raise RefusedEvidence(
            Code.BINDING_MISMATCH,
            "the quote's nonce is no binding",
            claim="report_data",
            expected=f"{quotes.NONCE_SIZE} bytes",
            actual=f"{len(node.quote.nonce)} bytes",
        )
    return _verified(node)


def _assemble(pieces: tuple[Item, ...], context: Context) -> Verified:
    whole = tuple(dict.fromkeys(i.data for i in pieces if i.role is TpmRole.EVIDENCE))
    parts = [(item.role, item.data) for item in pieces if isinstance(item.role, Part)]
    if len(whole) > 1 or (whole and parts):
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            "a TPM quote and other evidence were given",
            hint="verify one piece of evidence at a time",
        )
    others = tuple(item.data for item in pieces if item.role in (Role.INTERMEDIATE, Role.ROOT))
    if whole:
        return _authenticate_payload(tpm_evidence.parse(whole[0]), context, others)
    found, ek_public = tpm_files.assemble(parts)
    node = tpm_node.authenticate(
        found, trust=_trust(context, others), now=context.now, distrusted=context.distrusted
    )
    if ek_public is not None:
        if node.ek is None:
            raise RefusedEvidence(
                Code.ENDORSEMENT_MISSING,
                "the endorsement key has no certificate",
                hint="add the certificate of the endorsement key, or leave its public area out",
            )
        endorsement.check_key(node.ek, ek_public)
    return _verified(node)


def _trust(context: Context, certificates: tuple[bytes, ...]) -> tpm_node.Trust:
    if context.tpm is None:
        raise RefusedEvidence(
            Code.UNSUPPORTED_FORMAT,
            "TPM evidence is not taken here",
            hint="add the roots of your TPMs' vendors as trust anchors",
        )
    return replace(
        context.tpm,
        certificates=(*context.tpm.certificates, *context.certificates, *certificates),
    )


def _verified(node: VerifiedNode) -> Verified:
    return Verified(node.claims, node, lambda: _describe(node))


def _describe(node: VerifiedNode) -> dict[str, Json]:
    chain: list[Json] = [] if node.ek is None else [*node.ek.chain]
    return {
        "quote": view.describe_attest(node.quote.attest),
        "ak": view.describe_public(node.quote.ak),
        "chain": chain,
    }


KIND: Final = Kind(
    name="tpm",
    media_types=frozenset({TPM_EVIDENCE}),
    evidence=frozenset({TpmRole.EVIDENCE, Part.QUOTE}),
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
    certificate=_certificate,
)
