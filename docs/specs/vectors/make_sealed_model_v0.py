"""Writes sealed-model-v0.json: sealed files, edits of them, and what must come of each.

    python docs/specs/vectors/make_sealed_model_v0.py

Keys and content are fixed. HPKE and ML-DSA draw their own randomness, so another run gives other
bytes with the same outcomes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sealward.sealing import context, floe, hpke
from sealward.sealing.container import SealedModel
from sealward.sealing.core import Format
from sealward.sealing.errors import Code
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.source import BytesSource, read
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.wrap import commitment, unwrap_content_key
from sealward.sealing.writer import Description, PlainModel, seal
from sealward.verifier.wire import base64

OUTPUT: Final = Path(__file__).with_name("sealed-model-v0.json")
SEGMENT: Final = 4096
CREATED: Final = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
PARTS: Final = {
    "split": (b"\x5a" * 4000, b'{"tensors":[],"v":0}', b"skeleton" * 16),
    "whole": (b"\x08\x09" * 50,),
}
OPENS: Final = "opens"


def stream(seed: str) -> Callable[[int], bytes]:
    """Return reproducible bytes: SHAKE-256 of the seed and a counter."""
    count = 0

    def random_bytes(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"sealed-model-v0/{seed}/{count}".encode()).digest(size)

    return random_bytes


def sealed(name: str, creator: CreatorPrivateKey, key: hpke.PrivateKey) -> bytes:
    """Return one sealed file."""
    parts = PARTS[name]
    plain = PlainModel(
        format=Format.ONNX if len(parts) == 1 else Format.ONNX_SPLIT,
        parts=tuple(BytesSource(part) for part in parts),
        plain_digest=hashlib.sha256(b"".join(parts)).digest(),
        external_digest=None,
    )
    with tempfile.TemporaryFile() as file:
        seal(
            plain,
            Description(model="demo", version=1, created=CREATED, optimised_by=None),
            workload_key=WorkloadKey(tenant="acme", workload="scoring", public=key.public),
            creator=creator,
            descriptor=file.fileno(),
            random_bytes=stream(name),
            segment_bytes=SEGMENT,
        )
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def described(name: str, data: bytes, key: hpke.PrivateKey) -> dict[str, Any]:
    """Return a file and every intermediate value on the way to its parts."""
    model = SealedModel.open(BytesSource(data))
    wrap = model.header.wrap_for(key.public.key_id)
    content_key = unwrap_content_key(wrap, key, model.core_digest)
    return {
        "file": base64.encode(data),
        "core_digest": model.core_digest.hex(),
        "header_digest": model.header_digest.hex(),
        "wrap_info": context.wrap_info(model.core_digest).hex(),
        "content_key": bytes(content_key).hex(),
        "commitment": commitment(content_key, model.core_digest).hex(),
        "body_offset": model.header.body_offset,
        "parts": {
            str(part.name): hashlib.sha256(data).hexdigest()
            for part, data in zip(model.parts, PARTS[name], strict=True)
        },
    }


def forgery(data: bytes, content_key: bytes) -> dict[str, Any]:
    """Return the edit with which a holder of the content key replaces the first segment."""
    model = SealedModel.open(BytesSource(data))
    core = model.header.core
    prelude = read(BytesSource(data), model.header.body_offset, floe.HEADER_BYTES)
    message = floe.Message.resume(content_key, core.digest(), core.floe_parameters, prelude)
    segment = bytearray(SEGMENT)
    plain = memoryview(b"\xa5" * (SEGMENT - floe.SEGMENT_OVERHEAD))
    message.encrypt_segment(0, plain, memoryview(segment), stream("forgery")(12), last=False)
    at = model.header.body_offset + floe.HEADER_BYTES
    return {"op": "overwrite", "at": at, "base64": base64.encode(bytes(segment))}


def case(name: str, outcome: str, *edits: dict[str, Any], **who: str) -> dict[str, Any]:
    """Return one case; by default of the split file, for its own creator and workload key."""
    roles = {"file": "split", "creator": "owner", "workload_key": "hybrid", **who}
    return {"name": name, **roles, "edits": list(edits), "outcome": outcome}


def xor(at: int, mask: int = 1) -> dict[str, Any]:
    """Return an edit of one byte."""
    return {"op": "xor", "at": at, "mask": mask}


def replace(old: str, new: str) -> dict[str, Any]:
    """Return an edit of the first occurrence of ASCII text, of equal length."""
    return {"op": "replace", "old": old, "new": new}


def cases(files: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return every case with the outcome that the specification demands."""
    split = base64.decode(files["split"]["file"], what="file", max_bytes=1 << 20)
    body = files["split"]["body_offset"]
    first = body + floe.HEADER_BYTES
    key = bytes.fromhex(files["split"]["content_key"])
    end = len(SealedModel.open(BytesSource(split)).registration())
    return [
        case("split model", OPENS),
        case("whole model, X25519", OPENS, file="whole", workload_key="x25519"),
        case("other magic", Code.NOT_A_SEALED_MODEL, xor(0)),
        case("version 1", Code.UNSUPPORTED_VERSION, xor(11)),
        case("header beyond its budget", Code.OVER_BUDGET, xor(12)),
        case("digest list beyond its budget", Code.OVER_BUDGET, xor(16)),
        case("empty", Code.TRUNCATED, {"op": "truncate", "to": 0}),
        case("cut in the header", Code.TRUNCATED, {"op": "truncate", "to": 100}),
        case("cut by one byte", Code.TRUNCATED, {"op": "truncate", "to": len(split) - 1}),
        case("one byte more", Code.TRAILING_BYTES, {"op": "append", "hex": "00"}),
        case("padding not zero", Code.RESERVED_NOT_ZERO, xor(body - 1)),
        case("broken JSON", Code.MALFORMED_HEADER, replace('"acme"', ' acme"')),
        case("JSON escape", Code.NOT_CANONICAL, replace('"scoring"', '"\\u0073c"')),
        case("unknown field", Code.MALFORMED_HEADER, replace('"tenant"', '"tenanz"')),
        case("later format", Code.MALFORMED_HEADER, replace('"v":0', '"v":1')),
        case("edited digest list", Code.DIGEST_LIST_MISMATCH, xor(end - 1)),
        case("raised version", Code.SIGNATURE_INVALID, replace('"version":1', '"version":2')),
        case("other tenant", Code.SIGNATURE_INVALID, replace('"acme"', '"acne"')),
        case("other creator", Code.OTHER_CREATOR, creator="stranger"),
        case("other workload key", Code.NO_WRAP_FOR_KEY, workload_key="x25519"),
        case("changed FLOE header", Code.SEGMENT_DIGEST_MISMATCH, xor(body + 20)),
        case("changed segment", Code.SEGMENT_DIGEST_MISMATCH, xor(first + 1000)),
        case("changed last byte", Code.SEGMENT_DIGEST_MISMATCH, xor(len(split) - 1)),
        case("forged by a key holder", Code.SEGMENT_DIGEST_MISMATCH, forgery(split, key)),
    ]


def build() -> dict[str, Any]:
    """Return the whole vector file."""
    owner = CreatorPrivateKey.generate(stream("owner"))
    stranger = CreatorPrivateKey.generate(stream("stranger"))
    keys = {
        "hybrid": hpke.PrivateKey.generate(hpke.Suite.MLKEM768_X25519, stream("hybrid")),
        "x25519": hpke.PrivateKey.generate(hpke.Suite.X25519, stream("x25519")),
    }
    files = {
        "split": described("split", sealed("split", owner, keys["hybrid"]), keys["hybrid"]),
        "whole": described("whole", sealed("whole", owner, keys["x25519"]), keys["x25519"]),
    }
    return {
        "specification": "docs/specs/sealed-model.md, version 0",
        "how": "apply the edits in order, then do section 6 with these keys; the outcome is "
        "'opens' with these part digests, or the code of section 8",
        "creators": {
            "owner": base64.encode(owner.public.encoded),
            "stranger": base64.encode(stranger.public.encoded),
        },
        "workload_private_keys": {name: bytes(key.encode()).hex() for name, key in keys.items()},
        "files": files,
        "cases": cases(files),
    }


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(build(), indent=1) + "\n")
