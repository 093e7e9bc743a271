"""`python -m sealward_devkit.demo`: plays the story and says whether it went exactly as told."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from sealward_devkit.demo.hardware import KINDS, Hardware
from sealward_devkit.demo.stage import Stage, WentWrong
from sealward_devkit.demo.story import play
from sealward_devkit.files import DevelopmentFilesError


def main() -> int:
    """Play the story; return 0 when every step was exactly as told."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it behind")
    parser.add_argument(
        "--attester",
        choices=sorted(KINDS),
        default="snp",
        help="kind of evidence: minted, or of swtpm (default: %(default)s)",
    )
    arguments = parser.parse_args()
    hardware = KINDS[arguments.attester]()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True)
        return _play(arguments.keep.resolve(), hardware)
    with tempfile.TemporaryDirectory(prefix="sealward-demo-") as folder:
        return _play(Path(folder), hardware)


def _play(folder: Path, hardware: Hardware) -> int:
    stage = Stage(folder)
    try:
        play(stage, hardware)
    except DevelopmentFilesError as error:
        print(f"\nThis machine lacks something: {error}", file=sys.stderr)
        return 1
    except WentWrong as error:
        print(f"\nThis step did not go as told: {error}", file=sys.stderr)
        stage.show_logs(sys.stderr)
        return 1
    finally:
        stage.clear()
    print(f"\nEverything went as told, in {stage.seconds():.0f} s. Nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
