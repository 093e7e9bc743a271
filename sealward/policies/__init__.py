"""Shipped policies: valid OPA bundles as they stand, with tests, schemas and samples.

Everything is read through importlib.resources, so that a wheel, a zip and a checkout are alike.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def shipped_files(kind: str) -> dict[str, bytes]:
    """Return the files of the shipped bundle of `kind` ("appraisal", "release", "enrollment").

    Keys are bundle-relative paths. `sealward.controlplane.domain.policies_bundle` makes a bundle
    of them; that import stays on its side, as policies are data.
    """
    return dict(_walk(resources.files(__name__) / kind, ""))


def capabilities() -> bytes:
    """Return the allow-list of built-ins, JSON in the shape of OPA's capabilities files."""
    return (resources.files(__name__) / "capabilities.json").read_bytes()


def schema(name: str) -> bytes:
    """Return the JSON Schema `schemas/<name>.json` of a policy input."""
    return (resources.files(__name__) / "schemas" / f"{name}.json").read_bytes()


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif not entry.name.endswith((".pyc", "~")):
            yield prefix + entry.name, entry.read_bytes()
