"""Wipe statements: signed by the instance, about the instance, in one encoding."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sealward.protos import wipe
from sealward.protos.wipe import WipeCause, WipedItem, WipeStatement
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
NODE = bytes([7]) * 32
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20
)
items = st.builds(
    WipedItem,
    content_key_id=st.binary(min_size=32, max_size=32),
    model=texts,
    version=st.integers(0, 2**31),
    worker_pid=st.integers(0, 2**22),
    exit_status=st.integers(-64, 255),
    weight_bytes=st.integers(0, 2**40),
)
statements = st.builds(
    WipeStatement,
    node=st.just(NODE),
    sequence=st.none() | st.integers(0, 2**63 - 1),
    cause=st.sampled_from(WipeCause),
    leases=st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=3).map(tuple),
    items=st.lists(items, max_size=3).map(tuple),
    elapsed_ms=st.integers(0, 2**32),
    unknown=st.lists(texts, max_size=2).map(tuple),
)


@given(statements)
def test_a_statement_comes_back_as_it_was_signed(made: WipeStatement) -> None:
    assert wipe.verify(made.sign(PUBLIC, PRIVATE.sign), public=PUBLIC, node=NODE) == made


@given(statements, st.data())
def test_one_changed_byte_anywhere_is_refused(made: WipeStatement, data: st.DataObject) -> None:
    whole = bytearray(made.sign(PUBLIC, PRIVATE.sign))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MalformedEvidence, RefusedEvidence)):
        wipe.verify(bytes(whole), public=PUBLIC, node=NODE)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_the_documented_errors(data: bytes) -> None:
    with pytest.raises((MalformedEvidence, RefusedEvidence)):
        wipe.verify(data, public=PUBLIC, node=NODE)
