"""The story, step by step: told to the product as its users would, asserted on its answers."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import httpx
import numpy as np
import numpy.typing as npt

from sealward_devkit.demo.callers import Caller, Stream, features, labels, model_file
from sealward_devkit.demo.hardware import TRUST, Hardware, Launch, Value
from sealward_devkit.demo.stage import Json, Process, Stage, WentWrong, require, wait_for

TRUST_DOMAIN: Final = "development.demo.sealward.invalid"
WORKLOAD: Final = "file-scanner"
LEASE_SECONDS: Final = 15
HORIZON_TOLERANCE_S: Final = 0.1  # how far from its horizon an agent may refuse
OWNER_ONLY: Final = 0o600
START_S: Final = 60.0  # a busy two-core machine starts five Python processes in this time


@dataclass(slots=True)
class Node:
    """One agent of the story."""

    name: str
    process: Process
    port: int
    node_id: str


@dataclass(slots=True)
class Plane:
    """The control plane: where it listens, and its process, which is killed and started again."""

    process: Process
    rest: str
    enrollment: str
    agents: str


def play(stage: Stage, hardware: Hardware) -> None:
    """Play all eight steps; raises WentWrong at the first that is not exactly as told."""
    plane = start_control_plane(stage, hardware)
    set_policies(stage, hardware)
    caller_token = seal_and_register(stage)
    nodes = admit_nodes(stage, hardware, plane)
    callers = run_inference(stage, nodes, caller_token)
    withdraw(stage, hardware, nodes[0], callers)
    if hardware.tamper_register is not None:
        tamper(stage, hardware, nodes[2], (callers[2], callers[1]))
    plane = lose_control_plane(stage, hardware, plane, nodes[1], callers[1])
    prove(stage)
    for process in (*(node.process for node in nodes), plane.process):
        require(process.stop() == 0, f"{process.name} did not end cleanly")


def start_control_plane(stage: Stage, hardware: Hardware) -> Plane:
    """Step 1: keys and the one-time credential come into being, readable by their owner only."""
    with stage.step(1, "control plane started") as say:
        hardware.prepare(stage)
        fresh = {"rest": "127.0.0.1:0", "enrollment": "127.0.0.1:0", "agents": "127.0.0.1:0"}
        plane = _serve(stage, hardware, **fresh)
        secrets = [*(stage.folder / "plane" / "keys").iterdir()]
        secrets.append(stage.folder / "plane" / "bootstrap-credential")
        for path in secrets:
            require(stat.S_IMODE(path.stat().st_mode) == OWNER_ONLY, f"{path.name} is not 0600")
        say(f"{len(secrets)} key and credential files, all 0600")
        bootstrap = ("sealward", "admin", "bootstrap", "--name", "alice")
        where = ("--server", plane.rest, "--ca", "plane/server-root.pem")
        credential = ("--credential", "plane/bootstrap-credential")
        stage.run(*bootstrap, *credential, *where, "--credentials", str(stage.credentials))
        again = stage.attempt(*bootstrap, *credential, *where, "--credentials", "mallory.json")
        require(again.returncode != 0, "the bootstrap credential worked twice")
        say("the credential made alice administrator and is spent")
    return plane


def set_policies(stage: Stage, hardware: Hardware) -> None:
    """Step 2: shipped policies, a reference set, platforms."""
    with stage.step(2, "policies active") as say:
        for kind in ("enrollment", "appraisal", "release"):
            pushed = stage.run("sealward", "policy", "push", "--shipped", kind)
            stage.run("sealward", "policy", "activate", str(pushed["digest"]))
        stage.run("sealward", "trust", "show", "-o", TRUST)
        say(hardware.vouch(stage))


def seal_and_register(stage: Stage) -> str:
    """Step 3: a real model is sealed with the public key alone; return a client token."""
    with stage.step(3, "model sealed") as say:
        ttl = str(LEASE_SECONDS)
        stage.run("sealward", "model", "creator-keygen", "-o", "creator.key")
        pinned = ("--creator", "creator.key.pub")
        stage.run("sealward", "workload", "create", WORKLOAD, "--ttl", ttl, *pinned)
        stage.run("sealward", "workload", "key", WORKLOAD, "-o", "workload.pub.json")
        model = model_file()
        inputs = ("--workload-key", "workload.pub.json", "--creator-key", "creator.key")
        named = ("--name", "magika", "--version", "1", "-o", "magika.sealed")
        stage.run("sealward", "model", "seal", str(model), *inputs, *named)
        sealed = (stage.folder / "magika.sealed").read_bytes()
        require(
            model.read_bytes()[4096:8192] not in sealed, "plain weights stand in the sealed file"
        )
        stage.run("sealward", "model", "register", "magika.sealed")
        say(f"magika, {model.stat().st_size:,} bytes plain, {len(sealed):,} sealed, registered")
        minted = stage.run(
            "sealward", "client-token", "create", "--workload", WORKLOAD, "--subject", "bob"
        )
    return str(minted["credential"])


def admit_nodes(stage: Stage, hardware: Hardware, plane: Plane) -> tuple[Node, ...]:
    """Step 4: good nodes get a lease; an unknown image is refused, an unknown platform pends."""
    with stage.step(4, "nodes decided") as say:
        launches = [
            Launch("node-1", "agent-1.0", "platform-1"),
            Launch("node-2", "agent-1.1", "platform-2"),
            Launch("node-3", "agent-tampered", "platform-1"),
            Launch("node-4", "agent-1.0", "platform-3"),
        ]
        if hardware.tamper_register is not None:
            launches.append(Launch("node-5", "agent-1.1", "platform-2"))
        nodes = {one.node: _start_agent(stage, hardware, plane, one) for one in launches}
        rejected, pending = nodes.pop("node-3"), nodes.pop("node-4")
        for node in nodes.values():
            wait_for(f"a lease on {node.name}", START_S, lambda: _lease(node))  # noqa: B023 - at once
            posture = _seen(stage, node)["posture"]
            require(posture == hardware.posture, f"{node.name} is {posture}")
        say(f"{', '.join(nodes)} {hardware.posture} with a lease")
        for node, state in ((rejected, "rejected"), (pending, "pending")):
            wait_for(
                f"{node.name} {state}",
                START_S,
                lambda: _seen(stage, node)["state"] == state or None,  # noqa: B023 - at once
            )
            require(not _status(node)["leases"], f"{node.name} holds a lease")
        reason = _reason(stage, rejected, "unknown_measurement")
        found = str(reason["actual"])
        require(found in hardware.digests(stage, "agent-tampered"), f"wrong claim: {reason}")
        say(f"node-3 rejected: {reason['claim']} expected {reason['expected']!r}")
        say(f"found {found[:16]}...")
        _reason(stage, pending, "platform_unknown")
        say("node-4 pends: platform unknown")
        for node in (rejected, pending):
            node.process.stop()
    return tuple(nodes.values())


def run_inference(stage: Stage, nodes: tuple[Node, ...], token: str) -> tuple[Caller, ...]:
    """Step 5: a file is classified through each node, bit for bit as the plain model does it."""
    with stage.step(5, f"inference through {len(nodes)} nodes") as say:
        content = Path(__file__).read_bytes()
        row = features(content)
        plain = _plain_answer(row)
        callers = tuple(Caller(node.port, token) for node in nodes)
        for caller in callers:
            wait_for("a ready model", START_S, lambda: caller.ask(row).is_success or None)  # noqa: B023 - at once
            sealed = caller.infer(row)
            require(
                sealed.tobytes() == plain.tobytes(), "the sealed answer differs from the plain one"
            )
        stranger = Caller(nodes[0].port, token[:-4] + "AAAA").ask(row)
        require(stranger.status_code == httpx.codes.UNAUTHORIZED, "a forged token was accepted")
        best = int(plain.argmax())
        say(f"this file is {labels()[best]!r} ({plain[0, best]:.3f})")
        say("bit for bit what the plain model answers")
    return callers


def withdraw(stage: Stage, hardware: Hardware, node: Node, callers: tuple[Caller, ...]) -> None:
    """Step 6: one measurement is withdrawn; its node stops and wipes, the other goes on."""
    with stage.step(6, "measurement of node-1 withdrawn") as say:
        row = features(Path(__file__).read_bytes())
        lease = str(cast("Json", _lease(node))["lease"])
        losing, staying = Stream(callers[0], row), Stream(callers[1], row)
        time.sleep(0.5)  # both streams are answering
        asked = time.monotonic()
        _withdraw_over_rest(stage, hardware.value(stage, "agent-1.0"))
        refused = losing.wait_refused(10)
        say(f"first refused inference {1000 * (refused - asked):.0f} ms after the request")
        require(losing.refusal.get("code") == "lease_revoked", f"refused for {losing.refusal}")
        _say_what_was_wiped(stage, lease, say)
        time.sleep(0.5)
        staying.stop()
        say("node-2 goes on serving")


def tamper(stage: Stage, hardware: Hardware, node: Node, callers: tuple[Caller, Caller]) -> None:
    """Step 6 again: a register of one machine changes; its agent says so, and loses its lease.

    The time is bounded by how often the agent looks at its TPM, which is cooperative: an agent
    that is not asked to lie is what is shown here (docs/specs/tpm-node.md 5).
    """
    with stage.step(6, f"PCR {hardware.tamper_register} of {node.name} extended") as say:
        row = features(Path(__file__).read_bytes())
        lease = str(cast("Json", _lease(node))["lease"])
        losing, staying = Stream(callers[0], row), Stream(callers[1], row)
        time.sleep(0.5)  # both streams are answering
        asked = time.monotonic()
        hardware.tamper(stage, node.name)
        refused = losing.wait_refused(10)
        say(f"first refused inference {1000 * (refused - asked):.0f} ms after it")
        require(losing.refusal.get("code") == "lease_revoked", f"refused for {losing.refusal}")
        reason = _reason(stage, node, "unknown_measurement")
        say(f"because of {reason['claim']}")
        _say_what_was_wiped(stage, lease, say)
        staying.stop()
        say("node-2 goes on serving")


def lose_control_plane(
    stage: Stage, hardware: Hardware, plane: Plane, node: Node, caller: Caller
) -> Plane:
    """Step 7: without the control plane a node serves until its horizon; with it, it recovers."""
    with stage.step(7, "control plane killed and started again") as say:
        plane.process.kill()
        row = features(Path(__file__).read_bytes())
        stream = Stream(caller, row)
        asked = time.monotonic()
        lease = cast("Json", _lease(node))
        answered = time.monotonic()
        remaining = cast("int", lease["remaining_ms"]) / 1000
        horizon = (asked + answered) / 2 + remaining
        refused = stream.wait_refused(LEASE_SECONDS + 10)
        late = refused - horizon
        require(abs(late) <= HORIZON_TOLERANCE_S, f"refused {1000 * late:.0f} ms from its horizon")
        require(stream.last_answer > horizon - 1, "it stopped serving before its horizon")
        require(stream.refusal.get("code") == "lease_expired", f"refused for {stream.refusal}")
        say(f"served {remaining:.1f} s more")
        say(f"refused within {1000 * abs(late):.0f} ms of its horizon")
        restarted = time.monotonic()
        before = {"rest": plane.rest, "enrollment": plane.enrollment, "agents": plane.agents}
        plane = _serve(stage, hardware, **before)
        wait_for("recovery", START_S, lambda: caller.ask(row).is_success or None)
        say(f"serving again {time.monotonic() - restarted:.1f} s after the restart, by itself")
    return plane


def prove(stage: Stage) -> None:
    """Step 8: the audit log of all this is verified without the control plane."""
    with stage.step(8, "audit log verified offline") as say:
        stage.run("sealward", "audit", "log-key", "-o", "log.key")
        stage.run("sealward", "audit", "export", "-o", "audit.jsonl")
        report = stage.run("sealward", "audit", "verify", "audit.jsonl", "--log-key", "log.key")
        say(f"{report['entries']} entries, {report['checkpoints']} signed checkpoints")
        forged = (stage.folder / "audit.jsonl").read_bytes().replace(b"compliant", b"complaint", 1)
        (stage.folder / "forged.jsonl").write_bytes(forged)
        found = stage.attempt("sealward", "audit", "verify", "forged.jsonl", "--log-key", "log.key")
        require(found.returncode == 1, "a changed entry was not found")
        say("one changed word is found")


def _serve(stage: Stage, hardware: Hardware, *, rest: str, enrollment: str, agents: str) -> Plane:
    before = stage.folder / "control-plane.out"
    seen = len(before.read_bytes()) if before.exists() else 0
    process = stage.start(
        "control-plane",
        *("sealward", "serve", "--data", "plane", "--trust-domain", TRUST_DOMAIN, "--json"),
        *("--rest", rest.removeprefix("https://"), "--enrollment", enrollment, "--agents", agents),
        *("--development", *hardware.serve),
    )

    def announced() -> Json | None:
        require(process.popen.poll() is None, "the control plane ended")
        text = process.output.read_bytes()[seen:]
        return json.loads(text) if text.endswith(b"}\n") else None  # noqa: TID251 - its own record

    record = wait_for("the control plane's start", START_S, announced)
    require(record["development"] is True, "it does not say that it is a development installation")
    return Plane(process, str(record["rest"]), str(record["enrollment"]), str(record["agents"]))


def _start_agent(stage: Stage, hardware: Hardware, plane: Plane, launch: Launch) -> Node:
    name = launch.node
    folder = stage.folder / name
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "magika.sealed").write_bytes((stage.folder / "magika.sealed").read_bytes())
    (folder / "agent.toml").write_text(f"""\
