"""What a decision reads, in one snapshot, and the fences under which it stays true (F16)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final, TypeAlias

from sealward.controlplane.domain import boots, fences, launches
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.domain.nodes import ReferenceMatch
from sealward.controlplane.domain.platforms import PlatformState
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.policy_engine import LayerPolicy
from sealward.controlplane.domain.reference_values import ReferenceSet, ReferenceValue
from sealward.controlplane.domain.trust_anchors import AnchorKind, VouchedInstance
from sealward.controlplane.services import devices, distrust, known_boots, reference_overlap
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.devices import Elsewhere
from sealward.controlplane.services.file_book import KnownFiles
from sealward.controlplane.services.known_boots import PCR, REGISTER, KnownBoot, NearestBoot
from sealward.controlplane.services.policy_book import PolicyBook
from sealward.controlplane.services.ports import Transaction
from sealward.controlplane.services.reference_overlap import Described, Entry
from sealward.controlplane.services.runtime_logs import MatchableLog
from sealward.verifier.rats.claims import Tee
from sealward.verifier.rats.result import Verdict
from sealward.verifier.wire import json

MEASUREMENT = "measurement"
TCB_FLOOR = "tcb_floor"
_VIEWS_REMEMBERED: Final = 256  # of a few KiB; a fleet runs a handful of images on a few products

# Claims that reference values are found by.
_MATCHED: Final = ("product", "measurements")

_TPMS: Final = frozenset((Tee.TPM.value, Tee.GOOGLE_VTPM.value))
_AZURE: Final = frozenset((Tee.AZURE_SNP.value, Tee.AZURE_TDX.value))
_REGISTER: Final = "pcr"  # names of a TPM's measurements: "pcr" and the index
_RUNTIME_REGISTER: Final = f"{_REGISTER}{boots.RUNTIME_PCR}"
_Agreed: TypeAlias = Callable[[Sequence[Described]], tuple[Entry, datetime | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceView:
    """The reference values in force that one set of claims matches.

    Attributes:
        document: canonical JSON {kind: {key: value}}: what a policy sees as data.reference.
        entries: one for each matched measurement, and for a matched boot of a TPM, whatever the
            number of sets that describe it: what a release policy sees as input.reference. Each
            describes one measured chain.
        matches: (kind, key) pairs, for the index that finds a value's nodes.
        limits: expiry of the sets that the entries and floors stand in.
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
    """Policies and reference values for one appraisal, and the claims it is of.

    Attributes:
        claims: what is to be appraised, its runtime log matched with the reference values in force.
        epochs: fence values; a decision commits only while they stand.
        appraisal: the appraisal policy of every configured layer.
        reference: see `ReferenceView`.
        platform_denied: whether an administrator has denied the platform that the claims name.
        anchor_removed: whether the claims rest on a trust anchor that is not in force any more.
        distrusted: what the distrust list in force holds against the hardware behind the claims.
        elsewhere: devices of the claims that other live nodes hold too.
    """

    claims: ClaimsDocument
    epochs: Mapping[str, int]
    appraisal: tuple[LayerPolicy, ...]
    reference: ReferenceView
    platform_denied: bool
    anchor_removed: bool
    distrusted: tuple[Verdict, ...]
    elsewhere: tuple[Elsewhere, ...]


def read_appraisal_facts(
    tx: Transaction,
    book: PolicyBook,
    claims: ClaimsDocument,
    runtime_log: MatchableLog | None,
    *,
    more_scopes: Iterable[str],
    now: datetime,
    holder: str | None = None,
) -> AppraisalFacts:
    """Read policies, reference values and fences for `claims`.

    Args:
        tx: one snapshot.
        book: parsed policies.
        claims: what will be appraised, in the form that policies see.
        runtime_log: of which the claims tell; they are told anew with what is known of it now.
        more_scopes: fences that the caller depends on beside those of appraisal.
        now: for the expiry of reference values.
        holder: the node that holds the devices of the claims; None while it enrols.
    """
    scopes = {
        fences.REFERENCE,
        fences.PLATFORM,
        fences.policy(PolicyKind.APPRAISAL),
        *more_scopes,
    }
    if _anchors_of(claims):
        scopes.add(fences.TRUST_ANCHOR)
    epochs = tx.epochs.read(sorted(scopes))
    reference = _reference_view(tx, book, claims, epochs[fences.REFERENCE], now)
    if runtime_log is not None:
        told, files = runtime_log.told(tx, epoch=epochs[fences.REFERENCE], now=now)
        claims, reference = claims.with_ima(told), _with_files(reference, files)
    return AppraisalFacts(
        claims=claims,
        epochs=epochs,
        appraisal=book.active(tx, PolicyKind.APPRAISAL, epochs),
        reference=reference,
        platform_denied=_platform_denied(tx, book, claims, epochs[fences.PLATFORM], now),
        anchor_removed=_anchor_removed(tx, claims),
        distrusted=distrust.verdicts(_distrusted(tx, book, epochs[fences.REFERENCE], now), claims),
        elsewhere=() if holder is None else devices.elsewhere(tx, claims, holder, now),
    )


