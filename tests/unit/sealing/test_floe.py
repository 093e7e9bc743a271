"""FLOE against the published answers of four other implementations, and its own promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.sealed_models import content, seeded

from sealward.sealing.errors import Code, RefusedSealedModel
from sealward.sealing.floe import (
    HEADER_BYTES,
    KEY_BYTES,
    SEGMENT_IV_BYTES,
    SEGMENT_OVERHEAD,
    Message,
    Parameters,
)

KAT_KEY = bytes(KEY_BYTES)
KAT_AAD = b"This is AAD"
KAT_FILES = 17
SMALL = Parameters(64, rotation_bits=2)


def encrypt(key: bytes, aad: bytes, parameters: Parameters, plaintext: bytes) -> bytes:
    random_bytes = seeded("floe")
    message = Message.begin(key, aad, parameters, random_bytes)
    step = parameters.plaintext_bytes
    count = parameters.segments(len(plaintext))
    out = bytearray(message.header)
    for index in range(count):
        piece = memoryview(plaintext)[index * step : (index + 1) * step]
        segment = bytearray(len(piece) + SEGMENT_OVERHEAD)
        iv = random_bytes(SEGMENT_IV_BYTES)
        message.encrypt_segment(index, piece, memoryview(segment), iv, last=index == count - 1)
        out += segment
    return bytes(out)


def decrypt(key: bytes, aad: bytes, parameters: Parameters, sealed: bytes) -> bytes:
    message = Message.resume(key, aad, parameters, sealed[:HEADER_BYTES])
    body = memoryview(sealed)[HEADER_BYTES:]
    count = -(-len(body) // parameters.segment_bytes)
    out = bytearray()
    for index in range(count):
        start = index * parameters.segment_bytes
        segment = body[start : start + parameters.segment_bytes]
        plain = bytearray(len(segment) - SEGMENT_OVERHEAD)
        message.decrypt_segment(index, segment, memoryview(plain), last=index == count - 1)
        out += plain
    return bytes(out)


def test_every_published_answer_comes_out(vectors_dir: Path):
    """C++, Go, Java and Rust wrote these; a file that is not read here fails the count."""
    files = sorted((vectors_dir / "floe").glob("*_ct.txt"))
    assert len(files) == KAT_FILES
    for file in files:
        sealed = bytes.fromhex(file.read_text())
        expected = bytes.fromhex(file.with_name(file.name.replace("_ct", "_pt")).read_text())
        rotation_bits = 2 if "rotation" in file.name else 20
        parameters = Parameters(int.from_bytes(sealed[2:6], "big"), rotation_bits)
        assert decrypt(KAT_KEY, KAT_AAD, parameters, sealed) == expected, file.name


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 64, 65, 32 * 4, 32 * 4 + 1, 32 * 9])
def test_a_message_of_any_size_comes_back(size: int):
    """Sizes around one segment, around a key rotation, and empty."""
    sealed = encrypt(KAT_KEY, b"aad", SMALL, content(size))
    assert len(sealed) == SMALL.encrypted_bytes(size)
    assert decrypt(KAT_KEY, b"aad", SMALL, sealed) == content(size)


@pytest.mark.parametrize(
    ("key", "aad", "parameters"),
    [
        (b"\x01" + bytes(31), b"aad", SMALL),
        (KAT_KEY, b"aae", SMALL),
        (KAT_KEY, b"", SMALL),
        (KAT_KEY, b"aad", Parameters(128, rotation_bits=2)),
    ],
    ids=["key", "aad", "no aad", "parameters"],
)
def test_the_header_commits_to_key_aad_and_parameters(
    key: bytes, aad: bytes, parameters: Parameters
):
    sealed = encrypt(KAT_KEY, b"aad", SMALL, content(100))
    with pytest.raises(RefusedSealedModel) as refusal:
        Message.resume(key, aad, parameters, sealed[:HEADER_BYTES])
    assert refusal.value.code is Code.BODY_REFUSED


def test_every_byte_of_header_and_segments_counts():
    sealed = encrypt(KAT_KEY, b"aad", SMALL, content(100))
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(RefusedSealedModel):
            decrypt(KAT_KEY, b"aad", SMALL, bytes(changed))


def test_segments_cannot_be_swapped_dropped_or_made_last():
    sealed = encrypt(KAT_KEY, b"aad", SMALL, content(96))
    header = sealed[:HEADER_BYTES]
    first, second, third = (
        sealed[HEADER_BYTES + index * 64 : HEADER_BYTES + (index + 1) * 64] for index in range(3)
    )
    for order in ((second, first, third), (first, third), (first, second), (first, first, third)):
        with pytest.raises(RefusedSealedModel):
            decrypt(KAT_KEY, b"aad", SMALL, header + b"".join(order))


def test_a_key_of_another_length_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="32 bytes"):
        Message.begin(bytes(16), b"", SMALL, seeded("x"))


def test_wiping_leaves_no_usable_key():
    """After wiping, the message derives other segment keys: it opens nothing any more."""
    sealed = encrypt(KAT_KEY, b"aad", SMALL, content(10))
    message = Message.resume(KAT_KEY, b"aad", SMALL, sealed[:HEADER_BYTES])
    message.wipe()
    with pytest.raises(RefusedSealedModel):
        message.decrypt_segment(
            0, memoryview(sealed)[HEADER_BYTES:], memoryview(bytearray(10)), last=True
        )
