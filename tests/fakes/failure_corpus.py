"""Failures with the one cause that each has: evidence that does not verify, or is held against.

Made from the vectors and from what our minters make; `failure_corpus_appraised` has those that
policies find, `failure_corpus_refused` those that a running control plane does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from fakes import (
    dcap_fixtures,
    nitro_fixtures,
    snp_fixtures,
    snp_vectors,
    software_tpm,
    tpm_vectors,
)
from fakes.snp_fixtures import NOW
from fakes.tpm_cas import OTHER_ROOT, ROOT, certificate_of
from fakes.tpm_machines import Machine, tpm_record
from sealward_devkit.snp.products import Product
from sealward_devkit.snp.report import DEFAULT_POLICY, Policy

from sealward.controlplane.domain.explanations import Finding, of_verdict
from sealward.controlplane.services.refusals import finding_of_verifier
from sealward.verifier import registry
from sealward.verifier.composite.tpm_node import Trust
from sealward.verifier.formats.tpm.endorsement import EndorsementRoot
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.distrust import DistrustEntry
from sealward.verifier.rats.errors import VerifierError
from sealward.verifier.registry import Context, Item

Findings = tuple[Finding, ...]
YEARS: Final = timedelta(days=3650)
NONCE: Final = bytes(range(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure.

    Attributes:
        name: unlike any other's.
        of: its class.
        code: of its one top cause.
        make: what was found, from the folder of the vectors.
    """

    name: str
    of: str
    code: str
    make: Callable[[Path], Findings]


def refused(call: Callable[[], object]) -> Findings:
    """What the verifier refuses, as an attempt records it."""
    try:
        call()
    except VerifierError as error:
        return (finding_of_verifier(error),)
    raise AssertionError("it verifies")


def held(verified: registry.Verified) -> Findings:
    """What the verifier holds against evidence that is genuine, as a decision records it."""
    return tuple(map(of_verdict, verified.claims.verdicts))


# SEV-SNP.


@cache
def snp(vectors: Path) -> dict[str, snp_vectors.Vector]:
    return {vector.id: vector for vector in snp_vectors.load(vectors)}


def development(*, now: datetime = NOW, **changes: Any) -> Context:  # noqa: ANN401 - fields of Context
    """The development roots of every minter, and the vendors'."""
    roots = (
        snp_fixtures.hierarchy(Product.MILAN).ark,
        dcap_fixtures.hierarchy().root,
        nitro_fixtures.hierarchy().root,
    )
    imported = tuple(import_root(root, now=NOW) for root in roots)
    usual = Context(TrustAnchors(development_roots=imported), now, ChainCache())
    return replace(usual, **changes)


def vendors(now: datetime, **changes: Any) -> Context:  # noqa: ANN401 - fields of Context
    """The vendors' roots alone."""
    return replace(Context(TrustAnchors(), now, ChainCache()), **changes)


def snp_vector(
    vectors: Path,
    name: str,
    *,
    report: bytes | None = None,
    chain_of: str | None = None,
    now: datetime | None = None,
    without_key: bool = False,
) -> Findings:
    vector, other = snp(vectors)[name], snp(vectors)[chain_of or name]
    chain = other.endorsements
    files = [vector.report if report is None else report, chain.intermediate, chain.root]
    files += [] if without_key else [chain.vek]
    context = vendors(vector.verify_at if now is None else now)
    return refused(lambda: registry.authenticate_items(pieces(*files), context))


def pieces(*files: bytes) -> tuple[Item, ...]:
    return tuple(item for data in files for item in registry.recognise(data))


def flipped(data: bytes, at: int) -> bytes:
    """The bytes with one bit changed; `at` may count from the end."""
    at %= len(data)
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def snp_minted(context: Context | None = None, **changes: Any) -> registry.Verified:  # noqa: ANN401 - fields of the report
    minted = snp_fixtures.mint(**changes)
    items = pieces(minted.report, *minted.certificates)
    return registry.authenticate_items(items, context or development())


