"""Whose certificates stand behind a quote and behind Intel's statements.

    PCK Certificate <- PCK Platform CA or PCK Processor CA <- Root CA
                                              TCB Signing  <- Root CA

All of them hang under one root, so names tell what a key is for: a CA for platforms may not sign a
statement, and a signer of statements no platform. Under a development root the names are the same
with another prefix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.pki import certificate as x509
from sealward.verifier.pki import chain
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.development import (
    DEVELOPMENT_MARKER_OID,
    NAME_PREFIX,
    DevelopmentRoot,
)
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import pem

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.certificate import Certificate

MAX_CHAIN_BYTES: Final = 16 * 1024  # a PCK chain has 3.7 KB of PEM
LINE: Final = "DCAP"

ALGORITHMS: Final = frozenset({SignatureAlgorithm.ECDSA_SHA256})
_VENDOR_RULES: Final = chain.Rules(algorithms=ALGORITHMS, critical=frozenset())
_DEVELOPMENT_RULES: Final = chain.Rules(
    algorithms=ALGORITHMS, critical=frozenset({DEVELOPMENT_MARKER_OID})
)
_VENDOR_PREFIX: Final = "Intel SGX "
_PCK: Final = "PCK Certificate"
_TCB_SIGNING: Final = "TCB Signing"
_VENDOR_ROOT: Final = "Intel SGX Root CA"
_DEVELOPMENT_ROOT: Final = f"{NAME_PREFIX}DCAP Root"


@unique
class PckCa(StrEnum):
    """Which CA certified a platform; the value is the one of collateral keys."""

    PLATFORM = "platform"
    PROCESSOR = "processor"


_CA_NAMES: Final = {"PCK Platform CA": PckCa.PLATFORM, "PCK Processor CA": PckCa.PROCESSOR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A chain that held at the instant it was walked; its dates are checked at each use.

    Attributes:
        certificates: leaf first, root last.
        window: when all of it is valid.
        development: it ends in a development root.
        role: what follows the prefix in the common name of the leaf's issuer, or of the leaf where
            the root issued it.
    """

    certificates: tuple[Certificate, ...] = field(repr=False)
    window: chain.Window
    development: bool
    role: str

    @property
    def leaf(self) -> Certificate:
        """The certificate whose key signs."""
        return self.certificates[0]

    @property
    def issuer(self) -> Certificate:
        """The CA above the leaf."""
        return self.certificates[1]

    @property
    def root(self) -> Certificate:
        """The pinned root."""
        return self.certificates[-1]

    @property
    def pck_ca(self) -> PckCa:
        """Which CA certified the leaf of a PCK path."""
        return _CA_NAMES[self.role]

    @property
    def names(self) -> tuple[str, ...]:
        """The subjects, leaf first."""
        return tuple(member.subject.text for member in self.certificates)


def pck_path(text: bytes, *, anchors: TrustAnchors, now: datetime) -> Path:
    """Walk a PCK chain in PEM, three certificates, to a trusted root.

    Raises:
        MalformedEvidence: the PEM or a certificate does not parse.
        RefusedEvidence: with the code of what does not hold.
    """
    return _walk(text, tuple((_PCK, ca) for ca in _CA_NAMES), anchors, now)


def signer_path(text: bytes, *, anchors: TrustAnchors, now: datetime) -> Path:
    """Walk a TCB signer's chain in PEM, two certificates, to a trusted root.

    Raises:
        MalformedEvidence: the PEM or a certificate does not parse.
        RefusedEvidence: with the code of what does not hold.
    """
    return _walk(text, ((_TCB_SIGNING,),), anchors, now)


def _walk(
    text: bytes, allowed: tuple[tuple[str, ...], ...], anchors: TrustAnchors, now: datetime
) -> Path:
    blocks = pem.decode(
        text.rstrip(b"\0"), what="Intel certificate chain", max_bytes=MAX_CHAIN_BYTES
    )
    path = tuple(x509.parse(block) for block in blocks)
    development = _identify(path[-1], anchors)
    roles = _check_names(path, allowed, development=development)
    rules = _DEVELOPMENT_RULES if development else _VENDOR_RULES
    window = chain.walk(path, rules=rules, now=now)
    return Path(certificates=path, window=window, development=development, role=roles[-1])


def _identify(root: Certificate, anchors: TrustAnchors) -> bool:
    """Return whether a trusted root is a development root; refuse one of another vendor."""
    anchor = anchors.identify(root.fingerprint)
    development = isinstance(anchor, DevelopmentRoot)
    vendor = Vendor.INTEL if isinstance(anchor, DevelopmentRoot) else anchor.vendor
    if anchor.line != LINE or vendor is not Vendor.INTEL:
        raise RefusedEvidence(
            Code.ROOT_NOT_PINNED,
            "the chain ends in a root that endorses no Intel platforms",
            expected=LINE,
            actual=anchor.line,
        )
    return development


def _check_names(
    path: tuple[Certificate, ...], allowed: tuple[tuple[str, ...], ...], *, development: bool
) -> tuple[str, ...]:
    """Return the roles of all but the root; refuse a chain whose members play other roles."""
    prefix = NAME_PREFIX if development else _VENDOR_PREFIX
    root = _DEVELOPMENT_ROOT if development else _VENDOR_ROOT
    actual = tuple(member.subject.common_name for member in path)
    for roles in allowed:
        if actual == (*(prefix + role for role in roles), root):
            return roles
    raise RefusedEvidence(
        Code.CHAIN_BROKEN,
        "the certificates are not a chain of the kind that is needed here",
        expected=" or ".join(
            " <- ".join((*(prefix + role for role in roles), root)) for roles in allowed
        ),
        actual=" <- ".join(str(name) for name in actual),
    )


def is_root_name(name: str) -> bool:
    """Whether a common name is that of Intel's root, or of a development root in its place."""
    return name in (_VENDOR_ROOT, _DEVELOPMENT_ROOT)
