"""HPKE: what is sealed here is standard HPKE, and opens only for its key and context."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fakes.sealed_models import content, seeded

from sealward.sealing import hpke
from sealward.sealing.context import wrap_info
from sealward.sealing.errors import Code, MalformedSealedModel, RefusedSealedModel

SUITES = list(hpke.Suite)
SECRET = content(32, "secret")
X_WING_LABEL = bytes.fromhex("5c2e2f2f5e5c")


def key(suite: hpke.Suite, seed: str = "key") -> hpke.PrivateKey:
    return hpke.PrivateKey.generate(suite, seeded(seed))


# A second implementation, opening only, from RFC 9180 sections 4.1 and 5.1 and the X-Wing draft.


def _extract(salt: bytes, suite: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def _expand(prk: bytes, suite: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labelled + b"\x01", "sha256")[:size]


def _shared_x25519(private: bytes, enc: bytes) -> bytes:
    own = X25519PrivateKey.from_private_bytes(private)
    dh = own.exchange(X25519PublicKey.from_public_bytes(enc))
    kem = b"KEM\x00\x20"
    prk = _extract(b"", kem, b"eae_prk", dh)
    return _expand(prk, kem, b"shared_secret", enc + own.public_key().public_bytes_raw(), 32)


def _shared_xwing(private: bytes, enc: bytes) -> bytes:
    own = X25519PrivateKey.from_private_bytes(private[64:])
    dh = own.exchange(X25519PublicKey.from_public_bytes(enc[1088:]))
    pq = MLKEM768PrivateKey.from_seed_bytes(private[:64]).decapsulate(enc[:1088])
    public = own.public_key().public_bytes_raw()
    return hashlib.sha3_256(pq + dh + enc[1088:] + public + X_WING_LABEL).digest()


def independent_open(encoded: bytes, sealed: bytes, info: bytes) -> bytes:
    kem, private = encoded[:2], encoded[2:]
    size = 1120 if kem == b"\x64\x7a" else 32
    enc = sealed[:size]
    shared = (_shared_xwing if size == 1120 else _shared_x25519)(private, enc)
    suite = b"HPKE" + kem + b"\x00\x01\x00\x02"
    context = (
        b"\x00"
        + _extract(b"", suite, b"psk_id_hash", b"")
        + _extract(b"", suite, b"info_hash", info)
    )
    secret = _extract(shared, suite, b"secret", b"")
    aead = AESGCM(_expand(secret, suite, b"key", context, 32))
    return aead.decrypt(_expand(secret, suite, b"base_nonce", context, 12), sealed[size:], b"")


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_sealed_opens_and_is_standard_hpke(suite: hpke.Suite):
    private = key(suite)
    sealed = hpke.seal(private.public, SECRET, b"info")
    assert len(sealed) == suite.ciphertext_bytes(len(SECRET))
    assert hpke.open(private, sealed, b"info") == SECRET
    assert independent_open(bytes(private.encode()), sealed, b"info") == SECRET


@pytest.mark.parametrize("suite", SUITES)
def test_any_wrong_thing_is_the_same_refusal(suite: hpke.Suite):
    """Which of key, context and ciphertext was wrong must not be told."""
    private = key(suite)
    sealed = hpke.seal(private.public, SECRET, b"info")
    attempts = [
        (key(suite, "other"), sealed, b"info"),
        (private, sealed, b"other"),
        (private, sealed, b""),
        (private, sealed[:-1], b"info"),
        (private, sealed + b"\x00", b"info"),
        (private, b"", b"info"),
        (private, bytes(len(sealed)), b"info"),
        *(
            (private, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], b"info")
            for at in range(0, len(sealed), 7)
        ),
        *((key(other), sealed, b"info") for other in SUITES if other is not suite),
    ]
    texts = set()
    for other, ciphertext, info in attempts:
        with pytest.raises(RefusedSealedModel) as refusal:
            hpke.open(other, ciphertext, info)
        assert refusal.value.code is Code.WRAP_REFUSED
        texts.add(str(refusal.value))
    assert len(texts) == 1


@pytest.mark.parametrize("suite", SUITES)
def test_keys_have_one_encoding(suite: hpke.Suite):
    private = key(suite)
    again = hpke.PrivateKey.decode(private.encode())
    assert again.encode() == private.encode()
    assert hpke.PublicKey.decode(private.public.encoded) == private.public
    assert private.public.encoded[:2] == suite.id.to_bytes(2, "big")
    assert private.public.key_id == hashlib.sha256(private.public.encoded).digest()


@pytest.mark.parametrize("suite", SUITES)
def test_keys_of_any_other_length_or_suite_are_malformed(suite: hpke.Suite):
    private = key(suite)
    for decode, encoded in (
        (hpke.PublicKey.decode, private.public.encoded),
        (hpke.PrivateKey.decode, bytes(private.encode())),
    ):
        for data in (b"", encoded[:1], encoded[:-1], encoded + b"\x00", b"\xff\xff" + encoded[2:]):
            with pytest.raises(MalformedSealedModel) as refusal:
                decode(data)
            assert refusal.value.code is Code.MALFORMED_KEY


def test_impossible_public_keys_are_refused():
    """An ML-KEM key out of range when it is read; an X25519 key of small order when it is used."""
    with pytest.raises(MalformedSealedModel):
        hpke.PublicKey.decode(b"\x64\x7a" + b"\xff" * 1216)
    with pytest.raises(RefusedSealedModel):
        hpke.seal(hpke.PublicKey.decode(b"\x00\x20" + bytes(32)), SECRET, b"")


def test_private_parts_are_in_no_repr_and_can_be_wiped():
    private = key(hpke.Suite.X25519)
    assert private.encode()[2:].hex() not in repr(private)
    assert repr(bytes(private.encode()[2:]))[2:-1] not in repr(private)
    private.wipe()
    assert private.encode()[2:] == bytes(32)


def test_contexts_are_length_prefixed_labels_and_digests():
    """Other code and other languages rebuild these bytes from the specification."""
    label = b"sealward/sealed-model/v0/content-key-wrap"
    assert wrap_info(bytes(32)) == len(label).to_bytes(2, "big") + label + bytes(32)
    with pytest.raises(ValueError, match="32 bytes"):
        wrap_info(b"")
