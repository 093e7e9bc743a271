"""Workloads, their keys, and sealed model versions."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.errors import Code, NotFound
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.workloads import (
    Creator,
    ModelState,
    ModelVersion,
    Workload,
    WorkloadKey,
)

_WORKLOADS: Final = Rows(
    tables.workloads, Workload, ("name",), "workload", missing=Code.workload_unknown
)
_KEYS: Final = Rows(tables.workload_keys, WorkloadKey, ("workload", "version"), "workload key")
_CREATORS: Final = Rows(
    tables.workload_creators, Creator, ("workload", "key_id"), "creator key of the workload"
)
_MODELS: Final = Rows(
    tables.models,
    ModelVersion,
    ("workload", "name", "version"),
    "model version",
    missing=Code.model_unknown,
)
_K: Final = tables.workload_keys.c
_NEWEST_KEY: Final = Prepared(
    _KEYS.fixed(_K.workload == bindparam("k_workload")).order_by(_K.version.desc()).limit(1)
)


class WorkloadRepository:
    """services.workload_repositories.Workloads over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def get(self, name: str) -> Workload:
        """Return the workload; NotFound(workload_unknown)."""
        return _WORKLOADS.get(self._scope, name)

    def find(self, name: str) -> Workload | None:
        """Return the workload or None."""
        return _WORKLOADS.find(self._scope, name)

    def add(self, workload: Workload) -> None:
        """Insert; Conflict(already_exists)."""
        _WORKLOADS.add(self._scope, workload)

    def save(self, workload: Workload) -> None:
        """Overwrite; NotFound(workload_unknown)."""
        _WORKLOADS.save(self._scope, workload)

    def page(self, *, limit: int, after: str | None = None) -> Page[Workload]:
        """List workloads by name."""
        return _WORKLOADS.page(self._scope, limit=limit, after=after)

    def add_key(self, key: WorkloadKey) -> None:
        """Insert a key version; Conflict(already_exists)."""
        _KEYS.add(self._scope, key)

    def key(self, workload: str, version: int) -> WorkloadKey:
        """Return one key version; NotFound."""
        return _KEYS.get(self._scope, workload, version)

    def latest_key(self, workload: str) -> WorkloadKey:
        """Return the newest key version; NotFound."""
        return self._only(_KEYS.fetch(self._scope, _NEWEST_KEY, k_workload=workload), workload)

    def add_creator(self, creator: Creator) -> None:
        """Insert a pinned creator key; Conflict(already_exists)."""
        _CREATORS.add(self._scope, creator)

    def find_creator(self, workload: str, key_id: str) -> Creator | None:
        """Return the pinned creator key or None."""
        return _CREATORS.find(self._scope, workload, key_id)

    def creators(self, workload: str, *, limit: int, after: str | None = None) -> Page[Creator]:
        """List the creator keys of a workload by key id."""
        return _CREATORS.page(
            self._scope, limit=limit, after=after, where={"workload": workload}, order=("key_id",)
        )

    def remove_creator(self, workload: str, key_id: str) -> Creator:
        """Delete a pinned creator key and return it; NotFound."""
        return _CREATORS.remove(self._scope, workload, key_id)

    def _only(self, found: tuple[WorkloadKey, ...], workload: str) -> WorkloadKey:
        if not found:
            raise NotFound(Code.not_found, f"workload {workload} has no such key")
        return found[0]


class ModelRepository:
    """services.workload_repositories.Models over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def get(self, workload: str, name: str, version: int) -> ModelVersion:
        """Return the version; NotFound(model_unknown)."""
        return _MODELS.get(self._scope, workload, name, version)

    def find(self, workload: str, name: str, version: int) -> ModelVersion | None:
        """Return the version or None."""
        return _MODELS.find(self._scope, workload, name, version)

    def add(self, model: ModelVersion) -> None:
        """Insert; Conflict(already_exists)."""
        _MODELS.add(self._scope, model)

    def save(self, model: ModelVersion) -> None:
        """Overwrite; NotFound(model_unknown)."""
        _MODELS.save(self._scope, model)

    def page(
        self,
        workload: str,
        *,
        limit: int,
        after: str | None = None,
        state: ModelState | None = None,
        creator: str | None = None,
    ) -> Page[ModelVersion]:
        """List a workload's versions by name and version, of one state or creator if given."""
        return _MODELS.page(
            self._scope,
            limit=limit,
            after=after,
            where={"workload": workload, "state": state, "creator_key_id": creator},
            order=("name", "version"),
        )
