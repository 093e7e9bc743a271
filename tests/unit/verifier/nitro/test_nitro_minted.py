"""Each rule of a Nitro document and its chain refuses what breaks it, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fakes import nitro_documents as nitro
from fakes.nitro_documents import LEAF, NOW, Chain

from sealward.verifier import registry
from sealward.verifier.formats.nitro import claims, document, evidence, verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import DevelopmentRoot
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import NITRO_EVIDENCE, Record, encode
from sealward.verifier.rats.result import VerdictCode


def authenticate(
    data: bytes,
    *,
    made: Chain | None = None,
    anchors: TrustAnchors | None = None,
    cache: ChainCache | None = None,
    now: datetime = NOW,
) -> verify.VerifiedDocument:
    trusted = anchors or (made or nitro.standard()).anchors()
    return verify.authenticate(data, anchors=trusted, now=now, cache=cache or ChainCache())


def refusal(data: bytes, **how: Any) -> RefusedEvidence:  # noqa: ANN401 - as `authenticate`
    with pytest.raises(RefusedEvidence) as caught:
        authenticate(data, **how)
    return caught.value


@pytest.mark.parametrize("tag", [None, 18])
def test_a_document_verifies_with_and_without_its_tag(tag: int | None) -> None:
    verified = authenticate(nitro.document(tag=tag))
    assert verified.document.module_id == nitro.MODULE_ID
    assert verified.document.timestamp == NOW
    assert verified.endorsed.chain == tuple(
        f"CN=test {name}" for name in ("leaf", "instance", "zone", "region", "root")
    )
    assert verified.endorsed.window.not_after == LEAF.not_after


def test_a_map_of_indefinite_length_is_read_like_any_other() -> None:
    members = nitro.payload(nitro.standard())
    parts = (cbor2.dumps(key) + cbor2.dumps(value) for key, value in members.items())
    raw = b"\xbf" + b"".join(parts) + b"\xff"
    assert authenticate(nitro.document(raw=raw)).document.nonce is None


@pytest.mark.parametrize("absent", ["public_key", "user_data", "nonce"])
def test_what_the_enclave_may_leave_out_may_be_absent_or_null(absent: str) -> None:
    for value in (..., None):
        verified = authenticate(nitro.document(**{absent: value}))
        assert getattr(verified.document, absent) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"module_id": ""}, "module_id"),
        ({"module_id": 7}, "module_id"),
        ({"module_id": "i-\n"}, "control characters"),
        ({"module_id": ...}, "missing"),
        ({"digest": "SHA512"}, "SHA384"),
        ({"digest": ...}, "missing"),
        ({"timestamp": 0}, "timestamp is zero"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
        ({"timestamp": 1 << 60}, "timestamp"),
        ({"pcrs": {}}, "PCR 0, 1 and 2"),
        ({"pcrs": {0: bytes(48), 1: bytes(48)}}, "PCR 0, 1 and 2"),
        ({"pcrs": [bytes(48)]}, "not a map"),
        ({"pcrs": dict.fromkeys((0, 1, 2, 32), bytes(48))}, "PCR index"),
        ({"pcrs": dict.fromkeys((0, 1, 2, -1), bytes(48))}, "PCR index"),
        ({"pcrs": {0: bytes(48), 1: bytes(48), 2: bytes(48), "3": bytes(48)}}, "PCR index"),
        ({"pcrs": {0: bytes(48), 1: bytes(48), 2: bytes(20)}}, "32, 48 or 64"),
        ({"pcrs": {0: bytes(48), 1: bytes(48), 2: "0"}}, "PCR 2"),
        ({"certificate": b""}, "certificate"),
        ({"certificate": bytes(1025)}, "certificate"),
        ({"cabundle": []}, "cabundle"),
        ({"cabundle": [b""]}, "cabundle"),
        ({"cabundle": [bytes(1025)]}, "cabundle"),
        ({"cabundle": [b"x"] * 9}, "cabundle"),
        ({"public_key": b""}, "public_key"),
        ({"public_key": bytes(1025)}, "public_key"),
        ({"user_data": bytes(1025)}, "user_data"),
        ({"user_data": "text"}, "user_data"),
        ({"nonce": bytes(1025)}, "nonce"),
        ({"more": 1}, "unknown key"),
    ],
)
def test_a_payload_outside_the_grammar_is_malformed(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(MalformedEvidence, match=why):
        document.parse(nitro.document(**changes))


@pytest.mark.parametrize("size", [0, 1, 1024])
def test_user_data_and_nonce_may_have_any_size_up_to_1024(size: int) -> None:
    verified = authenticate(nitro.document(user_data=bytes(size), nonce=bytes(size)))
    assert len(verified.document.user_data or b"") == size
    assert claims.normalise(verified, now=NOW).report_data == "00" * size


@pytest.mark.parametrize(
    "data",
    [
        nitro.document(unprotected={4: b"kid"}),
        nitro.document(protected=cbor2.dumps({1: -35, 4: b"kid"})),
        nitro.document(protected=b""),
        nitro.document(protected=cbor2.dumps({})),
        nitro.document(tag=17),
        nitro.document(tag=98),
        nitro.document() + b"\0",
        nitro.document()[:-1],
        b"",
    ],
)
def test_another_message_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        document.parse(data)


def test_a_document_is_never_longer_than_the_module_answers() -> None:
    long = nitro.document(cabundle=[bytes(1024)] * 8, user_data=bytes(1024), nonce=bytes(1024))
    with pytest.raises(MalformedEvidence, match="at most 12288"):
        document.parse(long.ljust(12289, b"\0"))


def test_another_algorithm_than_es384_is_refused_even_where_the_signature_would_hold() -> None:
    made = nitro.chain(replace(LEAF, name="p256", curve=ec.SECP256R1()))
    data = nitro.document(made, protected=cbor2.dumps({1: -7}))
    assert refusal(data, made=made).code is Code.CERTIFICATE_FORBIDDEN
    assert refusal(nitro.document(protected=cbor2.dumps({1: -7}))).code is Code.ALGORITHM_FORBIDDEN


def test_a_signature_of_another_length_or_key_is_invalid() -> None:
    parts = cbor2.loads(nitro.document())  # noqa: TID251 - written here
    for signature in (parts[3][:-1], parts[3] + b"\0", b"", bytes(96), b"\xff" * 96):
        data = cbor2.dumps([*parts[:3], signature])
        assert refusal(data).code is Code.SIGNATURE_INVALID


BAD_CHAINS = {
    "an issuer that is no CA": (LEAF, nitro.with_issuer(2, ca=False, path_length=None)),
    "an issuer without keyCertSign": (LEAF, nitro.with_issuer(3, usages=("crl_sign",))),
    "a longer path than the region allows": (LEAF, nitro.with_issuer(1, path_length=1)),
    "a longer path than the zone allows": (LEAF, nitro.with_issuer(2, path_length=0)),
    "a leaf that is a CA": (
        replace(LEAF, ca=True, usages=("digital_signature", "key_cert_sign")),
        nitro.ISSUERS,
    ),
    "a leaf without digitalSignature": (
        replace(LEAF, usages=("content_commitment",)),
        nitro.ISSUERS,
    ),
}


@pytest.mark.parametrize("name", BAD_CHAINS)
def test_a_chain_that_breaks_a_rule_of_certificates_is_refused(name: str) -> None:
    made = nitro.chain(*BAD_CHAINS[name])
    assert refusal(nitro.document(made), made=made).code is Code.CERTIFICATE_FORBIDDEN


def test_a_certificate_signed_with_another_hash_is_refused() -> None:
    made = nitro.chain(LEAF, nitro.with_issuer(2, hash=hashes.SHA256()))
    assert refusal(nitro.document(made), made=made).code is Code.ALGORITHM_FORBIDDEN


@pytest.mark.parametrize(
    "cabundle",
    [
        lambda bundle: (bundle[0], bundle[2], bundle[1], bundle[3]),
        lambda bundle: bundle[:-1],
        lambda bundle: (*bundle, bundle[-1]),
        lambda bundle: bundle[:1],
    ],
    ids=["swapped", "one missing", "one twice", "root alone"],
)
def test_a_cabundle_that_is_not_the_path_is_refused(cabundle: Any) -> None:  # noqa: ANN401
    data = nitro.document(cabundle=list(cabundle(nitro.standard().cabundle)))
    assert refusal(data).code is Code.CHAIN_BROKEN


def test_the_root_must_be_first_and_pinned() -> None:
    made = nitro.standard()
    upside_down = nitro.document(cabundle=list(reversed(made.cabundle)))
    assert refusal(upside_down).code is Code.ROOT_NOT_PINNED
    assert refusal(nitro.document(), anchors=TrustAnchors()).code is Code.ROOT_NOT_PINNED


@pytest.mark.parametrize(("vendor", "line"), [(Vendor.AMD, "Nitro"), (Vendor.AWS, "Milan")])
def test_a_root_that_is_trusted_for_something_else_is_none_of_ours(
    vendor: Vendor, line: str
) -> None:
    anchors = nitro.standard().anchors(vendor, line)
    assert refusal(nitro.document(), anchors=anchors).code is Code.ROOT_NOT_PINNED


def test_a_forged_issuer_does_not_verify() -> None:
    """Whoever has keys of his own can take a zone's name; not what the region signed for it."""
    own = nitro.chain(LEAF, nitro.with_issuer(2, holder="somebody else"))
    made = nitro.standard()
    data = nitro.document(own, cabundle=[*made.cabundle[:3], own.cabundle[3]])
    assert refusal(data).code is Code.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (LEAF.not_before - timedelta(seconds=1), Code.CERTIFICATE_NOT_YET_VALID),
        (LEAF.not_after + timedelta(seconds=1), Code.CERTIFICATE_EXPIRED),
    ],
)
def test_the_chain_is_dated_by_the_document_even_when_it_was_verified_before(
    at: datetime, code: Code
) -> None:
    cache = ChainCache()
    authenticate(nitro.document(), cache=cache)
    data = nitro.document(timestamp=int(at.timestamp() * 1000))
    for used in (cache, ChainCache()):
        assert refusal(data, cache=used, now=at).code is code


