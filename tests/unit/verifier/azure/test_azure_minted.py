"""Azure evidence in our own payload: what it binds, what is refused, what is held against it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from fakes import azure_machines, azure_vtpm, collateral_files, dcap_fixtures, snp_fixtures
from fakes.azure_machines import BOUND, OTHER_TPM, TPM, Azure, on_snp, on_tdx
from unit.verifier.composite.test_tpm_node import event, log_of
from unit.verifier.rats.test_claims_json import SCHEMA, check

from sealward.verifier import registry
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.rats.claims import KeyResidency, Tee
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.distrust import DistrustEntry
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence, VerifierError
from sealward.verifier.rats.evidence import AZURE_EVIDENCE, Record, encode
from sealward.verifier.rats.result import VerdictCode
from sealward.verifier.wire import cbor

MACHINES = {"snp": on_snp(), "tdx": on_tdx()}
OTHER = bytes(reversed(BOUND))


def refusal(machine: Azure) -> VerifierError:
    with pytest.raises(VerifierError) as caught:
        machine.verify()
    return caught.value


@pytest.mark.parametrize("kind", MACHINES)
def test_evidence_of_either_kind_binds_the_whole_digest(kind: str) -> None:
    verified = MACHINES[kind].verify()
    claims = verified.claims
    shown: dict[str, Any] = claims.to_json()
    check(shown, SCHEMA)
    assert claims.tee is {"snp": Tee.AZURE_SNP, "tdx": Tee.AZURE_TDX}[kind]
    assert claims.report_data == BOUND.hex()
    assert claims.provider_in_tcb
    assert claims.memory_encrypted
    assert claims.vmpl is None
    assert shown["azure"]["hardware_vmpl"] == {"snp": 0, "tdx": None}[kind]
    assert shown["azure"]["user_data"] == BOUND.hex()
    assert claims.tpm is not None
    assert claims.tpm.residency is KeyResidency.MEASURED
    assert claims.tpm.ak_name is not None
    assert [item.code for item in claims.verdicts] == [VerdictCode.DEVELOPMENT_ROOT]
    names = [item.name for item in claims.measurements]
    assert names[0] == {"snp": "launch", "tdx": "mrtd"}[kind]
    assert names[-1] == "pcr23"
    told = {name for name, value in shown.items() if value is not None}
    about = {"verdicts", "provenance", "evidence_sha256", "signed_sha256", "mitigations", "tcb"}
    assert told - about <= claims.provenance().keys()
    assert verified.details().keys() >= {"hcl", "hardware", "quote", "ak"}


@pytest.mark.parametrize("kind", MACHINES)
def test_an_envelope_as_a_file_is_verified_as_one_that_arrived(kind: str) -> None:
    machine = MACHINES[kind]
    items = registry.recognise(machine.envelope())
    assert registry.authenticate_items(items, machine.context()).claims == machine.verify().claims


def test_a_paravisor_that_takes_no_user_data_leaves_the_quote_to_bind() -> None:
    claims = on_snp(user_data=None).verify().claims
    assert claims.report_data == BOUND[:32].hex()


@dataclass(frozen=True)
class AmdList:
    """A source that holds AMD's revocation list of the machine's product, and nothing else."""

    crl: bytes

    def get(self, key: Key) -> bytes | None:
        return self.crl if key == Key(Kind.AMD_CRL, "Milan/vcek") else None


def test_amds_list_is_asked_of_the_chain_under_a_paravisor_too() -> None:
    machine = on_snp()
    clear = AmdList(collateral_files.amd_crl())
    names_ask = AmdList(collateral_files.amd_crl(revoked=(0x10001,)))
    context = machine.context()  # one for all, so that a cached chain is asked about again
    assert machine.verify(context).claims.collateral.revocation == "absent"
    collateral = machine.verify(replace(context, collateral=clear)).claims.collateral
    assert collateral.revocation == "checked"
    assert dict(collateral.limits)["crl"] == collateral.not_after
    with pytest.raises(RefusedEvidence) as caught:
        machine.verify(replace(context, collateral=names_ask))
    assert caught.value.code is Code.CERTIFICATE_REVOKED


@pytest.mark.parametrize("make", [on_snp, on_tdx])
def test_evidence_for_another_binding_is_refused(make: Any) -> None:  # noqa: ANN401 - a maker
    for machine in (
        make(user_data=OTHER),
        make(user_data=bytes(64)),
        make(bound=OTHER),
        make(bound=BOUND[:31], user_data=None),
    ):
        assert refusal(machine).code is Code.BINDING_MISMATCH


def test_a_key_that_the_paravisor_did_not_name_is_refused() -> None:
    assert refusal(on_snp(tpm=OTHER_TPM)).code is Code.PARTS_MISMATCH
    assert refusal(on_snp(named=OTHER_TPM)).code is Code.PARTS_MISMATCH
    # Without saying so, by the public area of the right key.
    theirs = on_snp(tpm=OTHER_TPM).changed(m4=TPM.ak_public)
    assert refusal(theirs).code is Code.SIGNATURE_INVALID


def test_a_key_that_signs_what_no_tpm_made_is_refused() -> None:
    loose = replace(TPM, attributes=TPM.attributes & ~(1 << 16))
    assert refusal(on_snp(tpm=loose)).code is Code.KEY_ATTRIBUTES_FORBIDDEN


def test_a_report_that_the_guest_asked_for_itself_is_held_against_the_machine() -> None:
    claims = on_snp(vmpl=2).verify().claims
    held = {item.code: item for item in claims.verdicts}
    assert held[VerdictCode.VMPL_UNEXPECTED].actual == "2"
    shown: Any = claims.to_json()
    assert shown["azure"]["hardware_vmpl"] == 2


def test_debug_of_the_hardware_stays_a_verdict() -> None:
    debug = 1 << 19
    policy = 0x3001F | debug
    codes = [item.code for item in on_snp(policy=policy).verify().claims.verdicts]
    assert VerdictCode.DEBUG_ENABLED in codes
    codes = [item.code for item in on_tdx(td_attributes=1).verify().claims.verdicts]
    assert VerdictCode.DEBUG_ENABLED in codes


def test_distrusted_hardware_is_distrusted_at_azure_too() -> None:
    machine = MACHINES["snp"]
    platform = machine.verify().claims.platform_id
    entry = DistrustEntry(reason="seed extracted", platform_id=platform)
    context = replace(machine.context(), distrusted=(entry,))
    codes = [item.code for item in machine.verify(context).claims.verdicts]
    assert VerdictCode.DISTRUSTED in codes


def test_runtime_claims_that_the_hardware_did_not_see_are_refused() -> None:
    machine = MACHINES["snp"]
    runtime = azure_vtpm.claims(azure_machines.public_key(OTHER_TPM), BOUND)
    hardware = machine.members[1][0x20 : 0x20 + 1184]
    forged = azure_machines.hcl_report(azure_vtpm.SNP, hardware, runtime)
    assert refusal(machine.changed(m1=forged)).code is Code.PARTS_MISMATCH


@pytest.mark.parametrize(
    "other",
    [
        {"report_data": bytes(64)},
        {"mr_td": b"\x01" * 48},
        {"rtmrs": (bytes(48),) * 4},
        {"td_attributes": 0},
        {"mr_config_id": b"\x02" * 48},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_quote_of_another_td_is_refused(other: dict[str, Any]) -> None:
    machine = MACHINES["tdx"]
    runtime = azure_vtpm.claims(azure_machines.public_key(), BOUND)
    same = {"report_data": machine.members[1][0x20 + 128 : 0x20 + 192]}
    assert runtime in machine.members[1]
    quote = dcap_fixtures.mint_tdx(**{**same, **other}).quote
    assert refusal(machine.changed(m8=quote)).code is Code.PARTS_MISMATCH


def test_a_td_report_proves_nothing_without_a_quote_or_with_one_of_an_enclave() -> None:
    machine = MACHINES["tdx"]
    assert refusal(machine.changed(m8=None)).code is Code.EVIDENCE_MISSING
    enclave = dcap_fixtures.mint_sgx()
    assert isinstance(refusal(machine.changed(m8=enclave.quote)), RefusedEvidence)


def test_a_machine_whose_host_gave_no_certificates_is_completed_from_our_own() -> None:
    machine = MACHINES["snp"].changed(m9=None)
    error = refusal(machine)
    assert error.code is Code.ENDORSEMENT_MISSING
    context = replace(machine.context(), certificates=snp_fixtures.mint().certificates)
    assert machine.verify(context).claims == MACHINES["snp"].verify().claims


def test_what_is_remembered_of_a_machine_vouches_for_the_same_bytes_only() -> None:
    good = MACHINES["snp"]
    context = good.context()
    first = good.verify(context).claims
    assert good.verify(context).claims == first
    pem: bytes = good.members[9]
    for wrong in (pem.replace(b"A", b"B", 1), pem + b"x", pem[: len(pem) // 2]):
        with pytest.raises(VerifierError):
            good.changed(m9=wrong).verify(context)
    for changed in (good.changed(m3=OTHER_TPM.ak_public), good.changed(m4=OTHER_TPM.ak_public)):
        with pytest.raises(VerifierError):
            changed.verify(context)
    with pytest.raises(RefusedEvidence) as caught:
        good.verify(replace(context, anchors=TrustAnchors()))
    assert caught.value.code is Code.ROOT_NOT_PINNED


def test_hardware_under_a_root_that_is_not_trusted_is_refused() -> None:
    for machine in MACHINES.values():
        with pytest.raises(RefusedEvidence) as caught:
            machine.verify(replace(machine.context(), anchors=TrustAnchors()))
        assert caught.value.code is Code.ROOT_NOT_PINNED


def test_the_event_log_is_held_against_the_quoted_registers() -> None:
    replayed = software_log()
    tpm = replace(TPM, banks={"sha256": replayed[1]})
    machine = on_snp(tpm=tpm).changed(m6=replayed[0])
    boot = machine.verify().claims.boot
    assert boot is not None
    assert boot.confirmed == tuple(range(8))
    assert refusal(MACHINES["snp"].changed(m6=replayed[0])).code is Code.EVENT_LOG_MISMATCH


def software_log() -> tuple[bytes, dict[int, bytes]]:
    """A log of eight separators, and the registers after it."""
    from hashlib import sha256  # noqa: PLC0415 - beside its one use

    value = sha256(bytes(32) + sha256(bytes(4)).digest()).digest()
    return log_of(*(event(one, 4, bytes(4)) for one in range(8))), dict.fromkeys(range(8), value)


def test_any_other_shape_of_the_payload_is_malformed() -> None:
    members = MACHINES["snp"].members
    shapes: list[Any] = [
        {name: value for name, value in members.items() if name != 7},
        members | {10: None},
        members | {1: None},
        members | {1: b""},
        members | {1: bytes(4097)},
        members | {5: []},
        members | {7: bytes(4097)},
        members | {8: bytes(16 * 1024 + 1)},
        members | {9: b"no PEM"},
        [1],
    ]
    for shape in shapes:
        envelope = encode(Record(AZURE_EVIDENCE, cbor.encode(shape)))
        for read in (registry.recognise, lambda data: registry.authenticate(data, _context())):
            with pytest.raises(MalformedEvidence):
                read(envelope)


def _context() -> registry.Context:
    return MACHINES["snp"].context()


def test_pieces_of_two_machines_are_ambiguous() -> None:
    one, two = (registry.recognise(machine.envelope()) for machine in MACHINES.values())
    report = registry.recognise(MACHINES["snp"].members[1])
    for pieces in (one + two, one + report):
        with pytest.raises(RefusedEvidence) as caught:
            registry.authenticate_items(pieces, _context())
        assert caught.value.code is Code.EVIDENCE_AMBIGUOUS
