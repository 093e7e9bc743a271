"""Evidence bindings: one encoding, one error, every field inside the digest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats.binding import AgentStatement, Audience, Binding, Purpose
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence

digests = st.binary(min_size=32, max_size=32)
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=40
)
statements = st.builds(
    AgentStatement,
    agent_version=texts,
    clock_source=texts,
    held_leases=st.lists(st.binary(min_size=16, max_size=16), max_size=3).map(tuple),
    open_models=st.lists(digests, max_size=3).map(tuple),
)
some_bindings = st.builds(
    Binding,
    purpose=st.sampled_from(Purpose),
    nonce=digests,
    audience=st.builds(Audience, trust_domain=texts, pin=digests),
    tenant=texts,
    tls_spki=st.binary(min_size=1, max_size=120),
    hpke_suite=st.integers(0, 0xFFFF),
    hpke_public=st.binary(min_size=1, max_size=64),
    signing_public=digests,
    statement=statements,
    inference_config=st.none() | digests,
    ratchet=st.none() | st.tuples(st.integers(0, 2**63 - 1), digests),
    sub_evidence=st.lists(digests, max_size=3).map(tuple),
    logs=st.lists(digests, max_size=3).map(tuple),
    further_keys=st.dictionaries(texts, digests, max_size=3).map(
        lambda d: tuple(sorted(d.items()))
    ),
)


@given(some_bindings)
def test_a_binding_has_one_encoding(binding: Binding) -> None:
    encoded = binding.encode()
    assert Binding.decode(encoded) == binding
    assert Binding.decode(encoded).encode() == encoded


@given(some_bindings, some_bindings)
def test_two_bindings_have_two_digests(one: Binding, other: Binding) -> None:
    same = bindings.digest(one.encode()) == bindings.digest(other.encode())
    assert same == (one == other)


@given(some_bindings, st.data())
def test_damage_is_malformed_or_another_binding(binding: Binding, data: st.DataObject) -> None:
    """Whatever is read from damaged bytes reads back to exactly those bytes: nothing is ignored."""
    encoded = bytearray(binding.encode())
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
    at = data.draw(st.integers(0, len(encoded) - 1))
    if kind == "flip":
        encoded[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del encoded[at:]
    elif kind == "insert":
        encoded[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    else:
        encoded += encoded[: at + 1]
    try:
        read = Binding.decode(bytes(encoded))
    except MalformedEvidence:
        return
    assert read.encode() == bytes(encoded)
    assert read != binding


@given(st.binary(max_size=200))
def test_any_bytes_are_a_binding_or_malformed(data: bytes) -> None:
    try:
        assert Binding.decode(data).encode() == data
    except MalformedEvidence:
        return


def test_every_field_changes_what_evidence_carries() -> None:
    base = Binding(
        purpose=Purpose.ATTEST,
        nonce=bytes(32),
        audience=Audience(trust_domain="a.invalid", pin=bytes(32)),
        tenant="default",
        tls_spki=b"key",
        hpke_suite=0x20,
        hpke_public=bytes(32),
        signing_public=bytes(32),
        statement=AgentStatement(agent_version="1", clock_source="tsc"),
    )
    one = bytes([1]) * 32
    changed = [
        replace(base, purpose=Purpose.ENROLL),
        replace(base, nonce=one),
        replace(base, audience=replace(base.audience, trust_domain="b.invalid")),
        replace(base, audience=replace(base.audience, pin=one)),
        replace(base, tenant="other"),
        replace(base, tls_spki=b"other"),
        replace(base, hpke_suite=0x647A),
        replace(base, hpke_public=one),
        replace(base, signing_public=one),
        replace(base, inference_config=one),
        replace(base, ratchet=(1, one)),
        replace(base, sub_evidence=(one,)),
        replace(base, logs=(one,)),
        replace(base, further_keys=(("a", one),)),
        replace(base, statement=replace(base.statement, agent_version="2")),
        replace(base, statement=replace(base.statement, clock_source="kvm-clock")),
        replace(base, statement=replace(base.statement, held_leases=(bytes(16),))),
        replace(base, statement=replace(base.statement, open_models=(one,))),
    ]
    carried = {bindings.digest(each.encode()) for each in (base, *changed)}
    assert len(carried) == len(changed) + 1
    fields = set(Binding.__dataclass_fields__) | set(AgentStatement.__dataclass_fields__)
    fields |= set(Audience.__dataclass_fields__)
    named = {name for each in changed for name in _differing(each, base)}
    assert named == fields - {"audience", "statement"}


def _differing(a: Binding, b: Binding) -> set[str]:
    found = {n for n in Binding.__dataclass_fields__ if getattr(a, n) != getattr(b, n)}
    for inner in ("audience", "statement"):
        if inner in found:
            found.remove(inner)
            x, y = getattr(a, inner), getattr(b, inner)
            found |= {n for n in x.__dataclass_fields__ if getattr(x, n) != getattr(y, n)}
    return found


@pytest.mark.parametrize("size", [0, 1, 31, 33, 63, 65])
def test_only_whole_fields_are_compared(size: int) -> None:
    encoded = b"binding"
    carried = (bindings.digest(encoded) + bytes(8))[:size]
    with pytest.raises(RefusedEvidence) as caught:
        bindings.require_bound(encoded, carried)
    assert caught.value.code is Code.BINDING_MISMATCH
