"""Google evidence in our own payload, and what its certificates must say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes import google_cas
from fakes.google_cas import ak_certificate, flag, instance, number, properties, text, tlv
from fakes.software_tpm import NOW, SoftwareTpm
from unit.verifier.composite.test_tpm_node import LOG, NONCE, evidence_of
from unit.verifier.composite.test_tpm_node import TPM as LOGGED
from unit.verifier.rats.test_claims_json import SCHEMA, check

from sealward.verifier import registry
from sealward.verifier.formats.gce import evidence as gce_evidence
from sealward.verifier.formats.gce import instance as instances
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.claims import KeyResidency, Tee
from sealward.verifier.rats.distrust import DistrustEntry
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence, VerifierError
from sealward.verifier.rats.evidence import GOOGLE_EVIDENCE, TPM_EVIDENCE, Record, encode
from sealward.verifier.rats.result import VerdictCode
from sealward.verifier.registry import Context
from sealward.verifier.wire import cbor

BARE: dict[str, Any] = {"ek_certificate": None}


def envelope(
    tpm: SoftwareTpm = LOGGED, *certificates: bytes, nonce: bytes = NONCE, log: bytes | None = LOG
) -> bytes:
    found = replace(evidence_of(tpm, nonce), **BARE, event_log=log)
    sent = certificates or (ak_certificate(tpm), google_cas.root())
    payload = gce_evidence.encode(gce_evidence.Evidence(tpm_evidence.encode(found), sent))
    return encode(Record(GOOGLE_EVIDENCE, payload))


def context(**changes: Any) -> Context:  # noqa: ANN401 - any field
    return replace(Context(google_cas.anchors(), NOW, ChainCache()), **changes)


def refusal(data: bytes, where: Context | None = None) -> VerifierError:
    with pytest.raises(VerifierError) as caught:
        registry.authenticate(data, where or context())
    return caught.value


def test_a_certified_key_needs_no_credential() -> None:
    claims = registry.authenticate(envelope(), context()).claims
    check(claims.to_json(), SCHEMA)
    assert (claims.tee, claims.provider) == (Tee.GOOGLE_VTPM, "google")
    assert claims.report_data == NONCE.hex()
    assert claims.platform_id == f"google:instance:{(1 << 64) - 1}"
    assert claims.tpm is not None
    assert claims.tpm.residency is KeyResidency.CERTIFIED
    assert [item.code for item in claims.verdicts] == [VerdictCode.TPM_ONLY]
    assert claims.boot is not None
    assert claims.collateral.not_after == NOW + timedelta(days=30)
    # The same quote without Google's word is a TPM's, and its key may be in none.
    bare = tpm_evidence.encode(replace(evidence_of(), **BARE))
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate(encode(Record(TPM_EVIDENCE, bare)), context())
    assert caught.value.code is Code.UNSUPPORTED_FORMAT


def test_an_envelope_as_a_file_is_verified_as_one_that_arrived() -> None:
    data = envelope()
    arrived = registry.authenticate(data, context()).claims
    assert registry.authenticate_items(registry.recognise(data), context()).claims == arrived
    short = registry.recognise(envelope(LOGGED, ak_certificate(LOGGED)))
    beside = registry.recognise(google_cas.root())
    assert registry.authenticate_items(short + beside, context()).claims.provider == "google"


def test_what_the_certificate_must_say() -> None:
    rsa = SoftwareTpm(label="google-ak")
    for tpm, certificate, code in (
        (LOGGED, ak_certificate(LOGGED, sign=False), Code.CERTIFICATE_FORBIDDEN),
        (LOGGED, ak_certificate(LOGGED, ca=True), Code.CERTIFICATE_FORBIDDEN),
        (LOGGED, ak_certificate(LOGGED, extension=b""), Code.CERTIFICATE_FORBIDDEN),
        (
            LOGGED,
            ak_certificate(LOGGED, extension=instance(tail=properties(production=False))),
            Code.CERTIFICATE_FORBIDDEN,
        ),
        (LOGGED, ak_certificate(LOGGED, extension=instance(tail=b"")), Code.CERTIFICATE_FORBIDDEN),
        (LOGGED, ak_certificate(rsa), Code.KEY_KIND_MISMATCH),
        (LOGGED, ak_certificate(LOGGED, extension=b"\x30\x00"), Code.MALFORMED),
    ):
        assert refusal(envelope(tpm, certificate, google_cas.root())).code is code
    rsa_claims = registry.authenticate(envelope(rsa, log=None), context()).claims
    assert rsa_claims.tee is Tee.GOOGLE_VTPM


def test_only_googles_roots_end_a_chain() -> None:
    for where, code in (
        (context(anchors=google_cas.anchors(Vendor.AMD)), Code.ROOT_NOT_PINNED),
        (replace(context(), now=NOW + timedelta(days=31)), Code.CERTIFICATE_EXPIRED),
        (replace(context(), now=NOW - timedelta(days=2)), Code.CERTIFICATE_NOT_YET_VALID),
    ):
        assert refusal(envelope(), where).code is code
    assert refusal(envelope(LOGGED, ak_certificate(LOGGED))).code is Code.ENDORSEMENT_MISSING


def test_a_cached_chain_ends_when_it_ends() -> None:
    cache = ChainCache()
    registry.authenticate(envelope(), context(cache=cache))
    late = context(cache=cache, now=NOW + timedelta(days=31))
    assert refusal(envelope(), late).code is Code.CERTIFICATE_EXPIRED


def test_a_nonce_that_is_no_binding_is_refused_in_an_envelope() -> None:
    for nonce in (b"", NONCE[:31], NONCE + b"\0"):
        assert refusal(envelope(nonce=nonce)).code is Code.BINDING_MISMATCH


def test_a_provider_can_be_distrusted() -> None:
    entry = DistrustEntry(reason="signing key leaked", provider="google")
    claims = registry.authenticate(envelope(), context(distrusted=(entry,))).claims
    assert VerdictCode.DISTRUSTED in [item.code for item in claims.verdicts]


def test_any_other_shape_of_the_payload_is_malformed() -> None:
    tpm = tpm_evidence.encode(replace(evidence_of(), **BARE))
    leaf = ak_certificate(LOGGED)
    shapes: list[Any] = [
        [],
        {1: tpm},
        {1: tpm, 2: [leaf], 3: None},
        {1: None, 2: [leaf]},
        {1: tpm, 2: []},
        {1: tpm, 2: leaf},
        {1: tpm, 2: [leaf] * 5},
        {1: tpm, 2: [b""]},
        {1: tpm, 2: [None]},
    ]
    for shape in shapes:
        data = encode(Record(GOOGLE_EVIDENCE, cbor.encode(shape)))
        for read in (registry.recognise, lambda one: registry.authenticate(one, context())):
            with pytest.raises(MalformedEvidence):
                read(data)


def test_the_instance_is_read_whole() -> None:
    found = instances.parse(instance())
    assert found == instances.Instance(
        zone="us-test1-a",
        project_number=42,
        project_id="a-project",
        instance_id=(1 << 64) - 1,
        name="a-machine",
        security_version=3,
        production=True,
        tpm_data_encrypted=True,
        suspend_disabled=False,
        tpm_migration_disabled=False,
    )
    bare = instances.parse(instance(tail=b""))
    assert (bare.security_version, bare.production) == (None, False)
    some = instances.parse(instance(tail=tlv(0xA0, tlv(0x30, flag(1, value=True)))))
    assert (some.security_version, some.production, some.tpm_data_encrypted) == (None, True, False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        instance() + b"\0",
        instance(zone=""),
        instance(zone="a\x1b[2J"),
        instance(zone="z" * 257),
        instance(id_=1 << 64),
        instance(id_=-1),
        instance(tail=properties() + properties()),
        instance(tail=tlv(0xA0, properties())),
        instance(tail=tlv(0xA0, tlv(0x30, flag(2, value=True) + flag(1, value=True)))),
        instance(tail=tlv(0xA0, tlv(0x30, flag(6, value=True)))),
        instance(tail=tlv(0xA0, tlv(0x30, tlv(0xA1, tlv(1, b"\x01"))))),
        tlv(0x30, text("zone") + number(1) + text("project") + number(1)),
        tlv(0x30, tlv(0x13, b"zone") + number(1) + text("p") + number(1) + text("n")),
        tlv(0x30, tlv(0xC, b"\xff") + number(1) + text("p") + number(1) + text("n")),
    ],
)
def test_an_extension_that_is_not_googles_structure_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        instances.parse(data)
