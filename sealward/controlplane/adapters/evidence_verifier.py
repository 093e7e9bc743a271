"""The services' port to the verifier library: every kind of evidence that this release knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources

import sealward
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.services.evidence import Authenticated
from sealward.verifier import registry
from sealward.verifier.composite.tpm_node import Trust, VerifiedNode
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.instance_keys import InstanceKey
from sealward.verifier.rats.claims import Collateral
from sealward.verifier.rats.collateral import NO_COLLATERAL, Source
from sealward.verifier.registry import Context


def build_digest() -> str:
    """Return the release and the SHA-256 over the verifier's own source: which code verified."""
    digest = hashlib.sha256()
    root = resources.files("sealward.verifier")
    for name, content in sorted(_sources(root, "")):
        digest.update(len(name).to_bytes(2, "big") + name.encode())
        digest.update(len(content).to_bytes(8, "big") + content)
    return f"sealward {sealward.__version__} sha256:{digest.hexdigest()}"


def _sources(folder: resources.abc.Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for item in folder.iterdir():
        name = f"{prefix}{item.name}"
        if item.is_dir():
            found += _sources(item, f"{name}/")
        elif name.endswith(".py"):
            found.append((name, item.read_bytes()))
    return found


@dataclass(frozen=True, slots=True)
class LibraryVerifier:
    """Verifies envelopes under fixed trust anchors.

    Attributes:
        anchors: pinned vendor roots, and development roots in a development installation.
        certificates: CA certificates (DER) that complete chains which attesters send without them.
    """

    anchors: TrustAnchors
    certificates: tuple[bytes, ...] = ()
    _cache: ChainCache = field(default_factory=ChainCache)
    _build: str = field(default_factory=build_digest)

    def verify(
        self,
        evidence: bytes,
        now: datetime,
        tpm: Trust | None = None,
        collateral: Source = NO_COLLATERAL,
        keys: tuple[InstanceKey, ...] = (),
    ) -> Authenticated:
        """Return what the evidence proves at `now`; raises VerifierError."""
        context = Context(
            anchors=self.anchors,
            now=now,
            cache=self._cache,
            certificates=self.certificates,
            tpm=tpm,
            collateral=collateral,
            keys=keys,
        )
        verified = registry.authenticate(evidence, context)
        claims = verified.claims
        node = verified.native if isinstance(verified.native, VerifiedNode) else None
        return Authenticated(
            claims=claims,
            bound=bytes.fromhex(claims.report_data),
            limits=_limits(claims.collateral),
            verifier_build=self._build,
            anchors_digest=self._anchors_digest(tpm, keys),
            lock=None if node is None else node.lock,
            quote=None if node is None else node.quote,
        )

    def _anchors_digest(self, tpm: Trust | None, keys: tuple[InstanceKey, ...]) -> str:
        """Return the digest of what the evidence rests on: a tenant's own anchors, or ours."""
        if keys:
            return _digest(hashlib.sha256(key.spki or b"").hexdigest() for key in keys)
        return self.anchors.digest if tpm is None else _digest(root.sha256 for root in tpm.roots)


def _limits(collateral: Collateral) -> tuple[Limit, ...]:
    """Return what ends when, by its own name where the format tells it apart."""
    told = tuple(Limit(name, end) for name, end in collateral.limits)
    return told or (Limit("certificate of the platform", collateral.not_after),)


def _digest(anchors: Iterable[str]) -> str:
    """Return SHA-256 over the sorted digests of a tenant's anchors: which ones were trusted."""
    return hashlib.sha256("\n".join(sorted(anchors)).encode()).hexdigest()
