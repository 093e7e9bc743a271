"""Arm CCA tokens, as the registry takes them."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.cca import claims as cca_claims
from sealward.verifier.formats.cca import evidence as cca_evidence
from sealward.verifier.formats.cca import token as tokens
from sealward.verifier.formats.cca import verify as cca
from sealward.verifier.formats.cca import view
from sealward.verifier.pki.instance_keys import Scheme
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import CCA_EVIDENCE
from sealward.verifier.registry import public_keys
from sealward.verifier.registry.context import Item, Kind, Verified
from sealward.verifier.registry.public_keys import Keys

if TYPE_CHECKING:
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context

# Tags 399 and 907, in their shortest heads.
_STARTS: Final = (b"\xd9\x01\x8f", b"\xd9\x03\x8b")


@unique
class CcaRole(StrEnum):
    """The pieces of CCA evidence; keys are `public_keys.KeyRole`."""

    EVIDENCE = "CCA attestation token"


def _recognise(data: bytes) -> tuple[Item, ...] | None:
    if not data.startswith(_STARTS):
        return None
    tokens.parse(data)
    return (Item(CcaRole.EVIDENCE, data),)


def _unpack(record: Record) -> tuple[Item, ...]:
    token = cca_evidence.parse(record.value)
    tokens.parse(token)
    return (Item(CcaRole.EVIDENCE, token),)


def _authenticate(record: Record, context: Context) -> Verified:
    token = cca_evidence.parse(record.value)
    # The realm's challenge is 64 bytes, or the token does not parse: it can always be a binding.
    return _verified(token, Keys(context.keys, vouched=True), context)


def _assemble(pieces: tuple[Item, ...], context: Context) -> Verified:
    found = tuple(dict.fromkeys(one.data for one in pieces if one.role is CcaRole.EVIDENCE))
    if len(found) > 1:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"{len(found)} different tokens were given",
            hint="verify one token at a time",
        )
    return _verified(found[0], public_keys.choose(pieces, Scheme.CCA, context), context)


def _verified(token: bytes, keys: Keys, context: Context) -> Verified:
    verified = cca.authenticate(token, keys=keys.keys, cache=context.cache)
    claims = cca_claims.normalise(
        verified, now=context.now, vouched=keys.vouched, distrusted=context.distrusted
    )
    return Verified(claims, verified, lambda: {"token": view.describe_token(verified.token)})


KIND: Final = Kind(
    name="cca",
    media_types=frozenset({CCA_EVIDENCE}),
    evidence=frozenset({CcaRole.EVIDENCE}),
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
)
