"""What a decision reads, in one snapshot, and the fences under which it stays true (F16)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, TypeAlias

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.domain.nodes import ReferenceMatch
from sealward.controlplane.domain.platforms import PlatformState
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.policy_engine import LayerPolicy
from sealward.controlplane.domain.reference_values import ReferenceSet, ReferenceValue
from sealward.controlplane.domain.trust_anchors import AnchorKind
from sealward.controlplane.services import reference_overlap
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.policy_book import PolicyBook
from sealward.controlplane.services.ports import Transaction
from sealward.controlplane.services.reference_overlap import Described, Entry
from sealward.verifier.rats.claims import Tee
from sealward.verifier.wire import json

MEASUREMENT = "measurement"
PCR = "pcr"
TCB_FLOOR = "tcb_floor"
_VIEWS_REMEMBERED: Final = 256  # of a few KiB; a fleet runs a handful of images on a few products

_TPM: Final = Tee.TPM.value
_REGISTER: Final = "pcr"  # names of a TPM's measurements: "pcr" and the index
_Agreed: TypeAlias = Callable[[Sequence[Described]], tuple[Entry, datetime | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceView:
    """The reference values in force that one set of claims matches.

    Attributes:
        document: canonical JSON {kind: {key: value}}: what a policy sees as data.reference.
        entries: one for each matched measurement or register, whatever the number of sets that
            describe it: what a release policy sees as input.reference. All of them describe one
            measured chain, that of these claims.
        matches: (kind, key) pairs, for the index that finds a value's nodes.
        limits: expiry of the sets they stand in.
    """

    document: bytes
    entries: tuple[Mapping[str, json.Canonical], ...]
    matches: tuple[ReferenceMatch, ...]
    limits: tuple[Limit, ...]

    @property
    def digest(self) -> str:
        """Lower hex SHA-256 of the document."""
        return hashlib.sha256(self.document).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppraisalFacts:
    """Policies and reference values for one appraisal.

    Attributes:
        epochs: fence values; a decision commits only while they stand.
        appraisal: the appraisal policy of every configured layer.
        reference: see `ReferenceView`.
        platform_denied: whether an administrator has denied the platform that the claims name.
        anchor_removed: whether the claims rest on a trust anchor that is not in force any more.
    """

    epochs: Mapping[str, int]
    appraisal: tuple[LayerPolicy, ...]
    reference: ReferenceView
    platform_denied: bool
    anchor_removed: bool


def read_appraisal_facts(
    tx: Transaction,
    book: PolicyBook,
    claims: ClaimsDocument,
    *,
    more_scopes: Iterable[str],
    now: datetime,
) -> AppraisalFacts:
    """Read policies, reference values and fences for `claims`.

    Args:
        tx: one snapshot.
        book: parsed policies.
        claims: what will be appraised, in the form that policies see.
        more_scopes: fences that the caller depends on beside those of appraisal.
        now: for the expiry of reference values.
    """
    scopes = {
        fences.REFERENCE,
        fences.PLATFORM,
        fences.policy(PolicyKind.APPRAISAL),
        *more_scopes,
    }
    if _tpm_issuers(claims):
        scopes.add(fences.TRUST_ANCHOR)
    epochs = tx.epochs.read(sorted(scopes))
    return AppraisalFacts(
        epochs=epochs,
        appraisal=book.active(tx, PolicyKind.APPRAISAL, epochs),
        reference=read_reference_view(tx, claims, now),
        platform_denied=_platform_denied(tx, claims),
        anchor_removed=_anchor_removed(tx, claims),
    )


def _platform_denied(tx: Transaction, claims: ClaimsDocument) -> bool:
    platform_id = claims.values.get("platform_id")
    platform = tx.platforms.find(platform_id) if isinstance(platform_id, str) else None
    return platform is not None and platform.state is PlatformState.denied


def _anchor_removed(tx: Transaction, claims: ClaimsDocument) -> bool:
    issuers = _tpm_issuers(claims)
    if not issuers:
        return False
    found = [tx.trust_anchors.find(AnchorKind.tpm_ek, issuer) for issuer in issuers]
    # An intermediate may also come from the endorsements folder; a root is an anchor or nothing.
    return found[-1] is None or any(one is not None and one.removed is not None for one in found)


def _tpm_issuers(claims: ClaimsDocument) -> tuple[str, ...]:
    """Return the fingerprints above the claims' endorsement key, the root last."""
    tpm = claims.values.get("tpm")
    ek = tpm.get("ek") if isinstance(tpm, Mapping) else None
    issuers = ek.get("issuers_sha256") if isinstance(ek, Mapping) else None
    return tuple(map(str, issuers)) if isinstance(issuers, list | tuple) else ()


