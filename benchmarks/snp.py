"""SEV-SNP verification against one raw ECDSA P-384 verification of the same bytes.

The baseline is the least any verifier must do: `cryptography` checking one P-384 signature over the
672 signed bytes, key loaded and signature encoded beforehand. Warm is the whole procedure with its
chain in the cache, claims included; cold parses and verifies the chain as well. Raw and warm are
interleaved in one run, so that noise of the machine meets both. Cold runs after them by itself:
three RSA-4096 verifications between two warm ones push the warm one's code out of the CPU's caches.

    python benchmarks/snp.py [--json] [--rounds N] [--vectors DIR]

needs a folder of evidence vectors (SEALWARD_VECTORS, or --vectors).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import cryptography
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealward.verifier.formats.snp import claims, report, verify
from sealward.verifier.formats.snp.endorsements import Endorsements, endorse
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.wire import pem

if TYPE_CHECKING:
    from collections.abc import Callable

_VECTOR = "snp-genoa-v3-tsm"
_MAX_FILE = 1 << 20


def main() -> None:
    """Measure, and print medians."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--rounds", type=int, default=2000)
    arguments.add_argument("--vectors", type=Path, default=os.environ.get("SEALWARD_VECTORS"))
    options = arguments.parse_args()
    if options.vectors is None:
        arguments.error("no evidence vectors: set SEALWARD_VECTORS or give --vectors")
    result = measure(Path(options.vectors), options.rounds)
    if options.json:
        print(json.dumps(document(result), indent=2))
        return
    for name, value in result.items():
        print(f"{name:<20}{value}")


def measure(vectors: Path, rounds: int) -> dict[str, Any]:
    """Return medians in nanoseconds of each kind of verification, and their ratios."""
    data, endorsements, now = _load(vectors)
    anchors, warm_cache = TrustAnchors(), ChainCache()

    def whole(cache: ChainCache) -> None:
        verified = verify.authenticate(data, endorsements, anchors=anchors, now=now, cache=cache)
        claims.normalise(verified, now=now)

    key = endorse(endorsements, anchors=anchors, now=now, cache=warm_cache).key
    times = _interleaved({"raw": _raw(data, key), "warm": lambda: whole(warm_cache)}, rounds)
    times |= _interleaved({"cold": lambda: whole(ChainCache())}, rounds // 4)
    return {
        "vector": _VECTOR,
        "rounds": rounds,
        "raw_p384_ns": times["raw"],
        "warm_ns": times["warm"],
        "cold_ns": times["cold"],
        "warm_ratio": round(times["warm"] / times["raw"], 3),
        "cold_ratio": round(times["cold"] / times["raw"], 3),
        "python": platform.python_version(),
        "cryptography": cryptography.__version__,
    }


def document(result: dict[str, Any]) -> dict[str, Any]:
    """Return the document of benchmarks/README.md."""
    raw = "one raw P-384 verification"
    rows: list[dict[str, Any]] = [{"label": raw, "median": result["raw_p384_ns"] / 1e3}]
    rows += [
        {
            "label": label,
            "median": result[f"{kind}_ns"] / 1e3,
            "ratio_to": raw,
            "ratio": result[f"{kind}_ratio"],
        }
        for kind, label in (("warm", "report, warm chain"), ("cold", "report, cold chain"))
    ]
    return {
        "name": "SEV-SNP verification",
        "what": "A whole report with its chain, claims included, against one raw signature check.",
        "unit": "us",
        "rows": rows,
        "notes": [f"Vector {result['vector']}; target: warm at most 1.15 of raw."],
    }


def _raw(data: bytes, key: ec.EllipticCurvePublicKey) -> Callable[[], None]:
    parsed = report.parse(data)
    signed = report.signed_region(data)
    signature = encode_dss_signature(parsed.signature_r, parsed.signature_s)
    algorithm = ec.ECDSA(hashes.SHA384())
    return lambda: key.verify(signature, signed, algorithm)


def _interleaved(kinds: dict[str, Callable[[], None]], rounds: int) -> dict[str, int]:
    samples: dict[str, list[int]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, run in kinds.items():
            start = time.perf_counter_ns()
            run()
            samples[name].append(time.perf_counter_ns() - start)
    return {name: int(median(taken)) for name, taken in samples.items()}


def _load(vectors: Path) -> tuple[bytes, Endorsements, datetime]:
    manifest = json.loads((vectors / "manifest.json").read_text())  # noqa: TID251 - our own file
    entry = next(item for item in manifest["vectors"] if item["id"] == _VECTOR)
    files = {role: (vectors / item["path"]).read_bytes() for role, item in entry["files"].items()}
    certificates = (
        pem.decode(data, what=role, max_bytes=_MAX_FILE)[0] if pem.looks_like(data) else data
        for role, data in ((role, files[role]) for role in ("vek", "intermediate", "root"))
    )
    now = datetime.fromisoformat(entry["verify_at"])
    return files["report"], Endorsements(*certificates), now


if __name__ == "__main__":
    main()
