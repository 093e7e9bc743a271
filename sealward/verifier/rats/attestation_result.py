"""Attestation results as their readers meet them: EAR tokens (docs/specs/attestation-result.md).

`verify` keeps rule 1 of that page, in its order:

    (1) size and shape        (4) signature            (7) time
    (2) header                (5) profile              (8) the presenter's key
    (3) a key that is known   (6) audience             (9) nonce

What it cannot do: find out that the presenter holds the key of `cnf`. The caller MUST have had
that proven (by TLS, or by a signature over a fresh value) and names the key that was proven.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum, unique
from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.result import Dimension, Tier, TrustVector
from sealward.verifier.rats.result_keys import SIGNATURE_BYTES, ResultKey
from sealward.verifier.wire import base64, json

PROFILE: Final = "tag:github.com,2023:veraison/ear"
TYPE: Final = "eat+jwt"  # RFC 9782
ALGORITHM: Final = "ES256"
EXTENSION: Final = "ear.sealward"

MAX_TOKEN: Final = 65_536  # characters; one with eight devices has about 6,000
MIN_NONCE: Final = 8  # bytes (RFC 9711 4.1)
MAX_NONCE: Final = 64
MAX_AUDIENCE: Final = 256  # characters
CLOCK_LEEWAY: Final = timedelta(seconds=10)  # between the clocks of maker and reader, for iat

_HEADER: Final = frozenset({"alg", "kid", "typ"})
_MAX_HEADER: Final = 512
_MAX_SUBMODS: Final = 64
_MAX_SECONDS: Final = 253_402_300_800  # the year 10000, which datetime cannot say
_STATUSES: Final = {tier.name.lower(): tier for tier in Tier}


@unique
class Problem(StrEnum):
    """Why a result was refused; one for each step."""

    MALFORMED = "malformed"
    HEADER = "header"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    PROFILE = "profile"
    AUDIENCE = "audience"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    CONFIRMATION = "confirmation"
    NONCE = "nonce"


class InvalidResult(Exception):
    """The token proves nothing to this reader.

    Attributes:
        problem: one of the closed list.
        detail: one clause; never quotes the token's signature.
    """

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem: Final = problem
        self.detail: Final = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisal:
    """What was found of one attester: the machine, or a device in it."""

    label: str
    status: Tier
    vector: TrustVector
    policy_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the result rests on: `ear.sealward` (digests are lower hex SHA-256).

    Attributes:
        development: whether any root of the evidence is a development root.
        as_of: RFC 3339 instant that freshness counts from.
        evidence: digest of the envelope.
        policies: ("kind/layer", digest) of every policy that decided.
        reference: digest of the reference values that they saw.
        collateral: digest of what is claimed of certificates and lists.
        trust_anchors: digest of the pinned roots.
    """

    development: bool
    as_of: str
    evidence: str
    policies: tuple[tuple[str, str], ...]
    reference: str
    collateral: str
    trust_anchors: str

    def to_json(self) -> dict[str, json.Canonical]:
        """Return the member of a token."""
        return {
            "development": self.development,
            "as_of": self.as_of,
            "evidence": self.evidence,
            "policies": dict(self.policies),
            "reference": self.reference,
            "collateral": self.collateral,
            "trust_anchors": self.trust_anchors,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """A result that is authentic, in date, and for this reader and this presenter.

    It says what was found; what is good enough is the reader's to say (`passes` helps).
    """

    result_id: str
    issuer: str
    node: str
    issued_at: datetime
    expires: datetime
    verifier_build: str
    appraisals: tuple[Appraisal, ...]
    basis: Basis

    @property
    def status(self) -> Tier:
        """The worst status of any attester; `none` and worse than affirming never hides."""
        statuses = {appraisal.status for appraisal in self.appraisals}
        if Tier.CONTRAINDICATED in statuses or {Tier.NONE, Tier.WARNING} <= statuses:
            return Tier.CONTRAINDICATED
        return Tier.NONE if Tier.NONE in statuses else max(statuses)

    def passes(self, required: Iterable[Dimension]) -> bool:
        """Tell whether every attester affirms as a whole and in each of `required`."""
        wanted = tuple(required)
        return all(
            one.status is Tier.AFFIRMING
            and all(one.vector.tier(dimension) is Tier.AFFIRMING for dimension in wanted)
            for one in self.appraisals
        )


def verify(
    token: str,
    *,
    keys: Iterable[ResultKey],
    audience: str,
    presenter: ResultKey,
    nonce: bytes | None,
    now: datetime,
) -> AttestationResult:
    """Return what a token says.

    Args:
        token: as it was presented.
        keys: the maker's key set, from where this reader trusts it to come.
        audience: this reader's own name.
        presenter: the key whose possession the presenter has just proven.
        nonce: what this reader sent for freshness, or None when it sent nothing.
        now: this reader's clock, aware UTC.

    Raises:
        InvalidResult: anything but a result that holds here and now.
    """
    try:
        claims = _authentic(token, {key.key_id: key for key in keys})
        _require_for(claims, audience, presenter, nonce, now)
        return _result(claims)
    except MalformedEvidence as error:
        raise InvalidResult(Problem.MALFORMED, error.detail) from None


def _authentic(token: str, keys: Mapping[str, ResultKey]) -> Mapping[str, json.Value]:
    """Return the claims of a token that one of `keys` signed: steps 1 to 5."""
    if len(token) > MAX_TOKEN or not token.isascii() or token.count(".") != 2:  # noqa: PLR2004 - three parts
        raise InvalidResult(Problem.MALFORMED, "not a JWT of usual size")  # (1)
    signed, _, encoded = token.rpartition(".")
    header_text, _, claims_text = signed.partition(".")
    header = _object(header_text, "header", _MAX_HEADER)
    if header.keys() != _HEADER or (header["alg"], header["typ"]) != (ALGORITHM, TYPE):  # (2)
        raise InvalidResult(Problem.HEADER, f"the header is not that of an {ALGORITHM} {TYPE}")
    key = keys.get(str(header["kid"]))
    if key is None:  # (3)
        raise InvalidResult(Problem.UNKNOWN_KEY, "signed by a key that is not known here")
    signature = base64.decode_url(encoded, what="signature", max_bytes=SIGNATURE_BYTES)
    if not key.verifies(signature, signed.encode("ascii")):  # (4)
        raise InvalidResult(Problem.SIGNATURE, "the signature does not verify")
    claims = _object(claims_text, "claims", MAX_TOKEN)
    if claims.get("eat_profile") != PROFILE:  # (5)
        raise InvalidResult(Problem.PROFILE, f"the profile is not {PROFILE}")
    return claims


def _require_for(
    claims: Mapping[str, json.Value],
    audience: str,
    presenter: ResultKey,
    nonce: bytes | None,
    now: datetime,
) -> None:
    """Refuse a token for another reader, time, presenter or request: steps 6 to 9."""
    if claims.get("aud") != audience:  # (6); a list of readers is not for us alone
        raise InvalidResult(Problem.AUDIENCE, "it is for another relying party")
    if _instant(claims, "iat") > now + CLOCK_LEEWAY:  # (7)
        raise InvalidResult(Problem.NOT_YET_VALID, "it was issued in the future")
    if now >= _instant(claims, "exp"):
        raise InvalidResult(Problem.EXPIRED, "it has expired")
    confirmed = claims.get("cnf")
    bound = confirmed.get("jkt") if isinstance(confirmed, dict) else None
    if not isinstance(bound, str) or bound != presenter.key_id:  # (8)
        raise InvalidResult(Problem.CONFIRMATION, "it is bound to another key, or to none")
    if nonce is not None:  # (9)
        answered = claims.get("eat_nonce")
        if not isinstance(answered, str) or not hmac.compare_digest(
            answered.encode(), base64.encode_url(nonce).encode()
        ):
            raise InvalidResult(Problem.NONCE, "it answers another nonce, or none")


def _result(claims: Mapping[str, json.Value]) -> AttestationResult:
    submods = _member(claims, "submods")
    if not 0 < len(submods) <= _MAX_SUBMODS:
        raise MalformedEvidence(0, f"submods: 1 to {_MAX_SUBMODS} are expected")
    return AttestationResult(
        result_id=_text(claims, "jti"),
        issuer=_text(claims, "iss"),
        node=_text(claims, "sub"),
        issued_at=_instant(claims, "iat"),
        expires=_instant(claims, "exp"),
        verifier_build=_text(_member(claims, "ear.verifier-id"), "build"),
        appraisals=tuple(_appraisal(label, submods) for label in sorted(submods)),
        basis=_basis(_member(claims, EXTENSION)),
    )


def _appraisal(label: str, submods: Mapping[str, json.Value]) -> Appraisal:
    members = _member(submods, label)
    tiers = _member(members, "ear.trustworthiness-vector")
    status = _STATUSES.get(_text(members, "ear.status"))
    if status is None:
        raise MalformedEvidence(0, f"ear.status of {label}: not a tier")
    return Appraisal(
        label=label,
        status=status,
        vector=TrustVector(**{one.attribute: _tier(tiers, one) for one in Dimension}),
        policy_id=_text(members, "ear.appraisal-policy-id"),
    )


def _tier(tiers: Mapping[str, json.Value], dimension: Dimension) -> Tier:
    value = tiers.get(dimension.value, 0)  # the draft lets a maker leave out what it has not judged
    if isinstance(value, bool) or not isinstance(value, int):
        raise MalformedEvidence(0, f"{dimension}: not a whole number")
    try:
        return Tier.of(value)
    except ValueError as error:
        raise MalformedEvidence(0, f"{dimension}: {error}") from None


def _basis(members: Mapping[str, json.Value]) -> Basis:
    development = members.get("development")
    if not isinstance(development, bool):
        raise MalformedEvidence(0, f"{EXTENSION}.development: not true or false")
    policies = _member(members, "policies")
    return Basis(
        development=development,
        as_of=_text(members, "as_of"),
        evidence=_text(members, "evidence"),
        policies=tuple((name, _text(policies, name)) for name in sorted(policies)),
        reference=_text(members, "reference"),
        collateral=_text(members, "collateral"),
        trust_anchors=_text(members, "trust_anchors"),
    )


def _object(text: str, what: str, max_bytes: int) -> Mapping[str, json.Value]:
    data = base64.decode_url(text, what=what, max_bytes=max_bytes)
    value = json.decode(data, what=what, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise MalformedEvidence(0, f"{what}: not an object")
    return value


def _member(members: Mapping[str, json.Value], name: str) -> Mapping[str, json.Value]:
    value = members.get(name)
    if not isinstance(value, dict):
        raise MalformedEvidence(0, f"{name}: not an object")
    return value


def _text(members: Mapping[str, json.Value], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise MalformedEvidence(0, f"{name}: not text")
    return value


def _instant(claims: Mapping[str, json.Value], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_SECONDS:
        raise MalformedEvidence(0, f"{name}: not whole seconds since 1970")
    return datetime.fromtimestamp(value, tz=UTC)
