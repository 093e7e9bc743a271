"""What a confined process cannot do, tried by a real process that confines itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sealward

ROOT = Path(sealward.__file__).resolve().parents[1]
TRY = """
import ctypes, os, signal, socket, subprocess, sys
sys.path.append({root!r})
from sealward.controlplane.adapters.policy_engine.sandbox import confine
missing = confine()
if missing:
    os.write(1, repr(missing).encode())
    os._exit(3)
try:
    {attempt}
except OSError as error:
    os.write(1, b"refused")
except BaseException as error:
    os.write(1, type(error).__name__.encode())
else:
    os.write(1, b"done")
"""

REFUSED = {
    "internet socket": "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "unix socket": "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
    "netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "read a file": "open('/etc/passwd', 'rb')",
    "write a file": "open('/tmp/sealward-sandbox-test', 'wb')",
    "list a folder": "os.listdir('/')",
    "fork": "os.fork()",
    "another program": "os.execv('/bin/true', ['/bin/true'])",
    "start a process": "subprocess.Popen(['/bin/true'])",
    "signal the parent": "os.kill(os.getppid(), 0)",
    "a pipe": "os.pipe()",
    "another identity": "os.setuid(0)",
    "memory of another process": "open('/proc/1/mem', 'rb')",
}


def attempt(statement: str) -> str:
    script = TRY.format(root=str(ROOT), attempt=statement)
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], env={}, capture_output=True, timeout=30, check=False
    )
    return done.stdout.decode()


def test_a_confined_process_can_still_compute_and_answer():
    assert attempt("x = bytearray(10_000_000); sum(range(1000))") == "done"


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED.keys())
def test_a_confined_process_cannot_reach_out(statement: str):
    assert attempt(statement) == "refused"


def test_no_system_call_number_reaches_a_socket():
    """Straight to the kernel, past Python: socket(AF_INET, SOCK_STREAM, 0) is EPERM (1)."""
    number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
    statement = (
        f"c = ctypes.CDLL(None, use_errno=True); r = c.syscall({number}, 2, 1, 0);"
        " e = ctypes.get_errno(); os.write(1, f'{r} {e} '.encode())"
    )
    assert attempt(statement) == "-1 1 done"
