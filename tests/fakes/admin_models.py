"""Registrations of small models, sealed for real with a workload's public key file."""

from __future__ import annotations

import hashlib

from fakes.sealed_models import CREATED, sealed_bytes, seeded

from sealward.sealing.core import MIN_SEGMENT_BYTES, Format
from sealward.sealing.header import PREFIX_BYTES, Prefix
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.source import BytesSource
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.writer import Description, PlainModel, seal

CREATOR = CreatorPrivateKey.generate(seeded("creator"))
_CONTENT = b"a model"


def sealed_model(
    key: WorkloadKey,
    *,
    version: int = 1,
    model: str = "demo",
    creator: CreatorPrivateKey = CREATOR,
) -> bytes:
    """Seal a small model for the workload and return the whole file."""
    plain = PlainModel(
        format=Format.ONNX,
        parts=(BytesSource(_CONTENT),),
        plain_digest=hashlib.sha256(_CONTENT).digest(),
        external_digest=None,
    )
    return sealed_bytes(
        lambda descriptor: seal(
            plain,
            Description(model=model, version=version, created=CREATED),
            workload_key=key,
            creator=creator,
            descriptor=descriptor,
            random_bytes=seeded(f"{model}/{version}"),
            segment_bytes=MIN_SEGMENT_BYTES,
        )
    )


def registration(
    key: WorkloadKey,
    *,
    version: int = 1,
    model: str = "demo",
    creator: CreatorPrivateKey = CREATOR,
) -> bytes:
    """Return the registration of such a model: its header."""
    sealed = sealed_model(key, version=version, model=model, creator=creator)
    return sealed[: Prefix.parse(sealed[:PREFIX_BYTES]).total_bytes]
