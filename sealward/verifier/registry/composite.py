"""Collections: a machine with its devices, as the registry takes them.

The shape of section 10 of docs/specs/evidence-envelope.md: `cpu` is evidence that may stand alone;
`gpu-0` ... `gpu-7` and `switch-0` ... `switch-3` are NVIDIA's, each sort numbered without gaps;
`tpm` is a quote beside another kind of evidence. What joins them is `verifier.composite.devices`.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.composite import devices
from sealward.verifier.rats.claims import Tee
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import NVIDIA_EVIDENCE, TPM_EVIDENCE, Collection, Record
from sealward.verifier.registry import nvidia
from sealward.verifier.registry.context import Verified

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from sealward.verifier.rats.claims import Json
    from sealward.verifier.registry.context import Context

MACHINE: Final = "cpu"
TPM: Final = "tpm"
_GPUS: Final = tuple(f"gpu-{number}" for number in range(8))
_SWITCHES: Final = tuple(f"switch-{number}" for number in range(4))
_WHAT: Final = "collection"


@unique
class CompositeRole(StrEnum):
    """A whole envelope."""

    COLLECTION = "evidence of a machine with devices"


def authenticate(
    collection: Collection, context: Context, machine: Callable[[Record, Context], Verified]
) -> Verified:
    """Verify a collection; `machine` verifies evidence of a kind that can stand alone.

    Raises:
        MalformedEvidence: labels or media types that section 10 does not have, or a part that does
            not parse.
        RefusedEvidence: a part does not verify, or the parts do not belong together.
    """
    records = _records(collection)
    first = machine(records[MACHINE], context)
    others = {
        label: machine(record, context)
        if label == TPM
        else nvidia.authenticate_device(record, context)
        for label, record in records.items()
        if label != MACHINE
    }
    for label, found in others.items():
        _check_tee(label, found.claims.tee)
    claims = devices.combine(first.claims, tuple((name, v.claims) for name, v in others.items()))
    return Verified(claims, first.native, lambda: _describe(first, others))


def _records(collection: Collection) -> dict[str, Record]:
    """Return the records by label, in the order of labels, or refuse the shape."""
    records: dict[str, Record] = {}
    for label, entry in collection.entries:
        if not isinstance(entry, Record):
            raise MalformedEvidence(0, f"{_WHAT}: {label} is a collection itself")
        records[label] = entry
    labels = records.keys()
    named = [*_numbered(_GPUS, labels), *_numbered(_SWITCHES, labels)]
    beside = [*named, TPM] if TPM in labels else named
    if MACHINE not in labels or not beside or labels != {MACHINE, *beside}:
        raise MalformedEvidence(0, f"{_WHAT}: not {MACHINE} and its devices, numbered from 0")
    kinds = dict.fromkeys(named, NVIDIA_EVIDENCE) | {TPM: TPM_EVIDENCE}
    for label in beside:
        if records[label].media_type != kinds[label]:
            raise MalformedEvidence(0, f"{_WHAT}: {label} has another media type than its label")
    if TPM in labels and records[MACHINE].media_type == TPM_EVIDENCE:
        raise MalformedEvidence(0, f"{_WHAT}: {TPM} stands beside another kind of evidence only")
    return records


def _numbered(names: tuple[str, ...], labels: Container[str]) -> tuple[str, ...]:
    """Return those of `names` that are there up to the first gap; others are then left over."""
    count = next((at for at, name in enumerate(names) if name not in labels), len(names))
    return names[:count]


def _check_tee(label: str, tee: Tee) -> None:
    expected = Tee.TPM if label == TPM else Tee.NVIDIA_GPU if label in _GPUS else Tee.NVIDIA_SWITCH
    if tee is not expected:
        raise RefusedEvidence(
            Code.PRODUCT_MISMATCH,
            f"{label} is another sort of device than its label says",
            claim=f"submods.{label}.tee",
            expected=expected.value,
            actual=tee.value,
        )


def _describe(machine: Verified, others: dict[str, Verified]) -> dict[str, Json]:
    submods: dict[str, Json] = {label: found.details() for label, found in others.items()}
    return {**machine.details(), "submods": submods}
