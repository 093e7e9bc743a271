"""A sealed file opens for its key as it was sealed, or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import replace

import pytest
from fakes.sealed_models import Owner, content, seeded

from sealward.sealing import floe
from sealward.sealing.container import Check, SealedModel
from sealward.sealing.core import MIN_SEGMENT_BYTES, PartName
from sealward.sealing.errors import (
    Code,
    MalformedSealedModel,
    RefusedSealedModel,
    SealedModelError,
)
from sealward.sealing.header import BODY_ALIGNMENT, DIGEST_BYTES, SealedHeader
from sealward.sealing.source import BytesSource, FileSource
from sealward.sealing.wrap import unwrap_content_key

STEP = MIN_SEGMENT_BYTES - floe.SEGMENT_OVERHEAD
SPLIT = (PartName.WEIGHTS, PartName.TENSORS, PartName.SKELETON)


def content_key(owner: Owner, model: SealedModel) -> bytearray:
    wrap = model.header.wrap_for(owner.workload.public.key_id)
    return unwrap_content_key(wrap, owner.workload_private, model.core_digest)


def read_all(
    owner: Owner, data: bytes | bytearray, *, check: Check = Check.FULL, threads: int = 1
) -> tuple[bytes, ...]:
    """Do everything an agent does, in order."""
    model = SealedModel.open(BytesSource(data))
    model.verify_signatures(owner.creator.public)
    key = content_key(owner, model)
    found = []
    for part in model.parts:
        plain = bytearray(part.length)
        model.decrypt_part_into(key, part.name, memoryview(plain), check=check, threads=threads)
        found.append(bytes(plain))
    return tuple(found)


def refusal(owner: Owner, data: bytes | bytearray) -> Code:
    with pytest.raises(SealedModelError) as error:
        read_all(owner, data)
    return error.value.code


def part_at(model: SealedModel, position: int) -> PartName:
    """Return a part of which some byte lies in the segment at this position of the file."""
    within = max(0, position - model.header.body_offset - floe.HEADER_BYTES)
    start = within // MIN_SEGMENT_BYTES * STEP
    return next(part.name for part in model.parts if part.end > start)


def encoded(header: SealedHeader, sealed: bytes) -> bytes:
    """Return `sealed` with another header over the same body."""
    body = sealed[SealedModel.open(BytesSource(sealed)).header.body_offset :]
    front = header.encode()
    return front + bytes(header.body_offset - len(front)) + body


@pytest.mark.parametrize("check", list(Check))
@pytest.mark.parametrize("threads", [1, 3])
def test_all_parts_come_back(
    owner: Owner, sealed: bytes, parts: tuple[bytes, ...], check: Check, threads: int
):
    assert read_all(owner, sealed, check=check, threads=threads) == parts


@pytest.mark.parametrize("size", [1, STEP - 1, STEP, STEP + 1, 2 * STEP, 3 * STEP + 7])
def test_a_whole_model_of_any_size_comes_back(owner: Owner, size: int):
    """Sizes around the segment: the last one may be full, short or a single byte."""
    assert read_all(owner, owner.seal(content(size)), threads=2) == (content(size),)


@pytest.mark.parametrize("first", [1, STEP - 1, STEP, STEP + 1, 2 * STEP])
def test_part_boundaries_may_lie_anywhere(owner: Owner, first: int):
    """Parts that share a segment, that end with one, that lie within one."""
    sizes = (first, STEP // 2, STEP + 3)
    expected = tuple(content(size, f"{size}") for size in sizes)
    assert read_all(owner, owner.seal(*expected)) == expected


def test_a_real_file_descriptor_is_a_source(owner: Owner, sealed: bytes):
    with tempfile.TemporaryFile() as file:
        file.write(sealed)
        file.flush()
        model = SealedModel.open(FileSource(file.fileno()))
        model.verify_signatures(owner.creator.public)
        model.verify_digests(threads=2)
        os.ftruncate(file.fileno(), len(sealed) - 1)
        with pytest.raises(MalformedSealedModel) as error:
            model.verify_digests()
        assert error.value.code is Code.TRUNCATED


def test_what_is_not_a_regular_file_is_no_source():
    reader, writer = os.pipe()
    try:
        for descriptor in (reader, 1 << 20):
            with pytest.raises(RefusedSealedModel) as error:
                FileSource(descriptor)
            assert error.value.code is Code.SOURCE_FAILED
    finally:
        os.close(reader)
        os.close(writer)


def test_every_flipped_byte_is_refused(owner: Owner, sealed: bytes):
    """Header, digest list and padding through the whole procedure, the body under an open model."""
    data = bytearray(sealed)
    body = SealedModel.open(BytesSource(sealed)).header.body_offset
    for position in range(body):
        data[position] ^= 1
        refusal(owner, data)
        data[position] ^= 1
    model = SealedModel.open(BytesSource(data))
    model.verify_signatures(owner.creator.public)
    key = content_key(owner, model)
    buffers = {part.name: memoryview(bytearray(part.length)) for part in model.parts}
    for position in range(body, len(data)):
        data[position] ^= 1
        with pytest.raises(RefusedSealedModel) as error:
            model.verify_digests()
        assert error.value.code is Code.SEGMENT_DIGEST_MISMATCH
        name = part_at(model, position)
        with pytest.raises(RefusedSealedModel) as error:
            model.decrypt_part_into(key, name, buffers[name], check=Check.AEAD)
        assert error.value.code is Code.BODY_REFUSED
        data[position] ^= 1


def test_truncation_at_every_length_is_refused(sealed: bytes):
    for length in range(len(sealed)):
        with pytest.raises(MalformedSealedModel) as error:
            SealedModel.open(BytesSource(memoryview(sealed)[:length]))
        assert error.value.code is Code.TRUNCATED


def test_extension_is_refused(owner: Owner, sealed: bytes):
    for more in (b"\x00", b"x", bytes(MIN_SEGMENT_BYTES), sealed):
        assert refusal(owner, sealed + more) is Code.TRAILING_BYTES


def test_swapped_segments_are_refused(owner: Owner, sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    first = model.header.body_offset + floe.HEADER_BYTES
    second = first + MIN_SEGMENT_BYTES
    third = second + MIN_SEGMENT_BYTES
    swapped = sealed[:first] + sealed[second:third] + sealed[first:second] + sealed[third:]
    assert refusal(owner, swapped) is Code.SEGMENT_DIGEST_MISMATCH
    with pytest.raises(RefusedSealedModel) as error:
        read_all(owner, swapped, check=Check.AEAD)
    assert error.value.code is Code.BODY_REFUSED


def test_an_edited_header_breaks_three_things_independently(owner: Owner, sealed: bytes):
    """Signature, unwrapping and body each refuse a raised version on their own."""
    model = SealedModel.open(BytesSource(sealed))
    key = content_key(owner, model)
    edited = replace(model.header, core=replace(model.header.core, version=2))
    assert refusal(owner, encoded(edited, sealed)) is Code.SIGNATURE_INVALID
    with pytest.raises(RefusedSealedModel) as error:
        unwrap_content_key(edited.wraps[0], owner.workload_private, edited.core_digest)
    assert error.value.code is Code.WRAP_REFUSED
    with pytest.raises(RefusedSealedModel) as error:
        edited.check_content_key(key)
    assert error.value.code is Code.CONTENT_KEY_MISMATCH
    core = edited.core
    with pytest.raises(RefusedSealedModel) as error:
        floe.Message.resume(key, core.digest(), core.floe_parameters, model.read_floe_header())
    assert error.value.code is Code.BODY_REFUSED


def test_another_creator_is_told_apart_from_a_bad_signature(sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    with pytest.raises(RefusedSealedModel) as error:
        model.verify_signatures(Owner.from_seed("stranger").creator.public)
    assert error.value.code is Code.OTHER_CREATOR


def test_another_workload_key_has_no_wrap(sealed: bytes):
    stranger = Owner.from_seed("stranger")
    with pytest.raises(RefusedSealedModel) as error:
        content_key(stranger, SealedModel.open(BytesSource(sealed)))
    assert error.value.code is Code.NO_WRAP_FOR_KEY
    assert error.value.hint is not None


def test_another_private_key_does_not_open_the_wrap(sealed: bytes):
    stranger = Owner.from_seed("stranger")
    model = SealedModel.open(BytesSource(sealed))
    own_id = stranger.workload.public.key_id
    for wrap in (model.header.wraps[0], replace(model.header.wraps[0], key_id=own_id)):
        with pytest.raises(RefusedSealedModel) as error:
            unwrap_content_key(wrap, stranger.workload_private, model.core_digest)
        assert error.value.code is Code.WRAP_REFUSED


def test_a_wrap_moved_from_another_model_does_not_open(owner: Owner, sealed: bytes):
    """Same workload key, same owner: only the context differs."""
    other = SealedModel.open(BytesSource(owner.seal(content(10), seed="other")))
    model = SealedModel.open(BytesSource(sealed))
    with pytest.raises(RefusedSealedModel) as error:
        unwrap_content_key(other.header.wraps[0], owner.workload_private, model.core_digest)
    assert error.value.code is Code.WRAP_REFUSED


def test_another_content_key_is_refused_before_the_body_is_read(owner: Owner, sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    model.verify_signatures(owner.creator.public)
    plain = memoryview(bytearray(model.parts[0].length))
    with pytest.raises(RefusedSealedModel) as error:
        model.decrypt_part_into(bytes(32), PartName.WEIGHTS, plain)
    assert error.value.code is Code.CONTENT_KEY_MISMATCH


def forged_by_a_key_holder(owner: Owner, sealed: bytes) -> tuple[bytes, bytes, SealedModel]:
    """Return a file whose first segment was encrypted anew under the true content key."""
    model = SealedModel.open(BytesSource(sealed))
    core = model.header.core
    header = model.read_floe_header()
    key = content_key(owner, model)
    message = floe.Message.resume(key, core.digest(), core.floe_parameters, header)
    evil = content(STEP, "evil")
    segment = bytearray(MIN_SEGMENT_BYTES)
    message.encrypt_segment(0, memoryview(evil), memoryview(segment), bytes(12), last=False)
    start = model.header.body_offset + floe.HEADER_BYTES
    return sealed[:start] + bytes(segment) + sealed[start + len(segment) :], evil, model


def test_a_key_holder_cannot_forge_a_segment(owner: Owner, sealed: bytes):
    """The AEAD alone accepts the forgery: that is why digests are signed."""
    forged, evil, model = forged_by_a_key_holder(owner, sealed)
    assert read_all(owner, forged, check=Check.AEAD)[0][:STEP] == evil
    assert refusal(owner, forged) is Code.SEGMENT_DIGEST_MISMATCH

    start = model.header.body_offset + floe.HEADER_BYTES
    digest = hashlib.sha256(forged[start : start + MIN_SEGMENT_BYTES]).digest()
    listed = model.header.digest_list
    consistent = listed[:DIGEST_BYTES] + digest + listed[2 * DIGEST_BYTES :]
    header = replace(model.header, digest_list=consistent)
    assert refusal(owner, encoded(header, forged)) is Code.SIGNATURE_INVALID


def test_nothing_is_decrypted_before_the_header_is_authenticated(owner: Owner, sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    key = content_key(owner, model)
    plain = bytearray(model.parts[0].length)
    with pytest.raises(RefusedSealedModel) as error:
        model.decrypt_part_into(key, PartName.WEIGHTS, memoryview(plain))
    assert error.value.code is Code.NOT_AUTHENTICATED
    with pytest.raises(RefusedSealedModel) as error:
        model.accept_header_digest(bytes(32))
    assert error.value.code is Code.HEADER_MISMATCH
    model.accept_header_digest(model.header_digest)
    model.decrypt_part_into(key, PartName.WEIGHTS, memoryview(plain))
    assert bytes(plain) == content(5000)


def test_a_failed_signature_does_not_authenticate(owner: Owner, sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    key = content_key(owner, model)
    with pytest.raises(RefusedSealedModel):
        model.verify_signatures(Owner.from_seed("stranger").creator.public)
    with pytest.raises(RefusedSealedModel) as error:
        model.decrypt_part_into(key, PartName.WEIGHTS, memoryview(bytearray(5000)))
    assert error.value.code is Code.NOT_AUTHENTICATED


@pytest.mark.parametrize("threads", [1, 2])
def test_on_refusal_no_plaintext_is_left(owner: Owner, sealed: bytes, threads: int):
    """The first segment is fine and was decrypted before the second one refused."""
    data = bytearray(sealed)
    model = SealedModel.open(BytesSource(data))
    model.verify_signatures(owner.creator.public)
    data[model.header.body_offset + floe.HEADER_BYTES + MIN_SEGMENT_BYTES + 100] ^= 1
    plain = bytearray(content(5000, "before"))
    key = content_key(owner, model)
    with pytest.raises(RefusedSealedModel):
        model.decrypt_part_into(key, PartName.WEIGHTS, memoryview(plain), threads=threads)
    assert plain == bytes(5000)


def test_a_part_that_is_not_there_is_refused(owner: Owner, sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    model.verify_signatures(owner.creator.public)
    with pytest.raises(RefusedSealedModel) as error:
        model.decrypt_part_into(content_key(owner, model), PartName.MODEL, memoryview(bytearray(1)))
    assert error.value.code is Code.NO_SUCH_PART


def test_a_wrong_destination_is_a_mistake_of_the_caller(owner: Owner, sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    model.verify_signatures(owner.creator.public)
    key = content_key(owner, model)
    for dst in (memoryview(bytearray(4999)), memoryview(bytearray(5001)), memoryview(bytes(5000))):
        with pytest.raises(ValueError, match="dst must be"):
            model.decrypt_part_into(key, PartName.WEIGHTS, dst)
    for threads in (0, 65):
        with pytest.raises(ValueError, match="threads must be"):
            model.verify_digests(threads=threads)


class ChangingSource(BytesSource):
    """A file that somebody rewrites between any two reads of the same place."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.seen: list[tuple[int, int]] = []

    def read_into(self, offset: int, buffer: memoryview) -> None:
        super().read_into(offset, buffer)
        self.seen.append((offset, len(buffer)))


