"""The repositories of workloads and their models; the rules are those of `repositories`."""

from __future__ import annotations

from typing import Protocol

from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.workloads import (
    Creator,
    ModelState,
    ModelVersion,
    Workload,
    WorkloadKey,
)


class Workloads(Protocol):
    """Workloads by name, their keys by version."""

    def get(self, name: str) -> Workload:
        """Return the workload; NotFound(workload_unknown)."""

    def find(self, name: str) -> Workload | None:
        """Return the workload or None."""

    def add(self, workload: Workload) -> None:
        """Insert; Conflict(already_exists)."""

    def save(self, workload: Workload) -> None:
        """Overwrite; NotFound(workload_unknown)."""

    def page(self, *, limit: int, after: str | None = None) -> Page[Workload]:
        """List workloads by name."""

    def add_key(self, key: WorkloadKey) -> None:
        """Insert a key version; Conflict(already_exists)."""

    def key(self, workload: str, version: int) -> WorkloadKey:
        """Return one key version; NotFound."""

    def latest_key(self, workload: str) -> WorkloadKey:
        """Return the newest key version; NotFound."""

    def add_creator(self, creator: Creator) -> None:
        """Insert a pinned creator key; Conflict(already_exists)."""

    def find_creator(self, workload: str, key_id: str) -> Creator | None:
        """Return the pinned creator key or None."""

    def creators(self, workload: str, *, limit: int, after: str | None = None) -> Page[Creator]:
        """List the creator keys of a workload by key id."""

    def remove_creator(self, workload: str, key_id: str) -> Creator:
        """Delete a pinned creator key and return it; NotFound."""


class Models(Protocol):
    """Sealed model versions by (workload, name, version)."""

    def get(self, workload: str, name: str, version: int) -> ModelVersion:
        """Return the version; NotFound(model_unknown)."""

    def find(self, workload: str, name: str, version: int) -> ModelVersion | None:
        """Return the version or None."""

    def add(self, model: ModelVersion) -> None:
        """Insert; Conflict(already_exists)."""

    def save(self, model: ModelVersion) -> None:
        """Overwrite; NotFound(model_unknown)."""

    def page(
        self,
        workload: str,
        *,
        limit: int,
        after: str | None = None,
        state: ModelState | None = None,
        creator: str | None = None,
    ) -> Page[ModelVersion]:
        """List a workload's versions by name and version."""
