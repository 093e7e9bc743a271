"""Attest, appraise, lease: round trips per second through the real control plane, on SQLite.

    python benchmarks/roundtrip.py [--agents 8] [--processes 1] [--seconds 10] [--json]

Simulated agents in processes of their own mint genuine evidence (devkit), attest over gRPC with
mutual TLS, and check every answer's signature, lease and ratchet: a round trip is challenge,
evidence, attestation, check. Load and control plane share the cores, so the CPU time of each stands
beside the wall figures. The control plane runs once wherever the kernel puts it, and once on a
processor of its own, as docs/run-a-control-plane.md advises for busy installations (its policy
workers and the load go where they like). Steady state is renewal; `keys sent anew` has the content
key opened and wrapped every time, as for agents that have just started.

Baselines of the same run: a bare grpc.aio server over mutual TLS with messages of the same sizes
(load/echo.py), called twice for one round trip, and one raw P-384 verification, which every
attestation needs. Shares of stages come from a second run of the same composition root without a
network (load/stages.py).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sealward_devkit.attester import from_settings
from sealward_devkit.demo.stage import Stage
from sealward_devkit.snp.report import development_measurement

from benchmarks.load import echo
from benchmarks.load.installation import TRUST_DOMAIN, WORKLOAD, Installation, install, staged
from benchmarks.load.processes import children, cpu_seconds, fleets, pin
from benchmarks.load.stages import LocalAgent, StageClock, timed_service
from sealward.controlplane import bootstrap
from sealward.controlplane.bootstrap import ControlPlane
from sealward.controlplane.config import Address, Settings
from sealward.enclave_agent.identity import InstanceKeys

_IMAGE: Final = "bench-agent"
_TTL_S: Final = 300
_TARGET: Final = 250  # round trips per second
_STAGE_ROUNDS: Final = 300
_STAGE_WARM_UP: Final = 30
_RAW_ROUNDS: Final = 500
_SIGNED_BYTES: Final = 672  # of an SNP report
_BARE: Final = "bare gRPC call over mutual TLS"
_RAW: Final = "raw P-384 verification"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one load run came to.

    Attributes:
        seconds: by round trip: challenge, evidence, attestation, check.
        per_second: round trips.
        server_cpu: seconds of the control plane for each round trip, policy workers left out.
        workers_cpu: seconds of its policy workers.
        agents_cpu: seconds of the load itself.
        sizes: bytes of a request and of what its answer carries.
        unavailable: attestations that the control plane could not decide in time.
    """

    seconds: list[tuple[float, ...]]
    per_second: float
    server_cpu: float
    workers_cpu: float
    agents_cpu: float
    sizes: tuple[int, int]
    unavailable: int


def load(
    installation: Installation, *options: str, processes: int, agents: int, seconds: float
) -> Load:
    """Let `processes` of `agents` each attest for `seconds`."""
    server = installation.process.popen.pid
    with fleets(
        installation,
        "attest",
        *("--seconds", str(seconds), *options),
        image=_IMAGE,
        count=processes,
        agents=agents,
    ) as running:
        workers = children(server)
        before = cpu_seconds([server]), cpu_seconds(workers)
        for fleet in running:
            fleet.go()
        found = [fleet.result() for fleet in running]
        after = cpu_seconds([server]), cpu_seconds(workers)
    rounds = [tuple(spent) for one in found for spent in one["rounds"]]
    return Load(
        seconds=rounds,
        per_second=len(rounds) / max(one["seconds"] for one in found),
        server_cpu=(after[0] - before[0]) / len(rounds),
        workers_cpu=(after[1] - before[1]) / len(rounds),
        agents_cpu=sum(one["cpu_seconds"] for one in found) / len(rounds),
        sizes=found[0]["sizes"],
        unavailable=sum(one["unavailable"] for one in found),
    )


def stages(installation: Installation) -> StageClock:
    """Return CPU seconds by stage of renewals in this process, on the installation's own data."""
    clock = StageClock()
    with _in_process(installation) as plane:
        attester = from_settings(
            {
                "platform": str(installation.platform),
                "measurement": development_measurement(_IMAGE).hex(),
                "host_data": plane.trust.digest().hex(),
            }
        )
        service = timed_service(plane, clock)
        agent = LocalAgent(plane, service, attester, InstanceKeys.generate(), WORKLOAD)
        agent.enroll()
        for _ in range(_STAGE_WARM_UP):
            agent.attest(clock)
        clock.rounds.clear()
        for _ in range(_STAGE_ROUNDS):
            agent.attest(clock)
    return clock


@contextmanager
def _in_process(installation: Installation) -> Iterator[ControlPlane]:
    anywhere = Address("127.0.0.1", 0)
    folder = installation.stage.folder
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    plane = bootstrap.build(
        Settings(
            data=folder / "plane",
            trust_domain=TRUST_DOMAIN,
            rest=anywhere,
            enrollment=anywhere,
            agents=anywhere,
            names=("localhost",),
            development=True,
            development_roots=(folder / "root" / "anchors.pem",),
        ),
        ring=lambda _node: None,
    )
    try:
        yield plane
    finally:
        plane.close()


def raw_verification() -> list[float]:
    """Return seconds of P-384 verifications of as many bytes as an SNP report signs."""
    key = ec.generate_private_key(ec.SECP384R1())
    algorithm, signed = ec.ECDSA(hashes.SHA384()), os.urandom(_SIGNED_BYTES)
    signature, public = key.sign(signed, algorithm), key.public_key()
    taken = []
    for _ in range(_RAW_ROUNDS):
        began = time.perf_counter()
        public.verify(signature, signed, algorithm)
        taken.append(time.perf_counter() - began)
    return taken


