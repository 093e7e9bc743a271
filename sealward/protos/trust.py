"""Trust configuration, version 1 (docs/specs/trust-configuration.md).

What an agent believes before it has spoken to anyone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealward.verifier.rats.binding import Audience
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64, json

MAX_BYTES: Final = 65_536
_WHAT: Final = "trust configuration"
_KEYS: Final = frozenset(
    (
        "v",
        "trust_domain",
        "tenant",
        "development",
        "server_roots",
        "terms_keys",
        "log_keys",
        "witness_keys",
    )
)
_DOMAIN: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_TENANT: Final = re.compile(r"[a-z0-9-]{1,63}")
_DEVELOPMENT_LABEL: Final = "development."
_CURRENT_AND_NEXT: Final = 2
_MAX_WITNESSES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustConfiguration:
    """Pins of one control plane and one tenant.

    Attributes:
        trust_domain: DNS name; begins with "development." exactly when `development` is true.
        tenant: tenant name.
        development: whether this control plane accepts development roots.
        server_roots: one or two PEM certificates, current first.
        terms_keys: raw Ed25519 keys that may sign terms.
        log_keys: raw Ed25519 keys that may sign checkpoints.
        witness_keys: raw Ed25519 keys of log witnesses.
    """

    trust_domain: str
    tenant: str
    development: bool
    server_roots: tuple[str, ...]
    terms_keys: tuple[bytes, ...]
    log_keys: tuple[bytes, ...]
    witness_keys: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Return the canonical file: the bytes whose SHA-256 is measured."""
        return json.canonical(
            {
                "v": 1,
                "trust_domain": self.trust_domain,
                "tenant": self.tenant,
                "development": self.development,
                "server_roots": list(self.server_roots),
                "terms_keys": [base64.encode(key) for key in self.terms_keys],
                "log_keys": [base64.encode(key) for key in self.log_keys],
                "witness_keys": [base64.encode(key) for key in self.witness_keys],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> TrustConfiguration:
        """Read a trust configuration.

        Raises:
            MalformedEvidence: not the canonical form, or any rule of the specification broken.
        """
        value = json.decode(data, what=_WHAT, max_bytes=MAX_BYTES)
        if not isinstance(value, dict) or value.keys() != _KEYS or value["v"] != 1:
            raise MalformedEvidence(0, f"{_WHAT}: not exactly the keys of version 1")
        if isinstance(value["v"], bool):  # true, which equals 1 in Python
            raise MalformedEvidence(0, f"{_WHAT}: only version 1 is known")
        trust = cls(
            trust_domain=_matching(value["trust_domain"], _DOMAIN, "trust_domain"),
            tenant=_matching(value["tenant"], _TENANT, "tenant"),
            development=_boolean(value["development"]),
            server_roots=_texts(
                value["server_roots"], "server_roots", least=1, most=_CURRENT_AND_NEXT
            ),
            terms_keys=_keys(value["terms_keys"], "terms_keys", least=1, most=_CURRENT_AND_NEXT),
            log_keys=_keys(value["log_keys"], "log_keys", least=1, most=_CURRENT_AND_NEXT),
            witness_keys=_keys(value["witness_keys"], "witness_keys", least=0, most=_MAX_WITNESSES),
        )
        if trust.development != trust.trust_domain.startswith(_DEVELOPMENT_LABEL):
            raise MalformedEvidence(0, f"{_WHAT}: trust domain and development flag disagree")
        for root in trust.server_roots:
            _root_spki(root)
        if trust.encode() != data:
            raise MalformedEvidence(0, f"{_WHAT}: not in canonical form")
        return trust

    def digest(self) -> bytes:
        """Return SHA-256 of the file, as the launch measures it."""
        return hashlib.sha256(self.encode()).digest()

    def audience(self) -> Audience:
        """Return what evidence for this control plane is bound to."""
        pin = hashlib.sha256(_root_spki(self.server_roots[0])).digest()
        return Audience(trust_domain=self.trust_domain, pin=pin)


def _root_spki(pem: str) -> bytes:
    try:
        root = x509.load_pem_x509_certificate(pem.encode("ascii"))
        return root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception as error:
        raise MalformedEvidence(0, f"{_WHAT}: a server root is not a PEM certificate") from error


def _matching(value: json.Value, pattern: re.Pattern[str], name: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise MalformedEvidence(0, f"{_WHAT}: {name} is not of its form")
    return value


def _boolean(value: json.Value) -> bool:
    if not isinstance(value, bool):
        raise MalformedEvidence(0, f"{_WHAT}: development is not a boolean")
    return value


def _texts(value: json.Value, name: str, *, least: int, most: int) -> tuple[str, ...]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise MalformedEvidence(0, f"{_WHAT}: {name} is not a list of {least}..{most}")
    texts = tuple(item for item in value if isinstance(item, str))
    if len(texts) != len(value) or len(set(texts)) != len(texts):
        raise MalformedEvidence(0, f"{_WHAT}: {name} holds something else than distinct texts")
    return texts


def _keys(value: json.Value, name: str, *, least: int, most: int) -> tuple[bytes, ...]:
    texts = _texts(value, name, least=least, most=most)
    keys = tuple(base64.decode(item, what=f"{_WHAT}: {name}", max_bytes=32) for item in texts)
    if any(len(key) != 32 for key in keys):  # noqa: PLR2004 - raw Ed25519 keys (RFC 8032)
        raise MalformedEvidence(0, f"{_WHAT}: {name} holds a key that is not 32 bytes")
    return keys