def read_reference_view(tx: Transaction, claims: ClaimsDocument, now: datetime) -> ReferenceView:
    """Return what the claims match among the reference values in force."""
    of_tpm = claims.values.get("tee") == _TPM
    measurements = claims.values.get("measurements")
    items = measurements if isinstance(measurements, list | tuple) else ()
    measured = [item for item in items if isinstance(item, Mapping)]
    if of_tpm:  # a value is known as that of its register, and a TPM has no TCB to have a floor
        wanted = [(PCR, _register_key(item)) for item in measured]
    else:
        wanted = [(TCB_FLOOR, f"{claims.values.get('tee')}/{claims.values.get('product')}")]
        wanted += [(MEASUREMENT, str(item.get("digest"))) for item in measured]
    values = tx.references.matching(wanted, now)
    names = sorted({value.set_name for value in values})
    return _view(values, tuple(map(tx.references.get_set, names)), of_tpm=of_tpm)


def _register_key(item: Mapping[str, json.Canonical]) -> str:
    """Return <bank>/<index>/<hex value>, as reference_documents.py reads it."""
    index = str(item.get("name")).removeprefix(_REGISTER)
    return f"{item.get('algorithm')}/{index}/{item.get('digest')}"


def rfc3339(instant: datetime) -> str:
    """Return an instant as policies and records spell it: UTC, milliseconds, Z."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def epoch_digest(epochs: Mapping[str, int]) -> str:
    """Return lower hex SHA-256 of fence values: names the state that a lease was granted under."""
    return hashlib.sha256(json.canonical(dict(epochs))).hexdigest()


@lru_cache(maxsize=_VIEWS_REMEMBERED)
def _view(
    values: tuple[ReferenceValue, ...], sets: tuple[ReferenceSet, ...], *, of_tpm: bool
) -> ReferenceView:
    """Return the view of these records; nodes of one image and product share it."""
    ends = {one.name: one.not_after for one in sets}
    described: dict[str, dict[str, list[Described]]] = {MEASUREMENT: {}, PCR: {}}
    floors: dict[str, list[Entry]] = {}
    for value in values:
        if value.kind == TCB_FLOOR:
            floors.setdefault(value.key, []).append(_parsed(value))
        else:
            described[value.kind].setdefault(value.key, []).append(
                Described(
                    set_name=value.set_name, not_after=ends[value.set_name], value=_parsed(value)
                )
            )
    measured = _entries(reference_overlap.measurement, described[MEASUREMENT])
    registers = _entries(reference_overlap.pcr, described[PCR])
    document: dict[str, json.Canonical] = {
        MEASUREMENT: measured,
        TCB_FLOOR: {key: reference_overlap.floor(some) for key, some in floors.items()},
    }
    if of_tpm:  # of a TPM alone, as claims.tpm is
        document[PCR] = registers
    matches = sorted({(value.kind, value.key) for value in values})
    return ReferenceView(
        document=json.canonical(document),
        entries=(*measured.values(), *registers.values()),
        matches=tuple(ReferenceMatch(kind=kind, key=key) for kind, key in matches),
        limits=tuple(
            Limit(f"reference set {one.name}", one.not_after)
            for one in sets
            if one.not_after is not None
        ),
    )


def _entries(agreed: _Agreed, described: Mapping[str, list[Described]]) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for key, descriptions in sorted(described.items()):
        entry, ends = agreed(descriptions)
        entries[key] = {**entry, "not_after": None if ends is None else rfc3339(ends)}
    return entries


def _parsed(value: ReferenceValue) -> Entry:
    parsed = json.decode(value.value, what="stored reference value", max_bytes=65_536)
    if not isinstance(parsed, dict):
        raise TypeError("a stored reference value is an object")
    return parsed  # type: ignore[return-value]  # decoded from canonical JSON, which has no floats