def measure(stage: Stage, *, processes: int, agents: int, seconds: float) -> dict[str, object]:
    """Return the document of this benchmark."""
    installation = install(stage, images=(_IMAGE,), ttl_seconds=_TTL_S)
    shape = {"processes": processes, "agents": agents}
    renewals = load(installation, seconds=seconds, **shape)
    anew = load(installation, "--new-keys", seconds=seconds / 2, **shape)
    bare = echo.measure(
        stage.folder,
        request=renewals.sizes[0],
        answer=renewals.sizes[1],
        connections=processes * agents,
        calls=200,
    )
    raw = raw_verification()
    pin(installation.process.popen.pid)
    pinned = load(installation, seconds=seconds, **shape)
    installation.process.stop()
    inside = stages(installation)
    bare_cpu = bare.server_cpu_seconds / len(bare.latencies)
    whole = [sum(spent) for spent in renewals.seconds]
    bare_rate = len(bare.latencies) / bare.wall_seconds
    rows = [
        _row("round trip, renewal", whole, renewals.per_second),
        _row(
            "round trip, renewal, on a processor of its own",
            [sum(spent) for spent in pinned.seconds],
            pinned.per_second,
        ),
        _row("round trip, keys sent anew", [sum(s) for s in anew.seconds], anew.per_second),
        _row("  its challenge call", [s[0] for s in renewals.seconds]),
        _row("  its evidence, minted by the load", [s[1] for s in renewals.seconds]),
        _row("  its attestation call", [s[2] for s in renewals.seconds]),
        _row(_BARE, bare.latencies, bare_rate),
        _row(_RAW, raw),
        {
            **_row("control plane CPU, renewal", [renewals.server_cpu]),
            "ratio_to": _RAW,
            "ratio": round(renewals.server_cpu / median(raw), 2),
        },
        _row("control plane CPU, renewal, on a processor of its own", [pinned.server_cpu]),
        _row("control plane CPU, keys sent anew", [anew.server_cpu]),
        _row("bare gRPC server CPU, two calls", [2 * bare_cpu]),
        *(
            _row(f"  CPU inside: {name}", inside.rounds[name])
            for name, _ in sorted(inside.medians().items(), key=lambda item: -item[1])
        ),
    ]
    return {
        "name": "Round trips",
        "what": "attest-appraise-lease round trips over gRPC with mutual TLS on SQLite",
        "unit": "ms",
        "rows": rows,
        "notes": _notes(renewals, inside, bare_cpu, processes=processes, agents=agents),
    }


def _notes(
    renewals: Load, inside: StageClock, bare_cpu: float, *, processes: int, agents: int
) -> list[str]:
    shares = inside.medians()
    told = ", ".join(
        f"{name} {spent / sum(shares.values()):.0%}"
        for name, spent in sorted(shares.items(), key=lambda item: -item[1])
    )
    cores = len(os.sched_getaffinity(0))
    total = renewals.server_cpu + renewals.workers_cpu + renewals.agents_cpu
    return [
        (
            f"{processes * agents} agents at once from {processes} process(es); {cores} cores,"
            f" shared by agents and control plane; target {_TARGET} round trips per second."
        ),
        (
            f"CPU for one renewal: control plane {renewals.server_cpu * 1e3:.2f} ms, policy workers"
            f" {renewals.workers_cpu * 1e3:.2f} ms, agents {renewals.agents_cpu * 1e3:.2f} ms;"
            f" busy cores {total * renewals.per_second:.2f} of {cores}; attestations that were"
            f" answered `unavailable` and asked again: {renewals.unavailable}."
        ),
        (
            f"The attestation service alone, one attestation after another in its own process:"
            f" {sum(shares.values()) * 1e3:.2f} ms, of which {told}. Bare gRPC and TLS take"
            f" {2 * bare_cpu * 1e3:.2f} ms for the two calls."
        ),
        (
            "It is bound by CPU time: agents and control plane together fit"
            f" {cores / total:.0f} times a second into {cores} cores, and the control plane is one"
            " Python process, whose threads take turns at Python code (the GIL):"
            f" {1 / renewals.server_cpu:.0f} a second if they shared nothing but one core."
        ),
    ]


def _row(label: str, seconds: list[float], per_second: float | None = None) -> dict[str, object]:
    row: dict[str, object] = {"label": label, "median": round(median(seconds) * 1e3, 3)}
    if len(seconds) > 1:
        row["p99"] = round(quantiles(seconds, n=100, method="inclusive")[98] * 1e3, 3)
    if per_second is not None:
        row["per_second"] = round(per_second)
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agents", type=int, default=8, help="in each process")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with staged() as stage:
        result = measure(
            stage,
            processes=options.processes,
            agents=options.agents,
            seconds=options.seconds,
        )
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for row in result["rows"]:  # type: ignore[attr-defined]  # a list
        rate = f"{row['per_second']:>8} /s" if "per_second" in row else ""
        tail = f"{row['p99']:>10.3f} p99" if "p99" in row else " " * 14
        print(f"{row['label']:<44}{row['median']:>10.3f} ms{tail}{rate}")
    for note in result["notes"]:  # type: ignore[attr-defined]  # a list
        print(note)


if __name__ == "__main__":
    main()
