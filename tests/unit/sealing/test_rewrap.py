"""Re-wrapping changes who can be granted a model, and nothing that was signed or sealed."""

from __future__ import annotations

import pytest
from fakes.sealed_models import Owner, content, sealed_bytes

from sealward.sealing.container import SealedModel
from sealward.sealing.errors import Code, MalformedSealedModel, RefusedSealedModel, SealedModelError
from sealward.sealing.rewrap import merged, rewrap
from sealward.sealing.source import BytesSource
from sealward.sealing.wrap import WrapFile, unwrap_content_key, wrap_content_key
from sealward.verifier.wire import json

NOTHING: frozenset[bytes] = frozenset()


@pytest.fixture(scope="module")
def successor() -> Owner:
    return Owner.from_seed("successor")


def wrap_file(owner: Owner, successor: Owner, sealed: bytes) -> WrapFile:
    """What a control plane makes inside its release path when a workload key is replaced."""
    model = SealedModel.open(BytesSource(sealed))
    old = model.header.wrap_for(owner.workload.public.key_id)
    key = unwrap_content_key(old, owner.workload_private, model.core_digest)
    wrap = wrap_content_key(key, successor.workload.public, model.core_digest)
    return WrapFile(core_digest=model.core_digest, wrap=wrap)


def test_the_new_key_opens_the_same_content(owner: Owner, successor: Owner, sealed: bytes):
    before = SealedModel.open(BytesSource(sealed))
    file = wrap_file(owner, successor, sealed)
    header = merged(before.header, (file,), frozenset([owner.workload.public.key_id]))
    data = sealed_bytes(lambda descriptor: rewrap(before, header, descriptor))
    after = SealedModel.open(BytesSource(data))
    after.verify_signatures(owner.creator.public)
    after.verify_digests()
    assert after.header_digest == before.header_digest
    assert data[after.header.body_offset :] == sealed[before.header.body_offset :]
    key = unwrap_content_key(after.header.wraps[0], successor.workload_private, after.core_digest)
    after.header.check_content_key(key)
    with pytest.raises(RefusedSealedModel):
        after.header.wrap_for(owner.workload.public.key_id)


def test_a_wrap_is_added_beside_or_in_place_of_one_for_the_same_key(
    owner: Owner, successor: Owner, sealed: bytes
):
    header = SealedModel.open(BytesSource(sealed)).header
    beside = merged(header, (wrap_file(owner, successor, sealed),), NOTHING)
    assert len(beside.wraps) == 2
    again = merged(beside, (wrap_file(owner, successor, sealed),), NOTHING)
    assert len(again.wraps) == 2
    assert again.wraps != beside.wraps
    assert beside.header_digest == again.header_digest == header.header_digest


def test_what_makes_no_sense_is_refused(owner: Owner, successor: Owner, sealed: bytes):
    header = SealedModel.open(BytesSource(sealed)).header
    other = SealedModel.open(BytesSource(owner.seal(content(9), seed="other"))).header
    file = wrap_file(owner, successor, sealed)
    own_id = owner.workload.public.key_id
    with pytest.raises(RefusedSealedModel) as error:
        merged(other, (file,), NOTHING)
    assert error.value.code is Code.HEADER_MISMATCH
    with pytest.raises(RefusedSealedModel) as error:
        merged(header, (), frozenset([successor.workload.public.key_id]))
    assert error.value.code is Code.NO_WRAP_FOR_KEY
    with pytest.raises(MalformedSealedModel):
        merged(header, (), frozenset([own_id]))


def test_a_damaged_body_is_not_copied(owner: Owner, successor: Owner, sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    header = merged(model.header, (wrap_file(owner, successor, sealed),), NOTHING)
    for position in (model.header.body_offset, len(sealed) - 1):
        damaged = bytearray(sealed)
        damaged[position] ^= 1
        with pytest.raises(RefusedSealedModel) as error:
            sealed_bytes(
                lambda descriptor, damaged=damaged: rewrap(  # type: ignore[misc] # bound per turn
                    SealedModel.open(BytesSource(damaged)), header, descriptor
                )
            )
        assert error.value.code is Code.SEGMENT_DIGEST_MISMATCH


def test_a_header_of_another_model_is_a_mistake_of_the_caller(owner: Owner, sealed: bytes):
    other = SealedModel.open(BytesSource(owner.seal(content(9), seed="other"))).header
    with pytest.raises(ValueError, match="another model"):
        sealed_bytes(lambda fd: rewrap(SealedModel.open(BytesSource(sealed)), other, fd))


def test_wrap_files_come_back_and_nothing_else_is_one(
    owner: Owner, successor: Owner, sealed: bytes
):
    file = wrap_file(owner, successor, sealed)
    assert WrapFile.parse(file.encode() + b"\n") == file
    value = json.decode(file.encode(), what="wrap", max_bytes=8192)
    assert isinstance(value, dict)
    for edited in (
        {**value, "v": 0},
        {**value, "core_digest": ""},
        {**value, "wrap": {}},
        {**value, "more": 1},
        [],
    ):
        with pytest.raises(SealedModelError) as error:
            WrapFile.parse(json.canonical(edited))
        assert error.value.code is Code.MALFORMED_WRAP
