"""Time to revoke: from the administrator's request to the first refused inference, over HTTP.

    python benchmarks/revocation.py [--rounds 100] [--nodes 100] [--json]

Real `sealward serve`, one real `sealward-agent` that serves a sealed model, and more nodes whose
streams are open and whose leases rest on another measurement. Those nodes started apart from each
other and their leases are short, so that all the while a few of them attest in each second: the
control plane pushes the challenges, as to any fleet. Each round reinstates the measurement of the
agent's image, waits until the agent serves, withdraws the measurement with one REST request, and
lets a client that asks without a pause find the first refusal. All of it shares one machine, the
asking client included, so the load of a busy node is part of the figure.

The baseline is what the same client needs for a call that decides nothing: the agent's liveness.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import httpx
from sealward_devkit.demo.callers import Caller, features
from sealward_devkit.demo.stage import Process, Stage, WentWrong, wait_for
from sealward_devkit.snp.report import development_measurement

from benchmarks.load.installation import REFERENCE_SET, WORKLOAD, Installation, install, staged
from benchmarks.load.processes import fleets

_AGENT: Final = "guarded-agent"  # the image whose measurement comes and goes
_OTHERS: Final = "other-agents"
_MEASUREMENT: Final[dict[str, object]] = {
    "kind": "measurement",
    "key": development_measurement(_AGENT).hex(),
    "reason": "benchmark",
}
_SET_PATH: Final = f"/v1/reference-sets/{REFERENCE_SET}"
_TTL_S: Final = 20  # renewed after 14.4 to 16 s: of a hundred nodes, six or seven in each second
_RENEWAL_S: Final = 15.0
_START_S: Final = 60.0
_RECOVERY_S: Final = 10.0  # an agent that has not asked again by then waits a minute: start anew
_REFUSAL_S: Final = 30.0
_BASELINE_CALLS: Final = 300
_BARE: Final = "bare HTTP call of the same client"


@dataclass(slots=True)
class Admin:
    """The administrator's own HTTP client: one kept connection, as a console has."""

    client: httpx.Client

    @classmethod
    def of(cls, installation: Installation) -> Admin:
        """Read the credentials that the installation made."""
        stage = installation.stage
        account = json.loads(stage.credentials.read_text())  # noqa: TID251 - our own file
        ca = stage.folder / "ca.pem"
        ca.write_text(account["ca"])
        return cls(
            httpx.Client(
                base_url=account["server"],
                headers={"Authorization": f"Bearer {account['token']}"},
                verify=str(ca),
                timeout=30,
            )
        )

    def post(self, path: str, body: dict[str, object]) -> None:
        """Send one request; SystemExit unless it is accepted."""
        response = self.client.post(path, json=body)
        if not response.is_success:
            raise SystemExit(f"{path} was refused: {response.text}")


@dataclass(slots=True)
class Asking:
    """A client that asks without a pause until it is refused.

    Attributes:
        refused: when the first refusal had arrived, perf_counter seconds.
        code: the refusal's code.
        served: seconds of each answered inference.
    """

    caller: Caller
    row: Any
    refused: float = 0.0
    code: str = ""
    served: list[float] = field(default_factory=list)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            began = time.perf_counter()
            response = self.caller.ask(self.row)
            ended = time.perf_counter()
            if not response.is_success:
                self.refused, self.code = ended, str(response.json().get("code"))
                return
            self.served.append(ended - began)

    def wait(self) -> float:
        """Return when the refusal came."""
        self._thread.join(_REFUSAL_S)
        if self.code != "lease_revoked":
            raise SystemExit(f"expected lease_revoked within {_REFUSAL_S} s, got {self.code!r}")
        return self.refused


