"""Intel quotes of TDX and SGX with their collateral, as the registry takes them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.composite import td_boot
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.formats.dcap import claims as dcap_claims
from sealward.verifier.formats.dcap import collateral, pck, quote, statement, view
from sealward.verifier.formats.dcap import evidence as dcap_evidence
from sealward.verifier.formats.dcap import verify as dcap
from sealward.verifier.pki import crl
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import SGX_EVIDENCE, TDX_EVIDENCE
from sealward.verifier.registry.context import Item, Kind, Verified

if TYPE_CHECKING:
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.rats.collateral import Key, Source
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context


@unique
class DcapRole(StrEnum):
    """The pieces of Intel evidence, and what Intel says of its platforms."""

    TDX_QUOTE = "TDX quote"
    SGX_QUOTE = "SGX quote"
    EVENT_LOG = "event log of a TD"
    PCK = "Intel PCK certificate"
    STATEMENT = "Intel TCB info or QE identity"
    CRL = "Intel revocation list"


_QUOTES: Final = frozenset({DcapRole.TDX_QUOTE, DcapRole.SGX_QUOTE})
_LOGS: Final = frozenset({DcapRole.EVENT_LOG, Part.EVENT_LOG})
_COLLATERAL: Final = frozenset({DcapRole.STATEMENT, DcapRole.CRL})


@dataclass(frozen=True, slots=True)
class Given:
    """Collateral that was given with the evidence, before what is held otherwise."""

    pieces: tuple[tuple[Key, bytes], ...]
    held: Source

    def get(self, key: Key) -> bytes | None:
        """Return the piece under `key`, or None. The caller authenticates it."""
        for name, data in self.pieces:
            if name == key:
                return data
        return self.held.get(key)


def _recognise(data: bytes) -> tuple[Item, ...] | None:
    """Return a quote, a piece of collateral, or all of a QuoteCollateralV3 document."""
    if quote.looks_like(data):
        quote.parse(data)
        return (_quote(data),)
    if statement.looks_like(data):
        collateral.key_of(data)
        return (Item(DcapRole.STATEMENT, data),)
    if crl.looks_like(data):
        ours = collateral.crl_key(crl.parse(data)) is not None
        return (Item(DcapRole.CRL, data),) if ours else None
    if collateral.is_bundle(data):
        found = collateral.bundle(data)
        return (
            Item(DcapRole.STATEMENT, found.tcb_info),
            Item(DcapRole.STATEMENT, found.qe_identity),
            Item(DcapRole.CRL, found.pck_crl),
            Item(DcapRole.CRL, found.root_crl),
        )
    return None


def _quote(data: bytes) -> Item:
    tdx = quote.tee_type(data) is quote.TeeType.TDX
    return Item(DcapRole.TDX_QUOTE if tdx else DcapRole.SGX_QUOTE, data)


def _certificate(parsed: Certificate) -> StrEnum | None:
    return DcapRole.PCK if pck.is_pck(parsed) else None


def _payload(record: Record) -> dcap_evidence.Evidence:
    if record.media_type == SGX_EVIDENCE:
        return dcap_evidence.parse_sgx(record.value)
    return dcap_evidence.parse_tdx(record.value)


def _of_record(record: Record) -> tuple[dcap_evidence.Evidence, Item]:
    """Return a payload and its quote, which says it is of the TEE that the media type says."""
    found = _payload(record)
    item = _quote(found.quote)
    expected = DcapRole.SGX_QUOTE if record.media_type == SGX_EVIDENCE else DcapRole.TDX_QUOTE
    if item.role is not expected:
        raise MalformedEvidence(0, f"evidence of {record.media_type} holds a {item.role}")
    return found, item


def _unpack(record: Record) -> tuple[Item, ...]:
    found, item = _of_record(record)
    quote.parse(found.quote)
    if found.event_log is None:
        return (item,)
    return item, Item(DcapRole.EVENT_LOG, found.event_log)


def _authenticate(record: Record, context: Context) -> Verified:
    # report_data of either report is 64 bytes by its layout: always the size of a binding.
    found, item = _of_record(record)
    return _verified(item.data, found.event_log, context.collateral, context)


def _assemble(pieces: tuple[Item, ...], context: Context) -> Verified:
    quotes = tuple(dict.fromkeys(item.data for item in pieces if item.role in _QUOTES))
    if len(quotes) > 1:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"{len(quotes)} different quotes were given",
            hint="verify one quote at a time",
        )
    logs = tuple(dict.fromkeys(item.data for item in pieces if item.role in _LOGS))
    if len(logs) > 1:
        raise RefusedEvidence(Code.EVIDENCE_AMBIGUOUS, f"{len(logs)} event logs were given")
    log = logs[0] if logs else None
    return _verified(quotes[0], log, given(pieces, context.collateral), context)


def given(pieces: tuple[Item, ...], held: Source) -> Given:
    """Return the Intel collateral among `pieces`, before what `held` has.

    Raises:
        MalformedEvidence: a piece does not parse.
        RefusedEvidence: EVIDENCE_AMBIGUOUS, for two pieces about one thing.
    """
    found: dict[Key, bytes] = {}
    for item in pieces:
        if item.role not in _COLLATERAL:
            continue
        key = collateral.key_of(item.data)
        if found.setdefault(key, item.data) != item.data:
            raise RefusedEvidence(
                Code.EVIDENCE_AMBIGUOUS,
                f"two issues of {key} were given",
                hint="give the collateral of one instant",
            )
    return Given(tuple(found.items()), held)


def _verified(data: bytes, log: bytes | None, source: Source, context: Context) -> Verified:
    verified = dcap.authenticate(
        data, source, anchors=context.anchors, now=context.now, cache=context.cache
    )
    claims = dcap_claims.normalise(verified, now=context.now, distrusted=context.distrusted)
    if log is not None:
        claims = td_boot.explain(claims, log)
    return Verified(claims, verified, lambda: view.describe(verified))


KIND: Final = Kind(
    name="dcap",
    media_types=frozenset({TDX_EVIDENCE, SGX_EVIDENCE}),
    evidence=_QUOTES,
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
    certificate=_certificate,
)
