"""Enrolment of a TPM node with credential activation, on a real swtpm, against its TPM commands.

    python benchmarks/tpm_enrollment.py [--rounds 100] [--json]

Real `sealward serve`, a real swtpm whose certificates come from its local CA, and the agent's own
code from nothing to a node certificate: keys in memory, an attestation key (ECC P-256) made in the
TPM, GetChallenge over a new TLS connection, GetCredential, ActivateCredential, a quote over
fourteen PCRs with its event log and a lock, Enroll. Each enrolment is a new instance, as after a
restart. Once with the P-384 endorsement key, which the agent prefers, and once with RSA-2048.

The baseline is what any such enrolment asks of a TPM: the same commands by the same code, with
nobody else taking part, from each command sent to its response. The credential that it opens is
made beside the clock. Enrolments and baselines of both endorsement keys take turns in one run. TPM,
control plane and agent share one machine; a TPM of hardware takes its own time.

needs swtpm and swtpm-tools.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from statistics import median, quantiles
from typing import Final

from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.tpm import machine

from benchmarks.load.installation import staged
from benchmarks.load.tpm_agent import CALLS, TPM, Spent, alone, enroll
from benchmarks.load.tpm_machine import TpmMachine, boot
from sealward.enclave_agent.transport import Addresses
from sealward.protos.trust import TrustConfiguration

_KEYS: Final = {"P-384": "ecc-p384", "RSA-2048": "rsa-2048"}
_BAR_S: Final = 0.3
_WARM_UP: Final = 3
_LEAST_ROUNDS: Final = 20

Found = dict[str, tuple[list[Spent], list[Spent]]]


async def enrolments(node: TpmMachine, rounds: int) -> Found:
    """Return enrolments and baselines by endorsement key."""
    installation = node.installation
    addresses = Addresses(enrollment=installation.enrollment, agent=installation.agents)
    trust = TrustConfiguration.decode(installation.trust.read_bytes())
    found: Found = {label: ([], []) for label in _KEYS}
    for number in range(_WARM_UP + rounds):
        for label, key in _KEYS.items():
            table = node.settings | {"endorsement_key": key}
            whole = await enroll(table, addresses, trust)
            least = await asyncio.to_thread(alone, table)
            if number >= _WARM_UP:
                found[label][0].append(whole)
                found[label][1].append(least)
    return found


def document(found: Found) -> dict[str, object]:
    """Return the document of benchmarks/README.md."""
    rows: list[dict[str, object]] = []
    notes: list[str] = []
    for label, (enrolled, least) in found.items():
        baseline = f"its TPM commands alone, {label}"
        whole = [spent.whole for spent in enrolled]
        base = [spent.whole for spent in least]
        rows += [
            _row(baseline, base),
            _row(f"enrolment, {label} endorsement key", whole)
            | {"ratio_to": baseline, "ratio": round(median(whole) / median(base), 2)},
        ]
        rows += [
            _row(f"  {part}, {label}", [spent.parts[part] for spent in enrolled])
            for part in (*TPM, *CALLS)
        ]
        rows.append(_row(f"  the agent itself, {label}", [_rest(spent) for spent in enrolled]))
        notes.append(f"{label}: {_shares(enrolled)}; slowest {max(whole) * 1e3:.0f} ms.")
    return {
        "name": "TPM enrolment",
        "what": "A node from nothing to its certificate, credential activation included, on swtpm.",
        "unit": "ms",
        "rows": rows,
        "notes": [*notes, f"Target: under {_BAR_S * 1e3:.0f} ms for the whole."],
    }


def _rest(spent: Spent) -> float:
    return spent.whole - spent.of(TPM) - spent.of(CALLS)


def _shares(enrolled: list[Spent]) -> str:
    whole = sum(spent.whole for spent in enrolled)
    parts = {
        "TPM commands": sum(spent.of(TPM) for spent in enrolled),
        "control plane": sum(spent.of(CALLS) for spent in enrolled),
        "the agent itself": sum(map(_rest, enrolled)),
    }
    shares = ", ".join(f"{name} {spent / whole:.0%}" for name, spent in parts.items())
    return f"of {len(enrolled)} enrolments' time {shares}"


def _row(label: str, seconds: list[float]) -> dict[str, object]:
    tail = quantiles(seconds, n=100, method="inclusive")[98]
    return {
        "label": label,
        "median": round(median(seconds) * 1e3, 3),
        "p99": round(tail * 1e3, 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help=f"at least {_LEAST_ROUNDS}")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.rounds < _LEAST_ROUNDS:
        parser.error(f"at least {_LEAST_ROUNDS} rounds")
    try:
        machine.require_programs()
    except DevelopmentFilesError as error:
        parser.error(str(error))
    with staged() as stage:
        found = asyncio.run(enrolments(boot(stage), options.rounds))
    result = document(found)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for row in result["rows"]:  # type: ignore[attr-defined]  # a list
        print(f"{row['label']:<72}{row['median']:>9.1f} ms{row['p99']:>9.1f} ms p99")
    for note in result["notes"]:  # type: ignore[attr-defined]  # a list
        print(note)


if __name__ == "__main__":
    main()