workloads = ["{WORKLOAD}"]
trust_file = "../{TRUST}"
models = "models"

[control_plane]
enrollment = "{plane.enrollment}"
agent = "{plane.agents}"

[attester]
{hardware.attester(stage, launch)}
[inference]
listen = "127.0.0.1:0"
""")
    process = stage.start(name, "sealward-agent", "run", "--config", f"{name}/agent.toml")

    def started() -> Json | None:
        require(process.popen.poll() is None, f"{name} ended")
        for line in process.log.read_text().splitlines():
            record = json.loads(line)  # noqa: TID251 - our own log
            if record.get("event") == "agent started":
                return cast("Json", record)
        return None

    record = wait_for(f"the start of {name}", START_S, started)
    return Node(name, process, cast("int", record["inference_port"]), str(record["node"]))


def _status(node: Node) -> Json:
    response = httpx.get(f"http://127.0.0.1:{node.port}/v1/status", timeout=10)
    return cast("Json", response.json())


def _lease(node: Node) -> Json | None:
    require(node.process.popen.poll() is None, f"{node.name} ended")
    leases = cast("list[Json]", _status(node)["leases"])
    return leases[0] if leases else None


def _seen(stage: Stage, node: Node) -> Json:
    """Return the node as the control plane sees it, or one in no state while it is unknown."""
    shown = stage.attempt("sealward", "node", "show", node.node_id)
    if shown.returncode != 0:
        return {"state": None}
    return cast("Json", json.loads(shown.stdout))  # noqa: TID251 - our own command's answer


def _reason(stage: Stage, node: Node, code: str) -> Json:
    explained = stage.run("sealward", "node", "explain", node.node_id)
    decisions = cast("list[Json]", explained["decisions"])
    reasons = cast("list[Json]", decisions[0]["reasons"])
    for reason in reasons:
        if reason["code"] == code:
            return reason
    raise WentWrong(f"{node.name} is not explained by {code}: {reasons}")


def _say_what_was_wiped(stage: Stage, lease: str, say: Callable[[str], None]) -> None:
    shown = wait_for("a wipe statement", 10, lambda: _wiped(stage, lease))
    wipe = cast("list[Json]", shown["wipes"])[0]
    exposure = cast("Json", shown["exposure"])
    say(f"wipe statement {str(wipe['statement_id'])[:12]}... {wipe['status']}")
    say(f"exposure {exposure['state']} ({exposure['reason']})")
    require((shown["state"], exposure["state"]) == ("ended", "open"), f"the lease is {shown}")


def _withdraw_over_rest(stage: Stage, value: Value) -> None:
    """Withdraw as an administrator's own tool would: one REST request, so that it can be timed."""
    account = json.loads(stage.credentials.read_text())  # noqa: TID251 - our own file
    ca = stage.folder / "ca.pem"
    ca.write_text(account["ca"])
    response = httpx.post(
        f"{account['server']}/v1/reference-sets/{value.set_name}/withdrawals",
        json={"kind": value.kind, "key": value.key, "reason": "a vulnerability in agent 1.0"},
        headers={"Authorization": f"Bearer {account['token']}"},
        verify=str(ca),
        timeout=10,
    )
    require(response.is_success, f"the withdrawal was refused: {response.text}")


def _wiped(stage: Stage, lease: str) -> Json | None:
    shown = stage.run("sealward", "lease", "show", lease)
    return shown if shown["wipes"] else None


def _plain_answer(row: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Run the plain model with the options that the agent's strict profile uses."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - only after telemetry is off

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_file()), options)
    return cast("npt.NDArray[np.float32]", session.run(None, {"bytes": row})[0])