def test_each_segment_is_read_once(owner: Owner, sealed: bytes):
    """Hash and decryption see the same bytes: there is no second read to change in between."""
    source = ChangingSource(sealed)
    model = SealedModel.open(source)
    model.verify_signatures(owner.creator.public)
    source.seen.clear()
    plain = memoryview(bytearray(5000))
    model.decrypt_part_into(content_key(owner, model), PartName.WEIGHTS, plain)
    start = model.header.body_offset
    assert source.seen == [
        (start, floe.HEADER_BYTES),
        (start + floe.HEADER_BYTES, MIN_SEGMENT_BYTES),
        (start + floe.HEADER_BYTES + MIN_SEGMENT_BYTES, MIN_SEGMENT_BYTES),
    ]


def test_the_registration_is_the_file_up_to_its_padding(sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    registration = model.registration()
    assert sealed.startswith(registration)
    assert not any(sealed[len(registration) : model.header.body_offset])
    assert model.header.body_offset % BODY_ALIGNMENT == 0
    header = SealedHeader.parse(registration)
    assert header == model.header
    assert header.file_bytes == len(sealed)
    assert (header.core_digest, header.header_digest) == (model.core_digest, model.header_digest)


def test_two_sealings_share_no_iv_key_or_ciphertext(owner: Owner):
    """Same model, same owner: everything random differs."""
    first, second = (
        SealedModel.open(BytesSource(owner.seal(content(100), seed=seed))) for seed in "ab"
    )
    assert first.read_floe_header()[10:42] != second.read_floe_header()[10:42]
    assert content_key(owner, first) != content_key(owner, second)
    assert first.header.core.content_key_id != second.header.core.content_key_id


def test_progress_counts_every_body_byte(sealed: bytes):
    model = SealedModel.open(BytesSource(sealed))
    counted: list[int] = []
    model.verify_digests(progress=counted.append)
    assert sum(counted) == len(sealed) - model.header.body_offset - floe.HEADER_BYTES


def test_fixed_seeds_make_fixed_content_keys(owner: Owner, sealed: bytes):
    """The random source is the only one: content key id, content key, message IV, in order."""
    random_bytes = seeded("seal")
    model = SealedModel.open(BytesSource(sealed))
    assert model.header.core.content_key_id == random_bytes(32)
    assert content_key(owner, model) == random_bytes(32)
    assert model.read_floe_header()[10:42] == random_bytes(32)
