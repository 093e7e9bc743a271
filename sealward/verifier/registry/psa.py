"""Arm PSA tokens, as the registry takes them."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.psa import claims as psa_claims
from sealward.verifier.formats.psa import evidence as psa_evidence
from sealward.verifier.formats.psa import token as tokens
from sealward.verifier.formats.psa import verify as psa
from sealward.verifier.formats.psa import view
from sealward.verifier.pki.instance_keys import Scheme
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import PSA_EVIDENCE
from sealward.verifier.registry import public_keys
from sealward.verifier.registry.context import Item, Kind, Verified
from sealward.verifier.registry.public_keys import Keys

if TYPE_CHECKING:
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context

# A tagged COSE_Sign1 or COSE_Mac0. A Nitro document may have that tag too, and is tried first.
_STARTS: Final = (b"\xd2\x84", b"\xd1\x84")
_BINDING_SIZES: Final = (64, 32)


@unique
class PsaRole(StrEnum):
    """The pieces of PSA evidence; keys are `public_keys.KeyRole`."""

    EVIDENCE = "PSA attestation token"


def _recognise(data: bytes) -> tuple[Item, ...] | None:
    if not data.startswith(_STARTS):
        return None
    tokens.parse(data)
    return (Item(PsaRole.EVIDENCE, data),)


def _unpack(record: Record) -> tuple[Item, ...]:
    token = psa_evidence.parse(record.value)
    tokens.parse(token)
    return (Item(PsaRole.EVIDENCE, token),)


def _authenticate(record: Record, context: Context) -> Verified:
    token = psa_evidence.parse(record.value)
    verified = _verified(token, Keys(context.keys, vouched=True), context)
    bound = len(verified.claims.report_data) // 2
    if bound not in _BINDING_SIZES:
        raise RefusedEvidence(
            Code.BINDING_MISMATCH,
            "the nonce is no binding",
            claim="report_data",
            expected="64 or 32 bytes",
            actual=f"{bound} bytes",
        )
    return verified


def _assemble(pieces: tuple[Item, ...], context: Context) -> Verified:
    found = tuple(dict.fromkeys(one.data for one in pieces if one.role is PsaRole.EVIDENCE))
    if len(found) > 1:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"{len(found)} different tokens were given",
            hint="verify one token at a time",
        )
    return _verified(found[0], public_keys.choose(pieces, Scheme.PSA, context), context)


def _verified(token: bytes, keys: Keys, context: Context) -> Verified:
    verified = psa.authenticate(token, keys=keys.keys, cache=context.cache)
    claims = psa_claims.normalise(
        verified, now=context.now, vouched=keys.vouched, distrusted=context.distrusted
    )
    return Verified(claims, verified, lambda: {"token": view.describe_token(verified.token)})


KIND: Final = Kind(
    name="psa",
    media_types=frozenset({PSA_EVIDENCE}),
    evidence=frozenset({PsaRole.EVIDENCE}),
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
)
