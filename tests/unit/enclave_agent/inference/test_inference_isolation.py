"""What a confined process can no longer do, tried by a process that confines itself."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sealward.enclave_agent.inference import seccomp
from sealward.enclave_agent.inference.isolation import IsolationRefused, Measure

ROOT = Path(__file__).resolve().parents[4]

SCRIPT = """
import ctypes, errno, json, os, signal, socket, sys, threading, resource
from sealward.enclave_agent.inference import isolation
def attempt(action):
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
open_before = open("/dev/null", "rb")
actions = {
    "inet": lambda: socket.socket(socket.AF_INET),
    "inet6": lambda: socket.socket(socket.AF_INET6),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "socketpair": socket.socketpair,
    "fork": os.fork,
    "exec": lambda: os.execv(sys.executable, [sys.executable, "-V"]),
    "kill": lambda: os.kill(os.getppid(), 0),
    "io_uring": lambda: call(425, 1, ctypes.create_string_buffer(120)),
    "unshare": lambda: call({"x86_64": 272, "aarch64": 97}[os.uname().machine], 0x10000000),
    "read file": lambda: open("/etc/hostname", "rb"),
    "write file": lambda: open("/tmp/sealward-isolation-test", "wb"),
    "unlink": lambda: os.unlink("/tmp/sealward-isolation-test"),
    "mkdir": lambda: os.mkdir("/tmp/sealward-isolation-test"),
}
parent = int(sys.argv[1]) if len(sys.argv) > 1 else os.getppid()
measures = [*isolation.confine(parent)]
after_confine = {name: attempt(actions[name]) for name in ("inet", "read file")}
measures.append(isolation.forbid_files())
result = {name: attempt(action) for name, action in actions.items()}
thread = threading.Thread(target=lambda: result.update({"in thread": attempt(actions["inet"])}))
thread.start(); thread.join()
result["use what was open"] = attempt(lambda: open_before.read(1))
print(json.dumps({
    "measures": measures, "after_confine": after_confine, "result": result,
    "core": resource.getrlimit(resource.RLIMIT_CORE), "dumpable": libc.prctl(3, 0, 0, 0, 0),
}))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT, *arguments],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_confined_process_reaches_no_network_no_process_and_no_file():
    answer = json.loads(run().stdout)  # noqa: TID251 - our own script's
    assert answer["after_confine"] == {"inet": "EACCES", "read file": "done"}
    assert answer["result"].pop("use what was open") == "done"
    assert set(answer["result"].values()) == {"EACCES"}, answer["result"]
    assert "in thread" in answer["result"]
    assert (answer["core"], answer["dumpable"]) == ([0, 0], 0)
    assert set(answer["measures"]) == set(Measure) - {Measure.HEAP_OVERWRITTEN}


def test_a_process_whose_agent_is_already_gone_refuses_to_start():
    outcome = run("1")
    assert outcome.returncode != 0
    assert "dies_with_agent was refused" in outcome.stderr


def test_an_unknown_architecture_is_refused_and_not_run_unfiltered(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    from sealward.enclave_agent.inference import isolation  # noqa: PLC0415

    with pytest.raises(IsolationRefused, match="riscv64") as refusal:
        isolation.forbid_files()
    assert refusal.value.measure is Measure.NO_FILES


def test_the_refusal_says_what_to_do():
    text = str(IsolationRefused(Measure.NO_FILES, "no seccomp"))
    assert "Linux 5.3 or later" in text


@pytest.mark.parametrize("abi", seccomp.ABIS.values(), ids=seccomp.ABIS.keys())
def test_programs_are_whole_and_within_the_kernels_limit(abi: seccomp.Abi):
    for program in (seccomp.deny_outside(abi), seccomp.deny_paths(abi)):
        assert len(program) % 8 == 0
        assert len(program) // 8 < 4096  # BPF_MAXINSNS
        assert program.startswith(b"\x20\x00\x00\x00\x04\x00\x00\x00")  # load the architecture
    numbers = (*abi.outside, *abi.paths, abi.clone, abi.clone3, abi.seccomp)
    assert len(set(numbers)) == len(numbers)


def run_python(code: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-c", code],
        env={"PYTHONPATH": str(ROOT), "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_onnxruntime_writes_nothing_into_its_home_with_the_switch(tmp_path: Path):
    code = "import sealward.enclave_agent.inference.session"
    assert run_python(code, tmp_path, ORT_DISABLE_TELEMETRY="1").returncode == 0
    assert [*tmp_path.rglob("*")] == []


def test_a_worker_without_the_switch_does_not_start(tmp_path: Path):
    code = (
        "import sys; from sealward.enclave_agent.inference import worker\n"
        "try: worker.main(['worker', '0', '1'])\n"
        "finally: assert 'onnxruntime' not in sys.modules"
    )
    outcome = run_python(code, tmp_path)
    assert outcome.returncode == 1
    assert "ORT_DISABLE_TELEMETRY=1 must be set" in outcome.stderr
