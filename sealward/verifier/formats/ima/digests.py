"""Digests as the kernel writes them into entries: the hash by its kernel name, then the value."""

from __future__ import annotations

from typing import Final

# Documentation/crypto: names of the kernel's hashes (hash_algo_name) and bytes of a digest.
SIZES: Final = {
    b"md5": 16,
    b"sha1": 20,
    b"rmd160": 20,
    b"sha224": 28,
    b"sha256": 32,
    b"sha384": 48,
    b"sha512": 64,
    b"sm3": 32,
    b"sm3-256": 32,  # the same, before Linux 5.18
    b"streebog256": 32,
    b"streebog512": 64,
    b"sha3-256": 32,
    b"sha3-384": 48,
    b"sha3-512": 64,
}
_PLAIN: Final = {16: "md5", 20: "sha1"}  # the field of the first template names no hash
VERITY: Final = "verity:"  # in front of the hash of a digest of fs-verity


def plain(field: bytes) -> tuple[str, bytes] | None:
    """Return hash and digest of a `d` field, or None when it is none."""
    algorithm = _PLAIN.get(len(field))
    return None if algorithm is None else (algorithm, field)


def named(field: bytes) -> tuple[str, bytes] | None:
    """Return hash and digest of a `d-ng` field (`name:`, NUL, digest), or None when it is none."""
    algorithm, separator, digest = field.partition(b":\0")
    if not separator or SIZES.get(algorithm) != len(digest):
        return None
    return algorithm.decode("ascii"), digest


def typed(field: bytes) -> tuple[str, bytes] | None:
    """Return hash and digest of a `d-ngv2` field, which says ima or verity first.

    The digest of fs-verity is that of a tree and not of the content: its hash is told as
    "verity:sha256".
    """
    kind, _, rest = field.partition(b":")
    found = named(rest)
    if found is None or kind not in (b"ima", b"verity"):
        return None
    return (VERITY + found[0], found[1]) if kind == b"verity" else found
