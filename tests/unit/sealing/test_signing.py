"""Creator keys: both signatures or none, and files with one reading."""

from __future__ import annotations

import pytest
from fakes.sealed_models import Owner, seeded

from sealward.sealing.errors import Code, MalformedSealedModel, RefusedSealedModel
from sealward.sealing.signing import CreatorPrivateKey, CreatorPublicKey, Signatures
from sealward.verifier.wire import base64, json


def test_a_signature_needs_both_algorithms(owner: Owner):
    signed = owner.creator.sign(b"header")
    other = owner.creator.sign(b"other")
    public = owner.creator.public
    public.verify(b"header", signed)
    for forged in (
        Signatures(other.ed25519, signed.mldsa65),
        Signatures(signed.ed25519, other.mldsa65),
        Signatures(bytes(64), bytes(3309)),
    ):
        with pytest.raises(RefusedSealedModel) as refusal:
            public.verify(b"header", forged)
        assert refusal.value.code is Code.SIGNATURE_INVALID


def test_a_signature_is_for_sealed_models_only(owner: Owner):
    """The signed message carries a label: the raw header bytes verify under no raw signature."""
    with pytest.raises(RefusedSealedModel):
        owner.creator.public.verify(b"header!", owner.creator.sign(b"header"))


def test_key_files_give_the_same_key_back(owner: Owner):
    private = CreatorPrivateKey.parse_file(owner.creator.encode_file() + b"\n")
    public = CreatorPublicKey.parse_file(owner.creator.public.encode_file())
    assert private.public == public == owner.creator.public
    public.verify(b"x", private.sign(b"x"))


def _edits(encoded: bytes) -> list[bytes]:
    value = json.decode(encoded, what="key", max_bytes=8192)
    assert isinstance(value, dict)
    name = "private_key" if "private_key" in value else "public_key"
    key = base64.decode(str(value[name]), what="key", max_bytes=8192)
    edited = [
        {**value, "v": 2},
        {**value, "v": True},
        {**value, "kind": "other"},
        {**value, "suite": "ed25519"},
        {**value, "key_id": "00" * 32},
        {**value, "key_id": 1},
        {**value, "extra": 1},
        {k: v for k, v in value.items() if k != "suite"},
        {**value, name: base64.encode(key[:-1])},
        {**value, name: base64.encode(key + b"\x00")},
        {**value, name: base64.encode(b"\x00\x02" + key[2:])},
        {**value, name: base64.encode(key[:-1] + bytes([key[-1] ^ 1]))},
        {**value, name: "*"},
        {**value, name: None},
        [value],
        None,
    ]
    return [json.canonical(item) for item in edited] + [b"", b"{", encoded * 2, b" " * 9000]


def test_anything_but_a_key_file_is_malformed(owner: Owner):
    """Totality by example: each edit of each file is one documented error."""
    for parse, encoded in (
        (CreatorPrivateKey.parse_file, owner.creator.encode_file()),
        (CreatorPublicKey.parse_file, owner.creator.public.encode_file()),
    ):
        for data in _edits(encoded):
            with pytest.raises(MalformedSealedModel) as refusal:
                parse(data)
            assert refusal.value.code is Code.MALFORMED_KEY


def test_seeds_are_in_no_repr_and_can_be_wiped():
    private = CreatorPrivateKey.generate(seeded("wiped"))
    seeds = base64.encode(b"\x00\x01" + seeded("wiped")(64)).encode()
    assert seeds in private.encode_file()
    assert repr(seeded("wiped")(64))[2:-1] not in repr(private)
    private.wipe()
    assert base64.encode(b"\x00\x01" + bytes(64)).encode() in private.encode_file()
