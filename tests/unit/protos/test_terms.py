"""Signed terms: one encoding, one error, and nothing unsigned is ever read."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sealward.protos import terms
from sealward.protos.terms import LeaseTerms, LeaseTermsState, ModelTerms, Terms, TermsKind
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
NODE = bytes([7]) * 32

digests = st.binary(min_size=32, max_size=32)
names = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20
)
instants = st.integers(0, 2**48)


@st.composite
def models(draw: st.DrawFn) -> ModelTerms:
    version = draw(st.integers(1, 2**31))
    return ModelTerms(
        name=draw(names),
        version=version,
        core_digest=draw(digests),
        header_digest=draw(digests),
        content_key_id=draw(digests),
        min_version=draw(st.integers(1, version)),
    )


obligations = st.dictionaries(
    names, st.integers(0, 2**32) | st.lists(names, max_size=3).map(tuple), max_size=3
)


@st.composite
def leases(draw: st.DrawFn) -> LeaseTerms:
    state = draw(st.sampled_from(LeaseTermsState))
    ended = state is LeaseTermsState.ENDED
    return LeaseTerms(
        lease_id=draw(st.binary(min_size=16, max_size=16)),
        workload=draw(names),
        state=state,
        ttl_ms=0 if ended else draw(st.integers(0, 3_600_000)),
        not_after_ms=draw(instants),
        cause=draw(names),
        models=tuple(draw(st.lists(models(), max_size=2))),
        obligations=draw(obligations),
    )


@st.composite
def any_terms(draw: st.DrawFn) -> Terms:
    kind = draw(st.sampled_from(TermsKind))
    return Terms(
        kind=kind,
        trust_domain="a.invalid",
        tenant="default",
        node=NODE,
        sequence=draw(st.integers(0, 2**63 - 1)),
        issued_ms=draw(instants),
        challenge=draw(digests) if kind is TermsKind.GRANT else None,
        leases=tuple(draw(st.lists(leases(), max_size=3, unique_by=lambda x: x.lease_id))),
        policies=draw(st.dictionaries(names, digests, max_size=3)),
        log_leaf=draw(digests),
        client_token_keys=tuple(draw(st.lists(digests, max_size=2))),
    )


def signed(made: Terms) -> bytes:
    return terms.sign(made.encode(), public=PUBLIC, signer=PRIVATE.sign)


def verify(data: bytes, **changes: Any):  # noqa: ANN401 - arguments of verify
    expected = {"keys": (PUBLIC,), "trust_domain": "a.invalid", "tenant": "default", "node": NODE}
    return terms.verify(data, **(expected | changes))


@given(any_terms())
def test_terms_come_back_as_they_were_signed(made: Terms) -> None:
    assert verify(signed(made)).terms == made


@given(any_terms(), st.data())
def test_one_changed_byte_anywhere_is_refused(made: Terms, data: st.DataObject) -> None:
    whole = bytearray(signed(made))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MalformedEvidence, RefusedEvidence)):
        verify(bytes(whole))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_the_documented_errors(data: bytes) -> None:
    with pytest.raises((MalformedEvidence, RefusedEvidence)):
        verify(data)


@given(st.binary(max_size=300))
def test_a_signed_payload_that_is_none_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        verify(terms.sign(payload, public=PUBLIC, signer=PRIVATE.sign))


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": (bytes(32),)},
        {"keys": ()},
        {"trust_domain": "b"},
        {"tenant": "b"},
        {"node": bytes(32)},
    ],
    ids=["another key", "no key", "trust domain", "tenant", "node"],
)
def test_terms_are_for_one_node_of_one_control_plane(changes: dict) -> None:
    made = Terms(
        kind=TermsKind.REVOCATION,
        trust_domain="a.invalid",
        tenant="default",
        node=NODE,
        sequence=1,
        issued_ms=0,
        challenge=None,
        leases=(),
        policies={},
        log_leaf=bytes(32),
    )
    assert verify(signed(made)).terms == made
    with pytest.raises(RefusedEvidence):
        verify(signed(made), **changes)


def test_wrapped_secrets_are_read_strictly() -> None:
    for plaintext in (b"", b"\xa0", terms.encode_ratchet(1, bytes(32)) + b"\0"):
        with pytest.raises(MalformedEvidence):
            terms.decode_ratchet(plaintext)
        with pytest.raises(MalformedEvidence):
            terms.decode_content_key(plaintext)
    assert terms.content_key_info(bytes(32)) != terms.ratchet_info(bytes(32))
