"""Which roots an instance of the verifier trusts: one frozen value with a digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from sealward.verifier.pki.development import DevelopmentRoot
from sealward.verifier.pki.roots import VENDOR_ROOTS, PinnedRoot
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import json


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """Pinned vendor roots and, where somebody asked for them by name, development roots.

    Attributes:
        pinned: vendor roots by fingerprint.
        development_roots: each one the result of `development.import_root`; empty in production.
        digest: SHA-256 over both, lower-case hex: what a recorded decision names.
    """

    pinned: tuple[PinnedRoot, ...] = VENDOR_ROOTS
    development_roots: tuple[DevelopmentRoot, ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        described = {
            "pinned": sorted([root.vendor, root.line, root.sha256] for root in self.pinned),
            "development": sorted([root.line, root.sha256] for root in self.development_roots),
        }
        object.__setattr__(self, "digest", hashlib.sha256(json.canonical(described)).hexdigest())

    def identify(self, fingerprint: str) -> PinnedRoot | DevelopmentRoot:
        """Return the trusted root whose DER has this SHA-256 (lower-case hex).

        Raises:
            RefusedEvidence: ROOT_NOT_PINNED.
        """
        roots: tuple[PinnedRoot | DevelopmentRoot, ...] = (*self.pinned, *self.development_roots)
        for root in roots:
            if root.sha256 == fingerprint:
                return root
        raise RefusedEvidence(
            Code.ROOT_NOT_PINNED,
            "the chain ends in a root that is not trusted here",
            actual=fingerprint,
            hint="evidence under a development root needs that root imported explicitly",
        )
