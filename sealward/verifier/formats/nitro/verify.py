"""Authenticates an attestation document.

Numbered procedure of `authenticate`:

    (1) the document parses (document.py);
    (2) the algorithm is ES384, and the signature over the protected header and payload as they came
        verifies under the key of the document's certificate;
    (3) that certificate is endorsed by a trusted root, dates at the document's own timestamp
        included (endorsements.py);
    (4) the timestamp is fresh: not more than MAX_AHEAD after `now`, not more than MAX_AGE before.

The signature comes before the chain because it covers the certificates too: a document that was
changed anywhere costs one verification, not six, and is told so.

The dates are checked at the timestamp because the leaf lives three hours and is renewed on the way;
that is no proof of age, for whoever held an old leaf key could write any timestamp inside its life.
So (4) is a check of its own, with a code of its own.

The caller MUST check that user_data binds what it expects (docs/specs/evidence-binding.md); (4)
alone allows a replay for as long as MAX_AGE.

Checks that could make sense but do not exist:
  - module_id against the common name of the leaf, PCR4 against the instance in module_id: the same
    hypervisor writes and signs all of them;
  - PCR values against anything: reference values are the appraisal policy's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.nitro import document as documents
from sealward.verifier.formats.nitro import endorsements
from sealward.verifier.formats.nitro.endorsements import EndorsedKey
from sealward.verifier.pki import cose_keys
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import foreign_cose

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric import ec

    from sealward.verifier.formats.nitro.document import Document
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.chain_cache import ChainCache

MAX_AGE: Final = timedelta(minutes=5)  # ten times the life of a challenge; documents are cheap
MAX_AHEAD: Final = timedelta(seconds=30)  # what two clocks set by NTP never differ by


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDocument:
    """A document whose signature, chain and age were checked; built only by `authenticate`.

    Attributes:
        document: the parsed document.
        endorsed: the key that signed it.
        evidence_sha256: of the document as given, lower-case hex.
        signed_sha256: of the structure that was signed.
    """

    document: Document
    endorsed: EndorsedKey
    evidence_sha256: str = field(repr=False)
    signed_sha256: str = field(repr=False)


def authenticate(
    data: bytes, *, anchors: TrustAnchors, now: datetime, cache: ChainCache
) -> VerifiedDocument:
    """Run the procedure above on the bytes of a document, at the aware UTC instant `now`.

    Raises:
        MalformedEvidence: the document or a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    document = documents.parse(data)  # (1)
    leaf, cabundle = document.certificate, document.cabundle
    name = endorsements.cache_key(leaf, cabundle, anchors)
    endorsed = cache.get(name, EndorsedKey)
    key = endorsements.load_key(leaf) if endorsed is None else endorsed.key
    signed = check_signature(document, key)  # (2)
    if endorsed is None:
        endorsed = endorsements.endorse(leaf, cabundle, anchors=anchors, at=document.timestamp)
        cache.put(name, endorsed)
    endorsed.window.check(document.timestamp)  # (3)
    check_fresh(document, now)  # (4)
    return VerifiedDocument(
        document=document,
        endorsed=endorsed,
        evidence_sha256=hashlib.sha256(data).hexdigest(),
        signed_sha256=hashlib.sha256(signed).hexdigest(),
    )


def check_signature(document: Document, key: ec.EllipticCurvePublicKey) -> bytes:
    """Step 2; returns what was signed.

    Raises:
        RefusedEvidence: ALGORITHM_FORBIDDEN or SIGNATURE_INVALID.
    """
    if document.message.alg != foreign_cose.ES384:
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            "a Nitro document is signed with another algorithm than its format uses",
            expected="ES384 (-35)",
            actual=str(document.message.alg),
        )
    return cose_keys.verify_sign1(document.message, key, owner="the document's certificate")


def check_fresh(document: Document, now: datetime) -> None:
    """Step 4. Raises RefusedEvidence NOT_FRESH."""
    made = document.timestamp
    if now - MAX_AGE <= made <= now + MAX_AHEAD:
        return
    raise RefusedEvidence(
        Code.NOT_FRESH,
        "the document was made too long ago" if made < now else "the document is from the future",
        claim="nitro.timestamp",
        expected=f"{(now - MAX_AGE).isoformat()} to {(now + MAX_AHEAD).isoformat()}",
        actual=made.isoformat(),
        hint="ask the enclave for a new document; a kept one is verified at its own instant",
    )
