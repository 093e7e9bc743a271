"""`arc` of github.com/veraison/ear: another reader's opinion on attestation results."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

VERSION: Final = "1.1.3"
_BUILT_FROM: Final = f"github.com/veraison/ear\tv{VERSION}\th1:".encode()
_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Arc:
    """The command."""

    path: Path

    def verify(self, token: str, jwk: dict[str, Any], folder: Path) -> tuple[int, str]:
        """Return the exit status and all that it says of a token under one key."""
        (folder / "result.jwt").write_text(token)
        (folder / "key.json").write_text(json.dumps(jwk))
        done = subprocess.run(
            [self.path, "verify", "--pkey", "key.json", "--alg", "ES256", "result.jwt"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def read(self, token: str, jwk: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Return the claims that it reads in a token which it verifies."""
        status, said = self.verify(token, jwk, folder)
        assert status == 0, said
        claims = said.partition("[claims-set]\n")[2].partition("\n[trustworthiness")[0]
        read: dict[str, Any] = json.loads(claims)  # noqa: TID251 - a tool's own output
        return read


def find() -> Arc | None:
    """Return the command of the version that tests compare with, or None."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    candidates = (
        os.environ.get("SEALWARD_ARC"),
        str(cache / "sealward" / f"arc-{VERSION}" / "arc"),
    )
    paths = (Path(found) for found in candidates if found)
    return next((Arc(path) for path in paths if _is_right(path)), None)


def missing() -> str:
    """Return what to do when there is none."""
    return f"no arc {VERSION}; build it: sh tools/provide_arc.sh"


def _is_right(path: Path) -> bool:
    with suppress(OSError):
        return _BUILT_FROM in path.read_bytes()
    return False
