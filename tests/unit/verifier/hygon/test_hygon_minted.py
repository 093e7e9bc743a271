"""CSV reports of our own making: what is taken, and each rule that refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fakes import hygon_machines, policy_schemas
from fakes.hygon_machines import CEK, HRK, HSK, PEK, Machine, key

from sealward.verifier import registry
from sealward.verifier.formats.hygon_csv import certificate, report, verify
from sealward.verifier.formats.hygon_csv.report import FIELDS
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.roots import PinnedRoot, Vendor
from sealward.verifier.rats.claims import Claims, Scope
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence, VerifierError

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SCHEMA = policy_schemas.read("claims")
ABOUT = {"verdicts", "provenance", "evidence_sha256", "signed_sha256"}


def authenticated(machine: Machine, data: bytes | None = None) -> verify.VerifiedReport:
    return verify.authenticate(
        machine.report() if data is None else data,
        machine.endorsements(),
        anchors=machine.anchors(),
        cache=ChainCache(),
    )


def claims_of(machine: Machine) -> Claims:
    context = registry.Context(machine.anchors(), NOW, ChainCache())
    return registry.authenticate(machine.envelope(), context).claims


def refusal(machine: Machine) -> RefusedEvidence:
    with pytest.raises(RefusedEvidence) as caught:
        authenticated(machine)
    return caught.value


def test_a_minted_report_shows_what_it_was_minted_with() -> None:
    machine = hygon_machines.standard()
    found = authenticated(machine).report
    for name, _, _ in FIELDS:
        assert getattr(found, name) == getattr(machine, name), name
    assert (found.anonce, found.serial) == (machine.anonce, machine.serial.decode())


def test_the_offsets_of_the_table_are_those_of_the_layout() -> None:
    sizes = {"I": 4}
    at = 0
    for _, code, offset in FIELDS:
        assert at == offset
        at += sizes.get(code) or int(code[:-1])
    assert at == 188


def test_files_and_envelope_give_the_same_claims() -> None:
    machine = hygon_machines.standard()
    context = registry.Context(machine.anchors(), NOW, ChainCache())
    items = [item for data in machine.files() for item in registry.recognise(data)]
    assert registry.authenticate_items(items, context).claims == claims_of(machine)
    assert tuple(items) == registry.recognise(machine.envelope())


def test_the_claims_match_the_schema_and_have_a_scope() -> None:
    for policy in (hygon_machines.PROTECTED, 0, 0xFFFFFFFF):
        claims = claims_of(Machine(policy=policy))
        shown = claims.to_json()
        assert policy_schemas.violations(shown, SCHEMA, "claims") == []
        claimed = {name for name, value in shown.items() if value not in (None, {})} - ABOUT
        held = {path: one.scope for path, one in claims.provenance().items()}
        assert claimed <= {path.partition(".")[0] for path in held} <= set(shown)
        assert (held["hygon"], held["hygon.mnonce"]) == (Scope.LAUNCH, Scope.RUNTIME)


@pytest.mark.parametrize(
    ("policy", "debug", "migratable", "provider", "verdicts"),
    [
        (0x4D, False, False, False, []),
        (0x0D, False, False, True, []),
        (0x4C, True, False, False, ["debug_enabled"]),
        (0x45, False, True, False, ["migration_enabled"]),
        (0x00, True, True, True, ["debug_enabled", "migration_enabled"]),
    ],
)
def test_the_policy_decides_what_is_held_against_a_guest(
    *, policy: int, debug: bool, migratable: bool, provider: bool, verdicts: list[str]
) -> None:
    claims = claims_of(Machine(policy=policy))
    shown = (claims.debug, claims.migratable, claims.provider_in_tcb)
    assert shown == (debug, migratable, provider)
    assert [one.code.value for one in claims.verdicts] == verdicts


def test_instances_are_told_apart_by_chip_owner_image_and_policy() -> None:
    other = key("cek of another processor")
    second = replace(PEK, signers=((0x1004, other), None))
    machines = (
        Machine(),
        Machine(vm_id=b"x" * 16),
        Machine(vm_version=b"x" * 16),
        Machine(user_pubkey_digest=b"x" * 32),
        Machine(measure=b"x" * 32),
        Machine(policy=0x4F),
        Machine(cek=replace(CEK, own=other), pek=second),
    )
    found = [claims_of(machine) for machine in machines]
    assert len({one.instance_value for one in found}) == len(machines)
    assert len({one.platform_id for one in found}) == 2
    again = claims_of(Machine(report_data=bytes(64), mnonce=bytes(16), anonce=bytes(4)))
    assert again.instance_value == found[0].instance_value


def test_one_xor_at_every_position_of_a_minted_report_is_refused() -> None:
    machine = hygon_machines.standard()
    data, above, anchors = machine.report(), machine.endorsements(), machine.anchors()
    cache = ChainCache()
    verify.authenticate(data, above, anchors=anchors, cache=cache)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(VerifierError):
            verify.authenticate(bytes(damaged), above, anchors=anchors, cache=cache)


STRANGER = key("hsk of somebody else")


@pytest.mark.parametrize(
    ("machine", "code"),
    [
        (Machine(signer=key("pek of somebody else")), Code.SIGNATURE_INVALID),
        (Machine(pek=replace(PEK, signers=((0x1004, STRANGER), None))), Code.SIGNATURE_INVALID),
        (Machine(cek=replace(CEK, signers=((0x13, STRANGER), None))), Code.SIGNATURE_INVALID),
        (Machine(hsk=replace(HSK, signer=STRANGER)), Code.SIGNATURE_INVALID),
        (Machine(hrk=replace(HRK, signer=STRANGER)), Code.SIGNATURE_INVALID),
        (Machine(cek=replace(CEK, issuer_id=b"t" * 16)), Code.CHAIN_BROKEN),
        (Machine(pek=replace(PEK, issuer_id=b"t" * 16)), Code.CHAIN_BROKEN),
        (Machine(hsk=replace(HSK, issuer_id=b"t" * 16)), Code.CHAIN_BROKEN),
        (Machine(hsk=replace(HSK, usage=0)), Code.CHAIN_BROKEN),
        (Machine(cek=replace(CEK, usage=0x1002)), Code.CHAIN_BROKEN),
        (Machine(pek=replace(PEK, usage=0x1004)), Code.CHAIN_BROKEN),
        (Machine(pek=replace(PEK, own=key("cek"))), Code.CHAIN_BROKEN),
        (Machine(pek=replace(PEK, signers=((0x1001, key("cek")), None))), Code.CHAIN_BROKEN),
        (Machine(pek=replace(PEK, signers=(PEK.signers[0],) * 2)), Code.CHAIN_BROKEN),
        (
            Machine(cek=replace(CEK, signers=(CEK.signers[0], (0x1001, key("oca"))))),
            Code.CHAIN_BROKEN,
        ),
    ],
)
def test_a_chain_with_one_wrong_member_is_refused(machine: Machine, code: Code) -> None:
    assert refusal(machine).code is code


def test_the_owner_s_signature_may_stand_first_or_be_absent() -> None:
    chip, owner = PEK.signers
    for signers in ((chip, None), (None, chip), (owner, chip)):
        assert authenticated(Machine(pek=replace(PEK, signers=signers)))


@pytest.mark.parametrize(
    "machine",
    [
        Machine(sig_usage=0x1001),
        Machine(sig_algo=3),
        Machine(serial=b""),
        Machine(serial=b"a b"),
        Machine(serial=b"\xff"),
        Machine(serial=b"a\0b"),
        Machine(hsk=replace(HSK, version=2)),
        Machine(hrk=replace(HRK, curve=1)),
        Machine(hsk=replace(HSK, usage=0x14)),
        Machine(cek=replace(CEK, version=3)),
        Machine(cek=replace(CEK, algorithm=1)),
        Machine(pek=replace(PEK, curve=2)),
        Machine(pek=replace(PEK, signers=((0x1234, key("cek")), None))),
    ],
)
def test_what_the_format_does_not_have_is_malformed(machine: Machine) -> None:
    with pytest.raises(MalformedEvidence):
        authenticated(machine)


def test_a_root_that_is_trusted_for_other_evidence_is_no_root_of_reports() -> None:
    machine = hygon_machines.standard()
    (own,) = machine.anchors().pinned
    for pins in (
        (),
        (PinnedRoot(Vendor.AMD, "Milan", own.sha256),),
        (PinnedRoot(Vendor.AMD, "CSV", own.sha256),),
        (PinnedRoot(Vendor.HYGON, "GPU", own.sha256),),
    ):
        with pytest.raises(RefusedEvidence) as caught:
            verify.authenticate(
                machine.report(),
                machine.endorsements(),
                anchors=TrustAnchors(pins),
                cache=ChainCache(),
            )
        assert caught.value.code is Code.ROOT_NOT_PINNED


def test_a_cached_chain_is_no_chain_under_other_anchors() -> None:
    machine = hygon_machines.standard()
    data, above, cache = machine.report(), machine.endorsements(), ChainCache()
    verify.authenticate(data, above, anchors=machine.anchors(), cache=cache)
    with pytest.raises(RefusedEvidence):
        verify.authenticate(data, above, anchors=TrustAnchors(), cache=cache)


def test_under_another_mask_the_measurement_changes_with_the_policy() -> None:
    debugged = Machine(policy=hygon_machines.PROTECTED & ~1)
    shown = hygon_machines.masked_anew(debugged.report(), b"\x9a\x42\x91\x12")
    found = authenticated(debugged, shown).report
    assert found.policy == hygon_machines.PROTECTED
    assert found.measure == hygon_machines.mask(debugged.measure, b"\1\0\0\0")


@pytest.mark.parametrize("left_out", [1, 2, 3])
def test_a_report_without_all_of_its_certificates_says_which_is_missing(left_out: int) -> None:
    machine = hygon_machines.standard()
    files = [data for place, data in enumerate(machine.files()) if place != left_out]
    items = [item for data in files for item in registry.recognise(data)]
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(items, registry.Context(machine.anchors(), NOW, ChainCache()))
    assert caught.value.code is Code.ENDORSEMENT_MISSING
    assert ("CEK", "HSK", "HRK")[left_out - 1] in caught.value.detail


def test_two_reports_are_ambiguous() -> None:
    machine = hygon_machines.standard()
    files = (*machine.files(), Machine(vm_id=b"x" * 16).report())
    items = [item for data in files for item in registry.recognise(data)]
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(items, registry.Context(machine.anchors(), NOW, ChainCache()))
    assert caught.value.code is Code.EVIDENCE_AMBIGUOUS


def test_a_report_is_recognised_under_every_mask() -> None:
    for first in (0x82, 0xA1, 0x30, 0x2D):
        data = Machine(anonce=bytes((first, 0, 0, 0))).report()
        assert data[0] == first
        assert report.looks_like(data)
        assert len(registry.recognise(data)) == 1


def test_a_chip_key_of_a_size_and_nothing_else_is_not_recognised() -> None:
    for size in (832, 2084, 2548, 2916):
        assert not certificate.looks_like(bytes(size))
        assert not report.looks_like(bytes(size))
