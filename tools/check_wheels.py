"""Look into both built wheels: production cannot mint evidence, and lacks nothing that it runs on.

    python tools/check_wheels.py FOLDER

Exits with 1 and a line for each thing that is wrong (security requirement F29).
"""

from __future__ import annotations

import argparse
import ast
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

SOURCE: Final = Path(__file__).parents[1] / "sealward"
# What a process reads at run time: modules, and what no import would miss at build time.
READ: Final = frozenset((".py", ".rego", ".json", ".manifest", ".typed"))
KIT: Final = "sealward_devkit"


def wrong_with_production(wheel: zipfile.ZipFile) -> Iterator[str]:
    """Say what is in the production wheel and must not be, or the other way round."""
    names = wheel.namelist()
    for name in names:
        top = PurePosixPath(name).parts[0]
        if top != "sealward" and not top.endswith(".dist-info"):
            yield f"{name}: stands outside the package"
        if name.endswith(".py"):
            tree = ast.parse(wheel.read(name))
            if imports_kit(tree):
                yield f"{name}: imports {KIT}"
            if signs_like_a_chip(tree):
                yield f"{name}: signs with ECDSA and SHA-384, as only a chip does"
    for name in needed():
        if name not in names:
            yield f"{name}: is missing"


def needed() -> Iterator[str]:
    """Name every file of the package that must be in the wheel, as the wheel names it."""
    for path in sorted(SOURCE.rglob("*")):
        if path.is_file() and (path.suffix in READ or path.name in READ):
            yield path.relative_to(SOURCE.parent).as_posix()


def imports_kit(tree: ast.Module) -> bool:
    """Whether any import, at any depth, names the kit."""
    return any(
        (isinstance(node, ast.Import) and any(alias.name.startswith(KIT) for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(KIT))
        for node in ast.walk(tree)
    )


def signs_like_a_chip(tree: ast.Module) -> bool:
    """Whether the file calls a `sign` and names SHA384, with which every SNP report is signed."""
    nodes = list(ast.walk(tree))
    signs = any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sign"
        for node in nodes
    )
    return signs and any(
        isinstance(node, ast.Attribute) and node.attr == "SHA384" for node in nodes
    )


def main() -> int:
    """Check the wheels of one folder."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("folder", type=Path)
    folder: Path = arguments.parse_args().folder
    [production] = folder.glob("sealward-*.whl")
    [kit] = folder.glob(f"{KIT}-*.whl")
    with zipfile.ZipFile(production) as wheel:
        wrong = list(wrong_with_production(wheel))
        count = len(wheel.namelist())
    with zipfile.ZipFile(kit) as wheel:
        if not any(
            signs_like_a_chip(ast.parse(wheel.read(n)))
            for n in wheel.namelist()
            if n.endswith(".py")
        ):
            wrong.append(
                f"{kit.name}: no minter found in it, so its absence elsewhere says nothing"
            )
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    sys.stdout.write(f"{production.name}: {count} files, {len(wrong)} wrong\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
