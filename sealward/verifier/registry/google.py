"""Virtual TPMs of Google Compute Engine, as the registry takes them."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.composite import google_vtpm, tpm_files
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.formats.gce import attestation_key
from sealward.verifier.formats.gce import evidence as gce_evidence
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.formats.tpm import quote as quotes
from sealward.verifier.formats.tpm import view
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import GOOGLE_EVIDENCE
from sealward.verifier.registry.context import Item, Kind, Role, Verified

if TYPE_CHECKING:
    from sealward.verifier.composite.google_vtpm import VerifiedInstance
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context


@unique
class GoogleRole(StrEnum):
    """A whole payload, and the certificate; the pieces of a quote are `tpm_files.Part`."""

    EVIDENCE = "Google vTPM evidence"
    AK_CERTIFICATE = "Google's certificate of an attestation key"


def _recognise(_: bytes) -> tuple[Item, ...] | None:
    return None  # a quote is a TPM's; what makes it Google's is the certificate


def _certificate(parsed: Certificate) -> StrEnum | None:
    return GoogleRole.AK_CERTIFICATE if attestation_key.is_attestation_key(parsed) else None


def _unpack(record: Record) -> tuple[Item, ...]:
    gce_evidence.parse(record.value)
    return (Item(GoogleRole.EVIDENCE, record.value),)


def _authenticate(record: Record, context: Context) -> Verified:
    return _authenticate_payload(record.value, context, ())


def _authenticate_payload(
    payload: bytes, context: Context, certificates: tuple[bytes, ...]
) -> Verified:
    """Verify evidence of our own payload, whose nonce is a binding (evidence-binding 2)."""
    found = gce_evidence.parse(payload)
    sent = (*found.certificates, *certificates)
    node = _node(tpm_evidence.parse(found.tpm), sent, context)
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
    whole = tuple(dict.fromkeys(i.data for i in pieces if i.role is GoogleRole.EVIDENCE))
    leaves = tuple(dict.fromkeys(i.data for i in pieces if i.role is GoogleRole.AK_CERTIFICATE))
    others = tuple(item.data for item in pieces if item.role in (Role.INTERMEDIATE, Role.ROOT))
    parts = [(item.role, item.data) for item in pieces if isinstance(item.role, Part)]
    if len(whole) + len(leaves) > 1 or (whole and parts):
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            "evidence or certificates of several virtual TPMs were given",
            hint="verify one piece of evidence at a time",
        )
    if whole:
        return _authenticate_payload(whole[0], context, others)
    found, _ = tpm_files.assemble(parts)
    return _verified(_node(found, (*leaves, *others), context))


def _node(
    found: tpm_evidence.Evidence, certificates: tuple[bytes, ...], context: Context
) -> VerifiedInstance:
    return google_vtpm.authenticate(
        found,
        (*certificates, *context.certificates),
        anchors=context.anchors,
        now=context.now,
        cache=context.cache,
        distrusted=context.distrusted,
    )


def _verified(node: VerifiedInstance) -> Verified:
    return Verified(node.claims, node, lambda: _describe(node))


def _describe(node: VerifiedInstance) -> dict[str, Json]:
    chain: list[Json] = [*node.ak.chain]
    return {
        "quote": view.describe_attest(node.quote.attest),
        "ak": view.describe_public(node.quote.ak),
        "chain": chain,
    }


KIND: Final = Kind(
    name="google",
    media_types=frozenset({GOOGLE_EVIDENCE}),
    evidence=frozenset({GoogleRole.EVIDENCE, GoogleRole.AK_CERTIFICATE}),
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
    certificate=_certificate,
    includes=frozenset({"tpm"}),
)
