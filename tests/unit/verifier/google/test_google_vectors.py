"""The vTPM of a real Google machine: three quotes, event log and certificate, verified together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import google_vectors, tpm_vectors
from fakes.google_vectors import BANKS, Quoted
from unit.verifier.rats.test_claims_json import SCHEMA, check

from sealward.verifier import registry
from sealward.verifier.composite.google_vtpm import VerifiedInstance
from sealward.verifier.formats.gce import attestation_key, instance
from sealward.verifier.pki import certificate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.claims import KeyResidency, Scope, Tee
from sealward.verifier.rats.errors import Code, RefusedEvidence, VerifierError
from sealward.verifier.rats.result import VerdictCode
from sealward.verifier.registry import Context

MACHINE = {
    "zone": "us-central1-a",
    "project_number": "117478743145",
    "project_id": "google.com:wuale-gcp-testing",
    "instance_id": "6797026933021542085",
    "instance_name": "cos-test",
    "security_version": "0",
    "tpm_data_encrypted": False,
    "suspend_disabled": False,
    "tpm_migration_disabled": False,
}


@pytest.fixture(scope="module")
def quotes(vectors_dir: Path) -> dict[str, Quoted]:
    return google_vectors.load(vectors_dir)


@pytest.mark.parametrize("bank", BANKS)
def test_a_quote_of_each_bank_verifies_with_log_and_certificate(
    quotes: dict[str, Quoted], vectors_dir: Path, bank: str
) -> None:
    vector = tpm_vectors.load(vectors_dir, "tpm")[google_vectors.ID]
    (expect,) = [item for item in vector.expect["quotes"] if item["bank"] == bank]
    verified = quotes[bank].verify()
    native = verified.native
    assert isinstance(native, VerifiedInstance)
    assert tpm_vectors.attest_in_manifest_words(native.quote.attest) == expect["attest"]
    assert tpm_vectors.public_in_manifest_words(native.quote.ak) == vector.expect["ak"]
    claims = verified.claims
    measured = {item.name.removeprefix("pcr"): item.digest for item in claims.measurements}
    assert measured == expect["pcrs"]
    assert {item.algorithm for item in claims.measurements} == {bank}
    assert claims.boot is not None
    assert (claims.boot.bank, claims.boot.confirmed) == (bank, tuple(range(10)))
    assert claims.boot.contradicted == ()
    names = [fact.name for fact in claims.boot.facts]
    assert {"secure_boot", "kernel", "kernel_command_line", "boot_application"} <= set(names)
    window = (claims.collateral.not_before, claims.collateral.not_after)
    assert window == vector.window


def test_the_claims_of_a_google_machine_say_whose_word_they_are(quotes: dict[str, Quoted]) -> None:
    claims = quotes["sha256"].verify().claims
    shown: dict[str, Any] = claims.to_json()
    check(shown, SCHEMA)
    assert (claims.tee, claims.provider) == (Tee.GOOGLE_VTPM, "google")
    assert claims.platform_id == f"google:instance:{MACHINE['instance_id']}"
    assert shown["google"] == MACHINE
    assert claims.tpm is not None
    assert claims.tpm.residency is KeyResidency.CERTIFIED
    (verdict,) = claims.verdicts  # no credential need be activated
    assert (verdict.code, verdict.actual) == (VerdictCode.TPM_ONLY, "google-vtpm")
    assert (claims.memory_encrypted, claims.provider_in_tcb) == (False, True)
    scopes = {path: item.scope for path, item in claims.provenance().items()}
    assert (scopes["google"], scopes["boot"]) == (Scope.LAUNCH, Scope.BOOT)


def test_every_certificate_of_googles_two_cas_is_told_apart_by_what_its_key_may_do(
    vectors_dir: Path,
) -> None:
    (vector,) = tpm_vectors.load(vectors_dir, "tpm-ek-cert").values()
    pool = tuple(tpm_vectors.root(vectors_dir, name) for name in google_vectors.CAS)
    for role in vector.paths:
        leaf = vector.der(role)
        parsed = certificate.parse(leaf)
        found = instance.of(parsed)
        assert found is not None
        assert (found.zone, found.project_number) == ("us-central1-a", 117478743145)
        if parsed.subject.common_name is not None:  # the newer CA names the machine there too
            assert parsed.subject.common_name == str(found.instance_id)
        arguments: dict[str, Any] = {
            "anchors": TrustAnchors(),
            "now": vector.verify_at,
            "cache": ChainCache(),
        }
        if "sign" in role:
            assert attestation_key.is_attestation_key(parsed)
            endorsed = attestation_key.endorse(leaf, pool, **arguments)
            assert endorsed.instance == found
        else:
            assert not attestation_key.is_attestation_key(parsed)
            with pytest.raises(RefusedEvidence) as caught:
                attestation_key.endorse(leaf, pool, **arguments)
            assert caught.value.code is Code.CERTIFICATE_FORBIDDEN


def test_a_certificate_of_another_machine_is_refused(
    quotes: dict[str, Quoted], vectors_dir: Path
) -> None:
    (vector,) = tpm_vectors.load(vectors_dir, "tpm-ek-cert").values()
    for role in ("pca_tpm_rsa_sign_cert", "uca_tpm_rsa_sign_cert", "uca_tpm_ecc_sign_cert"):
        one = quotes["sha256"]
        swapped = replace(one, certificates=(vector.der(role), *one.certificates[1:]))
        with pytest.raises(RefusedEvidence) as caught:
            swapped.verify()
        assert caught.value.code is Code.KEY_KIND_MISMATCH


@pytest.mark.parametrize("part", ["message", "signature", "values"])
def test_parts_of_another_quote_are_refused(quotes: dict[str, Quoted], part: str) -> None:
    swapped = replace(quotes["sha256"], **{part: getattr(quotes["sha384"], part)})
    with pytest.raises(VerifierError):
        swapped.verify()


def test_one_changed_byte_anywhere_is_refused(quotes: dict[str, Quoted]) -> None:
    one, chains = replace(quotes["sha256"], log=None), ChainCache()
    one.verify(chains)
    for part in ("message", "signature", "ak_public", "values"):
        data: bytes = getattr(one, part)
        for at in range(len(data)):
            changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
            if part == "ak_public" and at in range(4, 8):
                continue  # the attributes are the key's own word: nobody has signed them
            with pytest.raises(VerifierError):
                replace(one, **{part: changed}).verify(chains)


def test_one_changed_byte_of_the_certificate_is_refused(quotes: dict[str, Quoted]) -> None:
    one = quotes["sha256"]
    leaf, *above = one.certificates
    for at in range(len(leaf)):
        changed = leaf[:at] + bytes((leaf[at] ^ 1,)) + leaf[at + 1 :]
        with pytest.raises(VerifierError):
            attestation_key.endorse(
                changed, above, anchors=TrustAnchors(), now=one.now, cache=ChainCache()
            )


def test_a_missing_intermediate_is_named(quotes: dict[str, Quoted]) -> None:
    one = quotes["sha256"]
    bare = replace(one, certificates=one.certificates[:1])
    with pytest.raises(RefusedEvidence) as caught:
        bare.verify()
    assert caught.value.code is Code.ENDORSEMENT_MISSING
    assert "tpm_ek_v1_cloud_host" in caught.value.detail
    context = Context(TrustAnchors(), one.now, ChainCache(), certificates=one.certificates[1:])
    assert registry.authenticate_items(bare.items(), context).claims == one.verify().claims
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(one.items(), replace(context, anchors=TrustAnchors(pinned=())))
    assert caught.value.code is Code.ROOT_NOT_PINNED


def test_a_certificate_alone_says_that_the_quote_is_missing(quotes: dict[str, Quoted]) -> None:
    one = quotes["sha256"]
    items = [item for data in one.certificates for item in registry.recognise(data)]
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(items, Context(TrustAnchors(), one.now, ChainCache()))
    assert caught.value.code is Code.EVIDENCE_MISSING
