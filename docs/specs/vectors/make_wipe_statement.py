"""Writes wipe-statement.json: a statement for each cause, and what is refused.

    python docs/specs/vectors/make_wipe_statement.py

Everything is fixed, Ed25519 is deterministic: another run writes the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealward.protos.wipe import WipeCause, WipedItem, WipeStatement

OUTPUT: Final = Path(__file__).with_name("wipe-statement.json")
SEED: Final = bytes(range(32))
OTHER_SEED: Final = bytes(range(1, 33))
NODE: Final = bytes([0x11]) * 32
ITEM: Final = WipedItem(
    content_key_id=bytes([0x22]) * 32,
    model="classifier",
    version=3,
    worker_pid=4242,
    exit_status=-9,
    weight_bytes=1_048_576,
)
REVOKED: Final = WipeStatement(
    node=NODE,
    sequence=2,
    cause=WipeCause.REVOKED,
    leases=(bytes([0x33]) * 16,),
    items=(ITEM,),
    elapsed_ms=17,
    unknown=("what the kernel has swapped out",),
)
HORIZON: Final = replace(REVOKED, sequence=None, cause=WipeCause.HORIZON, items=(), unknown=())
SHUTDOWN: Final = replace(
    HORIZON,
    cause=WipeCause.SHUTDOWN,
    leases=(bytes([0x33]) * 16, bytes([0x34]) * 16),
    items=(replace(ITEM, exit_status=0), replace(ITEM, version=4)),
)


def build() -> dict[str, Any]:
    """Return the whole document."""
    return {
        "seed": SEED.hex(),
        "public": _public(SEED).hex(),
        "node": NODE.hex(),
        "statements": [_described(made) for made in (REVOKED, HORIZON, SHUTDOWN)],
        "refused": [{"name": name, "cose": data.hex()} for name, data in _refused()],
    }


def _described(made: WipeStatement) -> dict[str, Any]:
    return {
        "cause": made.cause.value,
        "sequence": made.sequence,
        "leases": [lease.hex() for lease in made.leases],
        "items": len(made.items),
        "cose": _signed(made).hex(),
    }


def _refused() -> list[tuple[str, bytes]]:
    signed = _signed(REVOKED)
    return [
        ("empty", b""),
        ("another key", _signed(REVOKED, OTHER_SEED)),
        ("another node", _signed(replace(REVOKED, node=bytes(32)))),
        ("the signature of another statement", signed[:-64] + _signed(HORIZON)[-64:]),
        ("cut short", signed[:-1]),
        ("a byte too many", signed + b"\0"),
        ("untagged", signed[1:]),
        ("a lease id of 15 bytes", _signed(replace(REVOKED, leases=(bytes(15),)))),
    ]


def _signed(made: WipeStatement, seed: bytes = SEED) -> bytes:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return made.sign(_public(seed), private.sign)


def _public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(build(), indent=1, sort_keys=True, ensure_ascii=True) + "\n")
