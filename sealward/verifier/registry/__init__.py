"""Which evidence the verifier understands: pieces by their content, payloads by their media type.

`sealward verify FILE...` needs no flags because `recognise` tells a report from a certificate; the
control plane needs no knowledge of formats because `authenticate` goes by the media type of the
envelope. Each kind of evidence has one module here, which says how it does either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.rats import evidence
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.registry import (
    azure,
    cca,
    certificates,
    composite,
    dcap,
    google,
    hygon,
    nitro,
    nvidia,
    psa,
    public_keys,
    snp,
    tpm,
)
from sealward.verifier.registry.certificates import MAX_FILE_BYTES
from sealward.verifier.registry.composite import CompositeRole
from sealward.verifier.registry.context import Context, Item, Kind, Role, Verified
from sealward.verifier.registry.tpm import in_role

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import StrEnum

    from sealward.verifier.pki.certificate import Certificate

__all__ = [
    "MAX_FILE_BYTES",
    "Context",
    "Item",
    "Kind",
    "Role",
    "Verified",
    "authenticate",
    "authenticate_items",
    "in_role",
    "recognise",
]

# These know their own files by a mark; the parts of a TPM quote have none, and are tried last.
_MARKED: Final = (
    *(snp.KIND, nitro.KIND, cca.KIND, psa.KIND, dcap.KIND, nvidia.KIND),
    *(azure.KIND, google.KIND, hygon.KIND),
)
_UNMARKED: Final = (tpm.KIND,)
KINDS: Final = (*_MARKED, *_UNMARKED)

_WHOLE: Final = "a machine with devices"

_BY_MEDIA_TYPE: Final = {media_type: kind for kind in KINDS for media_type in kind.media_types}


def recognise(data: bytes) -> tuple[Item, ...]:
    """Return what a file holds, unpacking PEM bundles, certificate tables and envelopes.

    Raises:
        MalformedEvidence: it starts as a known thing and does not go on as one.
        RefusedEvidence: UNSUPPORTED_FORMAT when it is nothing we know.
    """
    for kind in _MARKED:
        found = kind.recognise(data)
        if found is not None:
            return found
    found = certificates.of_file(data, _certificate) or public_keys.recognise(data)
    if found is not None:
        return found
    if certificates.may_be_envelope(data):
        envelope = evidence.decode(data)
        if isinstance(envelope, evidence.Collection):
            return (Item(CompositeRole.COLLECTION, data),)
        return _kind(envelope).unpack(envelope)
    for kind in _UNMARKED:
        found = kind.recognise(data)
        if found is not None:
            return found
    raise RefusedEvidence(
        Code.UNSUPPORTED_FORMAT,
        "the file is no evidence or endorsement that this version knows",
        expected="a report, quote, token or document of a kind that docs/verify.md lists,"
        " certificate (DER, PEM), certificate table, collateral, or evidence envelope",
        hint="name the role of a file that content does not tell",
    )


def authenticate(envelope: bytes, context: Context) -> Verified:
    """Verify an evidence envelope.

    The caller MUST check binding and freshness of `claims.report_data`.

    Raises:
        MalformedEvidence: envelope, payload, report or certificate do not parse.
        RefusedEvidence: UNSUPPORTED_FORMAT for an unknown media type, or what the format's own
            procedure says.
    """
    decoded = evidence.decode(envelope)
    if isinstance(decoded, evidence.Collection):
        return composite.authenticate(decoded, context, _authenticate)
    return _authenticate(decoded, context)


def _authenticate(record: evidence.Record, context: Context) -> Verified:
    return _kind(record).authenticate(record, context)


def authenticate_items(items: Iterable[Item], context: Context) -> Verified:
    """Verify the one evidence among recognised pieces, as `authenticate` does.

    Raises:
        MalformedEvidence: a piece does not parse.
        RefusedEvidence: EVIDENCE_MISSING, EVIDENCE_AMBIGUOUS, ENDORSEMENT_MISSING, or what the
            format's own procedure says.
    """
    pieces = tuple(items)
    roles = {item.role for item in pieces}
    present = [kind for kind in KINDS if kind.evidence & roles]
    inside = frozenset[str]().union(*(kind.includes for kind in present))
    outer = [kind for kind in present if kind.name not in inside]
    whole = {item.data for item in pieces if item.role is CompositeRole.COLLECTION}
    if len(whole) == 1 and not outer:
        return authenticate(whole.pop(), context)
    if not outer and not whole:
        raise RefusedEvidence(
            Code.EVIDENCE_MISSING,
            "none of the files is evidence",
            hint="add the report, quote, token or document that the certificates belong to",
        )
    if len(outer) > 1 or whole:
        names = " and ".join([*(kind.name for kind in outer), *(_WHOLE for _ in whole)])
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"evidence of different kinds was given: {names}",
            hint="verify one piece of evidence at a time",
        )
    return outer[0].assemble(pieces, context)


def _certificate(parsed: Certificate) -> StrEnum | None:
    return next((role for kind in KINDS if (role := kind.certificate(parsed)) is not None), None)


def _kind(record: evidence.Record) -> Kind:
    kind = _BY_MEDIA_TYPE.get(record.media_type)
    if kind is None:
        raise RefusedEvidence(
            Code.UNSUPPORTED_FORMAT,
            "the evidence envelope holds something this version does not verify",
            expected=", ".join(sorted(_BY_MEDIA_TYPE)),
            actual=record.media_type,
        )
    return kind
