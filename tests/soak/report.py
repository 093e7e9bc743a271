"""Run the long campaigns whole, and write docs/soak.md: what ran, on what, for how long.

    python tests/soak/report.py [--output FILE]

Runs every test marked `soak`, then the property tests with SEALWARD_EXAMPLES examples each. The
page is written when all of them have passed.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "soak.md"


def campaign(selection: list[str], folder: Path) -> Iterator[tuple[str, float]]:
    """Run one selection of tests; return each test's name and seconds.

    Raises:
        SystemExit: a test failed, was skipped, or none was found.
    """
    results = folder / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=0", f"--junitxml={results}"]
    done = subprocess.run([*command, *selection], cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    for case in ET.parse(results).iter("testcase"):  # noqa: S314 - written by our pytest
        if case.find("skipped") is not None:
            raise SystemExit(f"{case.get('name')} was skipped: a campaign runs whole or not at all")
        yield f"{case.get('classname', '')}::{case.get('name', '')}", float(case.get("time", "0"))


def main() -> int:
    """Run both campaigns and write the page."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--output", type=Path, default=PAGE)
    options = arguments.parse_args()
    examples = os.environ.get("SEALWARD_EXAMPLES")
    if examples is None:
        arguments.error("say how many examples: SEALWARD_EXAMPLES=20000")
    os.environ["SEALWARD_REQUIRE_PARTS"] = "1"
    began = datetime.now(UTC)  # noqa: TID251 - a program of its own, dating its page
    with tempfile.TemporaryDirectory() as folder:
        whole = [*campaign(["-m", "soak"], Path(folder))]
        properties = [*campaign(["-m", "not soak", "tests/property"], Path(folder))]
    machine = f"Python {platform.python_version()}, {platform.machine()}"
    cores = len(os.sched_getaffinity(0))
    lines = [
        "# Long campaigns",
        "",
        f"Written by `make soak` on {began:%Y-%m-%d}: {machine}, {cores} cores. All passed.",
        "",
        f"| test (properties with {int(examples):,} examples) | seconds |",
        "|---|---:|",
        *(f"| {name} | {seconds:,.0f} |" for name, seconds in (*whole, *properties)),
    ]
    options.output.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
