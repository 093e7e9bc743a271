"""Signatures of files, as `security.ima` holds them and the list reports them.

struct signature_v2_hdr of the kernel (security/integrity/integrity.h): type, version, hash, key
identifier (32 bits), size (16 bits, big-endian), signature. Two forms count:

    type 3, version 2    signs the digest of the file
    type 6, version 3    signs the hash of (6, hash, digest), of the digest of fs-verity

RSA is PKCS#1 v1.5. Type 5, a portable EVM signature, covers metadata as well and is not counted.
The hash is that of the entry's digest: a signature for another digest proves nothing of this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from sealward.verifier.formats.ima import digests
from sealward.verifier.formats.ima.keys import IDENTIFIER_SIZE
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from sealward.verifier.formats.ima.keys import FileKey

_FILE: Final = (3, 2)
_VERITY: Final = (6, 3)
# enum hash_algo (include/uapi/linux/hash_info.h), and the names that digests have in entries.
_HASHES: Final[dict[int, tuple[str, hashes.HashAlgorithm]]] = {
    4: ("sha256", hashes.SHA256()),
    5: ("sha384", hashes.SHA384()),
    6: ("sha512", hashes.SHA512()),
}


def signer(
    attribute: bytes, algorithm: str, digest: bytes, keys: tuple[FileKey, ...]
) -> FileKey | None:
    """Return the trusted key that signed a digest, or None.

    The attribute is whatever somebody with the right to set it wrote: what cannot be read or does
    not verify is no signature, and no reason to refuse the list that reports it.

    Args:
        attribute: as the list has it.
        algorithm: of the entry's digest.
        digest: of the entry.
        keys: trusted ones.
    """
    reader = Reader(attribute)
    what = "file signature"
    try:
        form = reader.u8(what), reader.u8(what)
        code = reader.u8(what)
        identifier = reader.take(IDENTIFIER_SIZE, what)
        signature = reader.take(reader.be(2, what), what)
        reader.finish()
    except MalformedEvidence:
        return None
    candidates = [key for key in keys if key.identifier == identifier]
    name, used = _HASHES.get(code, ("", hashes.SHA256()))
    if form == _FILE and algorithm == name:
        signed = digest
    elif form == _VERITY and algorithm == digests.VERITY + name:
        signed = _hash(used, bytes((form[0], code)) + digest)
    else:
        return None
    return next((key for key in candidates if _verifies(key, signature, signed, used)), None)


def _verifies(key: FileKey, signature: bytes, digest: bytes, used: hashes.HashAlgorithm) -> bool:
    prehashed = Prehashed(used)
    try:
        if isinstance(key.key, ec.EllipticCurvePublicKey):
            key.key.verify(signature, digest, ec.ECDSA(prehashed))
        else:
            key.key.verify(signature, digest, padding.PKCS1v15(), prehashed)
    except InvalidSignature:
        return False
    return True


def _hash(used: hashes.HashAlgorithm, data: bytes) -> bytes:
    context = hashes.Hash(used)
    context.update(data)
    return context.finalize()