def _platform_denied(
    tx: Transaction, book: PolicyBook, claims: ClaimsDocument, epoch: int, now: datetime
) -> bool:
    platform_id = claims.values.get("platform_id")
    if not isinstance(platform_id, str):
        return False

    def read() -> tuple[bool, None]:
        platform = tx.platforms.find(platform_id)
        return platform is not None and platform.state is PlatformState.denied, None

    return book.readings.get(("platform", tx.tenant, platform_id), epoch, now, read)


def _anchor_removed(tx: Transaction, claims: ClaimsDocument) -> bool:
    anchors = _anchors_of(claims)
    if not anchors:
        return False
    found = [tx.trust_anchors.find(kind, fingerprint) for kind, fingerprint in anchors]
    # An intermediate may also come from the endorsements folder; a root is an anchor or nothing.
    return found[-1] is None or any(one is not None and one.removed is not None for one in found)


def _anchors_of(claims: ClaimsDocument) -> tuple[tuple[AnchorKind, str], ...]:
    """Return kind and fingerprint of the tenant's anchors that claims rest on, the root last."""
    platform_id = claims.values.get("platform_id")
    instance = VouchedInstance.named(platform_id) if isinstance(platform_id, str) else None
    if instance is not None:
        return ((instance.kind, instance.fingerprint),)
    return tuple((AnchorKind.tpm_ek, issuer) for issuer in _tpm_issuers(claims))


def _tpm_issuers(claims: ClaimsDocument) -> tuple[str, ...]:
    """Return the fingerprints above the claims' endorsement key, the root last."""
    tpm = claims.values.get("tpm")
    ek = tpm.get("ek") if isinstance(tpm, Mapping) else None
    issuers = ek.get("issuers_sha256") if isinstance(ek, Mapping) else None
    return tuple(map(str, issuers)) if isinstance(issuers, list | tuple) else ()


def _distrusted(
    tx: Transaction, book: PolicyBook, epoch: int, now: datetime
) -> tuple[ReferenceValue, ...]:
    """Return the distrust list in force. Where there is none, that stands until the fence moves."""

    def read() -> tuple[tuple[ReferenceValue, ...], datetime | None]:
        found = distrust.in_force(tx, now)
        return found, now if found else None  # entries end with their sets: read at each use

    return book.readings.get(("distrust", tx.tenant), epoch, now, read)


def _reference_view(
    tx: Transaction, book: PolicyBook, claims: ClaimsDocument, epoch: int, now: datetime
) -> ReferenceView:
    """Return what `read_reference_view` does, read once for all SNP guests of one image.

    Not of boots: what is nearest to one also rests on sets that set no limit.
    """
    if claims.values.get("tee") != Tee.SNP.value:
        return read_reference_view(tx, claims, now)

    def read() -> tuple[ReferenceView, datetime | None]:
        view = read_reference_view(tx, claims, now)
        return view, min((limit.until for limit in view.limits), default=None)

    measured = json.canonical([claims.values.get(name) for name in _MATCHED])
    return book.readings.get(("reference", tx.tenant, measured), epoch, now, read)


def read_reference_view(tx: Transaction, claims: ClaimsDocument, now: datetime) -> ReferenceView:
    """Return what the claims match among the reference values in force."""
    tee = str(claims.values.get("tee"))
    measurements = claims.values.get("measurements")
    items = measurements if isinstance(measurements, list | tuple) else ()
    measured = [item for item in items if isinstance(item, Mapping)]
    if tee in _TPMS:  # which have no TCB to have a floor
        return _read_boot_view(tx, PCR, _registers(measured), (), now)
    wanted = [(TCB_FLOOR, f"{tee}/{_in_key(claims.values.get('product'))}")]
    if tee in launches.KINDS:
        return _read_boot_view(tx, REGISTER, launches.quoted(claims.values), wanted, now)
    wanted += [(MEASUREMENT, str(item.get("digest"))) for item in measured]
    if tee in _AZURE:  # a machine that was launched, and the TPM that it keeps
        return _read_boot_view(tx, PCR, _registers(measured), wanted, now)
    values = tx.references.matching(wanted, now)
    return _guest_view(values, _sets_of(tx, values))


def _in_key(product: object) -> str:
    """Return a product as keys of floors spell it: without spaces."""
    return str(product).replace(" ", "-")


def _registers(measured: Iterable[Mapping[str, json.Canonical]]) -> frozenset[str]:
    return frozenset(
        _register_key(item)
        for item in measured
        if str(item.get("name")).startswith(_REGISTER) and item.get("name") != _RUNTIME_REGISTER
    )


