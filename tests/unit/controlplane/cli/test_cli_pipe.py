"""A reader that has seen enough: `sealward ... | head` ends in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CODE = "from sealward.controlplane.cli.main import main; main()"


def test_a_closed_pipe_is_no_error_message(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # nobody reads: every write fails
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE, "model", "creator-keygen", "-o", str(tmp_path / "key")],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (tmp_path / "key").exists()
    assert done.stderr == b""
    assert done.returncode == 1
