"""MakeCredential: a secret that only the TPM with this EK gives out, and only beside this AK.

TPM 2.0 part 1, section 24 and annex B, C. Whoever answers with the secret has shown that the object
with the AK's Name is loaded in the TPM whose endorsement key the secret was made for; with the AK's
attributes (keys.py) this makes it an attestation key of that TPM.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from sealward.verifier.formats.tpm import fields, keys
from sealward.verifier.formats.tpm.kdf import kdf_a, kdf_e
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward.verifier.formats.tpm.public import Public

_IDENTITY: Final = b"IDENTITY"
_AES_BLOCK: Final = 16
_EXTRA_SCALAR_BYTES: Final = 8  # FIPS 186-5 A.2.1: 64 extra bits leave no measurable bias
_HASHES: Final[dict[HashAlg, hashes.HashAlgorithm]] = {
    HashAlg.SHA256: hashes.SHA256(),
    HashAlg.SHA384: hashes.SHA384(),
    HashAlg.SHA512: hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Credential:
    """What ActivateCredential takes.

    Attributes:
        id_object: inside of the TPM2B_ID_OBJECT: MAC and encrypted secret.
        encrypted_secret: inside of the TPM2B_ENCRYPTED_SECRET: the seed under the EK.
    """

    id_object: bytes = field(repr=False)
    encrypted_secret: bytes = field(repr=False)


def make(
    ek: Public, ak_name: bytes, secret: bytes, *, random_bytes: Callable[[int], bytes]
) -> Credential:
    """Return a credential for `secret`.

    Args:
        ek: public area of the endorsement key; the caller has checked its certificate.
        ak_name: Name of the key that must be loaded beside it.
        secret: at most as long as a digest of the EK's name algorithm.
        random_bytes: a cryptographic source; the padding of RSA-OAEP takes its own.

    Raises:
        ValueError: the secret is empty or too long (our own mistake).
        RefusedEvidence: the key is no endorsement key, or of a kind that is not allowed.
    """
    parameters = keys.check_endorsement_key(ek)
    algorithm = ek.name_alg
    if not 1 <= len(secret) <= algorithm.size or parameters.symmetric is None:
        raise ValueError(f"a credential for this key holds 1 to {algorithm.size} bytes")
    key = keys.load(ek, owner="the endorsement key")
    if isinstance(key, rsa.RSAPublicKey):
        seed, encrypted_secret = _seed_rsa(key, algorithm, random_bytes)
    else:
        seed, encrypted_secret = _seed_ecc(key, algorithm, random_bytes)
    bits = parameters.symmetric.key_bits
    storage_key = kdf_a(algorithm, seed, b"STORAGE", ak_name, b"", bits=bits)
    cipher = Cipher(algorithms.AES(storage_key), CFB(bytes(_AES_BLOCK))).encryptor()
    encrypted = cipher.update(fields.pack(secret)) + cipher.finalize()
    mac_key = kdf_a(algorithm, seed, b"INTEGRITY", b"", b"", bits=8 * algorithm.size)
    mac = hmac.digest(mac_key, encrypted + ak_name, algorithm.label)
    return Credential(fields.pack(mac) + encrypted, encrypted_secret)


def _seed_rsa(
    key: rsa.RSAPublicKey, algorithm: HashAlg, random_bytes: Callable[[int], bytes]
) -> tuple[bytes, bytes]:
    """Return a seed, and it encrypted (part 1, B.10.3); the label's NUL is part of it."""
    seed = random_bytes(algorithm.size)
    chosen = _HASHES[algorithm]
    oaep = padding.OAEP(mgf=padding.MGF1(chosen), algorithm=chosen, label=_IDENTITY + b"\0")
    return seed, key.encrypt(seed, oaep)


def _seed_ecc(
    key: ec.EllipticCurvePublicKey, algorithm: HashAlg, random_bytes: Callable[[int], bytes]
) -> tuple[bytes, bytes]:
    """Return a seed agreed with an ephemeral key, and that key's point (part 1, C.6.3)."""
    order, size = key.curve.group_order, (key.curve.key_size + 7) // 8
    drawn = int.from_bytes(random_bytes(size + _EXTRA_SCALAR_BYTES), "big")
    ephemeral = ec.derive_private_key(drawn % (order - 1) + 1, key.curve)
    point, theirs = ephemeral.public_key().public_numbers(), key.public_numbers()
    x, y = (part.to_bytes(size, "big") for part in (point.x, point.y))
    z = ephemeral.exchange(ec.ECDH(), key)
    seed = kdf_e(
        algorithm, z, _IDENTITY, x, theirs.x.to_bytes(size, "big"), bits=8 * algorithm.size
    )
    return seed, fields.pack(x) + fields.pack(y)
