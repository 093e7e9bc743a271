"""Making attestation results: EAR tokens about nodes (docs/specs/attestation-result.md).

A result restates a decision that is durable; nothing is decided here. It ends no later than what
the decision rests on and than any lease of the node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, cast

from sealward.controlplane.domain import keys
from sealward.controlplane.domain.decisions import Decision
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.horizon import Limit, horizon
from sealward.controlplane.domain.nodes import ClockClass, NodeEvidence
from sealward.controlplane.domain.policies import REQUIRED
from sealward.controlplane.domain.records import unix_ms
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.facts import rfc3339
from sealward.controlplane.services.ports import Keystore
from sealward.verifier.rats.attestation_result import (
    ALGORITHM,
    EXTENSION,
    MAX_AUDIENCE,
    MAX_NONCE,
    MIN_NONCE,
    PROFILE,
    TYPE,
    Basis,
)
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.result import Dimension, Posture, Tier, TrustVector, posture
from sealward.verifier.rats.result_keys import ResultKey, encode_set
from sealward.verifier.wire import base64, json

LIFETIME: Final = timedelta(seconds=300)
DEVELOPER: Final = "sealward"

_POLICY: Final = "policy:"  # how a decision's digests name policies
_APPRAISAL: Final = "appraisal/"
_POLICY_ID: Final = "sealward:appraisal:sha256:"
_MAX_RECORD: Final = 1 << 20
_STATUSES: Final = MappingProxyType(
    {
        Posture.COMPLIANT: Tier.AFFIRMING,
        Posture.WARNING: Tier.WARNING,
        Posture.NONCOMPLIANT: Tier.CONTRAINDICATED,
    }
)


@dataclass(frozen=True, slots=True)
class ResultRequest:
    """Who a result is for.

    Attributes:
        audience: the relying party, as it names itself: 1 to 256 printable ASCII characters
            without spaces.
        nonce: what the relying party sent for freshness, 8 to 64 bytes; empty when nothing.
    """

    audience: str
    nonce: bytes = b""

    def require_valid(self) -> None:
        """Refuse a request that no result can answer.

        Raises:
            Refused: invalid_request.
        """
        audience = self.audience
        plain = audience.isascii() and audience.isprintable() and " " not in audience
        if not plain or not 0 < len(audience) <= MAX_AUDIENCE:
            raise Refused(
                Code.invalid_request,
                f"an audience is 1 to {MAX_AUDIENCE} printable ASCII characters without spaces",
                "name the one relying party that the result is for",
            )
        if self.nonce and not MIN_NONCE <= len(self.nonce) <= MAX_NONCE:
            raise Refused(Code.invalid_request, f"a nonce has {MIN_NONCE} to {MAX_NONCE} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a result says of a node.

    Attributes:
        tls_spki: the key that the evidence binds.
        decision: the decision that appraised the evidence last.
        evidence: the evidence, with claims and digests.
        posture: the node's, which may have fallen since.
        until: see `result_end`.
    """

    tls_spki: bytes
    decision: Decision
    evidence: NodeEvidence
    posture: Posture
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedResult:
    """A result that was just made."""

    result_id: str
    audience: str
    expires: datetime
    text: str


@dataclass(frozen=True, slots=True)
class ResultIssuer:
    """Signs results of one trust domain."""

    keystore: Keystore
    trust_domain: str

    def issue(
        self, finding: Finding, request: ResultRequest, *, result_id: str, now: datetime
    ) -> IssuedResult:
        """Return the signed result.

        Raises:
            Refused: horizon_passed, what it would say is not true for another whole second.
        """
        issued = now.replace(microsecond=0)
        expires = finding.until.replace(microsecond=0)
        if expires <= now:
            raise Refused(
                Code.horizon_passed,
                "the node's evidence is too old for a result",
                "wait until the node has attested again",
            )
        claims = _claims(finding) | {
            "iss": self.trust_domain,
            "aud": request.audience,
            "iat": unix_ms(issued) // 1000,
            "exp": unix_ms(expires) // 1000,
            "jti": result_id,
        }
        if request.nonce:
            claims["eat_nonce"] = base64.encode_url(request.nonce)
        return IssuedResult(
            result_id=result_id,
            audience=request.audience,
            expires=expires,
            text=self._sign(claims),
        )

    def key_set(self, now: datetime) -> bytes:
        """Return the JWK set that readers of results need at `now`."""
        kept = keys.published(self.keystore.result_keys(), now)
        return encode_set(tuple(ResultKey.from_spki(one.spki) for one in kept))

    def _sign(self, claims: Mapping[str, json.Canonical]) -> str:
        # The key stays in the keystore, so that the few lines of JWS are ours.
        spki = self.keystore.result_keys()[0].spki
        header = {"alg": ALGORITHM, "kid": ResultKey.from_spki(spki).key_id, "typ": TYPE}
        signed = ".".join(base64.encode_url(json.canonical(part)) for part in (header, claims))
        signature = self.keystore.sign_result(spki, signed.encode("ascii"))
        return f"{signed}.{base64.encode_url(signature)}"


