"""A TPM node: quote, attestation key, endorsement key and event log, verified together.

Numbered procedure of `authenticate`:

    (1) the quote is authenticated under the attestation key (formats/tpm/quote.py);
    (2) the certificate of the endorsement key, when there is one, chains to a tenant's anchor;
    (3) the attestation key is in the TPM of this certificate only if the caller has seen it open a
        credential (`activated`); otherwise the claims say "unproven" and carry a verdict;
    (4) the event log, when there is one, is held against the quoted PCRs (measured_boot.py);
    (5) the public area of the endorsement key, when it came along, is the certified one, and the
        lock object demands the quoted state (formats/tpm/lock.py).

The caller MUST check that `claims.report_data` binds what it expects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealward.verifier.composite import measured_boot
from sealward.verifier.formats.tpm import claims as tpm_claims
from sealward.verifier.formats.tpm import endorsement, lock, public, quote
from sealward.verifier.formats.tpm.lock import TpmLock
from sealward.verifier.rats.claims import KeyResidency
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.tpm.endorsement import EndorsedEk, EndorsementRoot
    from sealward.verifier.formats.tpm.evidence import Evidence
    from sealward.verifier.formats.tpm.quote import VerifiedQuote
    from sealward.verifier.rats.claims import Claims
    from sealward.verifier.rats.distrust import DistrustEntry


@dataclass(frozen=True, slots=True)
class ActivatedKey:
    """An attestation key that opened a credential made for an endorsement key.

    Attributes:
        ak_name: its Name.
        ek_sha256: SHA-256 of the endorsement key's DER SubjectPublicKeyInfo, lower-case hex.
    """

    ak_name: bytes
    ek_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a tenant trusts and knows of its TPMs.

    Attributes:
        roots: trust anchors of endorsement keys.
        certificates: intermediates, DER.
        activated: keys that opened a credential at their enrolment.
    """

    roots: tuple[EndorsementRoot, ...] = ()
    certificates: tuple[bytes, ...] = ()
    activated: frozenset[ActivatedKey] = frozenset()


@dataclass(frozen=True, slots=True)
class VerifiedNode:
    """What `authenticate` found: claims, and quote and endorsement behind them.

    Attributes:
        claims: normalised.
        quote: the authenticated quote.
        ek: the endorsement key, where its certificate came along.
        lock: what keys for this TPM in this state are locked with; None where no object came along.
    """

    claims: Claims
    quote: VerifiedQuote = field(repr=False)
    ek: EndorsedEk | None = field(repr=False)
    lock: TpmLock | None = field(repr=False, default=None)


def authenticate(
    evidence: Evidence,
    *,
    trust: Trust,
    now: datetime,
    distrusted: tuple[DistrustEntry, ...] = (),
) -> VerifiedNode:
    """Run the procedure above at the aware UTC instant `now`.

    Raises:
        MalformedEvidence: a part does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    ak = public.parse(evidence.ak_public)
    verified = quote.authenticate(evidence.message, evidence.signature, ak, evidence.pcrs)  # (1)
    ek = None
    if evidence.ek_certificate is not None:  # (2)
        leaf = evidence.ek_certificate
        ek = endorsement.endorse(leaf, trust.certificates, roots=trust.roots, now=now)
    residency = KeyResidency.UNPROVEN
    if ek is not None and ActivatedKey(verified.ak_name, ek.sha256) in trust.activated:  # (3)
        residency = KeyResidency.ACTIVATED
    boot = None
    if evidence.event_log is not None:  # (4)
        boot = measured_boot.confirm(evidence.event_log, verified.pcrs)
    locked = _lock(evidence, ek, verified)  # (5)
    claims = tpm_claims.normalise(
        verified,
        now=now,
        ek=ek,
        residency=residency,
        boot=boot,
        distrusted=distrusted,
    )
    return VerifiedNode(claims, verified, ek, locked)


def _lock(evidence: Evidence, ek: EndorsedEk | None, verified: VerifiedQuote) -> TpmLock | None:
    if evidence.ek_public is None and evidence.lock_public is None:
        return None
    if ek is None or evidence.ek_public is None:
        raise RefusedEvidence(
            Code.LOCK_INVALID,
            "a lock object, or the public area of an endorsement key, came without what it needs",
            claim="tpm.lock",
            expected="the endorsement key's certificate and public area beside the lock object",
            hint="send certificate, public area and lock object together",
        )
    ek_public = public.parse(evidence.ek_public)
    endorsement.check_key(ek, ek_public)
    if evidence.lock_public is None:
        return None
    return lock.check(ek_public, public.parse(evidence.lock_public), verified.pcrs)
