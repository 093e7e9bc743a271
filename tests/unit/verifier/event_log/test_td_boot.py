"""The log of a confidential guest explains the registers of its quote, or is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import dcap_fixtures, tpm_vectors
from fakes.azure_machines import on_snp
from fakes.tpm_vectors import Vector

from sealward.verifier import registry
from sealward.verifier.composite import td_boot
from sealward.verifier.formats.dcap import collateral as dcap_collateral
from sealward.verifier.formats.dcap import evidence as dcap_evidence
from sealward.verifier.formats.event_log import dstack
from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.claims import BootLog, Claims
from sealward.verifier.rats.collateral import Key
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import TDX_EVIDENCE, Record, encode

GCP, DSTACK = "tdx-v4-gcp-cos113", "tdx-v4-dstack-lite"
ZERO = bytes(48)


@pytest.fixture(scope="module")
def vectors(vectors_dir: Path) -> dict[str, Vector]:
    return tpm_vectors.load(vectors_dir, "tdx")


def rtmrs(vector: Vector) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(vector.expect["body"][f"rtmr{at}"]) for at in range(4))


def named(boot: BootLog, name: str) -> list[tuple[str, int, str]]:
    return [(one.value, one.register, one.standing) for one in boot.facts if one.name == name]


def test_the_ccel_of_a_google_td_explains_three_registers_of_its_quote(
    vectors: dict[str, Vector],
) -> None:
    vector = vectors[GCP]
    boot = td_boot.confirm(vector.read("ccel"), rtmrs(vector))
    assert boot.bank == "sha384"
    assert (boot.confirmed, boot.contradicted) == ((1, 2, 3), ())
    assert boot.repeated_separators == ()
    assert named(boot, "secure_boot") == [("disabled", 1, "authenticated")]
    ((line, register, standing),) = named(boot, "kernel_command_line")
    assert line.startswith("/syslinux/vmlinuz.A init=/usr/lib/systemd/systemd ")
    assert (register, standing) == (3, "extended")
    ((_, register, standing),) = named(boot, "kernel")
    assert (register, standing) == (3, "described")
    assert [item[2] for item in named(boot, "boot_application")] == ["extended"] * 2


def test_the_json_log_of_a_dstack_guest_explains_all_four(vectors: dict[str, Vector]) -> None:
    vector = vectors[DSTACK]
    boot = td_boot.confirm(vector.read("event_log"), rtmrs(vector))
    assert (boot.confirmed, boot.contradicted) == ((1, 2, 3, 4), ())
    events = named(boot, "runtime_event")
    names = [value.partition(" ")[0] for value, _, _ in events]
    assert names == [
        *("system-preparing", "app-id", "compose-hash", "instance-id", "boot-mr-done"),
        *("os-image-hash", "key-provider", "storage-fs", "system-ready"),
    ]
    assert {item[1:] for item in events} == {(4, "extended")}
    assert events[1][0] == "app-id 86b0e55f2fa8e4fb69d890f14f54d5612707646e"


def test_a_log_that_does_not_explain_what_firmware_extended_is_refused(
    vectors: dict[str, Vector],
) -> None:
    one, other = vectors[GCP], vectors[DSTACK]
    values = rtmrs(one)
    cases = [
        (other.read("event_log"), values),
        (one.read("ccel"), rtmrs(other)),
        (one.read("ccel"), (values[0], ZERO, *values[2:])),
        (one.read("ccel"), (ZERO, *values[1:])),
    ]
    for log, registers in cases:
        with pytest.raises(RefusedEvidence) as caught:
            td_boot.confirm(log, registers)
        assert caught.value.code is Code.EVENT_LOG_MISMATCH
        assert caught.value.actual is not None
        assert "RTMR" in caught.value.actual


def test_what_software_extended_besides_is_contradicted_and_tells_nothing(
    vectors: dict[str, Vector],
) -> None:
    vector = vectors[GCP]
    values = rtmrs(vector)
    boot = td_boot.confirm(vector.read("ccel"), (*values[:2], b"\x01" * 48, b"\x02" * 48))
    assert (boot.confirmed, boot.contradicted) == ((1, 2), (3,))
    assert named(boot, "kernel_command_line") == []
    assert named(boot, "secure_boot")


def test_separators_that_came_twice_are_flagged_and_authenticate_nothing(
    vectors_dir: Path,
) -> None:
    vector = tpm_vectors.load(vectors_dir, "ccel-eventlog")["ccel-dupe-separator"]
    values = tuple(bytes.fromhex(vector.expect["mr"][str(at)]) for at in (1, 2, 3))
    boot = td_boot.confirm(vector.read("event_log"), (*values, ZERO))
    assert boot.repeated_separators == (1,)
    assert [item[2] for item in named(boot, "secure_boot")] == ["described"]


def test_a_log_of_another_bank_is_refused(vectors_dir: Path) -> None:
    found = tpm_vectors.load(vectors_dir, "ccel-eventlog")["ccel-ccel_data_csv"]
    with pytest.raises(RefusedEvidence) as caught:
        td_boot.confirm(found.read("event_log"), (ZERO,) * 4)
    assert (caught.value.code, caught.value.actual) == (Code.EVENT_LOG_MISMATCH, "sm3_256")


def test_one_changed_digest_of_a_log_is_refused_or_contradicted(
    vectors: dict[str, Vector],
) -> None:
    vector = vectors[GCP]
    log = logs.parse(vector.read("ccel"))
    for at, item in enumerate(log.events):
        digest = item.digests[0]
        for byte in (0, 47):
            value = bytearray(digest.value)
            value[byte] ^= 1
            events = list(log.events)
            events[at] = replace(item, digests=(replace(digest, value=bytes(value)),))
            changed = logs.encode(replace(log, events=tuple(events)))
            try:
                boot = td_boot.confirm(changed, rtmrs(vector))
            except RefusedEvidence as error:
                assert error.code is Code.EVENT_LOG_MISMATCH  # noqa: PT017 - or contradicted
                assert item.register in (1, 2)
            else:
                assert item.register == 3
                assert boot.contradicted == (3,)


# Through the registry


class Held(dict[Key, bytes]):
    """Collateral in memory."""


def claims_of(log: bytes | None, registers: tuple[bytes, ...]) -> Claims:
    minted = dcap_fixtures.mint_tdx(rtmrs=registers)
    found = dcap_collateral.bundle(minted.collateral.to_json().encode())
    parts = (found.tcb_info, found.qe_identity, found.pck_crl, found.root_crl)
    root = import_root(dcap_fixtures.hierarchy().root, now=dcap_fixtures.NOW)
    context = registry.Context(
        TrustAnchors(development_roots=(root,)),
        dcap_fixtures.NOW,
        ChainCache(),
        collateral=Held({dcap_collateral.key_of(part): part for part in parts}),
    )
    payload = dcap_evidence.encode_tdx(dcap_evidence.Evidence(minted.quote, log))
    return registry.authenticate(encode(Record(TDX_EVIDENCE, payload)), context).claims


def test_the_claims_of_a_td_have_its_boot() -> None:
    entry = '{"imr":3,"event_type":134217729,"digest":"","event":"ready","event_payload":""}'
    log = f"[{entry}]".encode()
    (one,) = dstack.parse(log).events
    extended = hashlib.sha384(ZERO + one.digests[0].value).digest()
    claims = claims_of(log, (ZERO, ZERO, ZERO, extended))
    assert claims.boot is not None
    assert claims.boot.confirmed == (1, 2, 4)
    assert "boot" in claims.provenance()
    assert claims_of(None, (ZERO,) * 4).boot is None
    with pytest.raises(RefusedEvidence) as caught:
        claims_of(log, (extended, ZERO, ZERO, extended))
    assert caught.value.code is Code.EVENT_LOG_MISMATCH
    with pytest.raises(MalformedEvidence):
        claims_of(b"neither", (ZERO,) * 4)


def test_evidence_without_such_registers_has_nothing_to_explain() -> None:
    with pytest.raises(RefusedEvidence) as caught:
        td_boot.explain(on_snp().verify().claims, b"[]")
    assert caught.value.code is Code.EVENT_LOG_MISMATCH
