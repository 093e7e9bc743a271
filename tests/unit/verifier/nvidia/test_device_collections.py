"""A machine with devices comes to one verdict, and only when all answered the same binding."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from fakes import nvidia_devices as lab
from fakes import snp_fixtures
from fakes.software_tpm import SoftwareTpm
from unit.verifier.rats.test_claims_json import SCHEMA, check

from sealward.verifier import registry
from sealward.verifier.composite.tpm_node import Trust
from sealward.verifier.formats.nvidia_gpu import evidence as nvidia_evidence
from sealward.verifier.formats.snp import evidence as snp_evidence
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import (
    NVIDIA_EVIDENCE,
    SNP_EVIDENCE,
    TPM_EVIDENCE,
    Collection,
    Envelope,
    Record,
    encode,
)
from sealward.verifier.rats.result import Dimension, Tier, TrustVector, VerdictCode, cap
from sealward.verifier.wire.tcg_hash import HashAlg

BOUND = hashlib.sha512(b"a binding").digest()
NONCE = BOUND[:32]


def machine(bound: bytes = BOUND) -> Record:
    minted = snp_fixtures.mint(report_data=bound)
    payload = snp_evidence.Evidence(minted.report, minted.certificates)
    return Record(SNP_EVIDENCE, snp_evidence.encode(payload))


def gpu(number: int = 0, nonce: bytes = NONCE, **changes: Any) -> Record:  # noqa: ANN401
    report = lab.gpu_report(nonce, number, **changes)
    payload = nvidia_evidence.Evidence(report, lab.gpu_chain(number))
    return Record(NVIDIA_EVIDENCE, nvidia_evidence.encode(payload))


def switch() -> Record:
    payload = nvidia_evidence.Evidence(lab.switch_report(NONCE), lab.switch_chain())
    return Record(NVIDIA_EVIDENCE, nvidia_evidence.encode(payload))


def tpm(nonce: bytes = NONCE) -> Record:
    """A quote by a key of which nothing is known but that it signed."""
    one = SoftwareTpm(
        kind="p256", scheme=("ecdsa", "sha256"), banks={"sha256": {0: hashlib.sha256().digest()}}
    )
    message = one.message(nonce)
    payload = tpm_evidence.Evidence(
        message=message,
        signature=one.sign(message),
        ak_public=one.ak_public,
        pcrs=(PcrBank(HashAlg.SHA256, tuple(one.banks["sha256"].items())),),
        event_log=None,
        ek_certificate=None,
    )
    return Record(TPM_EVIDENCE, tpm_evidence.encode(payload))


def context(source: lab.Store | None = None) -> registry.Context:
    root = import_root(snp_fixtures.mint().root, now=lab.NOW)
    anchors = TrustAnchors(development_roots=(root, *lab.anchors().development_roots))
    held = source or lab.store()
    return registry.Context(anchors, lab.NOW, ChainCache(), collateral=held, tpm=Trust())


def verify(source: lab.Store | None = None, **entries: Envelope) -> registry.Verified:
    named = {label.replace("_", "-"): entry for label, entry in entries.items()}
    data = encode(Collection(tuple(sorted(named.items()))))
    found = registry.authenticate(data, context(source))
    pieces = registry.recognise(data)
    assert registry.authenticate_items(pieces, context(source)).claims == found.claims
    return found


def test_a_machine_with_gpus_and_a_switch_comes_to_one_verdict_with_submods() -> None:
    found = verify(cpu=machine(), gpu_0=gpu(), gpu_1=gpu(1), switch_0=switch())
    claims = found.claims
    assert claims.tee == "snp"
    assert claims.report_data == BOUND.hex()
    assert [(label, one.tee) for label, one in claims.submods] == [
        ("gpu-0", "nvidia-gpu"),
        ("gpu-1", "nvidia-gpu"),
        ("switch-0", "nvidia-switch"),
    ]
    ids = [one.platform_id for _, one in claims.submods]
    assert len(set(ids)) == 3
    assert None not in ids
    shown: Any = claims.to_json()
    assert shown["submods"]["gpu-0"]["gpu"]["binding"] == "agent-asserted"
    assert found.details().keys() >= {"report", "submods"}


def test_what_is_held_against_a_device_caps_the_machine_and_names_the_device() -> None:
    blocks = list(lab.gpu_blocks())
    blocks[8] = bytes(48)
    claims = verify(cpu=machine(), gpu_0=gpu(), gpu_1=gpu(1, blocks=tuple(blocks))).claims
    held = [item for item in claims.verdicts if item.code is VerdictCode.FIRMWARE_UNKNOWN]
    assert [item.claim for item in held] == ["submods.gpu-1.gpu.rim.mismatched"]
    affirming = TrustVector(**{item.attribute: Tier.AFFIRMING for item in Dimension})
    assert cap(affirming, claims.verdicts).executables is Tier.CONTRAINDICATED
    alone = registry.authenticate(encode(machine()), context()).claims
    assert claims.verdicts[: len(alone.verdicts)] == alone.verdicts
    paths = {item.claim for item in claims.verdicts if item.code == "device_binding_unproven"}
    assert paths == {"submods.gpu-0.gpu.binding", "submods.gpu-1.gpu.binding"}


def test_the_machine_holds_no_longer_than_its_devices() -> None:
    source = lab.store()
    source.held |= lab.revocation_answers()
    claims = verify(source, cpu=machine(), gpu_0=gpu()).claims
    device = claims.submods[0][1].collateral
    assert device.revocation == "checked"
    assert claims.collateral.revocation == "absent"  # AMD's list is not held
    assert claims.collateral.not_after == device.not_after
    assert ("gpu.ocsp", device.not_after) in claims.collateral.limits


@pytest.mark.parametrize("other", [bytes(32), hashlib.sha512(b"another").digest()[:32], BOUND[32:]])
def test_a_device_that_answered_another_binding_is_refused_by_name(other: bytes) -> None:
    with pytest.raises(RefusedEvidence) as caught:
        verify(cpu=machine(), gpu_0=gpu(), gpu_1=gpu(1, nonce=other))
    assert caught.value.code is Code.BINDING_MISMATCH
    assert caught.value.claim == "submods.gpu-1.report_data"


def test_one_device_under_two_labels_is_refused() -> None:
    with pytest.raises(RefusedEvidence) as caught:
        verify(cpu=machine(), gpu_0=gpu(), gpu_1=gpu(0))
    assert caught.value.code is Code.DEVICE_REPEATED
    assert caught.value.claim == "submods.gpu-1.platform_id"


def test_a_device_under_the_label_of_another_sort_is_refused() -> None:
    for entries in ({"gpu_0": switch()}, {"switch_0": gpu()}):
        with pytest.raises(RefusedEvidence) as caught:
            verify(cpu=machine(), **entries)
        assert caught.value.code is Code.PRODUCT_MISMATCH


@pytest.mark.parametrize(
    "labels",
    [
        ("cpu",),
        ("gpu-0",),
        ("cpu", "gpu-1"),
        ("cpu", "gpu-0", "gpu-2"),
        ("cpu", "gpu-0", "disk-0"),
        ("cpu", "gpu-00"),
        ("cpu", "switch-4"),
        ("cpu", *(f"gpu-{number}" for number in range(9))),
    ],
    ids=" ".join,
)
def test_labels_are_those_of_the_specification_without_gaps(labels: tuple[str, ...]) -> None:
    entries = tuple((label, machine() if label == "cpu" else gpu()) for label in sorted(labels))
    with pytest.raises(MalformedEvidence):
        registry.authenticate(encode(Collection(entries)), context())


def test_media_types_are_those_of_their_labels() -> None:
    inner = Collection((("x", gpu()),))
    for entries in (
        {"cpu": machine(), "gpu_0": machine()},
        {"cpu": machine(), "gpu_0": inner},
        {"cpu": machine(), "tpm": gpu()},
        {"cpu": Record(TPM_EVIDENCE, b"x"), "tpm": Record(TPM_EVIDENCE, b"x")},
    ):
        with pytest.raises(MalformedEvidence):
            verify(**entries)


def test_a_device_is_never_the_machine_nor_stands_alone() -> None:
    for refused in (lambda: verify(cpu=gpu(), gpu_0=gpu(1)), lambda: alone(gpu())):
        with pytest.raises(RefusedEvidence) as caught:
            refused()
        assert caught.value.code is Code.EVIDENCE_MISSING


def alone(record: Record) -> registry.Verified:
    return registry.authenticate(encode(record), context())


def test_files_of_one_device_are_verified_by_themselves() -> None:
    files = (lab.gpu_report(NONCE), lab.gpu_chain(), lab.driver_rim(), lab.vbios_rim())
    pieces = [item for data in files for item in registry.recognise(data)]
    claims = registry.authenticate_items(pieces, context(lab.Store())).claims
    assert (claims.tee, claims.report_data) == ("nvidia-gpu", NONCE.hex())
    payload = nvidia_evidence.encode(nvidia_evidence.Evidence(*files[:2]))
    inside = registry.recognise(encode(Record(NVIDIA_EVIDENCE, payload)))
    assert registry.authenticate_items(inside, context()).claims == claims
    for wrong, code in (
        (pieces[:1], Code.ENDORSEMENT_MISSING),
        (pieces[1:], Code.EVIDENCE_MISSING),
        ([*pieces, *registry.recognise(lab.gpu_report(BOUND[32:]))], Code.EVIDENCE_AMBIGUOUS),
        ([*pieces, *registry.recognise(encode(machine()))], Code.EVIDENCE_AMBIGUOUS),
    ):
        with pytest.raises(RefusedEvidence) as caught:
            registry.authenticate_items(wrong, context(lab.Store()))
        assert caught.value.code is code


def test_the_claims_of_devices_match_the_schema_that_policies_are_written_against() -> None:
    source = lab.store()
    source.held |= lab.revocation_answers()
    for found in (verify(source, cpu=machine(), gpu_0=gpu(), switch_0=switch()), verify_files()):
        check(found.claims.to_json(), SCHEMA)
        for claims in (found.claims, *(one for _, one in found.claims.submods)):
            shown = claims.to_json()
            about = {"verdicts", "provenance", "evidence_sha256", "signed_sha256", "submods"}
            groups = claims.provenance().keys()
            tops = {path.partition(".")[0] for path in groups}
            said = {name for name, value in shown.items() if value not in (None, {})}
            assert said - about <= tops | {"advisories"}


def verify_files() -> registry.Verified:
    files = (lab.gpu_report(NONCE), lab.gpu_chain(), lab.driver_rim(), lab.vbios_rim())
    pieces = [item for data in files for item in registry.recognise(data)]
    return registry.authenticate_items(pieces, context())


def test_a_tpm_may_stand_beside_other_evidence_and_answers_the_same_binding() -> None:
    claims = verify(cpu=machine(), tpm=tpm(), gpu_0=gpu()).claims
    assert [(label, one.tee) for label, one in claims.submods] == [
        ("gpu-0", "nvidia-gpu"),
        ("tpm", "tpm"),
    ]
    assert "submods.tpm.tee" in {item.claim for item in claims.verdicts}
    with pytest.raises(RefusedEvidence) as caught:
        verify(cpu=machine(), tpm=tpm(BOUND[32:]))
    assert caught.value.claim == "submods.tpm.report_data"


def test_a_machine_that_has_only_a_tpm_may_have_gpus() -> None:
    claims = verify(cpu=tpm(), gpu_0=gpu()).claims
    assert (claims.tee, claims.report_data) == ("tpm", NONCE.hex())
    assert claims.submods[0][1].report_data == NONCE.hex()
