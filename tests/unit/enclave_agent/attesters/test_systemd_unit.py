"""The agent's systemd unit: what agent and workers need is allowed, and nothing much else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import require_part

from sealward.enclave_agent.attesters import configfs_tsm, nsm, sev_guest

FOLDER = Path(__file__).resolve().parents[4] / "deploy" / "systemd"
UNIT = FOLDER / "sealward-agent.service"
DROP_IN = FOLDER / "configfs-tsm.conf"
EXPOSURE_AT_MOST = 20  # tenths, of 100: systemd calls this OK

# Calls by which agent (hardening.py, memory.py, worker_process.py) and worker (isolation.py,
# seccomp.py) confine and wipe; a filter that denied one would stop every model.
# fmt: off
NEEDED = {
    "seccomp", "prctl", "capset", "memfd_create", "ftruncate", "mlock", "mlockall", "setrlimit",
    "prlimit64", "setsid", "socketpair", "pidfd_open", "pidfd_send_signal", "execve", "clone",
    "clone3", "fcntl", "ioctl", "mkdir", "rmdir", "sched_setaffinity", "clock_gettime",
}
DENIED = {
    "ptrace", "mount", "bpf", "init_module", "kexec_load", "io_uring_setup", "chown", "setuid",
    "add_key", "process_vm_readv", "settimeofday", "swapon",
}
# fmt: on


def settings(path: Path) -> dict[str, list[str]]:
    """Every setting with its values in order; sections do not share names here."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, is_setting, value = line.partition("=")
            assert is_setting, line
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("User", "sealward-agent"),
        ("SupplementaryGroups", "sealward-tee"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("LimitCORE", "0"),
        ("LimitMEMLOCK", "infinity"),
        ("MemorySwapMax", "0"),
        ("DevicePolicy", "closed"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("MemoryDenyWriteExecute", "yes"),
    ],
)
def test_the_unit_takes_away_what_the_documentation_says(name: str, value: str) -> None:
    assert settings(UNIT)[name] == [value]


def test_the_devices_that_attesters_open_are_allowed_and_in_the_rules() -> None:
    allowed = [value.split()[0] for value in settings(UNIT)["DeviceAllow"]]
    rules = (FOLDER / "60-sealward-tee.rules").read_text()
    for path in (sev_guest.PATH, nsm.PATH):
        assert path in allowed
        assert f'KERNEL=="{Path(path).name}"' in rules
    assert settings(DROP_IN)["ReadWritePaths"] == [str(configfs_tsm.ROOT)]


def test_user_and_group_are_those_that_the_sysusers_file_makes() -> None:
    made = (FOLDER / "sealward-agent.sysusers").read_text().splitlines()
    names = {line.split()[1] for line in made if line[:2] in ("u ", "g ")}
    unit = settings(UNIT)
    assert {*unit["User"], *unit["SupplementaryGroups"]} == names


def installed(folder: Path, *, drop_in: bool) -> Path:
    """The unit as it would be installed, with a program that exists here."""
    path = folder / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/sealward/bin/sealward-agent", "/bin/true"))
    if drop_in:
        (folder / f"{UNIT.name}.d").mkdir()
        shutil.copy(DROP_IN, folder / f"{UNIT.name}.d")
    return path


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, which needs no running systemd for any of this."""
    program = shutil.which("systemd-analyze")
    if program is None:
        require_part("systemd-analyze is not installed: Debian package systemd")
    return subprocess.run(
        [program or "", "--no-pager", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("drop_in", [False, True])
def test_systemd_takes_every_line_of_it(tmp_path: Path, *, drop_in: bool) -> None:
    done = analyze("verify", "--man=no", installed(tmp_path, drop_in=drop_in))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("drop_in", [False, True])
def test_systemd_finds_it_hardly_exposed(tmp_path: Path, *, drop_in: bool) -> None:
    path = installed(tmp_path, drop_in=drop_in)
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_AT_MOST}", path)
    assert done.returncode == 0, done.stdout[-2000:]


def calls_of(names: list[str]) -> set[str]:
    """The calls of a filter, its groups unfolded."""
    calls = {name for name in names if not name.startswith("@")}
    for group in set(names) - calls:
        members = [line.strip() for line in analyze("syscall-filter", group).stdout.splitlines()]
        calls |= calls_of([name for name in members[1:] if name and not name.startswith("#")])
    return calls


def test_the_filter_lets_agent_and_workers_confine_themselves_and_little_else() -> None:
    lists = settings(UNIT)["SystemCallFilter"]
    allowed = calls_of([name for one in lists if one[0] != "~" for name in one.split()])
    denied = calls_of([name for one in lists if one[0] == "~" for name in one[1:].split()])
    passed = allowed | calls_of(["@default"])
    assert passed - denied >= NEEDED
    assert not DENIED & (passed - denied)
