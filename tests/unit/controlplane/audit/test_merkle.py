"""The tree against published roots and against the definition written out naively."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofMismatch,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
)

# Inputs and roots published with Certificate Transparency's reference implementation.
LEAVES = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)

sizes = st.integers(min_value=1, max_value=70)


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def naive_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 2.1, the definition as it stands."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    left, right = naive_root(hashes[:split]), naive_root(hashes[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_published_roots() -> None:
    assert EMPTY_ROOT.hex() == ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES]
    assert tuple(root_of(hashes[: n + 1]).hex() for n in range(len(LEAVES))) == ROOTS


@given(st.lists(st.integers(min_value=0, max_value=40), max_size=6))
def test_growing_in_any_steps_gives_the_root_of_the_definition(steps: list[int]) -> None:
    hashes = leaves(sum(steps))
    tree, start = Frontier(), 0
    for step in steps:
        tree = tree.extend(hashes[start : start + step])
        start += step
        assert tree.root() == naive_root(hashes[:start])
        assert tree.size == start
        assert len(tree.hashes) == start.bit_count()


@given(sizes, st.data())
def test_inclusion_proofs_prove_their_leaf_and_nothing_else(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(hashes, index)
    root = naive_root(hashes)
    check_inclusion(hashes[index], index, size, proof, root)
    other = leaf_hash(b"other")
    wrong = [
        (other, index, size, proof, root),
        (hashes[index], index, size, proof, other),
        (hashes[index], index, size, (*proof, other), root),
        (hashes[index], -1, size, proof, root),
        (hashes[index], size, size, proof, root),
    ]
    if proof:
        wrong.append((hashes[index], index, size, proof[:-1], root))
        position = data.draw(st.integers(0, len(proof) - 1))
        changed = (*proof[:position], other, *proof[position + 1 :])
        wrong.append((hashes[index], index, size, changed, root))
        elsewhere = data.draw(st.integers(0, size - 1).filter(lambda i: i != index))
        wrong.append((hashes[index], elsewhere, size, proof, root))
    for leaf, at, of, path, expected in wrong:
        with pytest.raises(ProofMismatch):
            check_inclusion(leaf, at, of, path, expected)


@given(sizes, st.data())
def test_consistency_proofs_prove_growth_and_nothing_else(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    old = data.draw(st.integers(0, size))
    proof = consistency_proof(hashes, old)
    old_root, root = naive_root(hashes[:old]), naive_root(hashes)
    check_consistency(old, old_root, size, root, proof)
    other = leaf_hash(b"other")
    wrong = [(old, other, size, root, proof), (old, old_root, size, root, (*proof, other))]
    if old:
        wrong.append((old, old_root, size, other, proof))
        wrong.append((size + 1, old_root, size, root, proof))
    if proof:
        wrong.append((old, old_root, size, root, proof[:-1]))
        position = data.draw(st.integers(0, len(proof) - 1))
        changed = (*proof[:position], other, *proof[position + 1 :])
        wrong.append((old, old_root, size, root, changed))
    for smaller, smaller_root, larger, larger_root, path in wrong:
        with pytest.raises(ProofMismatch):
            check_consistency(smaller, smaller_root, larger, larger_root, path)


@given(
    st.integers(-2, 70),
    st.integers(-2, 70),
    st.lists(st.binary(min_size=32, max_size=32), max_size=9),
)
def test_checking_any_proof_ends_with_an_answer(a: int, b: int, proof: list[bytes]) -> None:
    with pytest.raises(ProofMismatch):
        check_inclusion(bytes(32), a, b, proof, b"no root")
    with pytest.raises(ProofMismatch):
        check_consistency(a, b"no root", b, b"no other root", proof)


@pytest.mark.parametrize(("count", "index"), [(0, 0), (3, 3), (3, -1)])
def test_there_is_no_proof_for_a_leaf_that_is_not_there(count: int, index: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(leaves(count), index)


@pytest.mark.parametrize("old", [-1, 4])
def test_there_is_no_proof_from_a_tree_that_is_no_prefix(old: int) -> None:
    with pytest.raises(ValueError, match="not a prefix"):
        consistency_proof(leaves(3), old)


@pytest.mark.parametrize(("size", "hashes"), [(1, ()), (3, (bytes(32),)), (-1, ()), (0, (b"",))])
def test_a_frontier_has_the_hashes_of_its_size(size: int, hashes: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="set bit"):
        Frontier(size, hashes)