def _read_boot_view(
    tx: Transaction,
    kind: str,
    quoted: frozenset[str],
    wanted: Sequence[tuple[str, str]],
    now: datetime,
) -> ReferenceView:
    """Return the view of a boot: a value is known as its register's, and all as one boot's."""
    known = known_boots.find(tx, quoted, now, kind)
    beside = tx.references.matching(wanted, now) if wanted else ()
    return _boot_view(kind, known, _sets_of(tx, known.values), beside, _sets_of(tx, beside))


def _sets_of(tx: Transaction, values: Iterable[ReferenceValue]) -> tuple[ReferenceSet, ...]:
    return tuple(tx.references.get_set(name) for name in sorted({v.set_name for v in values}))


def _with_files(view: ReferenceView, files: KnownFiles) -> ReferenceView:
    """Return the view with known files.

    There may be thousands: the index finds them and the sets bound them; policies do not see them.
    """
    limits = tuple(dict.fromkeys((*view.limits, *_limits(files.sets))))
    return replace(view, matches=(*view.matches, *files.matches), limits=limits)


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
def _guest_view(
    values: tuple[ReferenceValue, ...], sets: tuple[ReferenceSet, ...]
) -> ReferenceView:
    """Return the view of these records; nodes of one image and product share it."""
    measured, document = _by_digest(values, sets)
    return _view(
        document,
        entries=measured.values(),
        matches=((value.kind, value.key) for value in values),
        sets=sets,
    )


def _by_digest(
    values: tuple[ReferenceValue, ...], sets: tuple[ReferenceSet, ...]
) -> tuple[dict[str, Entry], dict[str, json.Canonical]]:
    """Return what is said of measurements, and the document of that and of floors."""
    floors: dict[str, list[Entry]] = {}
    for value in values:
        if value.kind == TCB_FLOOR:
            floors.setdefault(value.key, []).append(_parsed(value))
    launched = (value for value in values if value.kind == MEASUREMENT)
    measured = _entries(reference_overlap.measurement, _described(launched, sets))
    highest = {key: reference_overlap.floor(some) for key, some in floors.items()}
    return measured, {MEASUREMENT: measured, TCB_FLOOR: highest}


@lru_cache(maxsize=_VIEWS_REMEMBERED)
def _boot_view(
    kind: str,
    known: KnownBoot,
    sets: tuple[ReferenceSet, ...],
    beside: tuple[ReferenceValue, ...],
    sets_beside: tuple[ReferenceSet, ...],
) -> ReferenceView:
    """Return the view of these records; nodes of one boot share it."""
    whole = [
        reference_overlap.whole(one, [_parsed(v) for v in known.values if v.set_name == one.name])
        for one in sets
    ]
    agreed = _entries(
        reference_overlap.boot, {", ".join(one.name for one in sets): whole} if whole else {}
    )
    _, document = _by_digest(beside, sets_beside)
    return _view(
        {
            **document,
            kind: {key: {"sets": names} for key, names in known.registers},
            "boot": agreed,
            "nearest_boot": None if known.nearest is None else _nearest(known.nearest),
        },
        entries=agreed.values(),
        matches=(
            *((kind, key) for key, _ in known.registers),
            *((value.kind, value.key) for value in beside),
        ),
        sets=dict.fromkeys((*sets, *sets_beside)),
    )


def _nearest(boot: NearestBoot) -> Mapping[str, json.Canonical]:
    return {
        "set": boot.set_name,
        "other_value": boot.other_value,
        "not_quoted": boot.not_quoted,
        "not_described": boot.not_described,
    }


def _view(
    document: dict[str, json.Canonical],
    *,
    entries: Iterable[Entry],
    matches: Iterable[tuple[str, str]],
    sets: Iterable[ReferenceSet],
) -> ReferenceView:
    return ReferenceView(
        document=json.canonical(document),
        entries=tuple(entries),
        matches=tuple(ReferenceMatch(kind=kind, key=key) for kind, key in sorted(set(matches))),
        limits=tuple(_limits(sets)),
    )


def _described(
    values: Iterable[ReferenceValue], sets: Iterable[ReferenceSet]
) -> Mapping[str, list[Described]]:
    ends = {one.name: one.not_after for one in sets}
    described: dict[str, list[Described]] = {}
    for value in values:
        one = Described(
            set_name=value.set_name, not_after=ends[value.set_name], value=_parsed(value)
        )
        described.setdefault(value.key, []).append(one)
    return described


def _limits(sets: Iterable[ReferenceSet]) -> Iterator[Limit]:
    for one in sets:
        if one.not_after is not None:
            yield Limit(f"reference set {one.name}", one.not_after)


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
