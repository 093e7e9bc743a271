"""Reports of NVIDIA GPUs and switches with what belongs to them, as the registry takes them.

In our own envelope a device never stands alone, for it says nothing of the machine that asked
(docs/specs/evidence-envelope.md section 9): `authenticate_device` is for `composite`. Files of one
device can be verified by themselves, which proves the device and no machine.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.nvidia_gpu import chain, device, manifest, view
from sealward.verifier.formats.nvidia_gpu import claims as nvidia_claims
from sealward.verifier.formats.nvidia_gpu import evidence as nvidia_evidence
from sealward.verifier.formats.nvidia_gpu import report as reports
from sealward.verifier.pki import certificate
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import NVIDIA_EVIDENCE
from sealward.verifier.registry.context import Item, Kind, Verified
from sealward.verifier.wire import pem

if TYPE_CHECKING:
    from sealward.verifier.formats.nvidia_gpu.device import VerifiedDevice
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context


@unique
class NvidiaRole(StrEnum):
    """The pieces of a device's evidence."""

    REPORT = "NVIDIA report"
    CHAIN = "NVIDIA certificate chain"
    MANIFEST = "NVIDIA reference manifest"


def _recognise(data: bytes) -> tuple[Item, ...] | None:
    if reports.looks_like(data):
        reports.parse(data)
        return (Item(NvidiaRole.REPORT, data),)
    if manifest.looks_like(data):
        manifest.parse(data)
        return (Item(NvidiaRole.MANIFEST, data),)
    return (Item(NvidiaRole.CHAIN, data),) if _is_chain(data) else None


def _is_chain(data: bytes) -> bool:
    """Whether it is a PEM chain that starts with a device's key; the order is then part of it."""
    if not pem.looks_like(data) or len(data) > chain.MAX_PEM_BYTES:
        return False
    first = pem.decode(data, what="PEM file", max_bytes=chain.MAX_PEM_BYTES)[0]
    return chain.is_leaf(certificate.parse(first))


def _unpack(record: Record) -> tuple[Item, ...]:
    found = nvidia_evidence.parse(record.value)
    reports.parse(found.report)
    return (
        Item(NvidiaRole.REPORT, found.report),
        Item(NvidiaRole.CHAIN, found.certificates),
    )


def _authenticate(record: Record, _: Context) -> Verified:
    nvidia_evidence.parse(record.value)
    raise RefusedEvidence(
        Code.EVIDENCE_MISSING,
        "a GPU's evidence says nothing about the machine that it is in",
        expected="a collection with evidence of the machine beside it",
        actual="one record",
        hint="send both, as attester 'nvidia' does",
    )


def authenticate_device(record: Record, context: Context) -> Verified:
    """Verify a payload for one device.

    Raises:
        MalformedEvidence: payload, report, certificates or collateral do not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    found = nvidia_evidence.parse(record.value)
    return _verified(found.report, found.certificates, (), context)


def _assemble(pieces: tuple[Item, ...], context: Context) -> Verified:
    found = _of(pieces, NvidiaRole.REPORT)
    chains = _of(pieces, NvidiaRole.CHAIN)
    if len(found) > 1 or len(chains) > 1:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            "reports or certificate chains of several devices were given",
            hint="verify one device at a time",
        )
    if not chains:
        raise RefusedEvidence(
            Code.ENDORSEMENT_MISSING,
            "the certificate chain of the device's key is missing",
            hint="add it as the driver gave it: PEM, the device's own certificate first",
        )
    return _verified(found[0], chains[0], _of(pieces, NvidiaRole.MANIFEST), context)


def _of(pieces: tuple[Item, ...], role: NvidiaRole) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(item.data for item in pieces if item.role is role))


def _verified(
    report: bytes, certificates: bytes, given: tuple[bytes, ...], context: Context
) -> Verified:
    found = device.appraise(
        report,
        certificates,
        anchors=context.anchors,
        source=context.collateral,
        now=context.now,
        cache=context.cache,
        given=given,
    )
    claims = nvidia_claims.normalise(found, now=context.now, distrusted=context.distrusted)
    return Verified(claims, found, lambda: _describe(found))


def _describe(found: VerifiedDevice) -> dict[str, Json]:
    chain_names: list[Json] = [item.subject.text for item in found.verified.endorsed.path]
    manifests: dict[str, Json] = {
        component.value: view.describe_manifest(one.manifest) for component, one in found.manifests
    }
    unasked: list[Json] = [str(key) for key in found.unasked]
    return {
        "report": view.describe_report(found.verified.report),
        "chain": chain_names,
        "manifests": manifests,
        "revocation_not_held": unasked,
    }


KIND: Final = Kind(
    name="nvidia",
    media_types=frozenset({NVIDIA_EVIDENCE}),
    evidence=frozenset({NvidiaRole.REPORT}),
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
)