def result_end(
    *,
    as_of: datetime,
    clock: ClockClass,
    limits: Iterable[Limit],
    lease_ends: Iterable[datetime],
) -> datetime:
    """Return the instant until which a result may be believed: never past a horizon (F11)."""
    found = horizon(
        challenge_issued=as_of,
        ttl=LIFETIME,
        ttl_cause="ttl of a result",
        clock=clock,
        limits=limits,
    )
    return min((found.until, *lease_ends))


def _claims(finding: Finding) -> dict[str, json.Canonical]:
    """Return what does not depend on who asks."""
    evidence = finding.evidence
    document = ClaimsDocument.recorded(evidence.claims).values
    digests = _record(finding.decision.input_digests)
    policies = {
        name.removeprefix(_POLICY): str(digest)
        for name, digest in digests.items()
        if name.startswith(_POLICY)
    }
    key = ResultKey.from_spki(finding.tls_spki)
    return {
        "eat_profile": PROFILE,
        "sub": evidence.node_id,
        "cnf": {"jkt": key.key_id},
        "ear.verifier-id": {"developer": DEVELOPER, "build": evidence.verifier_build},
        "submods": _submods(finding, str(document["tee"]), _policy_id(policies)),
        EXTENSION: Basis(
            development=document.get("development") is True,
            as_of=rfc3339(evidence.as_of),
            evidence=evidence.evidence_digest,
            policies=tuple(policies.items()),
            reference=str(digests["reference"]),
            collateral=_digest(_collateral(document)),
            trust_anchors=evidence.anchors_digest,
        ).to_json(),
    }


def _submods(finding: Finding, tee: str, policy_id: str) -> dict[str, json.Canonical]:
    recorded = _record(finding.decision.trust_vector)
    devices = cast("Mapping[str, Mapping[str, json.Value]]", recorded.pop("submods", {}))
    if tee in devices:
        raise ValueError("a device has the label of the machine")
    vectors = {label: _vector(vector) for label, vector in {tee: recorded, **devices}.items()}
    statuses = {label: _status(vector) for label, vector in vectors.items()}
    if not finding.posture.passing and Tier.CONTRAINDICATED not in statuses.values():
        statuses[tee] = Tier.CONTRAINDICATED  # for a reason that stands in no vector
    return {
        label: {
            "ear.status": statuses[label].name.lower(),
            "ear.trustworthiness-vector": vector.to_json(),
            "ear.appraisal-policy-id": policy_id,
        }
        for label, vector in vectors.items()
    }


def _vector(recorded: Mapping[str, json.Value]) -> TrustVector:
    return TrustVector(
        **{one.attribute: Tier.of(cast("int", recorded[one.value])) for one in Dimension}
    )


def _status(vector: TrustVector) -> Tier:
    """Return what the vector comes to: silence about a required claim is a failure here too."""
    return _STATUSES[posture(vector, REQUIRED)]


def _policy_id(policies: Mapping[str, str]) -> str:
    deciding = {name: at for name, at in policies.items() if name.startswith(_APPRAISAL)}
    return _POLICY_ID + _digest(deciding)


def _collateral(claims: Mapping[str, json.Canonical]) -> dict[str, json.Canonical]:
    """Return what is claimed of the endorsements of the machine and of every device."""
    devices = cast("Mapping[str, Mapping[str, json.Canonical]]", claims.get("submods", {}))
    return {"": claims["collateral"]} | {
        label: device["collateral"] for label, device in devices.items()
    }


def _digest(value: json.Canonical) -> str:
    return hashlib.sha256(json.canonical(value)).hexdigest()


def _record(text: str) -> dict[str, json.Value]:
    try:
        value = json.decode(text, what="decision record", max_bytes=_MAX_RECORD)
    except MalformedEvidence as error:
        raise ValueError(error.detail) from None  # our own record
    if not isinstance(value, dict):
        raise TypeError("a decision's record is an object")
    return value