def test_a_leaf_that_ended_since_does_not_make_a_fresh_document_old() -> None:
    last = LEAF.not_after
    data = nitro.document(timestamp=int(last.timestamp() * 1000))
    authenticate(data, now=last + verify.MAX_AGE)
    assert refusal(data, now=last + verify.MAX_AGE + timedelta(seconds=1)).code is Code.NOT_FRESH


def test_a_cached_chain_still_needs_its_own_documents_signature() -> None:
    cache = ChainCache()
    authenticate(nitro.document(), cache=cache)
    parts = cbor2.loads(nitro.document(nonce=b"other"))  # noqa: TID251 - written here
    parts[3] = cbor2.loads(nitro.document())[3]  # noqa: TID251 - written here
    assert refusal(cbor2.dumps(parts), cache=cache).code is Code.SIGNATURE_INVALID


def test_a_chain_cached_under_other_anchors_is_not_used() -> None:
    cache = ChainCache()
    authenticate(nitro.document(), cache=cache)
    assert refusal(nitro.document(), cache=cache, anchors=TrustAnchors()).code is (
        Code.ROOT_NOT_PINNED
    )


def test_debug_is_all_three_launch_registers_zero_and_is_held_against_the_document() -> None:
    for zero, debug in (((0, 1, 2), True), ((0, 1), False), ((2,), False), ((), False)):
        pcrs = {at: bytes(48) if at in zero else b"\x07" * 48 for at in (0, 1, 2)}
        verified = authenticate(nitro.document(pcrs=pcrs | {4: b"\x01" * 48}))
        shown = claims.normalise(verified, now=NOW)
        assert shown.debug is debug
        codes = [one.code for one in shown.verdicts]
        assert codes == ([VerdictCode.DEBUG_ENABLED] if debug else [])
        assert [one.name for one in shown.measurements] == [
            f"pcr{at}" for at in (0, 1, 2, 4) if at not in zero
        ]


