"""What a TPM sends is read whole, or refused; what we send is as part 2 of TPM 2.0 writes it."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.attesters.tpm import answers, codec
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrBank, PcrSelection
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

READERS: tuple[Callable[[Reader], object], ...] = (
    answers.primary,
    answers.created,
    answers.read_public,
    answers.authorised,
    answers.signed_quote,
    answers.pcr_reading,
    partial(answers.nv_public, index=0x01C00002),
    codec.read_selections,
    codec.read_digests,
    codec.read_ticket,
)
AREA = bytes.fromhex("0023 000b 00050472 0000 0010 0018000b 0003 0010") + bytes(4)
QUOTED = (
    b"\xffTCG"
    + bytes.fromhex("8018 0002 beef 0003 0a0b0c")
    + bytes(17 + 8)
    + bytes.fromhex("00000001 000b 03 810000 0002 d1d2")
)
selections = st.lists(
    st.tuples(st.sampled_from(HashAlg), st.sets(st.integers(0, 23))),
    max_size=len(HashAlg),
    unique_by=lambda item: item[0],
).map(lambda items: tuple(PcrSelection(bank, tuple(sorted(of))) for bank, of in items))
# Bytes with the small numbers that TPM structures consist of reach deeper than uniform ones.
likely = st.lists(st.sampled_from([b"\0", b"\0\0", b"\0\x01", b"\0\x0b", b"\x03", b"\x20", AREA]))
outside = st.one_of(st.binary(max_size=200), likely.map(b"".join))


@pytest.mark.parametrize("reading", READERS)
@given(data=outside)
def test_every_reader_gives_a_value_or_its_one_error(
    reading: Callable[[Reader], object], data: bytes
) -> None:
    try:
        reading(Reader(data))
    except MalformedEvidence:
        return


@pytest.mark.parametrize("parse", [codec.parse_public, codec.parse_quoted])
@given(data=outside, at=st.integers(0, 60), value=st.integers(0, 255))
def test_areas_and_quotes_are_read_or_refused(
    parse: Callable[[bytes], object], data: bytes, at: int, value: int
) -> None:
    for sample in (data, *(s[:at] + bytes((value,)) + s[at + 1 :] for s in (AREA, QUOTED))):
        try:
            parse(sample)
        except MalformedEvidence:
            continue


@given(selections)
def test_selections_come_back_as_they_went(sent: tuple[PcrSelection, ...]) -> None:
    reader = Reader(codec.pack_selections(sent))
    assert codec.read_selections(reader) == sent
    assert reader.remaining == 0


def test_a_selection_is_a_bitmap_of_three_bytes_lowest_pcr_first() -> None:
    chosen = (PcrSelection(HashAlg.SHA256, (0, 7, 23)), PcrSelection(HashAlg.SHA384, (8,)))
    assert codec.pack_selections(chosen) == bytes.fromhex("00000002 000b 03 810080 000c 03 000100")


@pytest.mark.parametrize("indices", [(1, 1), (2, 1), (-1,), (32,)])
def test_a_selection_out_of_order_or_range_is_not_made(indices: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="PCR"):
        PcrSelection(HashAlg.SHA256, indices)


def test_a_pcr_that_no_pc_has_is_not_sent() -> None:
    with pytest.raises(ValueError, match="below 24"):
        codec.pack_selections((PcrSelection(HashAlg.SHA256, (24,)),))


def test_a_bank_that_comes_twice_is_refused() -> None:
    twice = bytes.fromhex("00000002 000b 03 010000 000b 03 020000")
    with pytest.raises(MalformedEvidence, match="repeated bank"):
        codec.read_selections(Reader(twice))


def test_lists_longer_than_their_budget_are_refused_before_they_are_read() -> None:
    for reading in (codec.read_selections, codec.read_digests):
        with pytest.raises(MalformedEvidence, match="at most"):
            reading(Reader(b"\0\x0f\xff\xff"))
    with pytest.raises(MalformedEvidence, match="at most"):
        codec.sized(Reader(b"\xff\xff" + bytes(0xFFFF)), "blob")


def test_the_name_is_the_hash_of_the_whole_area_behind_its_algorithm() -> None:
    public = codec.parse_public(AREA)
    assert public.name == b"\x00\x0b" + hashlib.sha256(AREA).digest()
    assert (public.attributes, public.auth_policy) == (0x00050472, b"")


def test_a_name_by_sha1_is_refused() -> None:
    with pytest.raises(MalformedEvidence, match="SHA1"):
        codec.parse_public(AREA.replace(b"\0\x0b", b"\0\x04", 1))


def test_a_policy_of_another_size_than_the_names_is_refused() -> None:
    wrong = AREA.replace(bytes.fromhex("00050472 0000"), bytes.fromhex("00050472 0002 abcd"))
    with pytest.raises(MalformedEvidence, match="authPolicy"):
        codec.parse_public(wrong)


def test_a_hash_that_we_do_not_use_gives_no_digest() -> None:
    with pytest.raises(ValueError, match="SM3"):
        HashAlg.SM3_256.digest(b"")


def test_an_area_without_a_key_is_refused() -> None:
    with pytest.raises(MalformedEvidence, match="no key"):
        codec.parse_public(bytes.fromhex("0023 000b 00050472 0000"))


def test_a_quote_gives_its_nonce_selection_and_digest() -> None:
    quoted = codec.parse_quoted(QUOTED)
    assert quoted.extra_data == b"\x0a\x0b\x0c"
    assert quoted.selections == (PcrSelection(HashAlg.SHA256, (0, 7)),)
    assert quoted.pcr_digest == b"\xd1\xd2"


@pytest.mark.parametrize(
    "changed",
    [QUOTED + b"\0", QUOTED[:-1], b"\xffTCF" + QUOTED[4:], QUOTED[:5] + b"\x17" + QUOTED[6:]],
)
def test_what_is_no_quote_is_refused(changed: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        codec.parse_quoted(changed)


def test_pcr_values_must_be_those_of_the_selection() -> None:
    counter, chosen = bytes(4), codec.pack_selections((PcrSelection(HashAlg.SHA256, (3,)),))
    one = b"\0\0\0\x01" + codec.pack(bytes(32))
    reading = answers.pcr_reading(Reader(counter + chosen + one))
    assert reading.digests == (bytes(32),)
    for wrong in (b"\0\0\0\0", b"\0\0\0\x01" + codec.pack(bytes(31))):
        with pytest.raises(MalformedEvidence, match="selection"):
            answers.pcr_reading(Reader(counter + chosen + wrong))


def test_a_bank_knows_its_selection() -> None:
    bank = PcrBank(HashAlg.SHA256, ((0, bytes(32)), (4, bytes(32))))
    assert bank.selection == PcrSelection(HashAlg.SHA256, (0, 4))


def test_too_large_a_blob_of_our_own_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="2049"):
        codec.pack(bytes(2049))
