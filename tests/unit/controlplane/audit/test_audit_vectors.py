"""The published vectors of docs/specs/audit-log.md, through every entry point."""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealward.controlplane.domain import checkpoint as notes
from sealward.controlplane.domain.audit import commitment, leaf_bytes
from sealward.controlplane.domain.audit_verify import verify_export
from sealward.controlplane.domain.merkle import leaf_hash, root_of
from sealward.verifier.wire import json

_FOLDER: Final = Path(__file__).parents[4] / "docs" / "specs" / "vectors"
_TEXT: Final = (_FOLDER / "audit-log.json").read_bytes()
_DECODED: Final = json.decode(_TEXT, what="vectors", max_bytes=1 << 20)
assert isinstance(_DECODED, dict)
VECTORS: Final[dict[str, Any]] = _DECODED


def test_the_generator_writes_these_bytes() -> None:
    made = runpy.run_path(str(_FOLDER / "make_audit_log.py"))
    assert made["build"]() == VECTORS


@pytest.mark.parametrize("vector", VECTORS["entries"], ids=range(len(VECTORS["entries"])))
def test_leaves(vector: dict[str, Any]) -> None:
    committed = commitment(bytes.fromhex(vector["salt"]), vector["body"].encode())
    leaf = leaf_bytes(vector["kind"], vector["time"], vector["tenant"], committed)
    assert committed.hex() == vector["commitment"]
    assert leaf.decode() == vector["leaf"]
    assert leaf_hash(leaf).hex() == vector["leaf_hash"]
    assert hashlib.sha256(b"\0" + vector["leaf"].encode()).hexdigest() == vector["leaf_hash"]


def test_roots() -> None:
    hashes = [bytes.fromhex(vector["leaf_hash"]) for vector in VECTORS["entries"]]
    roots = [root_of(hashes[:size]).hex() for size in range(len(hashes) + 1)]
    assert roots == VECTORS["roots"]


def test_the_checkpoint_and_its_key() -> None:
    key = notes.read_log_key(VECTORS["log_key"])
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["log_key_seed"]))
    checkpoint = notes.verify(VECTORS["checkpoint"], key)
    assert (checkpoint.size, checkpoint.root.hex()) == (5, VECTORS["roots"][5])
    assert notes.sign(checkpoint, key, private.sign) == VECTORS["checkpoint"]


@pytest.mark.parametrize("vector", VECTORS["exports"], ids=lambda vector: vector["name"])
def test_exports(vector: dict[str, Any]) -> None:
    key = notes.read_log_key(VECTORS["log_key"])
    report = verify_export([line.encode() for line in vector["lines"]], key)
    outcome = "verified" if report.problem is None else report.problem.finding
    assert outcome == vector["expect"]