def test_a_module_id_of_another_form_names_no_platform() -> None:
    for module_id, platform in (
        ("i-0123456789abcdef0-enc01", "nitro:instance:i-0123456789abcdef0"),
        ("vm-7", None),
        ("i-0123456789abcdef0", None),
        ("xi-0123456789abcdef0-enc01", None),
    ):
        shown = claims.normalise(authenticate(nitro.document(module_id=module_id)), now=NOW)
        assert shown.platform_id == platform
        assert len(shown.instance_value) == 64


def test_two_enclaves_of_one_instance_are_two_instances_of_one_platform() -> None:
    one, two = (
        claims.normalise(authenticate(nitro.document(module_id=f"{base}-enc{at}")), now=NOW)
        for at, base in enumerate(("i-0123456789abcdef0", "i-0123456789abcdef0"))
    )
    assert one.platform_id == two.platform_id
    assert one.instance_value != two.instance_value


def test_evidence_under_a_development_root_says_so() -> None:
    made = nitro.standard()
    pinned = made.anchors().pinned[0]
    anchors = TrustAnchors(development_roots=(DevelopmentRoot("Nitro", pinned.sha256),))
    shown = claims.normalise(authenticate(nitro.document(), anchors=anchors), now=NOW)
    assert shown.development is True
    assert shown.provider is None
    assert [one.code for one in shown.verdicts] == [VerdictCode.DEVELOPMENT_ROOT]
    other = TrustAnchors(development_roots=(DevelopmentRoot("Milan", pinned.sha256),))
    assert refusal(nitro.document(), anchors=other).code is Code.ROOT_NOT_PINNED


