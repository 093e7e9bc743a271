"""A TPM node's evidence: what its parts prove about each other, and what its claims admit."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace

import pytest
from fakes import software_tpm
from fakes.software_tpm import EndorsementKey, SoftwareTpm
from unit.verifier.rats.test_claims_json import SCHEMA, check

from sealward.verifier import registry
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.composite.tpm_node import ActivatedKey, Trust
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.formats.tpm.endorsement import EndorsementRoot
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.pki import certificate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.claims import KeyResidency, Scope, Tee
from sealward.verifier.rats.distrust import DistrustEntry
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.result import Dimension, Tier, TrustVector, VerdictCode, cap
from sealward.verifier.registry import Context
from sealward.verifier.wire.tcg_hash import HashAlg

NONCE = bytes(range(32))
EK = EndorsementKey(kind="p256")
EK_CERTIFICATE = software_tpm.ek_certificate(EK)
EK_SHA256 = hashlib.sha256(certificate.parse(EK_CERTIFICATE).spki).hexdigest()


def event(register: int, kind: int, data: bytes, *, digest: bytes | None = None) -> bytes:
    """One crypto-agile record with a SHA-256 digest."""
    value = hashlib.sha256(data).digest() if digest is None else digest
    head = struct.pack("<III", register, kind, 1) + struct.pack("<H", 0xB) + value
    return head + struct.pack("<I", len(data)) + data


def log_of(*events: bytes) -> bytes:
    spec = b"Spec ID Event03\0" + struct.pack("<I", 0) + bytes((0, 2, 0, 2))
    spec += struct.pack("<IHHB", 1, 0xB, 32, 0)
    head = struct.pack("<II", 0, 3) + bytes(20) + struct.pack("<I", len(spec)) + spec
    return head + b"".join(events)


SEPARATORS = tuple(event(register, 4, bytes(4)) for register in range(8))
LINE = event(
    8, 0xD, b"kernel_cmdline: /vmlinuz ro\0", digest=hashlib.sha256(b"/vmlinuz ro").digest()
)
LOG = log_of(*SEPARATORS, LINE)
_SEPARATED = hashlib.sha256(bytes(32) + hashlib.sha256(bytes(4)).digest()).digest()
_LINE = hashlib.sha256(bytes(32) + hashlib.sha256(b"/vmlinuz ro").digest()).digest()
TPM = SoftwareTpm(
    kind="p256",
    scheme=("ecdsa", "sha256"),
    banks={"sha256": {**dict.fromkeys(range(8), _SEPARATED), 8: _LINE, 11: b"\x11" * 32}},
)
AK_NAME = software_tpm.name_of(TPM.ak_public)


def evidence_of(tpm: SoftwareTpm = TPM, nonce: bytes = NONCE) -> tpm_evidence.Evidence:
    message = tpm.message(nonce)
    return tpm_evidence.Evidence(
        message=message,
        signature=tpm.sign(message),
        ak_public=tpm.ak_public,
        pcrs=tuple(
            PcrBank(HashAlg[bank.upper()], tuple(sorted(values.items())))
            for bank, values in tpm.banks.items()
        ),
        event_log=LOG,
        ek_certificate=EK_CERTIFICATE,
    )


def context(*activated: ActivatedKey, development: bool = False) -> Context:
    root = EndorsementRoot(software_tpm.root_certificate_once(), development)
    trust = Trust(roots=(root,), activated=frozenset(activated))
    return Context(TrustAnchors(), software_tpm.NOW, ChainCache(), tpm=trust)


KNOWN = ActivatedKey(AK_NAME, EK_SHA256)


def verify(evidence: tpm_evidence.Evidence, where: Context | None = None) -> registry.Verified:
    envelope = envelopes.encode(
        envelopes.Record(envelopes.TPM_EVIDENCE, tpm_evidence.encode(evidence))
    )
    return registry.authenticate(envelope, where or context(KNOWN))


def test_the_claims_of_a_node_match_the_schema_and_have_scopes() -> None:
    claims = verify(evidence_of()).claims
    shown = claims.to_json()
    check(shown, SCHEMA)
    assert claims.tee is Tee.TPM
    assert claims.report_data == NONCE.hex()
    assert claims.platform_id == f"tpm:ek:{EK_SHA256}"
    assert claims.instance_value == AK_NAME.hex()
    assert claims.memory_encrypted is False
    assert claims.provider_in_tcb is True
    assert (claims.vmpl, claims.host_data, shown["tcb"]) == (None, None, None)
    assert claims.measurements[0].name == "pcr0"
    scopes = {path: item.scope for path, item in claims.provenance().items()}
    assert scopes["measurements"] is Scope.BOOT
    about = {"verdicts", "provenance", "evidence_sha256", "signed_sha256", "mitigations"}
    told = {name for name, value in shown.items() if value is not None} - about
    assert told <= scopes.keys()
    assert scopes.keys() - told <= {"provider", "boot"}
    assert claims.tpm is not None
    assert (claims.tpm.reset_count, claims.tpm.restart_count, claims.tpm.safe) == (7, 3, True)


def test_the_hardware_of_a_node_that_has_only_a_tpm_is_never_affirming() -> None:
    claims = verify(evidence_of()).claims
    assert [item.code for item in claims.verdicts] == [VerdictCode.TPM_ONLY]
    best = TrustVector(**{one.attribute: Tier.AFFIRMING for one in Dimension})
    capped = cap(best, claims.verdicts)
    assert capped.hardware is Tier.WARNING
    assert capped == replace(best, hardware=Tier.WARNING)
    assert cap(TrustVector(), claims.verdicts).hardware is Tier.CONTRAINDICATED


@pytest.mark.parametrize(
    "activated",
    [
        (),
        (ActivatedKey(AK_NAME[:-1] + b"\0", EK_SHA256),),
        (ActivatedKey(AK_NAME, "0" * 64),),
    ],
    ids=["none", "another-ak", "another-ek"],
)
def test_a_key_that_opened_no_credential_is_held_against_the_node(
    activated: tuple[ActivatedKey, ...],
) -> None:
    claims = verify(evidence_of(), context(*activated)).claims
    assert claims.platform_id is None
    assert claims.tpm is not None
    assert claims.tpm.residency is KeyResidency.UNPROVEN
    assert VerdictCode.KEY_RESIDENCY_UNPROVEN in [item.code for item in claims.verdicts]
    best = TrustVector(**{one.attribute: Tier.AFFIRMING for one in Dimension})
    assert cap(best, claims.verdicts).hardware is Tier.CONTRAINDICATED
    check(claims.to_json(), SCHEMA)


def test_without_a_certificate_nothing_endorses_the_node_beyond_this_instant() -> None:
    claims = verify(replace(evidence_of(), ek_certificate=None, event_log=None)).claims
    assert claims.tpm is not None
    assert (claims.tpm.ek, claims.boot) == (None, None)
    assert claims.collateral.not_after == claims.collateral.not_before == software_tpm.NOW
    assert claims.tpm.residency is KeyResidency.UNPROVEN
    check(claims.to_json(), SCHEMA)


def test_a_development_root_shows() -> None:
    claims = verify(evidence_of(), context(KNOWN, development=True)).claims
    assert claims.development
    assert VerdictCode.DEVELOPMENT_ROOT in [item.code for item in claims.verdicts]


def test_the_log_is_believed_where_it_replays_to_the_quote() -> None:
    claims = verify(evidence_of()).claims
    log = claims.boot
    assert log is not None
    assert log.confirmed == tuple(range(9))
    assert log.contradicted == ()
    assert [(fact.value, fact.standing) for fact in log.facts] == [("/vmlinuz ro", "extended")]


def test_a_contradicted_register_loses_its_facts_and_one_of_firmware_the_evidence() -> None:
    later = log_of(*SEPARATORS, LINE, event(8, 0xD, b"grub_cmd: x\0"))
    claims = verify(replace(evidence_of(), event_log=later)).claims
    assert claims.boot is not None
    assert claims.boot.contradicted == (8,)
    assert claims.boot.facts == ()
    for forged in (log_of(*SEPARATORS[1:], LINE), log_of(*SEPARATORS, SEPARATORS[3])):
        with pytest.raises(RefusedEvidence) as caught:
            verify(replace(evidence_of(), event_log=forged))
        assert caught.value.code is Code.EVENT_LOG_MISMATCH


def test_a_log_without_a_quoted_bank_is_refused() -> None:
    sha384 = {"sha384": {0: bytes(48)}}
    tpm = replace(TPM, banks=sha384)
    with pytest.raises(RefusedEvidence) as caught:
        verify(evidence_of(tpm))
    assert caught.value.code is Code.EVENT_LOG_MISMATCH


def test_a_nonce_that_is_no_binding_is_refused_in_an_envelope() -> None:
    for nonce in (b"", NONCE[:20], NONCE + NONCE):
        with pytest.raises(RefusedEvidence) as caught:
            verify(evidence_of(nonce=nonce))
        assert caught.value.code is Code.BINDING_MISMATCH


def test_an_installation_that_trusts_no_tpm_takes_none() -> None:
    with pytest.raises(RefusedEvidence) as caught:
        verify(evidence_of(), replace(context(), tpm=None))
    assert caught.value.code is Code.UNSUPPORTED_FORMAT


def test_a_distrusted_model_of_tpm_is_held_against_its_nodes() -> None:
    listed = DistrustEntry(reason="weak keys", product="TPM 2.0 id:45584D50 Example")
    where = replace(context(KNOWN), distrusted=(listed,))
    assert verify(evidence_of(), where).claims.verdicts[-1].code is VerdictCode.DISTRUSTED


def items(*parts: bytes) -> list[registry.Item]:
    return [item for part in parts for item in registry.recognise(part)]


def test_the_files_of_a_quote_are_recognised_by_content_in_any_order() -> None:
    evidence = evidence_of()
    parts = (
        evidence.message,
        evidence.signature,
        evidence.ak_public,
        EK.public,
        struct.pack(">H", len(EK.public)) + EK.public,  # the same with its size in front
        EK_CERTIFICATE,
        LOG,
        software_tpm.root_certificate_once(),
    )
    found = items(*parts)
    assert [item.role for item in found[:7]] == [
        *(Part.QUOTE, Part.SIGNATURE, Part.AK_PUBLIC, Part.EK_PUBLIC, Part.EK_PUBLIC),
        *(Part.EK_CERTIFICATE, Part.EVENT_LOG),
    ]
    raw = b"".join(digest for bank in evidence.pcrs for _, digest in bank.values)
    values = registry.in_role(Part.PCR_VALUES, raw)
    for order in (found, found[::-1]):
        verified = registry.authenticate_items([values, *order], context(KNOWN))
        assert verified.claims.platform_id == f"tpm:ek:{EK_SHA256}"
        assert json.dumps(verified.details())
    with pytest.raises(MalformedEvidence):
        registry.authenticate_items(
            [registry.in_role(Part.PCR_VALUES, raw[1:]), *found], context(KNOWN)
        )


def test_a_heap_that_lacks_a_part_or_has_two_of_one_is_refused() -> None:
    evidence = evidence_of()
    again = TPM.sign(evidence.message)  # ECDSA: another signature, as good
    raw = b"".join(digest for bank in evidence.pcrs for _, digest in bank.values)
    values = registry.in_role(Part.PCR_VALUES, raw)
    whole = [values, *items(evidence.message, evidence.signature, evidence.ak_public)]
    registry.authenticate_items(whole, context())
    for lacking in (whole[1:], [*whole[:2], whole[3]], whole[:3]):
        with pytest.raises(RefusedEvidence) as caught:
            registry.authenticate_items(lacking, context())
        assert caught.value.code is Code.EVIDENCE_MISSING
    for added in (items(again), [registry.in_role(Part.PCR_VALUES, raw + b"\0")]):
        with pytest.raises(RefusedEvidence) as caught:
            registry.authenticate_items([*whole, *added], context())
        assert caught.value.code is Code.EVIDENCE_AMBIGUOUS
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items([*whole, *items(EK.public)], context())
    assert caught.value.code is Code.ENDORSEMENT_MISSING


def test_an_envelope_in_a_file_is_verified_like_one_that_arrived() -> None:
    payload = tpm_evidence.encode(evidence_of())
    found = items(envelopes.encode(envelopes.Record(envelopes.TPM_EVIDENCE, payload)))
    verified = registry.authenticate_items(found, context(KNOWN))
    assert verified.claims.report_data == NONCE.hex()


ONE = [0, bytes(32)]
PAYLOAD: dict[int, object] = {1: b"m", 2: b"s", 3: b"k", 4: [[0xB, [ONE]]], 5: None}
PAYLOAD |= dict.fromkeys((6, 7, 8))


def test_the_payload_that_the_next_test_changes_is_read() -> None:
    from sealward.verifier.wire import cbor  # noqa: PLC0415 - only here

    assert tpm_evidence.parse(cbor.encode(PAYLOAD)).message == b"m"  # type: ignore[arg-type]  # encodable


@pytest.mark.parametrize(
    "payload",
    [
        {key: value for key, value in PAYLOAD.items() if key < 6},
        PAYLOAD | {4: []},
        PAYLOAD | {4: [[0xB, []]]},
        PAYLOAD | {4: [[0xB, [[0, bytes(31)]]]]},
        PAYLOAD | {4: [[0xB, [[32, bytes(32)]]]]},
        PAYLOAD | {4: [[0xB, [[True, bytes(32)]]]]},
        PAYLOAD | {4: [[0xA, [ONE]]]},
        PAYLOAD | {4: [[0xB, [[1, bytes(32)], ONE]]]},
        PAYLOAD | {4: [[0xB, [ONE]]] * 2},
        PAYLOAD | {7: b""},
        PAYLOAD | {8: 1},
        PAYLOAD | {1: b""},
        PAYLOAD | {3: "k"},
    ],
)
def test_a_payload_outside_its_map_is_malformed(payload: dict[int, object]) -> None:
    from sealward.verifier.wire import cbor  # noqa: PLC0415 - only here

    with pytest.raises(MalformedEvidence):
        tpm_evidence.parse(cbor.encode(payload))  # type: ignore[arg-type]  # deliberately wrong
