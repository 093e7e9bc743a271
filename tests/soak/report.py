"""Run the long campaigns whole, and write docs/soak.md: what ran, on what, for how long.

    python tests/soak/report.py [--only CAMPAIGN] [--output FILE]

Three campaigns: every test marked `soak`, the property tests with SEALWARD_EXAMPLES examples each,
and SEALWARD_MUTATIONS mutations for each parser. A campaign's section of the page is written when
all of it has passed, with its date; sections of other campaigns stay as they are.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "soak.md"
_DEFAULTS: Final = {"SEALWARD_EXAMPLES": "20000", "SEALWARD_MUTATIONS": "1000000"}


@dataclass(frozen=True)
class Campaign:
    """One selection of tests; `about` says in the page what it did."""

    title: str
    selection: tuple[str, ...]
    about: str


CAMPAIGNS: Final = {
    "soak": Campaign("Tests marked `soak`", ("-m", "soak"), "each whole"),
    "properties": Campaign(
        "Properties",
        ("-m", "not soak", "tests/property"),
        "{SEALWARD_EXAMPLES} examples for each",
    ),
    "mutations": Campaign(
        "Mutations",
        ("tests/campaigns",),
        "{SEALWARD_MUTATIONS} mutations for each parser, none of which raised anything but the"
        " documented error",
    ),
}


def results_of(selection: tuple[str, ...], folder: Path) -> Iterator[tuple[str, float]]:
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


def section(campaign: Campaign) -> str:
    """Run a campaign and return its section of the page."""
    began = datetime.now(UTC)  # noqa: TID251 - a program of its own, dating its page
    with tempfile.TemporaryDirectory() as folder:
        found = [*results_of(campaign.selection, Path(folder))]
    counts = {name: f"{int(os.environ[name]):,}" for name in _DEFAULTS}
    cores = len(os.sched_getaffinity(0))
    machine = f"Python {platform.python_version()}, {platform.machine()}, {cores} cores"
    about = campaign.about.format(**counts)
    lines = [
        f"## {campaign.title}",
        "",
        f"{began:%Y-%m-%d}: {len(found)} tests, {about}. All passed. {machine}.",
        "",
        "| test | seconds |",
        "|---|---:|",
        *(f"| {name} | {seconds:,.0f} |" for name, seconds in found),
    ]
    return "\n".join(lines) + "\n"


def sections(page: Path) -> dict[str, str]:
    """Return the sections of a page that is there, by title."""
    if not page.exists():
        return {}
    parts = page.read_text().split("\n## ")[1:]
    return {part.partition("\n")[0]: f"## {part}" for part in parts}


def main() -> int:
    """Run campaigns and write their sections."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--output", type=Path, default=PAGE)
    arguments.add_argument("--only", choices=CAMPAIGNS, help="this campaign alone")
    options = arguments.parse_args()
    os.environ["SEALWARD_REQUIRE_PARTS"] = "1"
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name, campaign in CAMPAIGNS.items():
        if options.only in (None, name):
            held = sections(options.output) | {campaign.title: section(campaign)}
            body = (held[one.title] for one in CAMPAIGNS.values() if one.title in held)
            pieces = ("# Long campaigns\n\nWritten by `make soak`.\n", *body)
            options.output.write_text("\n".join(piece.rstrip("\n") + "\n" for piece in pieces))
    return 0


if __name__ == "__main__":
    sys.exit(main())