def envelope(data: bytes) -> bytes:
    return encode(Record(NITRO_EVIDENCE, evidence.encode(data)))


@pytest.mark.parametrize(
    ("user_data", "taken"),
    [(bytes(64), True), (bytes(32), True), (bytes(63), False), (None, False)],
)
def test_an_envelope_needs_user_data_that_can_be_a_binding(
    user_data: bytes | None, *, taken: bool
) -> None:
    context = registry.Context(nitro.standard().anchors(), NOW, ChainCache())
    data = envelope(nitro.document(user_data=user_data))
    if taken:
        assert (
            registry.authenticate(data, context).claims.report_data == bytes(user_data or b"").hex()
        )
        return
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate(data, context)
    assert caught.value.code is Code.BINDING_MISMATCH


def test_a_file_is_recognised_bare_tagged_and_in_an_envelope() -> None:
    context = registry.Context(nitro.standard().anchors(), NOW, ChainCache())
    for data in (nitro.document(), nitro.document(tag=18), envelope(nitro.document())):
        items = registry.recognise(data)
        assert [one.role.name for one in items] == ["DOCUMENT"]
        assert registry.authenticate_items(items, context).claims.tee == "nitro"


def test_two_documents_at_once_are_ambiguous() -> None:
    context = registry.Context(nitro.standard().anchors(), NOW, ChainCache())
    items = [
        *registry.recognise(nitro.document(nonce=b"1")),
        *registry.recognise(nitro.document(nonce=b"2")),
    ]
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(items, context)
    assert caught.value.code is Code.EVIDENCE_AMBIGUOUS
    same = [*registry.recognise(nitro.document(nonce=b"1"))][:1] * 2
    assert registry.authenticate_items(same, context).claims.tee == "nitro"


def test_the_timestamp_keeps_its_milliseconds() -> None:
    verified = authenticate(nitro.document(timestamp=int(NOW.timestamp() * 1000) + 346))
    assert verified.document.timestamp == datetime(2026, 3, 1, 12, 0, 0, 346000, tzinfo=UTC)
