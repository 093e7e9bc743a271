"""An owner with fixed keys who seals small files: all but their size is as in production."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sealward.sealing import hpke
from sealward.sealing.core import MIN_SEGMENT_BYTES, Format
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.source import BytesSource
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.writer import Description, PlainModel, seal

CREATED = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def seeded(seed: str) -> Callable[[int], bytes]:
    """Return a source of reproducible bytes that never repeats itself."""
    count = 0

    def random_bytes(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed}/{count}".encode()).digest(size)

    return random_bytes


def content(size: int, seed: str = "content") -> bytes:
    """Return `size` bytes in which every position differs from its neighbours."""
    return hashlib.shake_256(seed.encode()).digest(size)


def sealed_bytes(write: Callable[[int], object]) -> bytes:
    """Return what `write` wrote to the descriptor it was given."""
    with tempfile.TemporaryFile() as file:
        write(file.fileno())
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


@dataclass(frozen=True)
class Owner:
    """A creator key and a workload key pair, from a seed."""

    creator: CreatorPrivateKey
    workload_private: hpke.PrivateKey
    workload: WorkloadKey

    @classmethod
    def from_seed(cls, seed: str, suite: hpke.Suite = hpke.Suite.MLKEM768_X25519) -> Owner:
        private = hpke.PrivateKey.generate(suite, seeded(f"{seed}/workload"))
        return cls(
            creator=CreatorPrivateKey.generate(seeded(f"{seed}/creator")),
            workload_private=private,
            workload=WorkloadKey(tenant="acme", workload="scoring", public=private.public),
        )

    def seal(
        self,
        *parts: bytes,
        version: int = 1,
        segment_bytes: int = MIN_SEGMENT_BYTES,
        seed: str = "seal",
    ) -> bytes:
        """Return a sealed file of these parts: one is sealed whole, three are a split model."""
        plain = PlainModel(
            format=Format.ONNX if len(parts) == 1 else Format.ONNX_SPLIT,
            parts=tuple(BytesSource(part) for part in parts),
            plain_digest=hashlib.sha256(b"".join(parts)).digest(),
            external_digest=None,
        )
        description = Description(model="demo", version=version, created=CREATED)
        return sealed_bytes(
            lambda descriptor: seal(
                plain,
                description,
                workload_key=self.workload,
                creator=self.creator,
                descriptor=descriptor,
                random_bytes=seeded(seed),
                segment_bytes=segment_bytes,
            )
        )