@dataclass(slots=True)
class Guarded:
    """The real agent, which is started again when it would wait too long."""

    installation: Installation
    token: str
    row: Any
    starts: int = 0
    caller: Caller = field(init=False)
    _process: Process | None = None

    def until_serving(self) -> None:
        """Return when the agent answers inference; start it if it does not come by itself."""
        if self._process is not None:
            try:
                wait_for("recovery", _RECOVERY_S, self._answers)
            except WentWrong:
                self._process.stop()
                self._process = None
        if self._process is None:
            self._start()
            wait_for("an answer", _START_S, self._answers)

    def _answers(self) -> bool | None:
        return self.caller.ask(self.row).is_success or None

    def _start(self) -> None:
        self.starts += 1
        stage, name = self.installation.stage, f"agent-{self.starts}"
        self._process = stage.start(name, "sealward-agent", "run", "--config", self._config(name))
        log = self._process.log

        def port() -> int | None:
            for line in log.read_text().splitlines():
                record = json.loads(line)  # noqa: TID251 - our own log
                if record.get("event") == "agent started":
                    return int(record["inference_port"])
            return None

        self.caller = Caller(wait_for(f"the start of {name}", _START_S, port), self.token)

    def _config(self, name: str) -> str:
        installation = self.installation
        folder = installation.stage.folder / name
        (folder / "models").mkdir(parents=True)
        sealed = (installation.stage.folder / "magika.sealed").read_bytes()
        (folder / "models" / "magika.sealed").write_bytes(sealed)
        trust = hashlib.sha256(installation.trust.read_bytes()).hexdigest()
        (folder / "agent.toml").write_text(f"""\
workloads = ["{WORKLOAD}"]
trust_file = "{installation.trust}"
models = "models"

[control_plane]
enrollment = "{installation.enrollment}"
agent = "{installation.agents}"

[attester]
name = "software"
platform = "{installation.platform}"
measurement = "{development_measurement(_AGENT).hex()}"
host_data = "{trust}"

[inference]
listen = "127.0.0.1:0"
""")
        return f"{name}/agent.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One round, in instants of perf_counter: the clock that all processes of a machine share.

    Attributes:
        asked: the administrator's request begins.
        answered: its answer is there.
        refused: the client has the first refusal.
        served: seconds of each inference that was answered before.
    """

    asked: float
    answered: float
    refused: float
    served: tuple[float, ...]


def revoke(agent: Guarded, admin: Admin) -> Revocation:
    """Withdraw the measurement of an agent that serves."""
    asking = Asking(agent.caller, agent.row)
    wait_for("answers", _START_S, lambda: len(asking.served) > 2 or None)  # noqa: PLR2004 - the stream flows
    asked = time.perf_counter()
    admin.post(f"{_SET_PATH}/withdrawals", _MEASUREMENT)
    answered = time.perf_counter()
    refused = asking.wait()
    return Revocation(asked=asked, answered=answered, refused=refused, served=tuple(asking.served))


@dataclass(frozen=True, slots=True)
class Beside:
    """What the other nodes did during the run.

    Attributes:
        renewals: when each began and ended, of those that did either during the run.
        seconds: of the run, from the first request to the last refusal.
        revocations_met: during how many revocations a renewal was under way.
        unavailable: attestations that were answered `unavailable` and asked again.
    """

    renewals: tuple[tuple[float, float], ...]
    seconds: float
    revocations_met: int
    unavailable: int

    @classmethod
    def of(cls, record: dict[str, Any], revoked: list[Revocation]) -> Beside:
        """Sort what the nodes recorded into the time of the revocations."""
        first, last = revoked[0].asked, revoked[-1].refused
        renewals = [(began, ended) for began, ended in record["renewals"]]
        met = [
            one
            for one in revoked
            if any(began < one.refused and ended > one.asked for began, ended in renewals)
        ]
        within = tuple(span for span in renewals if span[0] < last and span[1] > first)
        return cls(within, last - first, len(met), record["unavailable"])

    def rows(self, base: list[float]) -> list[dict[str, object]]:
        """Return the row of the renewals, if there were any."""
        if not self.renewals:
            return []
        took = [ended - began for began, ended in self.renewals]
        rate = round(len(took) / self.seconds, 1)
        return [_row("renewal of another node meanwhile", took, base) | {"per_second": rate}]

    def note(self) -> str:
        """Say how much of it there was."""
        return (
            f"the other nodes renew leases of {_TTL_S} s: {len(self.renewals)} renewals fell into"
            f" the {self.seconds:.0f} s of the run, {len(self.renewals) / self.seconds:.1f} a"
            f" second; {self.revocations_met} revocations met one under way; answered"
            f" `unavailable` and asked again: {self.unavailable}"
        )


def measure(stage: Stage, *, rounds: int, nodes: int) -> dict[str, object]:
    """Return the figures of `rounds` revocations with `nodes` more nodes that renew meanwhile."""
    installation = install(stage, images=(_AGENT, _OTHERS), ttl_seconds=_TTL_S)
    minted = stage.run(
        "sealward", "client-token", "create", "--workload", WORKLOAD, "--subject", "bench"
    )
    admin = Admin.of(installation)
    agent = Guarded(installation, str(minted["credential"]), features(Path(__file__).read_bytes()))
    revoked: list[Revocation] = []
    apart = str(_RENEWAL_S / max(nodes, 1))
    with fleets(installation, "watch", "--apart", apart, image=_OTHERS, count=1, agents=nodes) as (
        others,
    ):
        for number in range(rounds):
            if number:
                admin.post(f"{_SET_PATH}/reinstatements", _MEASUREMENT)
            agent.until_serving()
            revoked.append(revoke(agent, admin))
        bare = _timed(lambda: agent.caller._client.get("/v2/health/live"), _BASELINE_CALLS)  # noqa: SLF001 - the same connection
        others.go()
        beside = Beside.of(others.result(), revoked)
    return _document(revoked, beside, bare, nodes=nodes, starts=agent.starts)


def _document(
    revoked: list[Revocation], beside: Beside, bare: list[float], *, nodes: int, starts: int
) -> dict[str, object]:
    refused = [one.refused - one.asked for one in revoked]
    return {
        "name": "Time to revoke",
        "what": "from the administrator's request to the first refused inference over HTTP",
        "unit": "ms",
        "rows": [
            _row(_BARE, bare, bare),
            _row("inference while it is served", [s for one in revoked for s in one.served], bare),
            *beside.rows(bare),
            _row(
                "request to the administrator's answer",
                [one.answered - one.asked for one in revoked],
                bare,
            ),
            _row("request to the first refused inference", refused, bare),
        ],
        "notes": [
            f"{len(revoked)} revocations of one real agent, {nodes} more nodes connected",
            beside.note(),
            f"the agent came back by itself but for {starts - 1} of {len(revoked)} rounds",
            f"slowest revocation {max(refused) * 1e3:.0f} ms; target: p99 under 1 s",
        ],
    }


def _timed(call: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return taken


def _row(label: str, seconds: list[float], base: list[float]) -> dict[str, object]:
    return {
        "label": label,
        "median": round(median(seconds) * 1e3, 3),
        "p99": round(_p99(seconds) * 1e3, 3),
        "ratio_to": _BARE,
        "ratio": round(median(seconds) / median(base), 1),
    }


def _p99(seconds: list[float]) -> float:
    """Return the 99th percentile; of fewer than a hundred values the largest."""
    if len(seconds) < 100:  # noqa: PLR2004 - see above
        return max(seconds)
    return quantiles(seconds, n=100, method="inclusive")[98]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with staged() as stage:
        result = measure(stage, rounds=options.rounds, nodes=options.nodes)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for row in result["rows"]:  # type: ignore[attr-defined]  # a list
        print(f"{row['label']:<42}{row['median']:>10.1f} ms{row['p99']:>10.1f} ms p99")
    for note in result["notes"]:  # type: ignore[attr-defined]  # a list
        print(note)


if __name__ == "__main__":
    main()
