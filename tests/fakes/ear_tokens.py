"""A maker of attestation results of any shape, with a key of its own: for their readers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sealward.verifier.rats.attestation_result import AttestationResult, verify
from sealward.verifier.rats.result_keys import ResultKey
from sealward.verifier.wire import base64, json

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AUDIENCE = "https://bank.example"
NONCE = bytes(range(16))
VECTOR = {
    "instance-identity": 2,
    "configuration": 2,
    "executables": 2,
    "file-system": 0,
    "hardware": 2,
    "runtime-opaque": 2,
    "storage-opaque": 0,
    "sourced-data": 0,
}


def claims_of(node: ResultKey) -> dict[str, Any]:
    """Return the claims of a result that holds at NOW."""
    appraisal = {
        "ear.status": "affirming",
        "ear.trustworthiness-vector": VECTOR,
        "ear.appraisal-policy-id": "sealward:appraisal:sha256:" + "0a" * 32,
    }
    return {
        "eat_profile": "tag:github.com,2023:veraison/ear",
        "iss": "development.example",
        "sub": "0b" * 32,
        "aud": AUDIENCE,
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + timedelta(minutes=5)).timestamp()),
        "jti": "0c" * 16,
        "eat_nonce": base64.encode_url(NONCE),
        "cnf": {"jkt": node.key_id},
        "ear.verifier-id": {"developer": "sealward", "build": "sealward 0 sha256:00"},
        "submods": {"snp": appraisal, "gpu-0": appraisal},
        "ear.sealward": {
            "development": False,
            "as_of": "2026-11-23T12:00:00.000Z",
            "evidence": "01" * 32,
            "policies": {"appraisal/organisation": "02" * 32},
            "reference": "03" * 32,
            "collateral": "04" * 32,
            "trust_anchors": "05" * 32,
        },
    }


@dataclass(frozen=True)
class Maker:
    """One signing key and the node that results are about."""

    signing: ec.EllipticCurvePrivateKey = field(repr=False)
    node: ResultKey
    header: dict[str, Any]

    @classmethod
    def fresh(cls) -> Self:
        signing = ec.generate_private_key(ec.SECP256R1())
        node = ResultKey.of(ec.generate_private_key(ec.SECP256R1()).public_key())
        key = ResultKey.of(signing.public_key())
        return cls(signing, node, {"alg": "ES256", "kid": key.key_id, "typ": "eat+jwt"})

    @property
    def key(self) -> ResultKey:
        return ResultKey.of(self.signing.public_key())

    def with_header(self, **changes: object) -> Maker:
        kept = {**self.header, **changes}
        return replace(self, header={k: v for k, v in kept.items() if v is not None})

    def token(self, claims: dict[str, Any] | bytes | None = None, **changes: object) -> str:
        """Sign claims as they are given, or good ones with changes; None takes a claim away."""
        if not isinstance(claims, bytes):
            kept = {**(claims or claims_of(self.node)), **changes}
            claims = json.canonical({k: v for k, v in kept.items() if v is not None})
        header = json.canonical(self.header)
        signed = f"{base64.encode_url(header)}.{base64.encode_url(claims)}"
        r, s = decode_dss_signature(self.signing.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return f"{signed}.{base64.encode_url(signature)}"

    def verify(self, token: str, **changes: Any) -> AttestationResult:  # noqa: ANN401 - passed on
        how = {
            "keys": (self.key,),
            "audience": AUDIENCE,
            "presenter": self.node,
            "nonce": NONCE,
            "now": NOW,
        }
        return verify(token, **{**how, **changes})
