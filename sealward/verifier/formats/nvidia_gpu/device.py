"""One device, appraised: its report, its manifests, and what is known of revocation.

Numbered procedure of `appraise`:

    (1) the report is authenticated (verify.py);
    (2) the manifests of its driver and its VBIOS, which it names itself, are looked up, among
        those given first; a switch has only the latter;
    (3) each is authenticated (manifest.py);
    (4) the report is compared with them (compare.py);
    (5) answers about revocation are looked up for every chain (revocation.py).

The caller MUST check that the nonce is one it gave.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.nvidia_gpu import compare, manifest, revocation, verify
from sealward.verifier.formats.nvidia_gpu.chain import CHAIN_RULES
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.nvidia_gpu.compare import Comparison, Component
    from sealward.verifier.formats.nvidia_gpu.manifest import VerifiedManifest
    from sealward.verifier.formats.nvidia_gpu.verify import VerifiedReport
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.rats.collateral import Key, Source

_CERTIFICATES: Final = "certificates"
_OCSP: Final = "ocsp"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDevice:
    """A device whose report and manifests verified; built only by `appraise`.

    Attributes:
        verified: the report and its key.
        manifests: those it was compared with.
        comparison: what came of it.
        not_before: the latest start of any endorsement.
        limits: what ends when, the earliest first.
        revocation_checked: whether answers in date were held for every certificate that names a
            responder.
        unasked: the answers that were not held.
    """

    verified: VerifiedReport
    manifests: tuple[tuple[Component, VerifiedManifest], ...] = field(repr=False)
    comparison: Comparison
    not_before: datetime
    limits: tuple[tuple[str, datetime], ...]
    revocation_checked: bool
    unasked: tuple[Key, ...]

    @property
    def development(self) -> bool:
        """Whether any chain ends in a development root."""
        return self.verified.endorsed.development or any(
            found.development for _, found in self.manifests
        )


def appraise(
    report: bytes,
    certificates: bytes,
    *,
    anchors: TrustAnchors,
    source: Source,
    now: datetime,
    cache: ChainCache,
    given: tuple[bytes, ...] = (),
) -> VerifiedDevice:
    """Run the procedure above at the aware UTC instant `now`.

    Args:
        report: SPDM request and answer.
        certificates: the chain of the device's key, PEM, leaf first.
        anchors: the roots trusted here.
        source: where manifests and answers about revocation are.
        now: the instant.
        cache: what was verified before.
        given: manifests that came along as files; at most one for each component.

    Raises:
        MalformedEvidence: report, certificates or collateral do not parse.
        RefusedEvidence: ENDORSEMENT_MISSING with `needs` (2), or with the code of the step.
    """
    verified = verify.authenticate(  # (1)
        report, certificates, anchors=anchors, now=now, cache=cache
    )
    manifests = tuple(  # (3)
        (component, manifest.authenticate(data, anchors=anchors, now=now, cache=cache))
        for component, data in _look_up(verified, source, given)
    )
    comparison = compare.compare(verified, manifests)  # (4)
    windows = [(_CERTIFICATES, verified.endorsed.window)]
    windows += [(f"rim.{component}", found.window) for component, found in manifests]
    every = {one.key.name: one for one in verified.endorsed.revocable}
    every |= {one.key.name: one for _, found in manifests for one in found.revocable}
    known = revocation.check(  # (5)
        tuple(every.values()), rules=CHAIN_RULES, source=source, now=now, cache=cache
    )
    limits = [(name, window.not_after) for name, window in windows]
    limits += [] if known.not_after is None else [(_OCSP, known.not_after)]
    return VerifiedDevice(
        verified=verified,
        manifests=manifests,
        comparison=comparison,
        not_before=max(window.not_before for _, window in windows),
        limits=tuple(sorted(limits, key=lambda limit: limit[1])),
        revocation_checked=known.checked,
        unasked=known.missing,
    )


def _look_up(
    verified: VerifiedReport, source: Source, given: tuple[bytes, ...]
) -> tuple[tuple[Component, bytes], ...]:
    """Step 2."""
    offered = {compare.component_of(manifest.parse(data)[0]): data for data in given}
    if len(offered) != len(set(given)):
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            "several manifests were given for one component",
            hint="give one manifest of the driver and one of the VBIOS",
        )
    wanted = compare.wanted(verified)
    found = [(one, key, offered.get(one) or source.get(key)) for one, key in wanted]
    needs = tuple(key for _, key, data in found if data is None)
    if needs:
        raise RefusedEvidence(
            Code.ENDORSEMENT_MISSING,
            "the manifests that say what this device may run are not held",
            claim="gpu.rim",
            expected=", ".join(key.name for key in needs),
            hint="import these reference integrity manifests, or let them be fetched",
            needs=needs,
        )
    return tuple((component, data) for component, _, data in found if data is not None)
