"""What kinds of evidence have in common: pieces, what verification depends on, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING

from sealward.verifier.formats.snp.claims import ANY_GUEST_VMPL
from sealward.verifier.rats.collateral import NO_COLLATERAL

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sealward.verifier.composite import tpm_node
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.pki.instance_keys import InstanceKey
    from sealward.verifier.rats.claims import Claims, Json
    from sealward.verifier.rats.collateral import Source
    from sealward.verifier.rats.distrust import DistrustEntry
    from sealward.verifier.rats.evidence import Record


@unique
class Role(StrEnum):
    """What a certificate is that no kind of evidence claims as its own."""

    INTERMEDIATE = "intermediate CA certificate"
    ROOT = "self-issued CA certificate"


@dataclass(frozen=True, slots=True)
class Item:
    """One recognised piece.

    Attributes:
        role: a member of `Role`, or of the roles of a kind of evidence.
        data: its bytes; certificates in DER.
    """

    role: StrEnum
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Context:
    """What verification depends on besides the evidence.

    Attributes:
        anchors: the roots trusted here.
        now: the instant to verify at, aware UTC.
        cache: what was verified before.
        certificates: CA certificates of our own (DER), to complete chains that attesters sent
            without them.
        distrusted: the distrust list.
        expected_vmpl: SNP privilege levels whose reports are taken without a verdict.
        tpm: what the tenant trusts of TPMs; None where TPM evidence is not taken at all.
        collateral: where endorsements are that did not come with the evidence.
        keys: what the tenant trusts of attesters that no certificate endorses.
    """

    anchors: TrustAnchors
    now: datetime
    cache: ChainCache
    certificates: tuple[bytes, ...] = ()
    distrusted: tuple[DistrustEntry, ...] = ()
    expected_vmpl: frozenset[int] = ANY_GUEST_VMPL
    tpm: tpm_node.Trust | None = None
    collateral: Source = NO_COLLATERAL
    keys: tuple[InstanceKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """Verified evidence: the normalised claims, and the format's own view behind them.

    Attributes:
        claims: what policies see.
        native: the format's verified evidence.
        describe: makes the JSON of `details`, which nobody but a person asks for.
    """

    claims: Claims
    native: object = field(repr=False)
    describe: Callable[[], dict[str, Json]] = field(repr=False, compare=False)

    def details(self) -> dict[str, Json]:
        """Return every field of the evidence and its endorsements as plain JSON."""
        return self.describe()


def _no_certificate(_: Certificate) -> StrEnum | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of evidence, as the registry sees it.

    Attributes:
        name: for people and for `includes`.
        media_types: of its payloads in our envelope.
        evidence: the roles of which one piece at least is there when this is the evidence.
        recognise: what a file holds, or None when it is nothing of this kind's; raises
            MalformedEvidence for what starts as its own and does not go on so.
        unpack: the pieces of a payload; raises MalformedEvidence.
        authenticate: verifies a payload. The caller MUST check binding and freshness of
            `claims.report_data`; an adapter refuses a payload whose bound field is no binding.
        assemble: verifies the one evidence among pieces of any kinds.
        certificate: the role of a certificate that belongs to this kind alone, else None.
        includes: names of kinds whose pieces are part of this one when both are there.
    """

    name: str
    media_types: frozenset[str]
    evidence: frozenset[StrEnum]
    recognise: Callable[[bytes], tuple[Item, ...] | None]
    unpack: Callable[[Record], tuple[Item, ...]]
    authenticate: Callable[[Record, Context], Verified]
    assemble: Callable[[tuple[Item, ...], Context], Verified]
    certificate: Callable[[Certificate], StrEnum | None] = _no_certificate
    includes: frozenset[str] = frozenset()