MILAN, DEBUGGED = "snp-milan-v2-virtee", "snp-milan-v2-debug"
PLAIN = DEFAULT_POLICY
SNP: Final = (
    Failure(
        name="SNP: the key of another chip",
        of="swapped certificate",
        code="tcb_mismatch",
        make=lambda v: snp_vector(v, MILAN, chain_of="snp-milan-v3-dstack"),
    ),
    Failure(
        name="SNP: the chain of another product",
        of="swapped certificate",
        code="product_mismatch",
        make=lambda v: snp_vector(v, "snp-milan-v3-dstack", chain_of="snp-genoa-v3-tsm"),
    ),
    Failure(
        name="SNP: a chain of which half is of another product",
        of="broken chain",
        code="chain_broken",
        make=lambda v: refused(lambda: snp_half_chain(v)),
    ),
    Failure(
        name="SNP: ten years on",
        of="expired certificate",
        code="certificate_expired",
        make=lambda v: snp_vector(v, MILAN, now=NOW + YEARS),
    ),
    Failure(
        name="SNP: before its key was certified",
        of="certificate of the future",
        code="certificate_not_yet_valid",
        make=lambda v: snp_vector(v, MILAN, now=datetime(2022, 1, 1, tzinfo=NOW.tzinfo)),
    ),
    Failure(
        name="SNP: a bit of the measurement",
        of="changed evidence",
        code="signature_invalid",
        make=lambda v: snp_vector(v, MILAN, report=flipped(snp(v)[MILAN].report, 0x90)),
    ),
    Failure(
        name="SNP: a bit of the signature",
        of="changed evidence",
        code="signature_invalid",
        make=lambda v: snp_vector(v, MILAN, report=flipped(snp(v)[MILAN].report, 0x2A0)),
    ),
    Failure(
        name="SNP: a report without the key that signed it",
        of="missing endorsement",
        code="endorsement_missing",
        make=lambda v: snp_vector(v, MILAN, without_key=True),
    ),
    Failure(
        name="SNP: a key that its maker did not sign",
        of="broken chain",
        code="signature_invalid",
        make=lambda v: snp_vector(v, "snp-bad-vcek-legacy"),
    ),
    Failure(
        name="SNP: a report of a version that is none",
        of="malformed evidence",
        code="malformed",
        make=lambda v: snp_vector(v, MILAN, report=b"c" + snp(v)[MILAN].report[1:]),
    ),
    Failure(
        name="SNP: minted, where only vendors are trusted",
        of="root nobody pinned",
        code="root_not_pinned",
        make=lambda _: refused(lambda: snp_minted(vendors(NOW))),
    ),
    Failure(
        name="SNP: a real guest that may be debugged",
        of="debug",
        code="debug_enabled",
        make=lambda v: held(snp_genuine(v, DEBUGGED)),
    ),
    Failure(
        name="SNP: a minted guest that may be debugged",
        of="debug",
        code="debug_enabled",
        make=lambda _: held(snp_minted(policy=PLAIN | Policy.DEBUG)),
    ),
    Failure(
        name="SNP: a guest that may migrate",
        of="migration",
        code="migration_enabled",
        make=lambda _: held(snp_minted(policy=PLAIN | Policy.MIGRATE_MA)),
    ),
    Failure(
        name="SNP: a report that the host asked for",
        of="privilege level",
        code="vmpl_unexpected",
        make=lambda _: held(snp_minted(vmpl=0xFFFFFFFF)),
    ),
    Failure(
        name="SNP: a report for a level that is not expected",
        of="privilege level",
        code="vmpl_unexpected",
        make=lambda _: held(snp_minted(development(expected_vmpl=frozenset({0})), vmpl=2)),
    ),
    Failure(
        name="SNP: nothing but a development root",
        of="development root",
        code="development_root",
        make=lambda _: held(snp_minted()),
    ),
    Failure(
        name="SNP: a chip on the distrust list",
        of="distrusted hardware",
        code="distrusted",
        make=lambda _: held(snp_distrusted()),
    ),
    Failure(
        name="SNP: a distrusted chip whose guest may be debugged",
        of="distrusted hardware",
        code="distrusted",
        make=lambda _: held(snp_distrusted(policy=PLAIN | Policy.DEBUG)),
    ),
)


def snp_genuine(vectors: Path, name: str) -> registry.Verified:
    vector = snp(vectors)[name]
    chain = vector.endorsements
    files = (vector.report, chain.vek, chain.intermediate, chain.root)
    return registry.authenticate_items(pieces(*files), vendors(vector.verify_at))


