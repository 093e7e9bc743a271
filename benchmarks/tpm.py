"""TPM quote verification against one raw signature check of the same bytes, RSA-2048 and P-256.

The baseline is the least any verifier must do: `cryptography` checking one signature over the
quote, key loaded and signature decoded beforehand. Whole is the procedure of `quote.authenticate`
on bytes (the public area parsed each time), claims included. Both are interleaved in one run, so
that noise of the machine meets both. The bar is 150 microseconds between their medians.

    python benchmarks/tpm.py [--json] [--rounds N] [--vectors DIR]

needs a folder of evidence vectors (SEALWARD_VECTORS, or --vectors).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import cryptography
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealward.verifier.formats.tpm import attest, claims, keys, pcr, public, quote, signature

if TYPE_CHECKING:
    from collections.abc import Callable

_VECTORS = {"rsa2048": "tpm-swtpm-rsa", "p256": "tpm-swtpm-ecc"}
_BAR_NS = 150_000
_NOW = datetime(2026, 11, 24, 1, tzinfo=UTC)


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
        print(f"{name:<24}{value}")


def measure(vectors: Path, rounds: int) -> dict[str, Any]:
    """Return medians in nanoseconds of each kind of verification, and what lies between them."""
    result: dict[str, Any] = {"rounds": rounds, "bar_ns": _BAR_NS}
    for name, vector in _VECTORS.items():
        raw, whole = _kinds(vectors, vector)
        times = _interleaved({"raw": raw, "whole": whole}, rounds)
        result[f"{name}_raw_ns"] = times["raw"]
        result[f"{name}_whole_ns"] = times["whole"]
        result[f"{name}_above_ns"] = times["whole"] - times["raw"]
    result["python"] = platform.python_version()
    result["cryptography"] = cryptography.__version__
    return result


def document(result: dict[str, Any]) -> dict[str, Any]:
    """Return the document of benchmarks/README.md."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for name, label in (("rsa2048", "RSA-2048"), ("p256", "P-256")):
        raw, whole = result[f"{name}_raw_ns"], result[f"{name}_whole_ns"]
        baseline = f"one raw {label} verification"
        rows.append({"label": baseline, "median": raw / 1e3})
        ratio = round(whole / raw, 3)
        rows.append(
            {
                "label": f"quote, {label}",
                "median": whole / 1e3,
                "ratio_to": baseline,
                "ratio": ratio,
            }
        )
        notes.append(f"{label}: {result[f'{name}_above_ns'] / 1e3:.0f} us above the raw check.")
    return {
        "name": "TPM quote verification",
        "what": "A whole quote with its PCR values, claims included, against one raw check.",
        "unit": "us",
        "rows": rows,
        "notes": [*notes, f"Target: at most {_BAR_NS / 1e3:.0f} us above."],
    }


def _kinds(vectors: Path, vector: str) -> tuple[Callable[[], None], Callable[[], None]]:
    manifest = json.loads((vectors / "manifest.json").read_text())  # noqa: TID251 - our own file
    entry = next(item for item in manifest["vectors"] if item["id"] == vector)
    files = {role: (vectors / item["path"]).read_bytes() for role, item in entry["files"].items()}
    message, signed, ak_public = files["q.msg"], files["q.sig"], files["ak.pub"]
    selections = quote.require_quote(attest.parse(message)).selections
    values = pcr.split_raw(files["pcrs.raw"], selections)
    # Tools write the public area bare or with its size in front; evidence carries it bare.
    bare = ak_public if ak_public[:2] in (b"\x00\x01", b"\x00\x23") else ak_public[2:]

    def whole() -> None:
        ak = public.parse(bare)
        claims.normalise(quote.authenticate(message, signed, ak, values), now=_NOW)

    return _raw(message, signature.parse(signed), public.parse(bare)), whole


def _raw(message: bytes, parsed: signature.Signature, ak: public.Public) -> Callable[[], None]:
    key, algorithm = keys.load(ak, owner="benchmark"), hashes.SHA256()
    if isinstance(key, rsa.RSAPublicKey):
        data, pkcs1 = parsed.parts[0], padding.PKCS1v15()
        return lambda: key.verify(data, message, pkcs1, algorithm)
    r, s = (int.from_bytes(part, "big") for part in parsed.parts)
    encoded, ecdsa = encode_dss_signature(r, s), ec.ECDSA(algorithm)
    return lambda: key.verify(encoded, message, ecdsa)


def _interleaved(kinds: dict[str, Callable[[], None]], rounds: int) -> dict[str, int]:
    samples: dict[str, list[int]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, run in kinds.items():
            start = time.perf_counter_ns()
            run()
            samples[name].append(time.perf_counter_ns() - start)
    return {name: int(median(taken)) for name, taken in samples.items()}


if __name__ == "__main__":
    main()
