"""What the machine can prove, said by the command and by the rules behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealward.enclave_agent import probe
from sealward.enclave_agent.attesters import auto
from sealward.enclave_agent.hardening import Applied, Measure
from sealward.enclave_agent.probe import Finding, Proof, Report, Subject

ROOT = Path(__file__).resolve().parents[4]
SWAPS = "Filename Type Size Used Priority\n"
ALL_WELL = tuple(Applied(measure) for measure in Measure)


def finding(subject: Subject, **changes: object) -> Finding:
    seen = {"clock_source": "tsc", "hardening": ALL_WELL, "swaps": SWAPS} | changes
    (found,) = (item for item in probe.report((), **seen).findings if item.subject is subject)
    return found


def test_a_machine_where_all_is_well_gets_no_advice() -> None:
    report = probe.report((), clock_source="tsc", hardening=ALL_WELL, swaps=SWAPS)
    assert {item.subject for item in report.findings} == set(Subject)
    assert not any(item.advice for item in report.findings)
    assert "->" not in "".join(report.lines())


@pytest.mark.parametrize("source", ["kvm-clock", "hyperv_clocksource_tsc_page", "unknown"])
def test_a_clock_of_the_host_is_told_with_what_it_costs(source: str) -> None:
    found = finding(Subject.CLOCK, clock_source=source)
    assert found.found.startswith(f"{source}: in the hands of the host")
    assert "60 s" in found.found
    assert "Secure TSC" in found.advice


def test_swap_is_named_by_device_and_memory_is_no_swap() -> None:
    disk, zram = "/dev/vdb partition 1 0 -2\n", "/dev/zram0 partition 1 0 100\n"
    assert finding(Subject.SWAP, swaps=SWAPS + zram).found == "in memory only (zram)"
    on = finding(Subject.SWAP, swaps=SWAPS + zram + disk)
    assert on.found == "on: /dev/vdb"
    assert "swapoff" in on.advice
    assert finding(Subject.SWAP, swaps=None).advice


@pytest.mark.parametrize(
    ("measure", "subject"),
    [
        (Measure.MEMORY_LOCKED, Subject.MEMORY),
        (Measure.NO_CORE_DUMP, Subject.CORE_DUMPS),
        (Measure.NOT_DUMPABLE, Subject.TRACING),
    ],
)
def test_a_measure_that_was_refused_is_told_with_its_reason(
    measure: Measure, subject: Subject
) -> None:
    refused = tuple(Applied(one, "set LimitX" if one is measure else "") for one in Measure)
    assert finding(subject, hardening=refused).advice == "set LimitX"
    others = set(Subject) - {subject}
    assert not any(finding(other, hardening=refused).advice for other in others)


def test_text_and_json_say_the_same() -> None:
    proofs = (Proof("snp", available=True, why="It is."), Proof("tdx", available=False, why="No."))
    report = Report(proofs, (Finding(Subject.SWAP, "on", "swapoff"), Finding(Subject.CLOCK, "tsc")))
    assert report.lines() == (
        "snp            available: It is.",
        "tdx            not available: No.",
        "swap           on -> swapoff",
        "clock source   tsc",
    )
    assert report.json() == {
        "attesters": [
            {"name": "snp", "available": True, "why": "It is."},
            {"name": "tdx", "available": False, "why": "No."},
        ],
        "machine": [
            {"subject": "swap", "found": "on", "good": False, "advice": "swapoff"},
            {"subject": "clock source", "found": "tsc", "good": True, "advice": ""},
        ],
    }


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the probe takes from itself what an agent would."""
    return subprocess.run(
        [sys.executable, "-c", "from sealward.enclave_agent.cli import main; main()", *arguments],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_tells_of_every_installed_attester_in_one_sentence_each() -> None:
    done = run("probe", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)  # noqa: TID251 - our own program's output
    names = [item["name"] for item in told["attesters"]]
    assert {"snp", "tdx", "nitro"} <= set(names)
    assert names[-1] == auto.NAME
    for item in told["attesters"]:
        assert item["why"].endswith(".")
        assert "\n" not in item["why"]
    assert {item["subject"] for item in told["machine"]} == {subject.value for subject in Subject}
    text = run("probe").stdout
    assert all(item["why"] in text for item in told["attesters"])


def test_the_machine_of_the_tests_is_told_truthfully() -> None:
    told = json.loads(run("probe", "--json").stdout)  # noqa: TID251 - our own program's output
    by_name = {item["name"]: item for item in told["attesters"]}
    if not Path("/dev/nsm").exists():
        assert not by_name["nitro"]["available"]
        assert "CONFIG_NSM" in by_name["nitro"]["why"]
    if not Path("/sys/kernel/config/tsm").exists():
        assert not by_name["tdx"]["available"]
        assert "CONFIG_TSM_REPORTS" in by_name["tdx"]["why"]
