"""AWS Nitro documents, as the registry takes them."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.nitro import claims as nitro_claims
from sealward.verifier.formats.nitro import document as documents
from sealward.verifier.formats.nitro import evidence as nitro_evidence
from sealward.verifier.formats.nitro import verify as nitro
from sealward.verifier.formats.nitro import view
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import NITRO_EVIDENCE
from sealward.verifier.registry.context import Item, Kind, Verified

if TYPE_CHECKING:
    from sealward.verifier.formats.nitro.verify import VerifiedDocument
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context

_BINDING_SIZES: Final = (64, 32)
# An array of four, tagged as COSE_Sign1 or not, and somewhere in it the key "module_id".
_STARTS: Final = (b"\x84", b"\xd2\x84")
_MARK: Final = b"\x69module_id"


@unique
class NitroRole(StrEnum):
    """The pieces of Nitro evidence: a document brings its certificates along."""

    DOCUMENT = "Nitro attestation document"


def _recognise(data: bytes) -> tuple[Item, ...] | None:
    if not data.startswith(_STARTS) or _MARK not in data:
        return None
    documents.parse(data)
    return (Item(NitroRole.DOCUMENT, data),)


def _unpack(record: Record) -> tuple[Item, ...]:
    document = nitro_evidence.parse(record.value)
    documents.parse(document)
    return (Item(NitroRole.DOCUMENT, document),)


def _authenticate(record: Record, context: Context) -> Verified:
    verified = _verified(nitro_evidence.parse(record.value), context)
    bound = len(verified.claims.report_data) // 2
    if bound not in _BINDING_SIZES:
        raise RefusedEvidence(
            Code.BINDING_MISMATCH,
            "the document's user_data is no binding",
            claim="report_data",
            expected="64 or 32 bytes",
            actual=f"{bound} bytes",
        )
    return verified


def _assemble(pieces: tuple[Item, ...], context: Context) -> Verified:
    found = tuple(dict.fromkeys(one.data for one in pieces if one.role is NitroRole.DOCUMENT))
    if len(found) > 1:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"{len(found)} different documents were given",
            hint="verify one document at a time",
        )
    return _verified(found[0], context)


def _verified(document: bytes, context: Context) -> Verified:
    verified = nitro.authenticate(
        document, anchors=context.anchors, now=context.now, cache=context.cache
    )
    claims = nitro_claims.normalise(verified, now=context.now, distrusted=context.distrusted)
    return Verified(claims, verified, lambda: _describe(verified))


def _describe(verified: VerifiedDocument) -> dict[str, Json]:
    chain: list[Json] = [*verified.endorsed.chain]
    return {"document": view.describe_document(verified.document), "chain": chain}


KIND: Final = Kind(
    name="nitro",
    media_types=frozenset({NITRO_EVIDENCE}),
    evidence=frozenset({NitroRole.DOCUMENT}),
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
)