def snp_half_chain(vectors: Path) -> registry.Verified:
    ours, other = snp(vectors)[MILAN], snp(vectors)["snp-genoa-v3-tsm"].endorsements
    chain = replace(ours.endorsements, intermediate=other.intermediate)
    vector = replace(ours, endorsements=chain)
    return registry.authenticate(vector.envelope(), vendors(ours.verify_at))


def snp_distrusted(**changes: Any) -> registry.Verified:  # noqa: ANN401 - fields of the report
    platform_id = snp_minted().claims.platform_id
    assert platform_id is not None
    entry = DistrustEntry(platform_id=platform_id, reason="its key was extracted")
    return snp_minted(development(distrusted=(entry,)), **changes)


# TPM.


@dataclass(frozen=True, kw_only=True)
class Other(Machine):
    """A machine with values of its own for some registers."""

    registers: tuple[tuple[int, bytes], ...] = ()

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        return {"sha256": Machine.pcrs.fget(self)["sha256"] | dict(self.registers)}  # type: ignore[attr-defined,no-any-return]  # a property


def tpm(
    machine: Machine | None = None,
    *,
    root: object = ROOT,
    now: datetime = NOW,
    **members: Any,  # noqa: ANN401 - members of the payload
) -> registry.Verified:
    anchor = EndorsementRoot(certificate_of(root, NOW), development=True)  # type: ignore[arg-type]  # a Ca
    context = vendors(now, tpm=Trust(roots=(anchor,)))
    envelope = tpm_record(machine or Machine(), NONCE, made=NOW, **members)
    return registry.authenticate(envelope, context)


def other_banks() -> list[object]:
    """Register values that are not those of the quote."""
    values = Other(registers=((4, bytes(32)),)).pcrs["sha256"]
    return [[software_tpm.ALG["sha256"], [[index, values[index]] for index in sorted(values)]]]


TPM: Final = (
    Failure(
        name="TPM: registers that the quote is not of",
        of="TPM register mismatch",
        code="pcr_mismatch",
        make=lambda _: refused(lambda: tpm(m4=other_banks())),
    ),
    Failure(
        name="TPM: an event log of another boot",
        of="event log mismatch",
        code="event_log_mismatch",
        make=lambda v: refused(lambda: tpm(m5=event_log(v))),
    ),
    Failure(
        name="TPM: an event log that is none",
        of="event log mismatch",
        code="malformed",
        make=lambda _: refused(lambda: tpm(m5=b"\x00" * 7)),
    ),
    Failure(
        name="TPM: an endorsement key of a CA that nobody added",
        of="root nobody pinned",
        code="endorsement_missing",
        make=lambda _: refused(lambda: tpm(root=OTHER_ROOT)),
    ),
    Failure(
        name="TPM: an attestation key that may leave its TPM",
        of="AK not resident",
        code="key_attributes_forbidden",
        make=lambda _: refused(lambda: tpm(m3=free_key())),
    ),
    Failure(
        name="TPM: an attestation key that no credential was opened for",
        of="AK not resident",
        code="key_residency_unproven",
        make=lambda _: held(tpm()),
    ),
    Failure(
        name="TPM: a signature of another key",
        of="changed evidence",
        code="signature_invalid",
        make=lambda _: refused(lambda: tpm(m2=another_signature())),
    ),
    Failure(
        name="TPM: a lock object for another state",
        of="lock object",
        code="lock_invalid",
        make=lambda _: refused(lambda: tpm(m8=Other(registers=((4, bytes(32)),)).lock)),
    ),
    Failure(
        name="TPM: where no TPM is trusted",
        of="unsupported kind",
        code="unsupported_format",
        make=lambda _: refused(
            lambda: registry.authenticate(tpm_record(Machine(), NONCE, made=NOW), vendors(NOW))
        ),
    ),
)


def event_log(vectors: Path) -> bytes:
    found = tpm_vectors.load(vectors, "tpm-eventlog")
    return found["evlog-ubuntu-2404-amd-sevsnp"].read("event_log")


def free_key() -> bytes:
    return replace(Machine().quoting, attributes=0x40072).ak_public


def another_signature() -> bytes:
    machine = Machine()
    other = replace(machine.quoting, label="another key")
    return other.sign(machine.quoting.message(NONCE))
