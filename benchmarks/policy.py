"""Policy decisions per second through one confined worker, against the same engine in this process.

    python benchmarks/policy.py [--seconds 5] [--callers 2] [--json]

A decision is a real one: the shipped appraisal or release policy on its shipped sample, from
canonical JSON in to canonical JSON out. Variants are interleaved in slices of a tenth of a second,
so that a noisy machine disturbs all alike; trust ratios more than absolutes. `in_process` is the
baseline: the very code of the worker (`worker.Worker`), called without the process boundary, which
production never does because any policy could then end or stall the control plane.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from json import dumps
from typing import Any

from sealward.controlplane.adapters.policy_engine.embedded import (
    EmbeddedEngine,
    EngineSettings,
    load_request,
)
from sealward.controlplane.adapters.policy_engine.frames import Answer, Ask
from sealward.controlplane.adapters.policy_engine.shipped import shipped_policy
from sealward.controlplane.adapters.policy_engine.worker import Worker
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.policies_bundle import PolicySample
from sealward.verifier.wire import json

SLICE_SECONDS = 0.1
SAMPLES = {PolicyKind.APPRAISAL: "compliant", PolicyKind.RELEASE: "allowed"}


@dataclass
class Series:
    """Latencies of one variant, seconds, and the wall time they took together."""

    latencies: list[float] = field(default_factory=list)
    wall: float = 0.0

    def figures(self) -> dict[str, int]:
        """Return decisions per second and percentiles in microseconds."""
        cuts = statistics.quantiles(self.latencies, n=100)
        return {
            "decisions": len(self.latencies),
            "per_second": round(len(self.latencies) / self.wall),
            "p50_us": round(cuts[49] * 1e6),
            "p99_us": round(cuts[98] * 1e6),
        }


def run_slice(call: Callable[[], object], series: Series, callers: int) -> None:
    """Let `callers` threads decide for one slice."""
    end = time.perf_counter() + SLICE_SECONDS
    each: list[list[float]] = [[] for _ in range(callers)]

    def decide(latencies: list[float]) -> None:
        while (began := time.perf_counter()) < end:
            call()
            latencies.append(time.perf_counter() - began)

    threads = [threading.Thread(target=decide, args=(one,)) for one in each[1:]]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    decide(each[0])
    for thread in threads:
        thread.join()
    series.wall += time.perf_counter() - began
    for one in each:
        series.latencies += one


def in_process(kind: PolicyKind, sample: PolicySample) -> Callable[[], object]:
    """Return the baseline: the worker's own code without its process."""
    worker = Worker()
    worker.answer(Ask.LOAD, load_request(shipped_policy(kind, "tenant/bench")))
    request = b'{"input":%b,"reference":%b}' % (sample.document, sample.reference)

    def decide() -> bytes:
        answer, value = worker.answer(Ask.EVALUATE, request)
        if answer is not Answer.VALUE:
            raise AssertionError(value)
        return json.canonical(json.decode(value, what="answer", max_bytes=1 << 20))  # type: ignore[arg-type]  # no floats here

    return decide


def measure(seconds: float, callers: int) -> dict[str, dict[str, int]]:
    """Return figures by variant."""
    engine = EmbeddedEngine(EngineSettings(), time.monotonic)
    variants: dict[str, tuple[Callable[[], object], int]] = {}
    try:
        for kind, name in SAMPLES.items():
            policy = shipped_policy(kind, "tenant/bench")
            sample = next(one for one in policy.bundle.samples if one.name == name)

            def decide(policy=policy, sample=sample) -> bytes:  # type: ignore[no-untyped-def]  # noqa: ANN001 - bound now
                return engine.evaluate(policy, sample.document, sample.reference)

            if decide() != in_process(kind, sample)() or decide() != sample.expected:
                raise AssertionError(f"{kind}: worker, baseline and sample disagree")
            variants[f"{kind}, worker, 1 caller"] = (decide, 1)
            variants[f"{kind}, worker, {callers} callers"] = (decide, callers)
            variants[f"{kind}, in process"] = (in_process(kind, sample), 1)
        series = {name: Series() for name in variants}
        end = time.perf_counter() + seconds * len(variants)
        while time.perf_counter() < end:
            for name, (call, threads) in variants.items():
                run_slice(call, series[name], threads)
        return {name: one.figures() for name, one in series.items()}
    finally:
        engine.close()


def document(found: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Return the document of benchmarks/README.md."""
    rows: list[dict[str, Any]] = []
    for name, figures in found.items():
        row: dict[str, Any] = {
            "label": name,
            "median": figures["p50_us"],
            "p99": figures["p99_us"],
            "per_second": figures["per_second"],
        }
        baseline = f"{name.partition(',')[0]}, in process"
        if name != baseline:
            row |= {"ratio_to": baseline, "ratio": figures["p50_us"] / found[baseline]["p50_us"]}
        rows.append(row)
    return {
        "name": "Policy decisions",
        "what": "Shipped policies on their samples: in a confined worker, against in process.",
        "unit": "us",
        "rows": rows,
        "notes": ["Target: at least 4,000 a second in a worker, p99 under 1 ms."],
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="for each variant")
    parser.add_argument("--callers", type=int, default=2, help="threads of the second variant")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options = parser.parse_args()
    found = measure(options.seconds, options.callers)
    if options.json:
        print(dumps(document(found), indent=2))
        return 0
    for name, figures in found.items():
        line = "  ".join(f"{key} {value:>7}" for key, value in figures.items())
        print(f"{name:34} {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
