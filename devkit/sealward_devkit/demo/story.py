"""The story, step by step: told to the product as its users would, asserted on its answers."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import httpx
import numpy as np
import numpy.typing as npt

from sealward_devkit.demo.callers import Caller, Stream, features, labels, model_file
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


def play(stage: Stage) -> None:
    """Play all eight steps; raises WentWrong at the first that is not exactly as told."""
    plane = start_control_plane(stage)
    set_policies(stage)
    caller_token = seal_and_register(stage)
    first, second = admit_nodes(stage, plane)
    callers = run_inference(stage, (first, second), caller_token)
    withdraw(stage, first, callers)
    plane = lose_control_plane(stage, plane, second, callers[1])
    prove(stage)
    for process in (first.process, second.process, plane.process):
        require(process.stop() == 0, f"{process.name} did not end cleanly")


def start_control_plane(stage: Stage) -> Plane:
    """Step 1: keys and the one-time credential come into being, readable by their owner only."""
    with stage.step(1, "control plane started") as say:
        stage.run("sealward-devkit", "root", "create", "root", "--product", "Milan")
        plane = _serve(stage, rest="127.0.0.1:0", enrollment="127.0.0.1:0", agents="127.0.0.1:0")
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


def set_policies(stage: Stage) -> None:
    """Step 2: shipped policies, a reference set, two platforms."""
    with stage.step(2, "policies active") as say:
        for kind in ("enrollment", "appraisal", "release"):
            pushed = stage.run("sealward", "policy", "push", "--shipped", kind)
            stage.run("sealward", "policy", "activate", str(pushed["digest"]))
        document = {
            "name": "agent-images",
            "not_after": None,
            "values": [
                _image("agent 1.0", measurement(stage, "agent-1.0")),
                _image("agent 1.1", measurement(stage, "agent-1.1")),
                {
                    "kind": "tcb_floor",
                    "key": "snp/Milan",
                    "value": {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115},
                },
            ],
        }
        (stage.folder / "reference.json").write_text(json.dumps(document))
        stage.run("sealward", "reference", "import", "reference.json")
        for name in ("platform-1", "platform-2", "platform-3"):
            made = stage.run(
                "sealward-devkit",
                "platform",
                "create",
                "--root",
                "root",
                "--product",
                "Milan",
                name,
            )
            if name != "platform-3":
                stage.run("sealward", "platform", "allow", str(made["platform_id"]))
        say("reference set of 2 images and 1 TCB floor imported, 2 of 3 platforms allowed")


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


def admit_nodes(stage: Stage, plane: Plane) -> tuple[Node, Node]:
    """Step 4: two nodes get a lease; an unknown image is refused, an unknown platform pends."""
    with stage.step(4, "nodes decided") as say:
        stage.run("sealward", "trust", "show", "-o", "trust.json")
        launches = (
            ("node-1", "agent-1.0", "platform-1"),
            ("node-2", "agent-1.1", "platform-2"),
            ("node-3", "agent-tampered", "platform-1"),
            ("node-4", "agent-1.0", "platform-3"),
        )
        nodes = [_start_agent(stage, plane, *launch) for launch in launches]
        for node in nodes[:2]:
            wait_for(f"a lease on {node.name}", START_S, lambda: _lease(node))  # noqa: B023 - at once
            require(_seen(stage, node)["posture"] == "compliant", f"{node.name} is not compliant")
        say("node-1 and node-2 compliant with a lease")
        for node, state in ((nodes[2], "rejected"), (nodes[3], "pending")):
            wait_for(
                f"{node.name} {state}",
                START_S,
                lambda: _seen(stage, node)["state"] == state or None,  # noqa: B023 - at once
            )
            require(not _status(node)["leases"], f"{node.name} holds a lease")
        reason = _reason(stage, nodes[2], "unknown_measurement")
        require(reason["actual"] == measurement(stage, "agent-tampered"), f"wrong claim: {reason}")
        say(f"node-3 rejected: {reason['claim']} expected {reason['expected']!r}")
        say(f"found {str(reason['actual'])[:16]}...")
        _reason(stage, nodes[3], "platform_unknown")
        say("node-4 pends: platform unknown")
        for node in nodes[2:]:
            node.process.stop()
    return nodes[0], nodes[1]


def run_inference(stage: Stage, nodes: tuple[Node, Node], token: str) -> tuple[Caller, Caller]:
    """Step 5: a file is classified through each node, bit for bit as the plain model does it."""
    with stage.step(5, "inference through both nodes") as say:
        content = Path(__file__).read_bytes()
        row = features(content)
        plain = _plain_answer(row)
        callers = (Caller(nodes[0].port, token), Caller(nodes[1].port, token))
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


def withdraw(stage: Stage, node: Node, callers: tuple[Caller, Caller]) -> None:
    """Step 6: one measurement is withdrawn; its node stops and wipes, the other goes on."""
    with stage.step(6, "measurement of node-1 withdrawn") as say:
        row = features(Path(__file__).read_bytes())
        lease = str(cast("Json", _lease(node))["lease"])
        losing, staying = Stream(callers[0], row), Stream(callers[1], row)
        time.sleep(0.5)  # both streams are answering
        asked = time.monotonic()
        _withdraw_over_rest(stage, measurement(stage, "agent-1.0"))
        refused = losing.wait_refused(10)
        say(f"first refused inference {1000 * (refused - asked):.0f} ms after the request")
        require(losing.refusal.get("code") == "lease_revoked", f"refused for {losing.refusal}")
        shown = wait_for("a wipe statement", 10, lambda: _wiped(stage, lease))
        wipe = cast("list[Json]", shown["wipes"])[0]
        exposure = cast("Json", shown["exposure"])
        say(f"wipe statement {str(wipe['statement_id'])[:12]}... {wipe['status']}")
        say(f"exposure {exposure['state']} ({exposure['reason']})")
        require((shown["state"], exposure["state"]) == ("ended", "open"), f"the lease is {shown}")
        time.sleep(0.5)
        staying.stop()
        say("node-2 goes on serving")


def lose_control_plane(stage: Stage, plane: Plane, node: Node, caller: Caller) -> Plane:
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
        plane = _serve(stage, rest=plane.rest, enrollment=plane.enrollment, agents=plane.agents)
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


def measurement(stage: Stage, name: str) -> str:
    """Return the launch digest that the development kit gives an image of this name."""
    return str(stage.run("sealward-devkit", "measurement", name)["measurement"])


def _serve(stage: Stage, *, rest: str, enrollment: str, agents: str) -> Plane:
    before = stage.folder / "control-plane.out"
    seen = len(before.read_bytes()) if before.exists() else 0
    process = stage.start(
        "control-plane",
        *("sealward", "serve", "--data", "plane", "--trust-domain", TRUST_DOMAIN, "--json"),
        *("--rest", rest.removeprefix("https://"), "--enrollment", enrollment, "--agents", agents),
        *("--development", "--development-root", "root/anchors.pem"),
    )

    def announced() -> Json | None:
        require(process.popen.poll() is None, "the control plane ended")
        text = process.output.read_bytes()[seen:]
        return json.loads(text) if text.endswith(b"}\n") else None  # noqa: TID251 - its own record

    record = wait_for("the control plane's start", START_S, announced)
    require(record["development"] is True, "it does not say that it is a development installation")
    return Plane(process, str(record["rest"]), str(record["enrollment"]), str(record["agents"]))


def _image(name: str, digest: str) -> Json:
    value = {
        "name": name,
        "components": ["firmware", "kernel", "cmdline", "rootfs", "agent"],
        "clock": "protected",
        "trust_config": "host_data",
    }
    return {"kind": "measurement", "key": digest, "value": value}


def _start_agent(stage: Stage, plane: Plane, name: str, image: str, platform: str) -> Node:
    folder = stage.folder / name
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "magika.sealed").write_bytes((stage.folder / "magika.sealed").read_bytes())
    trust = (stage.folder / "trust.json").read_bytes()
    (folder / "agent.toml").write_text(f"""\
workloads = ["{WORKLOAD}"]
trust_file = "../trust.json"
models = "models"

[control_plane]
enrollment = "{plane.enrollment}"
agent = "{plane.agents}"

[attester]
name = "software"
platform = "{stage.folder / platform}"
measurement = "{measurement(stage, image)}"
host_data = "{hashlib.sha256(trust).hexdigest()}"

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


def _withdraw_over_rest(stage: Stage, digest: str) -> None:
    """Withdraw as an administrator's own tool would: one REST request, so that it can be timed."""
    account = json.loads(stage.credentials.read_text())  # noqa: TID251 - our own file
    ca = stage.folder / "ca.pem"
    ca.write_text(account["ca"])
    response = httpx.post(
        f"{account['server']}/v1/reference-sets/agent-images/withdrawals",
        json={"kind": "measurement", "key": digest, "reason": "a vulnerability in agent 1.0"},
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
