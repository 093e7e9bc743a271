"""The Merkle tree of the audit log: hashes and proofs of RFC 6962 section 2.1, without I/O.

The writer keeps only a `Frontier`: the roots of the perfect subtrees that make up the tree, at most
64 hashes. Proofs are made from leaf hashes and checked by the two `check_*` functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()  # RFC 6962 2.1: the hash of an empty list

_LEAF_PREFIX: Final = b"\x00"
_NODE_PREFIX: Final = b"\x01"


class ProofMismatch(Exception):
    """A proof does not lead to the root it was given for."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the 32-byte hash of one leaf (RFC 6962 2.1)."""
    return hashlib.sha256(_LEAF_PREFIX + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of an inner node (RFC 6962 2.1)."""
    return hashlib.sha256(_NODE_PREFIX + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree reduced to what appending needs.

    `hashes` holds the roots of its perfect subtrees, largest first: one for each set bit of `size`.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise ValueError("a frontier has one hash for each set bit of its size")

    def extend(self, leaf_hashes: Iterable[bytes]) -> Frontier:
        """Return the frontier after appending leaves, in order."""
        size = self.size
        stack = list(self.hashes)
        for leaf in leaf_hashes:
            node, bits = leaf, size
            while bits & 1:  # the subtree to the left is as large: merge, as in binary addition
                node = node_hash(stack.pop(), node)
                bits >>= 1
            stack.append(node)
            size += 1
        return Frontier(size, tuple(stack))

    def root(self) -> bytes:
        """Return the 32-byte root of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    return Frontier().extend(leaf_hashes).root()


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the audit path of the leaf at `index` in the tree over all `leaf_hashes`.

    Source: RFC 6962 2.1.1. Raises ValueError when there is no such leaf.
    """
    if not 0 <= index < len(leaf_hashes):
        raise ValueError("no leaf at this index")
    if len(leaf_hashes) == 1:
        return ()
    split = _split(len(leaf_hashes))
    left, right = leaf_hashes[:split], leaf_hashes[split:]
    if index < split:
        return (*inclusion_proof(left, index), root_of(right))
    return (*inclusion_proof(right, index - split), root_of(left))


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return the proof that the tree over `leaf_hashes` extends its first `old_size` leaves.

    Source: RFC 6962 2.1.2. Raises ValueError when `old_size` is not 0..size.
    """
    if not 0 <= old_size <= len(leaf_hashes):
        raise ValueError("the older tree is not a prefix of this one")
    if old_size in (0, len(leaf_hashes)):
        return ()
    return _subproof(leaf_hashes, old_size, known=True)


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Return when the proof places the leaf hash at `index` of the tree of `size` with this root.

    Source: RFC 9162 2.1.3.2. Raises ProofMismatch otherwise, for any input.
    """
    if not 0 <= index < size:
        raise ProofMismatch("the index lies outside the tree")
    node, last = index, size - 1
    running = leaf
    for sibling in proof:
        if last == 0:
            raise ProofMismatch("the proof is too long")
        if node & 1 or node == last:
            running = node_hash(sibling, running)
            while not node & 1 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            running = node_hash(running, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or running != root:
        raise ProofMismatch("the proof does not lead to the root")


def check_consistency(
    old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Return when the proof shows that the newer tree extends the older one.

    Source: RFC 9162 2.1.4.2. Raises ProofMismatch otherwise, for any input.
    """
    if not 0 <= old_size <= size:
        raise ProofMismatch("the newer tree is smaller")
    if old_size == 0:
        _require(not proof and old_root == EMPTY_ROOT)
    elif old_size == size:
        _require(not proof and old_root == root)
    else:
        _require(_walk_consistency(old_size, old_root, size, proof) == (old_root, root))


def _walk_consistency(
    old_size: int, old_root: bytes, size: int, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the two roots that the proof computes; RFC 9162 2.1.4.2 steps 3 to 6."""
    path = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    _require(bool(path))
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        _require(last != 0)
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    _require(last == 0)
    return old, new


def _require(condition: bool) -> None:  # noqa: FBT001 - reads as the sentence it is
    if not condition:
        raise ProofMismatch("the proof does not lead from the older root to the newer one")


def _split(size: int) -> int:
    """Return the largest power of two below `size`, for sizes above 1."""
    return 1 << ((size - 1).bit_length() - 1)


def _subproof(leaves: Sequence[bytes], old_size: int, *, known: bool) -> tuple[bytes, ...]:
    """RFC 6962 2.1.2 SUBPROOF; `known` while the older root is the subtree's own root."""
    if old_size == len(leaves):
        return () if known else (root_of(leaves),)
    split = _split(len(leaves))
    left, right = leaves[:split], leaves[split:]
    if old_size <= split:
        return (*_subproof(left, old_size, known=known), root_of(right))
    return (*_subproof(right, old_size - split, known=False), root_of(left))
